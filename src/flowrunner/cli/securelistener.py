"""Accepting connections for TLS: each counts at the door from the moment it is accepted, and its handshake has a time.

Uvicorn's protocols hear of a connection only once its handshake is done, and that may take a minute: whoever never says hello
would not be counted, and one address could have as many connections open as the process may have files.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Coroutine

from flowrunner.cli.door import Door
from flowrunner.cli.httpprotocol import HttpProtocol

SHUTDOWN_SECONDS = 5.0  # how long a client may take to say goodbye
PAUSE_SECONDS = 1.0  # before accepting again when the process has no file to spare, as asyncio's own servers do


class SecureListener:
    """Listens on a bound socket until closed; `make` is told under which address a connection is counted, and gives its protocol."""

    def __init__(self, listener: socket.socket, make: Callable[[str], HttpProtocol], *, tls: ssl.SSLContext, door: Door, backlog: int) -> None:
        self._listener, self._make, self._tls, self._door = listener, make, tls, door
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        listener.setblocking(False)  # noqa: FBT003  # the socket's own way to say it
        listener.listen(backlog)
        self._spawn(self._accept())

    def close(self) -> None:
        """Accept no more, and drop who has not agreed on TLS yet."""
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """Return when nothing is under way here; connections that are served may be."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        while True:
            try:
                connection, (address, *_) = await self._loop.sock_accept(self._listener)
            except ConnectionError:  # it has gone again
                continue
            except OSError:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if self._door.enter(address) is None:
                self._spawn(self._agree(connection, address))
            else:
                self._door.refused("dropped")  # without TLS there is no way to say why
                connection.close()

    async def _agree(self, connection: socket.socket, address: str) -> None:
        """Agree on TLS; then the connection is its protocol's."""
        protocol = self._make(address)
        agreed = False
        try:
            with contextlib.suppress(OSError):  # also of TLS and of time: the client's fault
                await self._loop.connect_accepted_socket(
                    lambda: protocol,
                    connection,
                    ssl=self._tls,
                    ssl_handshake_timeout=self._door.header_seconds,
                    ssl_shutdown_timeout=SHUTDOWN_SECONDS,
                )
                agreed = True
        finally:
            if not agreed:
                self._door.refused("dropped")
                protocol.forget()
