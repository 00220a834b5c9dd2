"""``database``: SQL on SQLite and PostgreSQL, with bound parameters, in one transaction for each attempt.

With ``table_name`` it also keeps values by key in a table of PostgreSQL (``postgrestable``): what the node ``postgres`` did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds import BUILT_IN
from flowrunner.limits import MIB
from flowrunner.ports.secrets import SecretSource
from flowrunner.tasks.nodes.credentials import with_secret
from flowrunner.tasks.nodes.kind import NodeCall, NodeKind, NodeResult
from flowrunner.tasks.nodes.postgresserver import MODES, PostgresServer, Server
from flowrunner.tasks.nodes.postgrestable import TABLE_OPERATIONS, on_table
from flowrunner.tasks.nodes.reach import Reach
from flowrunner.tasks.nodes.reading import bad, choice, given, listing, optional_text, seconds, text, whole
from flowrunner.tasks.nodes.sqlitefile import SqliteFile, file_below
from flowrunner.tasks.nodes.statements import Answer, Bounds, Database, Statement
from flowrunner.tasks.nodes.threads import Threads
from flowrunner.tasks.secrecy import expose

MOST_ROWS = 100_000
ROWS = 10_000  # unless max_rows says otherwise
MOST_BYTES = 16 * MIB
BYTES = 4 * MIB  # unless max_bytes says otherwise
MOST_STATEMENTS = 1_000  # of a transaction
MOST_BATCH_ROWS = 100_000
SECONDS = 30.0
_SQLITE, _POSTGRES = "sqlite", "postgres"
_DRIVERS = {"sqlite": _SQLITE, "sqlite3": _SQLITE, "postgres": _POSTGRES, "postgresql": _POSTGRES, "pgx": _POSTGRES}
_OPERATIONS = {"select": "query", "query": "query", "execute": "execute", "exec": "execute", "insert": "execute", "update": "execute", "delete": "execute",
               "transaction": "transaction", "batch": "batch"}  # fmt: skip


class DatabaseKind(NodeKind):
    """SQL on a database. `folder` is where SQLite's files are, one folder in it for each account; None: only ``:memory:``."""

    info = BUILT_IN["database"]

    def __init__(self, *, reach: Reach, secrets: SecretSource, folder: Path | None = None) -> None:
        self._reach = reach
        self._secrets = secrets
        self._folder = folder
        self._threads = Threads("sqlite")

    def idempotent(self, call: NodeCall) -> bool:
        """What only reads, what sets a state instead of changing one, and what the author says is."""
        if call.params.get("idempotent") is True:
            return True
        word = given(call.params, "operation", "op", "queryType")
        if _is_on_table(call.params):
            return True
        return word is None or (isinstance(word, str) and _OPERATIONS.get(word.lower()) == "query")

    async def run(self, call: NodeCall) -> NodeResult:
        """``{rows, row_count, columns}`` for queries, ``{affected}`` otherwise; rows of RETURNING beside it."""
        params = call.params
        database = await self._database(call)
        bounds = bounds_of(params)
        if _is_on_table(params):
            if isinstance(database, SqliteFile):
                raise bad("The parameter 'table_name' is for PostgreSQL; on SQLite, execute statements.")
            output = await on_table(database, text(params, "operation", "op").lower(), params, bounds)
            return NodeResult(output, "not_found" if output.get("found") is False else "success")
        operation = choice(params, "operation", "op", "queryType", among=_OPERATIONS, default="query")
        if operation == "batch":
            rows = _batch_rows(params)
            affected = await database.batch(text(params, "query", "sql"), rows, bounds)
            return NodeResult({"affected": affected, "batches": len(rows)})
        if operation == "transaction":
            answers = await database.run(_statements(params), bounds, read_only=False)
            return NodeResult({"affected": sum(one.affected for one in answers), "results": [_changed(one) for one in answers]})
        (answer,) = await database.run([Statement(text(params, "query", "sql"), _arguments(params))], bounds, read_only=operation == "query")
        if operation == "query":
            count = len(answer.rows)  # rowCount is its name in step workflows
            return NodeResult({"rows": answer.rows, "row_count": count, "rowCount": count, "columns": list(answer.columns)})
        return NodeResult(_changed(answer))

    async def _database(self, call: NodeCall) -> Database:
        fields = await with_secret(call, self._secrets)
        if _driver(fields) == _POSTGRES:
            return PostgresServer(server_of(fields), self._reach)
        name = text(fields, "path", "database", "dbname", "dsn").removeprefix("sqlite://").removeprefix("sqlite:").removeprefix("file:")
        if name.lstrip("/") in ("", ":memory:"):
            return SqliteFile(None, self._threads)
        return SqliteFile(file_below(self._folder, call.account, name.lstrip("/") if "://" in str(fields.get("dsn")) else name), self._threads)


