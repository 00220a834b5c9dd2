"""The revision of a database's schema, and how a database gets it.

The row of `alembic_version` is the truth. `meta.version` is the same number, which older releases knew only: they refuse newer
databases by it, and theirs, of version 1, are revision 0001 without the row. Whatever a database lacks, the row and the number
are written in one transaction (reliability R34). An advisory lock of the transaction lets one node at a time create or upgrade;
the others wait and find it done.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from flowrunner.errors import StoreRefused, StoreUnavailable
from flowrunner.stores.queries import load_text
from flowrunner.stores.revisions import ABSENT_REMEDY, VERSION_TABLE, known, latest, script, stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowrunner.stores.postgres.url import Address

PACKAGE = "flowrunner.stores.postgres"
WRITTEN_FOR = "flowrunner"  # the schema that our SQL names
UNSTAMPED = ("0001",)  # revisions that were released without the version row
LOCK = 0x464C5257  # "FLRW": the first key of the advisory lock, the second is the schema's
LOCK_MILLISECONDS = 10_000  # an upgrade gives up when it waits longer for a table

TABLES = "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1 AND relkind IN ('r', 'p', 'v', 'm', 'f')"
OBJECTS = """
WITH ours AS (SELECT c.oid, relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace WHERE nspname = $1)
SELECT relname FROM ours UNION ALL SELECT polname FROM pg_policy JOIN ours ON ours.oid = polrelid UNION ALL SELECT tgname FROM pg_trigger JOIN ours ON ours.oid = tgrelid
"""
MADE = re.compile(r"^CREATE (?:UNIQUE )?(?:TABLE|INDEX|POLICY|TRIGGER) (?:flowrunner\.)?(\w+)", re.MULTILINE)
MARK = "meta"
SCHEMA = re.compile(rf"(?<!'){WRITTEN_FOR}\.")  # 'flowrunner.account' is a setting, whatever the schema
NUMBERED = "INSERT INTO flowrunner.meta (key, value) VALUES ('application', 'flowrunner'), ('version', '{}')"
RENUMBERED = "UPDATE flowrunner.meta SET value = '{}' WHERE key = 'version'"


@dataclass(frozen=True, slots=True)
class Found:
    """What a schema of ours is: its revision, and whether it has the version row."""

    revision: str
    is_stamped: bool

    @property
    def is_current(self) -> bool:
        """Whether it needs nothing."""
        return self.is_stamped and self.revision == latest(PACKAGE)


def placed(text: str, schema: str) -> str:
    """Our SQL for a schema of this (checked) name."""
    return SCHEMA.sub(f'"{schema}".', text)


async def look(connection: asyncpg.Connection, schema: str) -> Found | None:
    """What is there, None for an empty or missing schema; raises StoreRefused if it is somebody else's, newer or damaged."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):  # row and number of one moment, though others upgrade
        return await _look(connection, schema)


async def _look(connection: asyncpg.Connection, schema: str) -> Found | None:
    tables = {row[0] for row in await connection.fetch(TABLES, schema)}
    if not tables:
        return None
    if MARK not in tables:
        raise _foreign(schema, tables)
    try:
        facts = {row["key"]: row["value"] for row in await connection.fetch(placed("SELECT key, value FROM flowrunner.meta", schema))}
        rows = None
        if VERSION_TABLE in tables:
            rows = [row[0] for row in await connection.fetch(placed(f"SELECT version_num FROM flowrunner.{VERSION_TABLE} LIMIT 2", schema))]  # noqa: S608  # ours
    except asyncpg.UndefinedColumnError as error:
        raise _foreign(schema, tables) from error
    if facts.get("application") != "flowrunner":
        raise _foreign(schema, tables)
    return _judged(schema, facts.get("version", ""), rows)


def _judged(schema: str, number: str, rows: list[str] | None) -> Found:
    """What the number and the rows of a schema of ours say together."""
    if number.isdecimal() and int(number) > int(latest(PACKAGE)):
        raise StoreRefused(
            f"The schema {schema!r} has version {number}; this FlowRunner knows {int(latest(PACKAGE))}.",
            remedy="Run the newer FlowRunner that wrote it, or restore a backup from before.",
        )
    revision = number.zfill(4)
    if revision not in (UNSTAMPED if rows is None else known(PACKAGE)) or rows not in (None, [revision]):
        raise StoreRefused(f"The schema {schema!r} has no version, or two that do not agree: it is damaged.", remedy="Restore a backup.")
    return Found(revision, is_stamped=rows is not None)


def statements(found: Found, schema: str) -> Sequence[str]:
    """What brings a schema of ours up to date, all for one transaction; nothing for one that is."""
    if found.is_current:
        return ()
    stamped = () if found.is_stamped else stamp(found.revision, WRITTEN_FOR)
    changes = script(PACKAGE, "postgresql", found.revision, WRITTEN_FOR) if found.revision != latest(PACKAGE) else ()
    return tuple(placed(text, schema) for text in (*stamped, *changes, RENUMBERED.format(int(latest(PACKAGE)))))


