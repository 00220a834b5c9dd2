"""A WebSocket's bytes as the server writes them: frames made once, however many sockets they go to.

RFC 6455, section 5.2. The server of this package puts a `Wire` into the ASGI scope of each socket, under the extension EXTENSION.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

EXTENSION = "flowrunner.wire"
CLOSE = "flowrunner.close"  # the member of the message that `Wire.wake` puts behind those the client sent: code and reason
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

    write: Callable[[bytes], None]  # whole frames, to the transport; what cannot be sent at once is kept there
    paused: Callable[[], None]  # called when more is kept than the transport likes
    resumed: Callable[[], None]  # called when that is sent, or the connection is lost

    @property
    def writable(self) -> bool:
        """Whether the transport likes more."""
        ...

    def wake(self, code: int, reason: str) -> None:
        """Let ``receive`` answer with ``{"type": "websocket.receive", CLOSE: (code, reason)}``."""
        ...
