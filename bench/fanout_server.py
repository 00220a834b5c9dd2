"""One run that many sockets follow, at full speed; started by ``fanout.py``, never by hand.

    python bench/fanout_server.py flowrunner|broadcast PORT MESSAGES BURST

Both serve one path and send the same texts of SIZE bytes; each tick of the loop has BURST of them. ``broadcast`` is a bare server of the
websockets library with its `broadcast()`. What is sent may be WINDOW ticks ahead of what followers have: each line on stdin is a number
of messages that all who read have got. The line ``go N`` starts when N sockets are open.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import orjson
import uvloop

SIZE = 300
WINDOW = 48
MARK = "@"  # once in every message: followers count it
RUN = "0" * 31 + "1"


class Pace:
    """Waits for followers."""

    def __init__(self, burst: int) -> None:
        self.burst = burst
        self.got = 0
        self.sockets = 0
        self.going = asyncio.Event()
        self._moved = asyncio.Event()

    async def listen(self) -> None:
        """Read what the driver tells."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            words = line.split()
            if words[0] == b"go":
                self.sockets = int(words[1])
                self.going.set()
            else:
                self.got = int(words[0])
                self._moved.set()

    async def room(self, sent: int) -> None:
        """Return once no more than WINDOW ticks' messages are on their way."""
        while sent - self.got > WINDOW * self.burst:
            self._moved.clear()
            await self._moved.wait()


async def broadcast(port: int, messages: int, burst: int, pace: Pace) -> None:
    """The peer."""
    from websockets.asyncio.server import broadcast, serve  # noqa: PLC0415

    async def handler(socket: Any) -> None:
        await socket.wait_closed()

    text = (MARK + "x" * SIZE)[:SIZE]
    async with serve(handler, "127.0.0.1", port, compression=None, ping_interval=None) as server:
        print("ready", flush=True)
        await pace.going.wait()
        for sent in range(0, messages, burst):
            await pace.room(sent)
            for _ in range(burst):
                broadcast(server.connections, text)
            await asyncio.sleep(0)
        await asyncio.sleep(3600)


async def flowrunner(port: int, messages: int, burst: int, pace: Pace) -> None:
    """The product's server, feed and sockets; the records are made here instead of by an engine, and no store is written to."""
    import socket  # noqa: PLC0415

    from flowrunner.api.app import create_app  # noqa: PLC0415
    from flowrunner.api.identify import DevAuthenticator  # noqa: PLC0415
    from flowrunner.cli.protocol import Server, configuration  # noqa: PLC0415
    from flowrunner.clock import SystemClock  # noqa: PLC0415
    from flowrunner.engine.feed import Feed  # noqa: PLC0415
    from flowrunner.ports.executions import Chunk, Head, StepWrite  # noqa: PLC0415
    from flowrunner.stores.memory.store import MemoryStore  # noqa: PLC0415
    from flowrunner.telemetry.metrics import Metrics  # noqa: PLC0415

    async def aws(scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError

    store, clock = MemoryStore(), SystemClock()
    feed = Feed(store.executions, clock)
    identity = {"id": RUN, "account": "000000000000", "machine": "flow/bench", "name": "one", "revision": "r", "input": "{}", "seed": b"s" * 16}
    app = create_app(
        store=store,
        feed=feed,
        aws=aws,
        authenticator=DevAuthenticator("000000000000"),
        region="us-east-1",
        observer=Metrics(),
        stopping=asyncio.Event(),
        clock=clock,
    )
    head = await store.executions.commit(StepWrite(head=Head(**identity, status="RUNNING", started_at=0), create=True))  # type: ignore[arg-type]
    note = {"stepId": "a", "level": "info", "message": MARK}
    record = {"timestamp": 1_700_000_000.5, "type": "StepLogged", "note": note}
    note["message"] += "x" * (SIZE - 226)  # what the envelope takes
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    server = Server(configuration(app, drain_seconds=1))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    print("ready", flush=True)
    await pace.going.wait()
    for sent in range(0, messages, burst):
        await pace.room(sent)
        chunk = Chunk(head.last_seq + 1, burst, orjson.dumps([record] * burst))
        head = await store.executions.commit(
            StepWrite(head=Head(**identity, status="RUNNING", started_at=0, epoch=head.epoch, last_seq=head.last_seq + burst), chunk=chunk)
        )  # type: ignore[arg-type]
        feed.publish(head, chunk)
        await asyncio.sleep(0)
    await serving


async def main() -> None:
    """Serve until the driver ends it."""
    kind, port, messages, burst = sys.argv[1], *map(int, sys.argv[2:])
    pace = Pace(burst)
    listening = asyncio.create_task(pace.listen())
    await {"broadcast": broadcast, "flowrunner": flowrunner}[kind](port, messages, burst, pace)
    listening.cancel()


if __name__ == "__main__":
    uvloop.run(main())
