"""A WebSocket's bytes as the server writes them: frames made once, however many sockets they go to.

RFC 6455, section 5.2. The server of this package puts a `Wire` into the ASGI scope of each socket, under the extension EXTENSION.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # a client reads messages too, and the framework would be a third of the start of its process
    from litestar import WebSocket

EXTENSION = "flowrunner.wire"
CLOSE = "flowrunner.close"  # the member of the message that `Wire.wake` puts behind those the client sent: code and reason
RELAYED = 256  # texts that wait in a `Relay` before no more are wanted
_TEXT = 0x81  # the last fragment, of text
_SHORT, _MIDDLE = 126, 0x1_0000  # payloads below these have their length in 7 bits, in 16; others in 64


def frame(text: bytes) -> bytes:
    """One text message (UTF-8) as one frame, unmasked as servers send it."""
    size = len(text)
    if size < _SHORT:
        return bytes((_TEXT, size)) + text
    if size < _MIDDLE:
        return bytes((_TEXT, 126)) + size.to_bytes(2) + text
    return bytes((_TEXT, 127)) + size.to_bytes(8) + text


class Wire(Protocol):
    """What an open socket offers beside ASGI's messages. All calls are made on the event loop and none waits."""

    paused: Callable[[], None]  # called when more is kept than the transport likes
    resumed: Callable[[], None]  # called when that is sent, or the connection is lost
    failure: str | None  # one of ports.observe.SOCKET_ERRORS, once the protocol has closed it for that

    @property
    def writable(self) -> bool:
        """Whether the transport likes more."""
        ...

    def write(self, frames: bytes) -> None:
        """Write whole frames to the transport, which keeps what cannot be sent at once."""
        ...

    def wake(self, code: int, reason: str) -> None:
        """Let ``receive`` answer with ``{"type": "websocket.receive", CLOSE: (code, reason)}``."""
        ...


class Relay:
    """A wire for ASGI servers that offer none: what is written waits in a queue, and a task sends it."""

    def __init__(self, socket: WebSocket[Any, Any, Any]) -> None:
        self._socket = socket
        self._texts: deque[str] = deque()
        self._stirred = asyncio.Event()
        self._close: tuple[int, str] | None = None
        self.failure: str | None = None
        self.paused: Callable[[], None] = _nothing
        self.resumed: Callable[[], None] = _nothing

    @property
    def writable(self) -> bool:
        """Whether few texts wait."""
        return len(self._texts) < RELAYED

    def write(self, frames: bytes) -> None:
        """Take whole frames apart, for ASGI has messages."""
        before = self.writable
        self._texts += texts(frames)
        self._stirred.set()
        if before and not self.writable:
            self.paused()

    def wake(self, code: int, reason: str) -> None:
        """End `receive` once everything was sent."""
        self._close = code, reason
        self._stirred.set()

    async def receive(self) -> Mapping[str, Any]:
        """The client's next message, sending what is written meanwhile; or that the socket is to be closed."""
        receiving = asyncio.ensure_future(self._socket.receive())
        try:
            while True:
                self._stirred.clear()
                while self._texts:
                    await self._socket.send({"type": "websocket.send", "bytes": None, "text": self._texts.popleft()})
                    if len(self._texts) == RELAYED - 1:
                        self.resumed()
                if self._close is not None:
                    return {"type": "websocket.receive", CLOSE: self._close}
                stirred = asyncio.ensure_future(self._stirred.wait())
                await asyncio.wait((receiving, stirred), return_when=asyncio.FIRST_COMPLETED)
                stirred.cancel()
                if receiving.done():
                    return receiving.result()
        finally:
            receiving.cancel()


def texts(frames: bytes) -> list[str]:
    """The texts in frames that `frame` made."""
    found: list[str] = []
    while frames:
        size, start = frames[1], 2
        if size == 126:
            size, start = int.from_bytes(frames[2:4]), 4
        elif size == 127:
            size, start = int.from_bytes(frames[2:10]), 10
        found.append(frames[start : start + size].decode())
        frames = frames[start + size :]
    return found


def _nothing() -> None:
    pass
