"""Kinds that keep and find data: store, database, dynamodb."""

from __future__ import annotations

from flowrunner.kinds.http import BAD_PARAMETERS, EGRESS
from flowrunner.kinds.info import KindInfo, anything, boolean, choice, duration, fields, integer, listed, mapping, text, text_or_texts, unused, word

FILTERS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$contains")
_TAKEN = ("FlowRunner.Conflict", "others changed it again and again at the same moment")
_DATABASE_OPERATIONS = ("select", "execute", "transaction", "batch", "get", "set", "delete", "list", "query")
_TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_QUERY_OUTPUT = "`{items, count}`"

STORE = KindInfo(
    name="store",
    title="Store",
    description=(
        "Keeps values of the account under keys, durably and apart from every other account. Each operation is atomic; `increment` and `append` "
        "happen once even when an attempt is repeated."
    ),
    parameters=fields(
        {
            "operation": choice("What to do.", "get", "set", "delete", "list", "query", "increment", "append"),
            "op": choice("The same, by its shorter name.", "get", "set", "delete", "list", "query", "increment", "append"),
            "key": text("The key, up to 200 characters."),
            "namespace": text("Keys of different namespaces do not meet.", default="default"),
            "value": anything("What to set, or to append."),
            "ttl": duration("For `set`: how long it is kept. Default: for ever."),
            "default": anything("For `get`: what to give when there is nothing."),
            "amount": {"type": ["integer", "number"], "description": "For `increment`: by how much.", "default": 1},
            "max_length": integer("For `append`: the oldest items beyond this number are dropped.", minimum=1),
            "prefix": text("For `list` and `query`: only keys that begin with it."),
            "filter": mapping(f"For `query`: field (a path with dots) to value, or to operators: {', '.join(f'`{name}`' for name in FILTERS)}."),
            "sort": text_or_texts("For `query`: the field to sort by; `-field` sorts downwards."),
            "limit": integer("For `list` and `query`: the most that are given, up to 1,000.", minimum=1, maximum=1000, default=100),
            "file_path": unused("Not needed: values are kept durably in any case. Older definitions have it."),
            "auto_save": unused("Not needed: values are kept durably in any case."),
        }
    ),
    outputs=anything(f"`get`: `{{key, value, found}}`. `set`, `increment`, `append`: `{{key, value}}`. `delete`: `{{key, deleted}}`. `list`: `{{keys, count}}`. `query`: {_QUERY_OUTPUT}, each item `{{key, value}}`."),
    actions=("success", "not_found"),
    errors=(BAD_PARAMETERS, _TAKEN, ("FlowRunner.StoreType", "what is there is no number (`increment`) or no list (`append`)"), ("FlowRunner.SecretNotAllowed", "the value to keep holds a secret"), ("States.DataLimitExceeded", "the value is larger than 256 KiB")),
)  # fmt: skip
DATABASE = KindInfo(
    name="database",
    title="Database",
    aliases=("postgres", "sql"),
    description=(
        "Speaks to a PostgreSQL or SQLite database with parameters, never with texts put together. Several statements are one transaction. "
        "Everything an attempt does is one transaction. SQLite files are below a folder that the operator names (`database_folder`), each account's in "
        "a folder of its own; `:memory:` is a fresh database for the attempt. With `table_name`, values are kept by key in a table of PostgreSQL."
    ),
    parameters=fields(
        {
            "driver": choice("The database.", "postgres", "postgresql", "sqlite", "sqlite3", default="postgres"),
            "dsn": text("Its address: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE` for PostgreSQL, a path below the folder or `:memory:` for SQLite. Or in parts:"),
            "path": text("For SQLite: the file."),
            "secret": text("The name of a secret of the type database with all this; what stands beside it here wins."),
            "host": text("The server's host."),
            "port": integer("Its port.", minimum=1, maximum=65_535, default=5432),
            "user": text("The role."),
            "password": text("Its password."),
            "dbname": text("The database."),
            "sslmode": choice("How TLS is used, as libpq has it.", *_TLS_MODES, default="prefer"),
            "ssl_mode": choice("The same.", *_TLS_MODES),
            "sslrootcert": text("Certificates of the authority to trust, as PEM text."),
            "op": word("The same as `operation`.", *_DATABASE_OPERATIONS),
            "operation": word("What to do.", *_DATABASE_OPERATIONS),
            "queryType": word("The same, as step workflows write it.", "select", "query", "exec", "execute", "insert", "update", "delete", "transaction", "batch"),
            "query": text("The statement, with `$1` (PostgreSQL) or `?` (SQLite) for each argument."),
            "sql": text("The same, by its older name."),
            "args": {"type": ["array", "object"], "description": "The arguments; on SQLite also an object, for parameters with names (`:name`)."},
            "rows": listed("For `batch`: a list of arguments for each run of `query`."),
            "statements": listed("For `transaction`: `{query, args}`, or texts."),
            "table_name": text("For `get`, `set`, `delete`, `list`: the table of keys and values."),
            "key": text("The key, likewise."),
            "value": anything("The value, likewise."),
            "filter": mapping("For `query` with `table_name`: an object that the values contain."),
            "prefix": text("For `list`: what the keys begin with."),
            "limit": integer("For `list` and `query` with `table_name`: the most items.", minimum=1, default=100),
            "max_rows": integer("More rows than this are a failure.", minimum=1, default=10_000),
            "max_bytes": integer("More bytes of rows than this are a failure.", minimum=1, default=4_194_304),
            "timeout": duration("The longest it may take.", "30s", limit=True),
            "idempotent": boolean("Whether it may be run again when nobody knows how it ended.", default=False),
        }
    ),
    outputs=anything("`select`, `query`: `{rows, row_count, rowCount, columns}`. `execute`: `{affected}`, with RETURNING also `rows` and `row_count`. `transaction`: `{affected, results}`. `batch`: `{affected, batches}`. With `table_name`: `{key, value, found}`, `{key, value}`, `{key, deleted}`, `{items, count}`."),
    actions=("success", "not_found"),
    errors=(EGRESS, BAD_PARAMETERS, ("FlowRunner.DatabaseError", "the database refused the statement; the cause has its message"), ("FlowRunner.ConstraintViolated", "a constraint stands against it"), ("FlowRunner.DatabaseConflict", "another transaction is in the way (locked, deadlock, serialization); the same again may work"), ("FlowRunner.DatabaseUnreachable", "it could not be reached"), ("FlowRunner.MissingExtra", "PostgreSQL's driver is not installed"), ("FlowRunner.NodeFailed", "the operator has named no folder for SQLite files (`database_folder`)"), ("States.DataLimitExceeded", "the rows are more than `max_rows` or `max_bytes`")),
)  # fmt: skip
DYNAMODB = KindInfo(
    name="dynamodb",
    title="DynamoDB",
    description="Reads and writes items of a DynamoDB table.",
    parameters=fields(
        {
            "secret": text("The name of a structured secret with access_key and secret_key, and whatever else may stand here."),
            "operation": choice("What to do.", "get", "set", "put", "delete", "list", "query", "scan", "batch_write"),
            "region": text("The region.", default="us-east-1"),
            "endpoint": text("Another address than AWS's."),
            "access_key": text("The credential's id."),
            "secret_key": text("The credential's secret."),
            "session_token": text("Of a temporary credential."),
            "table_name": text("The table."),
            "key": anything("The item's key: an object, or a text for the attribute `id`."),
            "value": anything("For `set`: with `key` the value of the attribute `value`, without it the whole item."),
            "items": listed("For `batch_write`: the items, any number; they are sent 25 at a time.", {"type": "object"}),
            "deletes": listed("For `batch_write`: keys to delete."),
            "ttl": duration("For `set`: how long it is kept, in the attribute `ttl`."),
            "ttl_attribute": text("Its name.", default="ttl"),
            "index": text("For `query`: the index."),
            "key_condition": mapping("For `query`: attribute to value, or to `{$gt: ...}`, `{$begins_with: ...}`, `{$between: [...]}`."),
            "filter": mapping("For `query` and `list`: as the store's."),
            "limit": integer("The most items that are given.", minimum=1, default=100),
            "timeout": duration("The longest it may take.", "30s", limit=True),
            "consistent": boolean("Whether the read is strongly consistent.", default=False),
        },
        "operation",
        "table_name",
    ),
    outputs=anything(f"`get`: `{{item, value, found}}`. `query`, `list`, `scan`: {_QUERY_OUTPUT}. Writes: `{{written}}`, `{{deleted}}`, the numbers."),
    actions=("success", "not_found"),
    errors=(EGRESS, BAD_PARAMETERS, ("FlowRunner.DynamoDbError", "DynamoDB refused; the cause has its code and message"), ("FlowRunner.DatabaseUnreachable", "it could not be reached"), ("FlowRunner.MissingExtra", "its library is not installed")),
)  # fmt: skip
KINDS = (STORE, DATABASE, DYNAMODB)
