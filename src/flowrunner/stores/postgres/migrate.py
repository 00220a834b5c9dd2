"""The versions of the schema. `meta.version` is the number of the last migration a database has seen.

Migrations are append-only files `migrations/NNNN_words.sql`. All that a database lacks run in one transaction together with the
new version, so a process killed half way leaves the old schema (reliability R34). An advisory lock of the transaction lets
one node at a time create or migrate; the others wait and find it done.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

import asyncpg

from flowrunner.errors import StoreRefused
from flowrunner.stores.queries import load_text

if TYPE_CHECKING:
    from flowrunner.stores.postgres.url import Address

PACKAGE = "flowrunner.stores.postgres"
WRITTEN_FOR = "flowrunner."  # the schema that our SQL names
LOCK = 0x464C5257  # "FLRW": the first key of the advisory lock, the second is the schema's

TABLES = "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1 AND relkind IN ('r', 'p', 'v', 'm', 'f')"
OBJECTS = "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1"
MADE = re.compile(r"^CREATE (?:UNIQUE )?(?:TABLE|INDEX) (?:flowrunner\.)?(\w+)", re.MULTILINE)
MARK = "meta"


def migrations() -> tuple[str, ...]:
    """The text of every migration, version 1 first; raises ValueError if a number is missing."""
    found = sorted(entry.name for entry in (files(PACKAGE) / "migrations").iterdir() if entry.name.endswith(".sql"))
    if [name[:4] for name in found] != [f"{number:04}" for number in range(1, len(found) + 1)]:
        raise ValueError(f"the migrations are not numbered without a gap: {found}")
    return tuple(load_text(PACKAGE, f"migrations/{name}") for name in found)


def placed(text: str, schema: str) -> str:
    """Our SQL for a schema of this (checked) name."""
    return text.replace(WRITTEN_FOR, f'"{schema}".')


async def version(connection: asyncpg.Connection, schema: str) -> int:
    """The version of what is there, 0 for an empty or missing schema; raises StoreRefused if it is somebody else's or damaged."""
    tables = {row[0] for row in await connection.fetch(TABLES, schema)}
    if not tables:
        return 0
    if MARK not in tables:
        raise _foreign(schema, tables)
    try:
        rows = await connection.fetch(placed("SELECT key, value FROM flowrunner.meta", schema))
        found = {row["key"]: row["value"] for row in rows}
        if found.get("application") == "flowrunner":
            return int(found["version"])
    except (KeyError, ValueError):
        raise StoreRefused(f"The schema {schema!r} has no version: it is damaged.", remedy="Restore a backup.") from None
    except asyncpg.UndefinedColumnError as error:
        raise _foreign(schema, tables) from error
    raise _foreign(schema, tables)


async def create(connection: asyncpg.Connection, schema: str) -> None:
    """Make the schema and all in it; in a transaction of the caller's."""
    if not await connection.fetch("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema):  # IF NOT EXISTS asks for the right to make it
        await connection.execute(f'CREATE SCHEMA "{schema}"')
    await connection.execute(placed(load_text(PACKAGE, "schema.sql"), schema))
    insert = placed("INSERT INTO flowrunner.meta (key, value) VALUES ('application', 'flowrunner'), ('version', $1)", schema)
    await connection.fetch(insert, str(len(migrations())))


async def migrate(connection: asyncpg.Connection, schema: str, found: int) -> None:
    """Bring what has version `found` up to date; in a transaction of the caller's."""
    steps = migrations()
    for text in steps[found:]:
        await connection.execute(placed(text, schema))
    await connection.fetch(placed("UPDATE flowrunner.meta SET value = $1 WHERE key = 'version'", schema), str(len(steps)))


async def prepare(connection: asyncpg.Connection, address: Address) -> None:
    """Have the schema there in the version that this FlowRunner knows; raises StoreRefused for what is foreign, newer or damaged."""
    schema = address.schema
    try:
        await _prepare(connection, schema)
    except asyncpg.InsufficientPrivilegeError as error:
        remedy = f'Let it: GRANT CREATE ON DATABASE "{address.database}" TO "{address.user}", or CREATE SCHEMA {schema} AUTHORIZATION "{address.user}".'
        raise StoreRefused(f"The role {address.user!r} may not make or use the schema {schema!r} ({error}).", remedy=remedy) from error


async def _prepare(connection: asyncpg.Connection, schema: str) -> None:
    if await version(connection, schema) != len(migrations()):
        async with connection.transaction():
            await connection.fetch("SELECT pg_advisory_xact_lock($1, hashtext($2))", LOCK, schema)
            found = await version(connection, schema)  # another node may have been faster
            if found > len(migrations()):
                raise StoreRefused(
                    f"The schema {schema!r} has version {found}; this FlowRunner knows {len(migrations())}.",
                    remedy="Run the newer FlowRunner that wrote it, or restore a backup from before.",
                )
            if found == 0:
                await create(connection, schema)
            elif found < len(migrations()):
                await migrate(connection, schema, found)
    missing = set(MADE.findall(load_text(PACKAGE, "schema.sql"))) - {row[0] for row in await connection.fetch(OBJECTS, schema)}
    if missing:
        raise StoreRefused(f"The schema {schema!r} lacks {', '.join(sorted(missing))}.", remedy="Restore a backup.")


def _foreign(schema: str, tables: set[str]) -> StoreRefused:
    some = ", ".join(sorted(tables)[:3])
    return StoreRefused(
        f"The schema {schema!r} has tables of another application ({some}).",
        remedy="Add ?schema=another_name to the store's URL; nothing was changed.",
    )
