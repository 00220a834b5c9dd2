"""PostgreSQL for nodes, by asyncpg (the extra ``postgres``): a connection for each attempt, to a checked address."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypeVar

from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps, loads
from flowrunner.ports.tasks import begin
from flowrunner.tasks.nodes.kind import NodeFailed
from flowrunner.tasks.nodes.reach import Reach, tls
from flowrunner.tasks.nodes.reading import bad
from flowrunner.tasks.nodes.statements import (
    CONSTRAINT_VIOLATED,
    DATABASE_CONFLICT,
    DATABASE_ERROR,
    TIMEOUT,
    UNREACHABLE,
    Answer,
    Bounds,
    Statement,
    Taken,
    distinct,
)

T = TypeVar("T")
PORTS = frozenset({5432, 6432})  # PostgreSQL, PgBouncer
FETCHED_ROWS = 200
CONNECT_SECONDS = 10.0
MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# https://www.postgresql.org/docs/current/errcodes-appendix.html: serialization_failure, deadlock_detected, lock_not_available
_CONFLICTS = frozenset({"40001", "40P01", "55P03"})
_RETURNING = re.compile(r"\breturning\b", re.IGNORECASE)
# Statements about transactions, behind blanks and comments: those are the node's own.
_OF_TRANSACTIONS = re.compile(
    r"(?>\s+|--[^\n]*\n|/\*.*?\*/)*+(?:begin|start|commit|end|rollback|abort|savepoint|release|prepare\s+transaction)\b", re.IGNORECASE | re.DOTALL
)
_CANCELED = "57014"  # query_canceled, as statement_timeout ends a statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where the database is and who asks. `mode` is libpq's sslmode; `authorities` are certificates (PEM) to trust."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    mode: str = "prefer"
    authorities: str | None = None


class PostgresServer:
    """A database on a server."""

    def __init__(self, server: Server, reach: Reach) -> None:
        self._server = server
        self._reach = reach

    async def run(self, statements: Sequence[Statement], bounds: Bounds, *, read_only: bool) -> list[Answer]:
        """Run all in one transaction, or none."""
        taken = Taken(bounds)

        async def work(connection: Any) -> list[Answer]:
            return [await _answer(connection, one, taken) for one in statements]

        return await self._in_transaction(work, bounds, read_only=read_only)

    async def batch(self, sql: str, rows: Sequence[Sequence[JSONValue] | JSONObject], bounds: Bounds) -> int:
        """Run one statement for each row."""

        async def work(connection: Any) -> int:
            taken = Taken(bounds)
            return sum([(await _answer(connection, Statement(sql, row), taken)).affected for row in rows])

        return await self._in_transaction(work, bounds, read_only=False)

    async def _in_transaction(self, work: Callable[[Any], Awaitable[T]], bounds: Bounds, *, read_only: bool) -> T:
        driver = _driver()
        try:
            async with asyncio.timeout(bounds.seconds), self._connection(driver, bounds) as connection:
                await begin()
                async with connection.transaction(readonly=read_only):
                    return await work(connection)
        except TimeoutError:
            raise NodeFailed(f"The database did not answer in {bounds.seconds:g} s.", error=TIMEOUT) from None
        except (driver.PostgresError, driver.InterfaceError, OSError) as error:
            raise _failure(error, self._server) from None
        except (ValueError, OverflowError) as error:  # what the driver cannot hold: 24:00, the year 100000
            raise NodeFailed(f"A value cannot be read: {error}. Ask for it as a text: CAST(... AS text).", error=DATABASE_ERROR) from None

    @asynccontextmanager
    async def _connection(self, driver: Any, bounds: Bounds) -> AsyncIterator[Any]:
        server = self._server
        address = await self._reach.address(server.host, server.port, ports=PORTS, unreachable=UNREACHABLE)
        connection = await self._connected(driver, address, bounds)
        try:
            yield connection
        except BaseException:
            connection.terminate()
            raise
        await connection.close()

    async def _connected(self, driver: Any, address: str, bounds: Bounds) -> Any:
        """Connect as `mode` says; every parameter is stated, so that none comes from the server's own environment."""
        server = self._server

        def connecting(context: ssl.SSLContext | Literal[False]) -> Awaitable[Any]:
            settings = {"statement_timeout": str(int(bounds.seconds * 1000)), "application_name": "flowrunner"}
            return driver.connect(  # type: ignore[no-any-return]
                host=address, port=server.port, user=server.user, password=server.password, database=server.database, ssl=context,
                timeout=min(CONNECT_SECONDS, bounds.seconds), statement_cache_size=0, server_settings=settings,
            )  # fmt: skip

        if server.mode in ("disable", "allow"):
            return await connecting(False)  # noqa: FBT003 - the driver's own argument
        verify = server.mode in ("verify-ca", "verify-full")
        context = tls(server.host, verify=verify, check_name=server.mode == "verify-full", authorities=server.authorities)
        try:
            return await connecting(context)
        except ConnectionError as error:
            if server.mode != "prefer" or "SSL" not in str(error):
                raise
            return await connecting(False)  # noqa: FBT003


