"""The open database: a few connections that read, two that write in groups."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import asyncpg

from flowrunner.errors import StoreError, StoreRefused, StoreUnavailable
from flowrunner.stores.postgres.faults import DRIVER, LOST, WRONG, refused_write, unavailable, unreachable
from flowrunner.stores.postgres.gate import Gate
from flowrunner.stores.postgres.link import BEGIN, BEGIN_READING, CLOSE_SECONDS, Link, connect
from flowrunner.stores.postgres.migrate import PACKAGE, examine, placed, prepare
from flowrunner.stores.postgres.pulse import Pulse
from flowrunner.stores.postgres.writer import Writer
from flowrunner.stores.queries import load_queries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from contextlib import AsyncExitStack

    from flowrunner.ports.executions import Head, NameTaken, StepWrite
    from flowrunner.stores.postgres.link import Row
    from flowrunner.stores.postgres.url import Address

QUERIES = load_queries(PACKAGE)

OLDEST = 12
WRITERS = 2  # while one waits for the disk the other one works
LEAST_READING = 2  # without a writer: while one holds a moment another one looks things up
WAIT_SECONDS = 5.0  # for a connection that others hold
CROWDED_SECONDS = 5.0  # until we ask again a server that had no connection left


class Session:
    """What the PostgreSQL stores share. With `readonly` there is no writer, and every transaction only reads."""

    def __init__(self, address: Address, *, readonly: bool = False) -> None:
        self.address = address
        self._readonly = readonly
        self._queries = {name: placed(text, address.schema) for name, text in QUERIES.items()}
        self._gate, self._pulse = self._watch()
        self._links: list[Link] = []  # for reading
        self._writing: list[Link] = []
        self._idle: list[Link] = []
        self._free = asyncio.Semaphore(0)
        self._scans = asyncio.Semaphore(max(1, address.connections // 2))
        self.in_turn = asyncio.Semaphore(address.connections)  # for who does hundreds of things at once: waits for a connection as long as it takes
        self._writer: Writer | None = None
        self._started = False
        self._is_open = False

    async def start(self, stack: AsyncExitStack) -> None:
        """Connect, have the schema there, push the closing."""
        if self._started:
            raise StoreError(f"The store ({self.address}) is started already.")
        self._started = True
        stack.push_async_callback(self._stop)
        self._gate, self._pulse = self._watch()
        self._links = [self._link() for _ in range(max(LEAST_READING, self.address.connections) if self._readonly else self.address.connections)]
        self._idle = list(self._links)
        self._writing = [] if self._readonly else [self._link() for _ in range(WRITERS)]
        await self._open(self._idle[-1])
        for link in self._writing:  # before the many that read could take the last connections of the server
            await link.ready()
        self._free = asyncio.Semaphore(len(self._idle))
        self._is_open = True
        if not self._readonly:
            self._writer = Writer(self._writing, self.address, self._gate)
            self._writer.start()

    @property
    def counts(self) -> tuple[int, int]:
        """Transactions and writes committed so far."""
        return (self._writer.transactions, self._writer.writes) if self._writer else (0, 0)

    @property
    def in_use(self) -> int:
        """How many of the connections for reading are in use now."""
        return len(self._links) - len(self._idle) if self._is_open else 0

    async def commit(self, write: StepWrite) -> Head | NameTaken:
        """Store a step in the next shared transaction; returns when it is durable. Whoever stops waiting does not stop the write."""
        if self._writer is None:
            raise StoreUnavailable(f"The store ({self.address}) is open for reading only.") if self._is_open else self._closed()
        return await self._writer.submit(write)

    async def read(self, query: str, *arguments: object) -> Sequence[Row]:
        """All rows of a named query that may be repeated: once more, if the connection turns out to be dead."""
        try:
            return await self.call(query, *arguments)
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, LOST) or not self._gate.is_open:
                raise
            return await self.call(query, *arguments)

    async def scan(self, query: str, *arguments: object) -> Sequence[Row]:
        """As `read`, for a query that may look at many rows: never on more than half of the connections, as a node whose beats wait is taken for dead."""
        await self._have(self._scans, self._deadline(), "The connections for lists")
        try:
            return await self.read(query, *arguments)
        finally:
            self._scans.release()

    async def call(self, query: str, *arguments: object, seconds: float | None = None) -> Sequence[Row]:
        """All rows of a named query, in a transaction of its own."""
        async with self.transaction() if self._readonly else self._taken() as link:
            return await link.fetch(query, *arguments) if seconds is None else await link.fetch(query, *arguments, seconds=seconds)

    @asynccontextmanager
    async def transaction(self, begin: str = BEGIN) -> AsyncIterator[Link]:
        """A connection in a transaction: committed at the end, rolled back by whatever is raised inside."""
        async with self._taken() as link, link.transaction(BEGIN_READING if self._readonly else begin):
            yield link

    @asynccontextmanager
    async def _taken(self) -> AsyncIterator[Link]:
        """A connection for the length of the `with`; the driver's errors come out as ours."""
        with self.told():
            link = await self._take()
            try:
                yield link
            finally:
                self._put(link)
                self._free.release()

    @contextmanager
    def told(self) -> Iterator[None]:
        """Inside it the driver's errors come out as ours."""
        try:
            yield
        except StoreRefused as error:  # such as a password changed while we run: for a caller the store is away
            raise StoreUnavailable(error.message, remedy=error.remedy) from error
        except WRONG as error:
            raise refused_write(error) from error
        except DRIVER as error:
            raise unavailable(error, self.address) from error

    async def _take(self) -> Link:
        """An open connection. When the server gives us no more, we have one fewer for a while, and wait for those we have."""
        if not self._is_open:
            raise self._closed()
        deadline = self._deadline()
        while True:
            await self._have(self._free, deadline, f"All {self.address.connections} connections")
            link = self._idle.pop()  # an open one, if there is one: those that are not needed stay closed
            try:
                await link.ready()
            except BaseException as error:
                self._put(link)
                if not isinstance(error.__cause__, asyncpg.TooManyConnectionsError) or not self._open_ones:
                    self._free.release()
                    raise
                asyncio.get_running_loop().call_later(CROWDED_SECONDS, self._free.release)
            else:
                return link

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + WAIT_SECONDS

    async def _have(self, places: asyncio.Semaphore, deadline: float, what: str) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await places.acquire()
        except TimeoutError:
            remedy = "Raise connections in the store's URL, or look at what the database is busy with."
            raise StoreUnavailable(f"{what} to {self.address} are busy.", remedy=remedy) from None

    def _put(self, link: Link) -> None:
        if link.is_open:
            self._idle.append(link)
        else:
            self._idle.insert(0, link)

    @property
    def _open_ones(self) -> int:
        """How many connections for reading are open, in use or not."""
        return sum(link.is_open for link in self._links)

    def _link(self) -> Link:
        return Link(self.address, self._queries, self._gate, self._pulse)

    def _watch(self) -> tuple[Gate, Pulse]:
        gate = Gate()
        return gate, Pulse(self.address, gate, ask=self._ask, hang_up=self._hang_up)

    async def _ask(self) -> None:
        """Whether the server gives a connection."""
        connection = await connect(self.address)
        try:
            await connection.close(timeout=CLOSE_SECONDS)
        except DRIVER:
            connection.terminate()

    def _hang_up(self) -> None:
        for link in (*self._links, *self._writing):
            link.hang_up()

    async def _open(self, link: Link) -> None:
        """Refuse what cannot be used; make or migrate the schema, unless we only read."""
        connection = await link.ready()
        try:
            (server,) = await link.fetch("server")
            self._examine(server)
            await (examine if self._readonly else prepare)(connection, self.address)
        except DRIVER as error:
            link.drop()
            raise unreachable(error, self.address) from error

    def _examine(self, server: Row) -> None:
        if server["version"] < OLDEST * 10_000:
            raise StoreRefused(f"{self.address} has version {server['version'] // 10_000}.", remedy=f"FlowRunner needs PostgreSQL {OLDEST} or newer.")
        if server["encoding"] != "UTF8":
            remedy = f"Make another one: createdb -E UTF8 -T template0 {self.address.database}"
            raise StoreRefused(f"The database {self.address.database!r} has the encoding {server['encoding']}.", remedy=remedy)
        if self._readonly:
            return
        if server["standby"]:
            raise StoreRefused(f"{self.address} is a standby and cannot be written.", remedy="Point FlowRunner at the primary server.")
        if server["synchronous_commit"] == "off":
            remedy = f'Turn it on for FlowRunner: ALTER ROLE "{self.address.user}" SET synchronous_commit = on'
            raise StoreRefused(f"{self.address} has synchronous_commit=off: it may lose what it has acknowledged.", remedy=remedy)

    async def _stop(self) -> None:
        """Commit what waits, close everything; harmless when repeated or half open."""
        self._is_open = False
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.stop()
        await self._pulse.stop()
        await asyncio.gather(*(link.shut() for link in (*self._links, *self._writing)))
        self._started = False

    def _closed(self) -> StoreUnavailable:
        return StoreUnavailable(f"The store ({self.address}) is not started.")