def alone(schema: str) -> Sequence[str]:
    """What an upgrade begins with: no other node creates or upgrades this schema to the end of the transaction, and nobody waits long.

    A change of a table waits for every transaction that has read it, such as a backup, and all servers wait behind it.
    """
    return f"SELECT pg_advisory_xact_lock({LOCK}, hashtext('{schema}'))", f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}"  # the name is checked


async def prepare(connection: asyncpg.Connection, address: Address) -> None:
    """Have the schema there in the revision that this FlowRunner knows; raises StoreRefused for what is foreign, newer or damaged."""
    schema = address.schema
    try:
        found = await look(connection, schema)
        if found is None or not found.is_current:
            async with connection.transaction(isolation="read_committed"):  # so that what others did before they let us in is seen
                for statement in alone(schema):
                    await connection.execute(statement)
                await _bring_up(connection, schema)
        await refuse_incomplete(connection, schema)
    except asyncpg.LockNotAvailableError as error:
        remedy = "A backup or another long transaction has it: wait for its end, then try again. Nothing was changed."
        raise StoreUnavailable(f"A table of the schema {schema!r} is in use and cannot be upgraded ({error}).", remedy=remedy) from error
    except asyncpg.InsufficientPrivilegeError as error:
        remedy = f'Let it: GRANT CREATE ON DATABASE "{address.database}" TO "{address.user}", or CREATE SCHEMA {schema} AUTHORIZATION "{address.user}".'
        raise StoreRefused(f"The role {address.user!r} may not make or use the schema {schema!r} ({error}).", remedy=remedy) from error


async def present(connection: asyncpg.Connection, address: Address) -> Found:
    """What is there, and nothing is made; raises StoreRefused if it is nothing of ours, newer or damaged, or may not be read."""
    found = await seen(connection, address)
    if found is None:
        raise StoreRefused(
            f"The database {address.database!r} at {address.host}:{address.port} has no schema {address.schema!r} of FlowRunner.",
            remedy=ABSENT_REMEDY,
        )
    return found


async def seen(connection: asyncpg.Connection, address: Address) -> Found | None:
    """As `present`, but None for an empty or missing schema."""
    schema = address.schema
    try:
        return await look(connection, schema)
    except asyncpg.InsufficientPrivilegeError as error:
        remedy = f'GRANT USAGE ON SCHEMA {schema} TO "{address.user}"; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO "{address.user}"'
        raise StoreRefused(f"The role {address.user!r} may not read the schema {schema!r} ({error}).", remedy=remedy) from error


def refuse_older(found: Found, schema: str) -> None:
    """Raise StoreRefused if this FlowRunner cannot read the schema as it is."""
    if found.revision != latest(PACKAGE):
        raise StoreRefused(
            f"The schema {schema!r} is an older one, and servers may be using it.", remedy="Start a server of this version once, or run: flowrunner db upgrade"
        )


async def examine(connection: asyncpg.Connection, address: Address) -> None:
    """For who only reads: raise StoreRefused unless the schema is there, whole, in the revision that this FlowRunner knows."""
    refuse_older(await present(connection, address), address.schema)
    await refuse_incomplete(connection, address.schema)


async def _bring_up(connection: asyncpg.Connection, schema: str) -> None:
    """Make the schema or bring it up to date, unless another node was faster; in a transaction of the caller's."""
    found = await _look(connection, schema)
    if found is None:
        await create(connection, schema)
        return
    for statement in statements(found, schema):
        await connection.execute(statement)


async def create(connection: asyncpg.Connection, schema: str) -> None:
    """Make the schema and all in it, with its version; in a transaction of the caller's."""
    for statement in await creation(connection, schema):
        await connection.execute(statement)


async def creation(connection: asyncpg.Connection, schema: str) -> Sequence[str]:
    """What makes the schema and all in it, for one transaction; nothing is made."""
    there = await connection.fetch("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema)  # IF NOT EXISTS asks for the right to make it
    texts = load_text(PACKAGE, "schema.sql").strip(), *stamp(latest(PACKAGE), WRITTEN_FOR), NUMBERED.format(int(latest(PACKAGE)))
    return (*(() if there else (f'CREATE SCHEMA "{schema}"',)), *(placed(text, schema) for text in texts))


async def missing(connection: asyncpg.Connection, schema: str) -> Sequence[str]:
    """The tables, indexes, policies and triggers that a current schema lacks."""
    there = {row[0] for row in await connection.fetch(OBJECTS, schema)}
    return sorted(set(MADE.findall(load_text(PACKAGE, "schema.sql"))) - there)


async def refuse_incomplete(connection: asyncpg.Connection, schema: str) -> None:
    """Raise StoreRefused if a current schema lacks anything."""
    lacking = await missing(connection, schema)
    if lacking:
        raise StoreRefused(f"The schema {schema!r} lacks {', '.join(lacking)}.", remedy="Restore a backup.")


def _foreign(schema: str, tables: set[str]) -> StoreRefused:
    some = ", ".join(sorted(tables)[:3])
    return StoreRefused(
        f"The schema {schema!r} has tables of another application ({some}).",
        remedy="Add ?schema=another_name to the store's URL; nothing was changed.",
    )
