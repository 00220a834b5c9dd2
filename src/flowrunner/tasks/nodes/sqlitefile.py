"""SQLite for nodes: files below a folder that the operator names, each account in a folder of its own, or memory.

A definition's SQL is a stranger's: an authorizer keeps it from other files, from settings and from transactions of its own,
limits keep it small, a progress handler ends it in time, and what it reads of a file's schema is not trusted.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import TypeVar

import apsw

from flowrunner.errors import StoreUnavailable
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps
from flowrunner.limits import MIB
from flowrunner.ports.tasks import begin
from flowrunner.tasks.nodes.kind import NodeFailed
from flowrunner.tasks.nodes.reading import bad
from flowrunner.tasks.nodes.sqlitefunctions import guard
from flowrunner.tasks.nodes.statements import (
    CONSTRAINT_VIOLATED,
    DATABASE_CONFLICT,
    DATABASE_ERROR,
    TIMEOUT,
    Answer,
    Bounds,
    Statement,
    Taken,
    distinct,
)
from flowrunner.tasks.nodes.threads import Threads

T = TypeVar("T")
PROGRESS_STEPS = 2_000  # of SQLite's machine between two looks at the clock: below a millisecond
MEMORY_PAGES = 64 * MIB // 4096
FILE_PAGES = 1024 * MIB // 4096
# Pragmas that only tell something.
_PRAGMAS = frozenset(
    {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list", "foreign_key_check", "user_version"}
)
_DENIED = frozenset({apsw.SQLITE_ATTACH, apsw.SQLITE_DETACH, apsw.SQLITE_TRANSACTION, apsw.SQLITE_SAVEPOINT})
_LIMITS = {
    apsw.SQLITE_LIMIT_ATTACHED: 0,  # neither ATTACH nor VACUUM INTO, whatever the authorizer is asked
    apsw.SQLITE_LIMIT_LENGTH: 16 * MIB,
    apsw.SQLITE_LIMIT_SQL_LENGTH: 1 * MIB,
    apsw.SQLITE_LIMIT_EXPR_DEPTH: 200,
    apsw.SQLITE_LIMIT_COMPOUND_SELECT: 100,
    apsw.SQLITE_LIMIT_TRIGGER_DEPTH: 50,
    apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 500,  # a text is compared with all of it at each of its places, and nothing can stop that
    apsw.SQLITE_LIMIT_WORKER_THREADS: 0,
}


def file_below(folder: Path | None, account: str, name: str) -> Path:
    """Where the database `name` of an account is. Raises NodeFailed for a name that leads out of the account's folder."""
    if folder is None:
        raise NodeFailed("This server keeps no SQLite files for nodes. The operator names a folder for them (database_folder); :memory: works without.")
    home = folder.resolve() / account
    try:
        path = (home / name).resolve()
    except (OSError, ValueError, RuntimeError):
        path = home
    if "\0" in name or path == home or not path.is_relative_to(home):
        raise bad("The database's file must be named by a path below the folder for databases, such as orders.db.")
    return path


def erase_files(folder: Path, account: str) -> None:
    """Remove the databases of an account. Raises StoreUnavailable."""
    home = folder.resolve() / account
    try:
        if home.is_dir():
            shutil.rmtree(home)
    except OSError as error:
        raise StoreUnavailable(f"The databases in {home} cannot be removed: {error.strerror or error}.") from None


class SqliteFile:
    """One database, by its path; None is a fresh one in memory. A connection lives as long as an attempt."""

    def __init__(self, path: Path | None, threads: Threads) -> None:
        self._path = path
        self._threads = threads

    async def run(self, statements: Sequence[Statement], bounds: Bounds, *, read_only: bool) -> list[Answer]:
        """Run all in one transaction, or none."""

        def work(connection: apsw.Connection) -> list[Answer]:
            taken = Taken(bounds)
            return [_answer(connection, one, taken) for one in statements]

        return await self._in_transaction(work, bounds, read_only=read_only)

    async def batch(self, sql: str, rows: Sequence[Sequence[JSONValue] | JSONObject], bounds: Bounds) -> int:
        """Run one statement for each row."""

        def work(connection: apsw.Connection) -> int:
            taken = Taken(bounds)
            return sum(_answer(connection, Statement(sql, row), taken).affected for row in rows)

        return await self._in_transaction(work, bounds, read_only=False)

    async def _in_transaction(self, work: Callable[[apsw.Connection], T], bounds: Bounds, *, read_only: bool) -> T:
        await begin()
        stopped = threading.Event()
        ends = monotonic() + bounds.seconds

        def late() -> bool:
            return stopped.is_set() or monotonic() > ends

        def whole() -> T:
            try:
                connection = self._open(read_only=read_only)
                try:
                    return _transaction(connection, work, late, bounds, read_only=read_only)
                finally:
                    connection.set_progress_handler(None)
                    connection.close()
            except NodeFailed:
                raise
            except (apsw.Error, OSError, OverflowError, UnicodeError, KeyError) as error:
                raise _failure(error, bounds) from None

        return await self._threads.run(whole, stopped.set)

    def _open(self, *, read_only: bool) -> apsw.Connection:
        if self._path is None:
            return apsw.Connection(":memory:")
        if read_only and not self._path.is_file():
            raise NodeFailed(f"There is no database {self._path.name}; execute a statement to make it.", error=DATABASE_ERROR)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        return apsw.Connection(str(self._path), flags=mode | apsw.SQLITE_OPEN_NOFOLLOW)


