"""One connection to the database: made when it is first needed, bounded in time, and made anew after it broke."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

from flowrunner.errors import StoreUnavailable
from flowrunner.stores.postgres.faults import DRIVER, HARMLESS, unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from flowrunner.stores.postgres.gate import Gate
    from flowrunner.stores.postgres.pulse import Pulse
    from flowrunner.stores.postgres.url import Address

Row = Any  # asyncpg.Record: by place and by name

CALL_SECONDS = 15.0  # a statement that takes longer is given up, its outcome unknown
CLOSE_SECONDS = 1.0

# Statements are planned once, for any parameters, and always go by an index: a plan made while a table is small would read all
# of it when it has grown, until the next ANALYZE. A pooler lends other servers' connections, so there every call is planned anew.
PLANS = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}

# Who has waited for a lock must see what was written meanwhile, whatever isolation the role or the database has by default. A pooler may
# refuse a setting made at connection, so transactions of several statements say it themselves.
ISOLATION = "read committed"

# A node that is stopped in the middle of a transaction must not keep its rows locked.
BEGIN = f"BEGIN ISOLATION LEVEL {ISOLATION}; SET LOCAL idle_in_transaction_session_timeout = '10s'"
BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0"  # for as long as a backup takes


class Link:
    """A place for one connection. Not for two callers at once; whatever leaves the connection in doubt closes it."""

    def __init__(self, address: Address, queries: Mapping[str, str], gate: Gate, pulse: Pulse) -> None:
        self._address = address
        self._queries = queries
        self._gate = gate
        self._pulse = pulse
        self._connection: asyncpg.Connection | None = None
        self._statements: dict[str, Any] = {}
        self._is_shut = False
        self._in_transaction = False
        self._patience: asyncio.Timeout | None = None  # while it connects

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that may be used at once."""
        return self._connection is not None and not self._connection.is_closed()

    async def ready(self) -> asyncpg.Connection:
        """The open connection; raises StoreRefused or StoreUnavailable if there can be none, ConnectionResetError if a transaction was open on it."""
        if not self.is_open and self._in_transaction:  # on a new connection what follows would be done alone
            raise ConnectionResetError("it broke in the middle of a transaction")
        if not self.is_open and not self._is_shut:
            self.drop()
            self._gate.check()
            try:
                async with asyncio.timeout(None) as self._patience:
                    self._connection = await connect(self._address)
            except DRIVER as error:
                if self._gate.is_shut:  # since we began
                    self._gate.check()
                failure = unreachable(error, self._address)
                told = StoreUnavailable(failure.message, remedy=failure.remedy)
                self._gate.failed(told, error)
                if isinstance(error, TimeoutError):
                    self._pulse.unanswered(told, error)
                raise failure from error
            finally:
                self._patience = None
            self._gate.passed()
        return self._open_connection()

    def _open_connection(self) -> asyncpg.Connection:
        if self._is_shut:  # perhaps while we were connecting
            self.drop()
            raise StoreUnavailable(f"The store ({self._address}) is stopped.")
        return self._connection

    async def fetch(self, query: str, *arguments: object, seconds: float = CALL_SECONDS) -> Sequence[Row]:
        """All rows of a named query; raises the driver's errors."""
        connection = await self.ready()
        try:
            async with asyncio.timeout(seconds):
                with self._pulse.waiting():
                    statement = self._statements.get(query)
                    if statement is None:
                        # Without a name the statement is sent along with every call, as a pooler needs it.
                        statement = await connection.prepare(self._queries[query], name="" if self._address.pooled else None)
                        self._statements[query] = statement
                    rows: Sequence[Row] = await statement.fetch(*arguments)
                return rows
        except HARMLESS as error:
            if isinstance(error, asyncpg.InvalidCachedStatementError):
                self.drop()
            raise
        except TimeoutError:
            await self.close()  # has the server break the statement off, if it still hears us
            raise
        except BaseException:
            self.drop()
            raise

    @asynccontextmanager
    async def transaction(self, begin: str = BEGIN) -> AsyncIterator[None]:
        """Several queries as one transaction: committed at the end, rolled back by whatever is raised inside."""
        await self._run(begin)
        self._in_transaction = True
        try:
            try:
                yield
            except BaseException:
                await self._roll_back()
                raise
            await self._run("COMMIT")
        finally:
            self._in_transaction = False

    async def run(self, text: str, *, seconds: float | None = CALL_SECONDS) -> None:
        """Statements of ours without arguments; raises the driver's errors."""
        await self._run(text, seconds)

    async def _run(self, text: str, seconds: float | None = CALL_SECONDS) -> None:
        connection = await self.ready()
        try:
            async with asyncio.timeout(seconds):
                with self._pulse.waiting():
                    await connection.execute(text)
        except BaseException:
            self.drop()
            raise

    async def _roll_back(self) -> None:
        connection = self._connection
        if connection is None or connection.is_closed():
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await connection.execute("ROLLBACK")
        except DRIVER:  # what was raised before matters more
            self.drop()
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Close the connection without asking the server."""
        connection, self._connection = self._connection, None
        self._statements.clear()
        if connection is not None:
            connection.terminate()

    def hang_up(self) -> None:
        """Close the connection, or stop connecting: whoever waits here is told so."""
        self.drop()
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(asyncio.get_running_loop().time())

    async def shut(self) -> None:
        """Close the connection and let no other be made."""
        self._is_shut = True
        await self.close()

    async def close(self) -> None:
        """Close the connection in good order."""
        connection, self._connection = self._connection, None
        self._statements.clear()
        if connection is None or connection.is_closed():
            return
        try:
            await connection.close(timeout=CLOSE_SECONDS)
        except DRIVER:
            connection.terminate()


async def connect(address: Address, *, plans: Mapping[str, str] = PLANS) -> asyncpg.Connection:
    """A new connection, in bounded time; raises the driver's errors."""
    async with asyncio.timeout(address.connect_seconds + 1):  # the driver's own limit does not cover every step
        return await asyncpg.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=address.password,
            database=address.database,
            ssl=_tls(address),
            timeout=address.connect_seconds,
            statement_cache_size=0,  # ours are kept by name
            server_settings={"application_name": "flowrunner"} | ({} if address.pooled else {"default_transaction_isolation": ISOLATION, **plans}),
        )


def _tls(address: Address) -> ssl.SSLContext | str:
    """What the driver needs to know of TLS; like psql, `require` encrypts without asking who is there."""
    if address.sslmode in ("disable", "prefer"):
        return address.sslmode
    if address.sslmode == "require":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context = ssl.create_default_context(cafile=address.sslrootcert)
    context.check_hostname = address.sslmode == "verify-full"
    return context
