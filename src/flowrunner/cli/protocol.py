"""Uvicorn as we run it: its settings, its WebSocket made to write frames that are made already and to cut who does not read."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

from flowrunner.api.wire import CLOSE, EXTENSION
from flowrunner.cli.door import Door
from flowrunner.cli.heartbeat import Heartbeat
from flowrunner.cli.httpprotocol import HttpProtocol
from flowrunner.cli.securelistener import SecureListener

CUT_SECONDS = 10.0  # how long a client that reads nothing may take to read why it was cut
MAX_MESSAGE_BYTES = 128 * 1024  # from a client
MAX_FRAGMENTS = 1024  # of one message from a client: empty ones weigh nothing, but are kept
BUFFERED_BYTES = 256 * 1024  # for one socket; beyond it nothing is written until most of that is sent
BACKLOG = 2048  # connections that wait to be accepted


def _nothing() -> None:
    pass


class Wire:
    """How the application writes to a socket past ASGI's messages: `flowrunner.api.wire.Wire`."""

    __slots__ = ("_protocol", "failure", "paused", "resumed", "write")

    def __init__(self, protocol: SocketProtocol) -> None:
        self._protocol = protocol
        self.write: Callable[[bytes], None] = protocol.write
        self.failure: str | None = None
        self.paused: Callable[[], None] = _nothing
        self.resumed: Callable[[], None] = _nothing

    @property
    def writable(self) -> bool:
        """Whether the transport likes more."""
        return self._protocol.writable.is_set()

    def wake(self, code: int, reason: str) -> None:
        """Let ``receive`` tell that the socket is to be closed."""
        closing: Any = {"type": "websocket.receive", CLOSE: (code, reason)}  # the framework takes any other type for the client's own end
        self._protocol.queue.put_nowait(closing)


class SocketProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's WebSocket, but closing does not wait for a client that reads nothing, and such a connection is cut."""

    def __init__(self, *arguments: Any, door: Door, heartbeat: Heartbeat, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._door = door
        self._heartbeat = heartbeat
        self._pings = 0
        self.wire = Wire(self)

    def connection_made(self, transport: Any) -> None:
        """Bound what is kept for a client that reads slowly."""
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(BUFFERED_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more: it was counted when it was plain HTTP."""
        super().connection_lost(exc)
        self._door.leave(self.client[0] if self.client else "")
        self.wire.resumed()

    def pause_writing(self) -> None:
        """Nothing is read either until the client reads: each ping of its would add a pong to what is kept."""
        super().pause_writing()
        self.transport.pause_reading()
        self.wire.paused()

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()
        self.wire.resumed()

    def write(self, frames: bytes) -> None:
        """Write whole frames."""
        if self.handshake_complete and not self.close_sent and not self.disconnected:
            self.transport.write(frames)

    async def run_asgi(self) -> None:
        """Run the application with our extension in the scope."""
        extensions: Any = self.scope["extensions"]
        extensions[EXTENSION] = self.wire
        await super().run_asgi()

    async def send(self, message: Any) -> None:
        """Send; a close goes out behind what is buffered."""
        if message["type"] == "websocket.close" and not self.writable.is_set():
            self.writable.set()
            self.transport.resume_reading()
            self.loop.call_later(CUT_SECONDS, self.transport.abort)
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # refused is complete too; uvicorn would log an error for each

    def handle_cont(self, event: Frame) -> None:
        """Take the next fragment of a message, within limits."""
        if self.close_sent:
            return
        if len(self.frames) >= MAX_FRAGMENTS:
            self.conn.fail(1009, f"more than {MAX_FRAGMENTS} fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def handle_parser_exception(self) -> None:
        """Close over what no client may send; too much, or what is no WebSocket."""
        sent = self.conn.close_sent
        self.wire.failure = "too_large" if sent is not None and sent.code == CloseCode.MESSAGE_TOO_BIG else "protocol"
        super().handle_parser_exception()

    # --- pings

    def start_keepalive(self) -> None:
        """From now on there are pings."""
        self._heartbeat.enter(self)

    def stop_keepalive(self) -> None:
        """No more of them."""
        self._heartbeat.leave(self)

    def handle_pong(self, event: Frame) -> None:
        """The client is there: any pong says so."""
        del event
        self._heartbeat.pong(self)

    def ping(self) -> None:
        """Send a ping."""
        if self.close_sent or self.transport.is_closing():
            return
        self._pings += 1
        self.conn.send_ping(struct.pack("!I", self._pings))
        self.transport.write(b"".join(self.conn.data_to_send()))

    def lapse(self) -> None:
        """Close, and cut a connection that does not even take that."""
        if self.close_sent or self.transport.is_closing():
            return
        self.wire.failure = "no_pong"
        self.conn.fail(1011, "no pong in time")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()
        self.loop.call_later(CUT_SECONDS, self.transport.abort)


class Configuration(uvicorn.Config):
    """Uvicorn's configuration, with a TLS context that is made already."""

    def __init__(self, *arguments: Any, tls: ssl.SSLContext | None, door: Door, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.tls, self.door = tls, door


class Server(uvicorn.Server):
    """Uvicorn without hands on the process's signals, and with our own way to TLS."""

    config: Configuration

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on these sockets."""
        tls, door = self.config.tls, self.config.door
        if tls is None:
            await super().startup(sockets=sockets)
            return
        await super().startup(sockets=[])

        def make(address: str) -> HttpProtocol:
            return HttpProtocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state, door=door, counted=address)

        listeners = [SecureListener(one, make, tls=tls, door=door, backlog=self.config.backlog) for one in sockets or ()]
        self.servers.extend(listeners)  # type: ignore[arg-type]  # uvicorn closes them, no more

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `host`: uvicorn would raise them again at the end, and so the process would not exit with 0."""
        yield


def configuration(
    application: Any, *, drain_seconds: float, tls: ssl.SSLContext | None = None, door: Door | None = None, heartbeat: Heartbeat | None = None
) -> Configuration:
    """How uvicorn serves an ASGI application here."""
    door = door or Door()
    return Configuration(
        application,
        tls=tls,
        door=door,
        loop="none",
        http=partial(HttpProtocol, door=door),
        ws=partial(SocketProtocol, door=door, heartbeat=heartbeat or Heartbeat()),
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # each socket would hold some 300 KB for it
        backlog=BACKLOG,
        timeout_keep_alive=door.idle_seconds,
        timeout_graceful_shutdown=max(1, round(drain_seconds)),
    )