def _transaction(connection: apsw.Connection, work: Callable[[apsw.Connection], T], late: Callable[[], bool], bounds: Bounds, *, read_only: bool) -> T:
    connection.set_busy_timeout(int(min(bounds.seconds, 5.0) * 1000))
    for limit, value in _LIMITS.items():
        connection.limit(limit, value)
    guard(connection, most_bytes=_LIMITS[apsw.SQLITE_LIMIT_LENGTH])
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    pages = MEMORY_PAGES if connection.filename == "" else FILE_PAGES
    for pragma in ("temp_store=MEMORY", "foreign_keys=ON", f"max_page_count={pages}", "query_only=ON" if read_only else "query_only=OFF"):
        connection.execute(f"PRAGMA {pragma}")
    connection.set_progress_handler(late, PROGRESS_STEPS)
    connection.execute("BEGIN" if read_only else "BEGIN IMMEDIATE")
    connection.authorizer = _authorize
    try:
        done = work(connection)
    except BaseException:
        connection.authorizer = None
        connection.set_progress_handler(None)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.authorizer = None
    connection.execute("COMMIT")
    return done


def _authorize(operation: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    del database, trigger
    if operation in _DENIED:
        return apsw.SQLITE_DENY
    if operation == apsw.SQLITE_PRAGMA:
        return apsw.SQLITE_OK if (first or "").lower() in _PRAGMAS and (second is None or first != "user_version") else apsw.SQLITE_DENY
    if operation == apsw.SQLITE_FUNCTION and (second or "").lower() in ("load_extension", "fts3_tokenizer", "writefile", "readfile", "edit"):
        return apsw.SQLITE_DENY
    return apsw.SQLITE_OK


def _answer(connection: apsw.Connection, statement: Statement, taken: Taken) -> Answer:
    answer, before, seen = Answer(), connection.total_changes(), []
    cursor = connection.cursor()

    def only_one(running: apsw.Cursor, sql: str, bindings: object) -> bool:
        del bindings
        if not running.has_vdbe:  # a comment
            return True
        seen.append(sql)
        if len(seen) > 1:
            raise bad("The query holds more than one statement; several belong into a transaction.")
        answer.columns = distinct([column[0] for column in running.get_description()])
        return True

    cursor.exec_trace = only_one
    for row in cursor.execute(statement.sql, _bound(statement.arguments)):
        taken.add(answer, [row])
    if not seen:
        raise bad("The query holds no statement.")
    if connection.total_changes() != before:
        answer.affected = connection.changes()
    return answer


def _bound(arguments: Sequence[JSONValue] | JSONObject) -> tuple[JSONValue, ...] | dict[str, JSONValue]:
    """Values as SQLite takes them: booleans are numbers, lists and objects their JSON text."""
    if isinstance(arguments, dict):
        return {name: _value(value) for name, value in arguments.items()}
    return tuple(_value(value) for value in arguments)


def _value(value: JSONValue) -> JSONValue:
    if isinstance(value, bool):
        return int(value)
    return dumps(value) if isinstance(value, list | dict) else value


def _failure(error: Exception, bounds: Bounds) -> NodeFailed:
    match error:
        case apsw.InterruptError():
            return NodeFailed(f"The statements took longer than {bounds.seconds:g} s.", error=TIMEOUT)
        case apsw.BusyError() | apsw.LockedError():
            return NodeFailed("Another attempt is writing to this database.", error=DATABASE_CONFLICT)
        case apsw.ConstraintError():
            return NodeFailed(str(error), error=CONSTRAINT_VIOLATED)
        case apsw.AuthError():
            text = f"{error}. Other files, settings and transactions of its own are not for a statement; several statements belong into a transaction."
            return NodeFailed(text, error=DATABASE_ERROR)
        case apsw.BindingsError():
            return bad(f"The arguments do not fit the query: {error}.")
        case KeyError():
            return bad(f"The arguments do not fit the query: there is none with the name {str(error.args[0])!r}. Names are given without the sign before them.")
        case OverflowError():
            return bad("The arguments do not fit the query: SQLite's whole numbers have 64 bits. Give a larger one as a text.")
        case UnicodeDecodeError():
            return NodeFailed("A text in the database is not UTF-8. Read it as bytes: CAST(... AS BLOB).", error=DATABASE_ERROR)
        case UnicodeError():
            return bad("The query or an argument has half of a character.")
        case OSError():
            return NodeFailed(f"The database's file cannot be used: {error.strerror}.", error=DATABASE_ERROR)
    return NodeFailed(str(error), error=DATABASE_ERROR)
