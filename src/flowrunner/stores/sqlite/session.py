"""The open file: one writing thread, one connection for short reads on the event loop, one thread for long reads."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import apsw

from flowrunner.errors import StoreError, StoreUnavailable
from flowrunner.stores.queries import load_queries
from flowrunner.stores.sqlite.faults import is_fatal, unavailable
from flowrunner.stores.sqlite.file import open_reader, open_untouched, open_writer
from flowrunner.stores.sqlite.lock import FileLock
from flowrunner.stores.sqlite.migrate import PACKAGE
from flowrunner.stores.sqlite.writer import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AsyncExitStack
    from pathlib import Path

    from flowrunner.stores.sqlite.writer import Work

QUERIES = load_queries(PACKAGE)

Row = tuple[Any, ...]


class Session:
    """What the SQLite stores share. `on_fatal` is called once, on the event loop, when the file can no longer be trusted.

    With `readonly` there is no writer, and the file need not be writable.
    """

    def __init__(self, path: Path, *, exclusive: bool, synchronous: str, readonly: bool = False) -> None:
        self.path = path
        self.on_fatal: Callable[[StoreUnavailable], None] | None = None
        self._exclusive = exclusive
        self._synchronous = synchronous
        self._readonly = readonly
        self._lock = FileLock(path)
        self._connections: list[apsw.Connection] = []
        self._writer: Writer | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._short: apsw.Cursor | None = None
        self._long: apsw.Cursor | None = None

    async def start(self, stack: AsyncExitStack) -> None:
        """Open the file, push its closing."""
        if self._connections:
            raise StoreError(f"The store {self.path} is started already.")
        stack.push_async_callback(self._stop)
        await asyncio.to_thread(self._open)
        self._pool = ThreadPoolExecutor(1, "sqlite-reader")
        self._short, self._long = (connection.cursor() for connection in self._connections[1:])
        if not self._readonly:
            self._writer = Writer(self._connections[0], str(self.path), self._fatal)
            self._writer.start()

    @property
    def failure(self) -> StoreUnavailable | None:
        """Why the file is no longer used, if so."""
        return self._writer.failure if self._writer else None

    @property
    def counts(self) -> tuple[int, int]:
        """Transactions and writes committed so far."""
        return (self._writer.transactions, self._writer.writes) if self._writer else (0, 0)

    async def write(self, work: Work, size: int = 0) -> Any:
        """Run `work` in the next shared transaction; returns when it is durable.

        Whoever stops waiting does not stop the write.
        """
        if self._writer is None:
            raise StoreUnavailable(f"The store {self.path} is open for reading only.") if self._connections else self._closed()
        return await self._writer.submit(work, size)

    def read(self, query: str, *arguments: object) -> list[Row]:
        """All rows of a short query, at once: a point query of a few pages is cheaper than a change of threads."""
        if self._short is None or self.failure is not None:
            raise self._closed()
        try:
            return self._short.execute(QUERIES[query], arguments).fetchall()
        except apsw.Error as error:
            raise self._failed(error) from error

    def transaction(self, read: Callable[[], Any]) -> Any:
        """Several reads of one moment."""
        if self._short is None or self.failure is not None:
            raise self._closed()
        try:
            self._short.execute("BEGIN")
            try:
                return read()
            finally:
                if self._short.connection.in_transaction:  # SQLite ends it itself after some errors
                    self._short.execute("COMMIT")
        except apsw.Error as error:
            raise self._failed(error) from error

    async def scan(self, query: str, *arguments: object) -> list[Row]:
        """All rows of a query that may look at many, off the event loop."""
        cursor = self._long
        if cursor is None or self._pool is None or self.failure is not None:
            raise self._closed()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool,
                lambda: cursor.execute(QUERIES[query], arguments).fetchall(),
            )
        except apsw.Error as error:
            raise self._failed(error) from error

    async def look(self, read: Callable[[apsw.Cursor], Any], within: apsw.Cursor | None = None) -> Any:
        """Several reads that may look at many rows, off the event loop: of one moment, or within the one of `moment`."""
        long = self._long
        if long is None or self._pool is None or self.failure is not None:
            raise self._closed()

        def work() -> Any:
            if within is not None:
                return read(within)
            long.execute("BEGIN")
            try:
                return read(long)
            finally:
                if long.connection.in_transaction:
                    long.execute("COMMIT")

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except apsw.Error as error:
            raise self._failed(error) from error

    @asynccontextmanager
    async def moment(self) -> AsyncIterator[apsw.Cursor]:
        """A cursor that sees the file as it is now, whatever is committed meanwhile; the log of the file grows as long as it is held."""
        if not self._connections:
            raise self._closed()
        try:
            connection = open_reader(self.path)
        except apsw.Error as error:
            raise self._failed(error) from error
        try:
            await self.look(_hold, cursor := connection.cursor())
            yield cursor
        finally:
            connection.interrupt()  # a page that nobody waits for any more
            await asyncio.get_running_loop().run_in_executor(self._pool, lambda: connection.close(force=True))

    def _open(self) -> None:
        if self._readonly:
            self._connections.append(open_untouched(self.path))
        else:
            if self._exclusive and not os.path.isdir(self.path) and os.path.isdir(self.path.parent):  # noqa: PTH112  # Path raises without rights
                self._lock.acquire()
            self._connections.append(open_writer(self.path, synchronous=self._synchronous, alone=self._exclusive))
        self._connections += open_reader(self.path), open_reader(self.path)

    async def _stop(self) -> None:
        """Commit what waits, close everything, give up the lock; harmless when repeated or half open."""
        writer, self._writer = self._writer, None
        self._short = self._long = None
        await asyncio.to_thread(self._close, writer)

    def _close(self, writer: Writer | None) -> None:
        if writer is not None:
            writer.stop()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        for connection in reversed(self._connections):  # the writer last: the last one to close empties the log
            if writer is not None and writer.failure is not None:
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.close(force=True)
        self._connections.clear()
        self._lock.release()

    def _fatal(self, failure: StoreUnavailable) -> None:
        if self.on_fatal is not None:
            self.on_fatal(failure)

    def _failed(self, error: apsw.Error) -> StoreUnavailable:
        failure = unavailable(error, str(self.path))
        if is_fatal(error) and self._writer is not None:
            self._writer.fail(failure)
        return failure

    def _closed(self) -> StoreUnavailable:
        return self.failure or StoreUnavailable(f"The store {self.path} is not started.")


def _hold(cursor: apsw.Cursor) -> None:
    """Begin a transaction that reads; SQLite takes the moment at the first read."""
    cursor.execute("BEGIN")
    cursor.execute("SELECT count(*) FROM sqlite_schema").fetchall()
