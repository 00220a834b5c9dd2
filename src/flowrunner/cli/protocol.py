"""Uvicorn as we run it: its settings, its WebSocket made to cut who does not read."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from flowrunner.cli.door import Door
from flowrunner.cli.httpprotocol import HttpProtocol
from flowrunner.cli.securelistener import SecureListener

PING_SECONDS = 54.0  # the source documents: a ping each 54 s,
PONG_SECONDS = 6.0  # an answer within 60 s, or the connection closes
CUT_SECONDS = 10.0  # how long a client that reads nothing may take to read why it was cut
MAX_MESSAGE_BYTES = 128 * 1024  # from a client
BACKLOG = 2048  # connections that wait to be accepted


class SocketProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's WebSocket, but closing does not wait for a client that reads nothing, and such a connection is cut."""

    def __init__(self, *arguments: Any, door: Door, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._door = door

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more: it was counted when it was plain HTTP."""
        super().connection_lost(exc)
        self._door.leave(self.client[0] if self.client else "")

    async def send(self, message: Any) -> None:
        """Send; a close goes out behind what is buffered."""
        if message["type"] == "websocket.close" and not self.writable.is_set():
            self.writable.set()
            self.loop.call_later(CUT_SECONDS, self.transport.abort)
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # refused is complete too; uvicorn would log an error for each

    def keepalive_timeout(self) -> None:
        """Close, and cut a connection that does not even take that."""
        super().keepalive_timeout()
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


def configuration(application: Any, *, drain_seconds: float, tls: ssl.SSLContext | None = None, door: Door | None = None) -> Configuration:
    """How uvicorn serves an ASGI application here."""
    door = door or Door()
    return Configuration(
        application,
        tls=tls,
        door=door,
        loop="none",
        http=partial(HttpProtocol, door=door),
        ws=partial(SocketProtocol, door=door),
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PONG_SECONDS,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # each socket would hold some 300 KB for it
        backlog=BACKLOG,
        timeout_keep_alive=door.idle_seconds,
        timeout_graceful_shutdown=max(1, round(drain_seconds)),
    )