def _driver() -> Any:
    try:
        import asyncpg  # noqa: PLC0415 - an extra, needed only where a node asks for PostgreSQL
    except ImportError:
        raise NodeFailed("PostgreSQL needs the extra 'postgres': pip install 'flowrunner[postgres]'.", error="FlowRunner.MissingExtra") from None
    return asyncpg


async def _answer(connection: Any, statement: Statement, taken: Taken) -> Answer:
    if isinstance(statement.arguments, dict):
        raise bad("PostgreSQL's parameters are $1, $2, ...: the arguments must be a list.")
    if _OF_TRANSACTIONS.match(statement.sql):
        raise NodeFailed("Transactions of its own are not for a statement; several statements belong into a transaction.", error=DATABASE_ERROR)
    prepared = await connection.prepare(statement.sql)
    answer = Answer(columns=distinct([one.name for one in prepared.get_attributes()]))
    types = [one.name for one in prepared.get_parameters()]
    if len(types) != len(statement.arguments):
        raise bad(f"The query has {len(types)} parameters, and {len(statement.arguments)} arguments are given.")
    arguments = [_bound(place, value, name) for place, (value, name) in enumerate(zip(statement.arguments, types, strict=True), 1)]
    if not answer.columns:
        await prepared.fetch(*arguments)
        count = (prepared.get_statusmsg() or "").rpartition(" ")[2]
        answer.affected = int(count) if count.isdigit() else 0
        return answer
    cursor = await prepared.cursor(*arguments)
    kinds = [one.type.name for one in prepared.get_attributes()]
    while rows := await cursor.fetch(FETCHED_ROWS):
        taken.add(answer, ([_read(value, kind) for value, kind in zip(row.values(), kinds, strict=True)] for row in rows))
    answer.affected = len(answer.rows) if _RETURNING.search(statement.sql) else 0  # a cursor is told nothing else
    return answer


def _read(value: Any, kind: str) -> Any:
    """A value as its column means it; JSON that nobody else reads, such as a number beyond all bounds, as its text."""
    if kind not in ("json", "jsonb") or not isinstance(value, str):
        return value
    try:
        return loads(value)
    except InvalidDocument:
        return value


_READERS: dict[str, Callable[[Any], Any]] = {
    "timestamptz": lambda value: _aware(datetime.fromisoformat(value)),
    "timestamp": lambda value: datetime.fromisoformat(value).replace(tzinfo=None),
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timetz": time.fromisoformat,
    "numeric": lambda value: Decimal(str(value)),
    "bytea": lambda value: base64.b64decode(value, validate=True),
    "json": dumps,
    "jsonb": dumps,
    "text": lambda value: value if isinstance(value, str) else dumps(value),
    "varchar": lambda value: value if isinstance(value, str) else dumps(value),
}


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment


def _bound(place: int, value: JSONValue, kind: str) -> Any:
    """A JSON value as the driver takes it for a parameter of this type."""
    reader = _READERS.get(kind)
    if reader is None or value is None:
        return value
    try:
        return reader(value)
    except (ValueError, TypeError, InvalidOperation):
        raise bad(f"Argument {place} does not fit a parameter of the type {kind}.") from None


def _failure(error: Exception, server: Server) -> NodeFailed:
    state = getattr(error, "sqlstate", None)
    if state == _CANCELED:
        return NodeFailed("The statement took too long.", error=TIMEOUT)
    if state in _CONFLICTS:
        return NodeFailed(str(error), error=DATABASE_CONFLICT)
    if state is None and isinstance(error, OSError):
        return NodeFailed(f"The database server {server.host}:{server.port} cannot be reached: {type(error).__name__}.", error=UNREACHABLE)
    if isinstance(state, str) and state.startswith("23"):
        return NodeFailed(str(error), error=CONSTRAINT_VIOLATED)
    return NodeFailed(str(error), error=DATABASE_ERROR)
