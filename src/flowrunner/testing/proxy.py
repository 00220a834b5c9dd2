"""A TCP proxy on loopback that goes wrong on demand: slow, deaf, dumb, half open, cut off or shut (reliability R14).

    async with FaultProxy("127.0.0.1", 5432) as proxy:      # listens on proxy.port
        proxy.set(Conditions(up="swallow"))                  # what clients say is lost; TCP acknowledges it
        ...
        proxy.set(Conditions())                              # as if nothing had been
        proxy.cut()                                          # reset every connection there is

`up` is the way from client to server, `down` the way back. Conditions hold for connections there are and those to come. With
`control` it also listens on a Unix socket: one JSON object a line, ``{"up": "hold", "latency": 0.2}`` or ``{"cut": true}``,
answered by ``{"connections": N}``.

    python -m flowrunner.testing.proxy HOST PORT SOCKET      # says its port on standard output
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

Way = Literal["pass", "hold", "swallow"]
PIECE_BYTES = 16 * 1024
LOOK_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What the network is like.

    A way may `pass`; `hold` what comes until it passes again, as a network that is partitioned and heals does for connections
    that live through it; or `swallow` it, so that nothing of it ever arrives. `latency` (seconds) is added to each piece, on both
    ways. `reset_after` cuts a connection once so many bytes of it went through. `refuse` resets who comes anew; `accept_only`
    takes them and never speaks to the server, which is how half-open connections and dead load balancers look.
    """

    up: Way = "pass"
    down: Way = "pass"
    latency: float = 0.0
    reset_after: int | None = None
    refuse: bool = False
    accept_only: bool = False


PARTITION = Conditions(up="hold", down="hold", accept_only=True)


class FaultProxy:
    """One listening port before one server; use as an async context manager."""

    def __init__(self, host: str, port: int, *, control: Path | None = None) -> None:
        self._to = (host, port)
        self._control = control
        self._conditions = Conditions()
        self._changed = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._controls: set[asyncio.Task[None]] = set()
        self.port = 0
        self.carried = 0  # bytes, both ways
        self.accepted = 0  # connections so far

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._controller = await asyncio.start_unix_server(self._listen, self._control) if self._control is not None else None
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Listen no more, cut everything."""
        for server in (self._server, self._controller):
            if server is not None:
                server.close()
        self.cut()
        tasks = [*self._tasks, *self._controls]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._tasks)

    def set(self, conditions: Conditions) -> None:
        """Have these conditions from now on."""
        self._conditions = conditions
        self._changed.set()
        self._changed = asyncio.Event()

    def cut(self) -> None:
        """Reset every connection: both ends are told."""
        for writer in list(self._writers):
            _reset(writer)

    # --- connections

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.add(writer)
        task = asyncio.create_task(self._serve_and_close(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_and_close(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                await self._serve(reader, writer)
        finally:
            self._writers.discard(writer)
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self._conditions.accept_only and not self._conditions.refuse:
            await self._changed.wait()
        if self._conditions.refuse:
            return
        far_reader, far_writer = await asyncio.open_connection(*self._to)
        self._writers.add(far_writer)
        count = [0]
        ways = [asyncio.create_task(self._carry(*ends, count)) for ends in ((reader, far_writer, "up"), (far_reader, writer, "down"))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._writers.discard(far_writer)
            _reset(far_writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Literal["up", "down"], count: list[int]) -> None:
        while True:
            piece = await reader.read(PIECE_BYTES)
            if self._conditions.latency:
                await asyncio.sleep(self._conditions.latency)
            while getattr(self._conditions, way) == "hold":
                await self._changed.wait()
            if not piece:
                return  # an end that was reached during a partition is told after it
            if getattr(self._conditions, way) == "swallow":
                continue
            left = self._conditions.reset_after
            count[0] += len(piece)
            self.carried += len(piece)
            if left is not None and count[0] > left:
                writer.write(piece[: max(0, len(piece) - (count[0] - left))])
                await writer.drain()
                return
            writer.write(piece)
            await writer.drain()

    # --- orders from outside

    def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._obey(reader, writer))
        self._controls.add(task)
        task.add_done_callback(self._controls.discard)

    async def _obey(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            async for line in reader:
                order: dict[str, Any] = json.loads(line)
                if order.pop("cut", False):
                    self.cut()
                if order:
                    self.set(Conditions(**{**asdict(Conditions()), **order}))
                writer.write(json.dumps({"connections": self.connections}).encode() + b"\n")
                await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN: nobody may take it for an end in good order."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _main(host: str, port: int, control: Path) -> None:
    async with FaultProxy(host, port, control=control) as proxy:
        sys.stdout.write(f"{proxy.port}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
