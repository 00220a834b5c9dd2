"""``postgres`` with ``table_name``: JSON values by key, in a table that is made when the first value is set."""

from __future__ import annotations

import re
from collections.abc import Mapping

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.tasks.nodes.reading import bad, given, mapping, text, whole
from flowrunner.tasks.nodes.statements import Bounds, Database, Statement

TABLE_OPERATIONS = ("get", "set", "delete", "list", "query")
LIMIT = 100  # items, unless `limit` says otherwise
MOST = 10_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)


async def on_table(database: Database, operation: str, params: Mapping[str, JSONValue], bounds: Bounds) -> JSONObject:
    """Do it; a key that is not there is the value null and ``found`` false. Raises NodeFailed."""
    table = _quoted(text(params, "table_name"))
    if operation in ("set", "delete", "get"):
        key = text(params, "key")
        if operation == "set":
            return await _set(database, table, key, params, bounds)
        if operation == "delete":
            (_, done) = await database.run([_made(table), Statement(f"DELETE FROM {table} WHERE key = $1", (key,))], bounds, read_only=False)  # noqa: S608 - a checked name
            return {"key": key, "deleted": done.affected > 0}
        rows = await _rows(database, table, f"SELECT key, value FROM {table} WHERE key = $1", (key,), bounds)  # noqa: S608
        return {"key": key, "value": rows[0]["value"] if rows else None, "found": bool(rows)}
    limit = whole(params, "limit", default=LIMIT, low=1, high=MOST)
    if operation == "list":
        prefix = text(params, "prefix", default="")
        found = f"SELECT key, value FROM {table} WHERE starts_with(key, $1) ORDER BY key LIMIT $2"  # noqa: S608
        rows = await _rows(database, table, found, (prefix, limit), bounds)
    else:
        found = f"SELECT key, value FROM {table} WHERE value @> $1 ORDER BY key LIMIT $2"  # noqa: S608
        rows = await _rows(database, table, found, (mapping(params, "filter"), limit), bounds)
    return {"items": rows, "count": len(rows)}


async def _set(database: Database, table: str, key: str, params: Mapping[str, JSONValue], bounds: Bounds) -> JSONObject:
    if "value" not in params:
        raise bad("The parameter 'value' is missing.")
    value = {"value": given(params, "value")}
    put = f"INSERT INTO {table} (key, value, updated_at) VALUES ($1, $2::jsonb -> 'value', now()) ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = now()"  # noqa: S608
    await database.run([_made(table), Statement(put, (key, value))], bounds, read_only=False)
    return {"key": key, "value": params["value"]}


async def _rows(database: Database, table: str, sql: str, arguments: tuple[JSONValue, ...], bounds: Bounds) -> list[JSONObject]:
    """What a query finds; a table that nobody has made yet is an empty one."""
    there = Statement("SELECT to_regclass($1) IS NOT NULL AS there", (table,))
    (known,) = await database.run([there], bounds, read_only=True)
    if not known.rows[0]["there"]:
        return []
    (answer,) = await database.run([Statement(sql, arguments)], bounds, read_only=True)
    return answer.rows


def _made(table: str) -> Statement:
    return Statement(f"CREATE TABLE IF NOT EXISTS {table} (key text PRIMARY KEY, value jsonb NOT NULL, updated_at timestamptz NOT NULL)")


def _quoted(name: str) -> str:
    parts = name.split(".")
    if len(parts) > 2 or not all(_NAME.fullmatch(part) for part in parts):
        raise bad("The parameter 'table_name' must be a name of letters, digits and underscores, perhaps with its schema before it.")
    return ".".join(f'"{part}"' for part in parts)
