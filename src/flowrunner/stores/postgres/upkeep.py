"""Looking after one PostgreSQL schema: its revision and its health. Copies are PostgreSQL's own affair, or an export."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg

from flowrunner.ports.upkeep import Schema, Upkeep
from flowrunner.stores.postgres.faults import DRIVER, unavailable, unreachable
from flowrunner.stores.postgres.link import CLOSE_SECONDS, connect
from flowrunner.stores.postgres.migrate import PACKAGE, alone, creation, missing, placed, prepare, present, refuse_older, seen, statements
from flowrunner.stores.queries import load_queries
from flowrunner.stores.revisions import latest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from flowrunner.stores.postgres.url import Address

QUERIES = load_queries(PACKAGE, "upkeep.sql")
ROLE = "SELECT current_user, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
REMEDY = "Give the server a role of its own that owns the schema and is an ordinary one, as createuser makes it."
MOST_FINDINGS = 100  # of each kind


class PostgresUpkeep(Upkeep):
    """The upkeep of one schema; every method opens a connection and closes it again."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def schema(self) -> Schema:
        """See the contract."""
        async with self._connected() as connection:
            return Schema((await present(connection, self._address)).revision, latest(PACKAGE))

    async def script(self) -> Sequence[str]:
        """See the contract; the lock keeps servers that start meanwhile from doing the same."""
        async with self._connected() as connection:
            found = await seen(connection, self._address)
            if found is None:
                return (*alone(self._address.schema), *await creation(connection, self._address.schema))
            return () if found.is_current else (*alone(self._address.schema), *statements(found, self._address.schema))

    async def upgrade(self) -> Schema:
        """See the contract; servers may be running, as an upgrade leaves what the release before works with."""
        async with self._connected() as connection:
            found = await seen(connection, self._address)
            await prepare(connection, self._address)
            return Schema("" if found is None else found.revision, latest(PACKAGE))

    async def findings(self) -> Sequence[str]:
        """See the contract; what the schema lacks first, then, as of one moment, rows that belong to nothing and logs with a gap."""
        schema = self._address.schema
        async with self._connected() as connection:
            refuse_older(await present(connection, self._address), schema)
            lacking = await missing(connection, schema)
            if lacking:
                return [f"the schema {schema!r} lacks {name}" for name in lacking]
            try:
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    return await self._disorder(connection)
            except (asyncpg.DataCorruptedError, asyncpg.IndexCorruptedError) as error:
                return [str(error)]

    async def cautions(self) -> Sequence[tuple[str, str]]:
        """See the contract; a role that passes by row-level security."""
        async with self._connected() as connection:
            who, passes = await connection.fetchrow(ROLE)
        return [(f"Row-level security does not bind the role {who}: it is a superuser or has BYPASSRLS.", REMEDY)] if passes else []

    async def _disorder(self, connection: asyncpg.Connection) -> list[str]:
        found = {
            name: await connection.fetch(placed(text, self._address.schema), *((MOST_FINDINGS,) if "$1" in text else ())) for name, text in QUERIES.items()
        }
        orphans = [f"{times} times {what}" for what, times in found["orphans"] if times]
        gaps = [f"the log of execution {one.hex} has a gap: after record {before} comes record {first}" for one, before, first in found["gaps"]]
        lengths = [f"the log of execution {one.hex} has {records} records, its head says {last}" for one, records, last in found["lengths"]]
        return [*orphans, *gaps, *lengths]

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection for the length of the `with`; the driver's errors come out as ours."""
        try:
            connection = await connect(self._address, plans={})
        except DRIVER as error:
            raise unreachable(error, self._address) from error
        try:
            yield connection
        except DRIVER as error:
            raise unavailable(error, self._address) from error
        finally:
            try:
                await connection.close(timeout=CLOSE_SECONDS)
            except DRIVER:  # it is gone already
                connection.terminate()
