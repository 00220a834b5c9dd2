"""A TCP proxy that misbehaves on demand: between a server and its database it is the network.

async with Proxy("127.0.0.1", 5432) as proxy:
url = f"postgresql://user@127.0.0.1:{proxy.port}/database"
proxy.hold(to_target=True, to_client=True)   # a black hole: connections stay, nothing comes through
proxy.heal()
proxy.reset()                                # every connection is reset
proxy.refuse()                               # new connections are closed at once, old ones reset
proxy.latency_seconds = 0.05
proxy.reset_after(1000)                      # each connection is reset after so many bytes
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import Self

PIECE = 65536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: closing resets


class Proxy:
    """Listens on a free port of loopback and passes everything on to `host` and `port`, as well as it is told to.

    `connections` counts those that are open. `latency_seconds` is added to each piece in each direction. What was held back
    is passed on when the proxy is healed, if the connection lives that long; a healed proxy passes everything.
    """

    def __init__(self, host: str, port: int) -> None:
        self.latency_seconds = 0.0
        self.port = 0
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = {"target": asyncio.Event(), "client": asyncio.Event()}  # to which side bytes pass
        self._refusing = False
        self._left: int | None = None
        self.heal()

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End everything."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._writers) // 2

    def hold(self, *, to_target: bool = False, to_client: bool = False) -> None:
        """Let nothing through in these directions from now on; one alone is a one-way cut."""
        for side, held in (("target", to_target), ("client", to_client)):
            if held:
                self._open[side].clear()

    def refuse(self) -> None:
        """Nobody gets through any more; who was connected is reset."""
        self._refusing = True
        self.reset()

    def reset(self) -> None:
        """Reset every connection, on both sides."""
        for writer in self._writers:
            _reset(writer)

    def reset_after(self, count: int) -> None:
        """Reset each connection, present and future, once so many bytes have come back through it."""
        self._left = count

    def heal(self) -> None:
        """Be a good network again."""
        self._refusing, self._left, self.latency_seconds = False, None, 0.0
        for event in self._open.values():
            event.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._refusing:
            _reset(writer)
            return
        try:
            target_reader, target_writer = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(writer)
            return
        pair = {writer, target_writer}
        self._writers |= pair
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, target_writer, "target"))
                group.create_task(self._pass_on(target_reader, writer, "client"))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._writers -= pair
            for one in pair:
                with contextlib.suppress(OSError, RuntimeError):
                    one.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, side: str) -> None:
        passed = 0
        while piece := await reader.read(PIECE):
            if self.latency_seconds:
                await asyncio.sleep(self.latency_seconds)
            await self._open[side].wait()
            passed += len(piece)
            if side == "client" and self._left is not None and passed > self._left:
                raise ConnectionResetError
            writer.write(piece)
            await writer.drain()
        await self._open[side].wait()
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
