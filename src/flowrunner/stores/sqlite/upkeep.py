"""Looking after one SQLite file: its revision, its health, its copies."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import apsw

from flowrunner.errors import StoreRefused, StoreUnavailable
from flowrunner.ports.upkeep import FileUpkeep, Schema
from flowrunner.stores.revisions import latest
from flowrunner.stores.sqlite.faults import unavailable
from flowrunner.stores.sqlite.file import is_absent, open_untouched, open_writer
from flowrunner.stores.sqlite.lock import FileLock
from flowrunner.stores.sqlite.migrate import BEFORE, PACKAGE, creation, revision_of, statements
from flowrunner.stores.sqlite.session import QUERIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PAGES_AT_ONCE = 2000  # 8 MB; between two such steps Ctrl-C is heard
MOST_FINDINGS = 100
KINDS_THAT_COUNT = ("heads", "revisions", "machines", "activities", "inbox", "documents")

Answer = TypeVar("Answer")


class SqliteUpkeep(FileUpkeep):
    """The upkeep of one file; every method opens it and closes it again."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()

    async def schema(self) -> Schema:
        """See the contract."""
        return await self._reading(_schema, current=False)

    async def script(self) -> Sequence[str]:
        """See the contract."""
        if self._absent():
            return BEFORE, *creation()
        return await self._reading(statements, current=False)

    async def upgrade(self) -> Schema:
        """See the contract."""

        def work() -> Schema:
            with self._alone():
                if self._absent():
                    before = Schema("", latest(PACKAGE))
                else:
                    with closing(open_untouched(self._path, current=False)) as connection:
                        before = _schema(connection)
                open_writer(self._path, synchronous="FULL").close()
                return before

        return await self._off_loop(work)

    async def findings(self) -> Sequence[str]:
        """See the contract; SQLite's own check first, and where that finds nothing, rows that belong to nothing."""

        def read(connection: apsw.Connection) -> list[str]:
            try:
                damage = [str(text) for (text,) in connection.execute(f"PRAGMA integrity_check({MOST_FINDINGS})")]
                if damage != ["ok"]:
                    return damage
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)  # whole: the last one to close leaves no log behind
                return [f"{count} times {what}" for what, count in connection.execute(QUERIES["orphans"]) if count]
            except (apsw.CorruptError, apsw.NotADBError) as error:
                return [str(error)]

        return await self._reading(read, whole=False)

    async def back_up(self, file: Path) -> None:
        """See the contract; with SQLite's backup interface, so that the server goes on writing meanwhile."""

        def read(connection: apsw.Connection) -> None:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # the moment: a copy without it begins anew with every commit
            _copy(connection, file)

        await self._reading(read)

    async def restore(self, file: Path) -> None:
        """See the contract; the copy is made beside the file and takes its name when it is complete."""

        def work() -> None:
            with closing(open_untouched(file.resolve(), current=False)) as source, self._alone():
                if self._path.exists():
                    self._refuse_contents()
                _copy(source, self._path)
                open_writer(self._path, synchronous="FULL").close()  # an old backup is brought up to date

        await self._off_loop(work)

    async def shrink(self) -> None:
        """See the contract."""

        def work() -> None:
            with self._alone(), closing(open_writer(self._path, synchronous="FULL")) as connection:
                connection.execute("PRAGMA incremental_vacuum").fetchall()
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

        await self._off_loop(work)

    def _absent(self) -> bool:
        try:
            return is_absent(self._path)
        except OSError:  # opening it says why
            return False

    def _refuse_contents(self) -> None:
        with closing(open_writer(self._path, synchronous="FULL")) as connection:
            for table in KINDS_THAT_COUNT:
                if connection.execute(f"SELECT EXISTS (SELECT 1 FROM {table})").get:  # noqa: S608  # our own names
                    raise StoreRefused(f"The store {self._path} is not empty.", remedy="Restore into another file, or move this one away first.")
        if Path(f"{self._path}-wal").exists():  # the last one to close the file removes it
            raise StoreUnavailable(f"Another process has {self._path} open.", remedy="Stop it first.")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = FileLock(self._path)
        if self._path.parent.is_dir():  # else opening says what is missing
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    async def _reading(self, read: Callable[[apsw.Connection], Answer], *, current: bool = True, whole: bool = True) -> Answer:
        def work() -> Answer:
            with closing(open_untouched(self._path, current=current, whole=whole)) as connection:
                return read(connection)

        return await self._off_loop(work)

    async def _off_loop(self, work: Callable[[], Answer]) -> Answer:
        try:
            return await asyncio.to_thread(work)
        except apsw.Error as error:
            raise unavailable(error, str(self._path)) from error
        except UnicodeDecodeError as error:
            raise StoreUnavailable(f"The file {self._path} is damaged ({error}).", remedy="Restore a backup.") from error


def _schema(connection: apsw.Connection) -> Schema:
    return Schema(revision_of(connection) or "", latest(PACKAGE))


def _copy(source: apsw.Connection, file: Path) -> None:
    """All pages of `source` to a new file, which has its name only when it is complete and on the disk."""
    partial = Path(f"{file}.partial")
    partial.unlink(missing_ok=True)  # of a copy that was killed, or somebody else's: what is opened must be new and ours
    handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with closing(apsw.Connection(str(partial))) as target:
            target.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")  # nobody else sees it; it is synced as a whole below
            with target.backup("main", source, "main") as backup:
                while not backup.done:
                    backup.step(PAGES_AT_ONCE)
        os.fsync(handle)
        partial.replace(file)
        _sync_folder(file.parent)
    finally:
        os.close(handle)
        partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