def _driver(fields: Mapping[str, JSONValue]) -> str:
    """The driver that is named, or that the rest speaks of; PostgreSQL when nothing does."""
    if given(fields, "driver", "type") is not None:
        return choice(fields, "driver", "type", among=_DRIVERS)
    dsn = given(fields, "dsn", "path")
    return _POSTGRES if dsn is None or str(dsn).startswith(("postgres://", "postgresql://")) else _SQLITE


def bounds_of(params: Mapping[str, JSONValue]) -> Bounds:
    """How much the attempt may take."""
    return Bounds(
        rows=whole(params, "max_rows", default=ROWS, low=1, high=MOST_ROWS),
        bytes=whole(params, "max_bytes", default=BYTES, low=1, high=MOST_BYTES),
        seconds=seconds(params, "timeout", default=SECONDS),
    )


def server_of(fields: Mapping[str, JSONValue]) -> Server:
    """The server that these fields, or their ``dsn``, name. Raises NodeFailed."""
    found = dict(fields)
    if (dsn := optional_text(fields, "dsn")) is not None:
        found = {**_parsed(dsn), **{name: value for name, value in fields.items() if value not in (None, "")}}
    mode = text(found, "sslmode", "ssl_mode", default="prefer")
    if mode not in MODES:
        raise bad(f"The parameter 'sslmode' must be one of {', '.join(MODES)}.")
    host = text(found, "host")
    if host.startswith(("/", "@")):
        raise bad("The parameter 'host' must be a name or an address, not a socket's path.")
    user = text(found, "user", "username", default="postgres")
    return Server(
        host=host,
        port=whole(found, "port", default=5432, low=1, high=65535),
        user=user,
        password=text(found, "password", default=""),
        database=text(found, "dbname", "database", default=user),
        mode=mode,
        authorities=optional_text(found, "sslrootcert", "ssl_ca"),
    )


def _parsed(dsn: str) -> JSONObject:
    try:
        parts = urlsplit(dsn)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("postgres", "postgresql") or not parts.hostname:
        raise bad("The parameter 'dsn' must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE.")
    password = unquote(parts.password or "")
    if password:
        expose([password])
    named = {"host": parts.hostname, "port": port, "user": unquote(parts.username or ""), "password": password, "dbname": unquote(parts.path[1:])}
    query = {name: value for name, value in parse_qsl(parts.query) if name == "sslmode"}
    return {name: value for name, value in (named | query).items() if value}


def _arguments(holder: Mapping[str, JSONValue]) -> Sequence[JSONValue] | JSONObject:
    value = given(holder, "args", "arguments")
    if value is None:
        return ()
    if not isinstance(value, list | dict):
        raise bad("The parameter 'args' must be a list, or an object for parameters with names.")
    return value


def _statements(params: Mapping[str, JSONValue]) -> list[Statement]:
    found = [{"query": one} if isinstance(one, str) else one for one in listing(params, "statements")]
    if not 0 < len(found) <= MOST_STATEMENTS or not all(isinstance(one, dict) for one in found):
        raise bad(f"The parameter 'statements' must be a list of 1 to {MOST_STATEMENTS} objects with query and args.")
    return [Statement(text(one, "query", "sql"), _arguments(one)) for one in found]


def _batch_rows(params: Mapping[str, JSONValue]) -> list[list[JSONValue] | JSONObject]:
    rows = listing(params, "rows", "batch", "args")
    if len(rows) > MOST_BATCH_ROWS or not all(isinstance(row, list | dict) for row in rows):
        raise bad(f"The parameter 'rows' must be a list of at most {MOST_BATCH_ROWS} lists, one for each run of the statement.")
    return rows


def _is_on_table(params: Mapping[str, JSONValue]) -> bool:
    """Whether the operation is one on a table of keys and values."""
    word = given(params, "operation", "op")
    return isinstance(word, str) and word.lower() in TABLE_OPERATIONS and given(params, "table_name") is not None and given(params, "query", "sql") is None


def _changed(answer: Answer) -> JSONObject:
    return {"affected": answer.affected, **({"rows": answer.rows, "row_count": len(answer.rows)} if answer.columns else {})}
