from __future__ import annotations

import asyncio
import threading
from urllib.parse import unquote, urlsplit

import pytest
from nodes_calls import ACCOUNT, Secrets, node_call

from flowrunner.kinds import BUILT_IN
from flowrunner.kinds.check import findings
from flowrunner.ports.secrets import NoSecrets
from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.nodes.database import DatabaseKind
from flowrunner.tasks.nodes.kind import NodeFailed
from flowrunner.tasks.nodes.reach import Reach


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "databases"
    made.mkdir()
    return made


@pytest.fixture
def database(folder):
    kind = DatabaseKind(reach=Reach(EgressPolicy()), secrets=NoSecrets(), folder=folder)

    async def run(**params):
        return (await kind.run(node_call({"driver": "sqlite", "path": "shop.db"} | params))).output

    return run


async def failure(running):
    with pytest.raises(NodeFailed) as caught:
        await running
    return caught.value


async def test_rows_and_changes(database):
    """Changes tell how many rows they changed, queries give rows as objects; parameters are bound."""
    await database(op="execute", query="CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, data BLOB)")
    hostile = "'); DROP TABLE items; --"
    assert await database(op="execute", query="INSERT INTO items (name) VALUES (?), (?)", args=[hostile, "b"]) == {"affected": 2}
    found = await database(op="select", query="SELECT id, name, data FROM items WHERE name = :name", args={"name": hostile})
    assert found == {"rows": [{"id": 1, "name": hostile, "data": None}], "row_count": 1, "rowCount": 1, "columns": ["id", "name", "data"]}
    returned = await database(op="execute", query="UPDATE items SET data = x'00ff' WHERE id = 2 RETURNING id, data")
    assert returned == {"affected": 1, "rows": [{"id": 2, "data": "AP8="}], "row_count": 1}


async def test_transactions_are_whole(database):
    """A transaction that fails changes nothing; a batch neither."""
    await database(op="execute", query="CREATE TABLE t (a INTEGER UNIQUE)")
    done = await database(op="transaction", statements=[{"query": "INSERT INTO t VALUES (?)", "args": [1]}, "SELECT a FROM t"])
    assert done == {"affected": 1, "results": [{"affected": 1}, {"affected": 0, "rows": [{"a": 1}], "row_count": 1}]}
    two = [{"query": "INSERT INTO t VALUES (?)", "args": [2]}, {"query": "INSERT INTO t VALUES (1)"}]
    assert (await failure(database(op="transaction", statements=two))).error == "FlowRunner.ConstraintViolated"
    assert (await failure(database(op="batch", query="INSERT INTO t VALUES (?)", rows=[[5], [6], [1]]))).error == "FlowRunner.ConstraintViolated"
    assert await database(op="batch", query="INSERT INTO t VALUES (?)", rows=[[5], [6]]) == {"affected": 2, "batches": 2}
    assert (await database(query="SELECT count(*) AS n FROM t"))["rows"] == [{"n": 3}]


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH 'other.db' AS other", "VACUUM INTO 'other.db'", "PRAGMA journal_mode = DELETE", "PRAGMA writable_schema = ON", "BEGIN", "COMMIT", "ROLLBACK",
        "SAVEPOINT one", "SELECT load_extension('x')", "PRAGMA user_version = 7", "SELECT 1; SELECT 2", "", "-- nothing", "PRAGMA temp_store_directory = '/'",
    ],
)  # fmt: skip
async def test_statements_that_are_not_for_nodes(database, folder, sql):
    """Other files, settings, transactions, extensions and second statements are refused."""
    failed = await failure(database(op="execute", query=sql))
    assert failed.error in ("FlowRunner.DatabaseError", "FlowRunner.InvalidParameters")
    assert [path.name for path in folder.rglob("*.db")] in ([], ["shop.db"])


@pytest.mark.parametrize(
    ("query", "args", "error", "said"),
    [
        ("SELECT ?", [2**63], "FlowRunner.InvalidParameters", "64 bits"),
        ("SELECT :id", {"other": 1}, "FlowRunner.InvalidParameters", "none with the name 'id'"),
        ("SELECT :id", {":id": 1}, "FlowRunner.InvalidParameters", "without the sign"),
        ("SELECT ?", ["\ud800"], "FlowRunner.InvalidParameters", "half of a character"),
        ("SELECT CAST(x'ff' AS TEXT)", None, "FlowRunner.DatabaseError", "not UTF-8"),
    ],
)
async def test_what_the_driver_refuses(database, query, args, error, said):
    """It has errors of Python's own for some of it; the node tells what is wrong, and how to mend it."""
    refused = await failure(database(path=":memory:", query=query, args=args))
    assert refused.error == error
    assert said in refused.cause


async def test_words_and_names_of_older_definitions(database):
    """Words in any case, and `sql`: in all places where `operation` and `query` may stand."""
    for written in ({"op": "EXECUTE", "sql": "CREATE TABLE t (a)"}, {"queryType": "Insert", "sql": "INSERT INTO t VALUES (1)"}):
        assert list(findings(BUILT_IN["database"].parameters, written)) == []
        assert "affected" in await database(**written)
    for written in ({"queryType": "SELECT"}, {"operation": "Select"}, {}):
        assert list(findings(BUILT_IN["database"].parameters, {**written, "sql": "SELECT a FROM t"})) == []
        assert (await database(**written, sql="SELECT a FROM t"))["rows"] == [{"a": 1}]
    assert "is for PostgreSQL" in (await failure(database(op="GET", table_name="t", key="k"))).cause


async def test_queries_only_read(database):
    """A query that writes is refused."""
    await database(op="execute", query="CREATE TABLE t (a)")
    assert (await failure(database(op="query", query="INSERT INTO t VALUES (1)"))).error == "FlowRunner.DatabaseError"
    assert (await failure(database(path="none.db", query="SELECT 1"))).cause.startswith("There is no database none.db")


@pytest.mark.parametrize("path", ["../other.db", "/etc/passwd", "a/../../x", "..", ".", "link/x.db", "sqlite:///../x", "\0"])
async def test_files_stay_in_the_accounts_folder(database, folder, tmp_path, path):
    """No path, and no link, leads out of the account's folder."""
    (folder / ACCOUNT).mkdir()
    (folder / ACCOUNT / "link").symlink_to(tmp_path)
    assert (await failure(database(path=path, op="execute", query="CREATE TABLE t (a)"))).error == "FlowRunner.InvalidParameters"


async def test_files_need_a_folder():
    """Without a folder there is only memory, and the failure names the setting."""
    kind = DatabaseKind(reach=Reach(EgressPolicy()), secrets=NoSecrets())
    assert "database_folder" in (await failure(kind.run(node_call({"driver": "sqlite", "path": "a.db", "query": "SELECT 1"})))).cause


async def test_bounds(database):
    """Rows, bytes and time are bounded."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    assert (await failure(database(path=":memory:", query=numbers, max_rows=10))).error == "States.DataLimitExceeded"
    assert (await failure(database(path=":memory:", query="SELECT hex(zeroblob(5000))", max_bytes=5000))).error == "States.DataLimitExceeded"
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    assert (await failure(database(path=":memory:", query=endless, timeout="50ms"))).error == "States.Timeout"
    assert (await failure(database(path=":memory:", query="SELECT zeroblob(1000000000)"))).error == "FlowRunner.DatabaseError"


async def test_a_cancelled_attempt_stops(database):
    """When the attempt is cancelled, the statement has ended before the cancellation goes on, and nothing is changed."""
    await database(op="execute", query="CREATE TABLE t (a)")
    endless = "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    task = asyncio.create_task(database(op="execute", query=endless))
    await asyncio.sleep(0)
    while not [thread for thread in threading.enumerate() if thread.name.startswith("sqlite")]:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await database(op="execute", query="INSERT INTO t VALUES (1)") == {"affected": 1}


@pytest.fixture
def server(postgres_url):
    parts = urlsplit(postgres_url)
    return {
        "host": parts.hostname,
        "port": parts.port,
        "user": unquote(parts.username or "postgres"),
        "password": unquote(parts.password or ""),
        "dbname": parts.path[1:],
    }


@pytest.fixture
def postgres(server):
    kind = DatabaseKind(
        reach=Reach(EgressPolicy(["127.0.0.1", "localhost", server["host"]])), secrets=Secrets(shop={"type": "postgres", "username": server["user"]} | server)
    )

    async def run(**params):
        return (await kind.run(node_call({"secret": "shop"} | params))).output

    return run


@pytest.fixture
async def table(postgres, request):
    name = f"t_{abs(hash(request.node.name))}"
    yield name
    await postgres(op="execute", query=f"DROP TABLE IF EXISTS {name}")


async def test_postgres(postgres, table):
    """PostgreSQL takes JSON values for its types and gives JSON values back."""
    await postgres(op="execute", query=f"CREATE TABLE {table} (id int PRIMARY KEY, at timestamptz, price numeric, data jsonb, raw bytea, day date)")
    row = [1, "2026-11-21T10:00:00Z", 12.5, {"a": [1, None]}, "AP8=", "2026-11-21"]
    assert await postgres(op="execute", query=f"INSERT INTO {table} VALUES ($1, $2, $3, $4, $5, $6)", args=row) == {"affected": 1}
    found = await postgres(op="select", query=f"SELECT * FROM {table} WHERE id = $1", args=[1])
    assert found["rows"] == [{"id": 1, "at": "2026-11-21T10:00:00+00:00", "price": 12.5, "data": {"a": [1, None]}, "raw": "AP8=", "day": "2026-11-21"}]
    assert await postgres(op="batch", query=f"INSERT INTO {table} (id) VALUES ($1)", rows=[[2], [3]]) == {"affected": 2, "batches": 2}
    wrong = [{"query": f"INSERT INTO {table} (id) VALUES (4)"}, {"query": f"INSERT INTO {table} (id) VALUES (1)"}]
    assert (await failure(postgres(op="transaction", statements=wrong))).error == "FlowRunner.ConstraintViolated"
    assert (await postgres(query=f"SELECT count(*) AS n FROM {table}"))["rows"] == [{"n": 3}]
    assert (await postgres(op="execute", query=f"DELETE FROM {table} WHERE id > 1 RETURNING id"))["affected"] == 2
    assert (await failure(postgres(query=f"DELETE FROM {table}"))).error == "FlowRunner.DatabaseError"
    assert (await failure(postgres(query="SELECT generate_series(1, 1000000)", max_rows=5))).error == "States.DataLimitExceeded"
    assert (await failure(postgres(query="SELECT pg_sleep(20)", timeout="200ms"))).error == "States.Timeout"
    assert (await failure(postgres(query="SELECT $1::int", args=["x"]))).error == "FlowRunner.DatabaseError"
    assert (await failure(postgres(query="SELECT 1; SELECT 2"))).error == "FlowRunner.DatabaseError"
    assert (await failure(postgres(query="SELECT $1::date", args=["yesterday"]))).error == "FlowRunner.InvalidParameters"


@pytest.mark.parametrize("sql", ["commit", "ROLLBACK;", " -- so\n/* there */ begin", "Savepoint a", "END", "prepare transaction 'x'"])
async def test_transactions_are_the_nodes_own_on_postgres(postgres, table, sql):
    """A COMMIT within would keep what came before, whatever fails behind it; a ROLLBACK would lose it, and the node would succeed."""
    await postgres(op="execute", query=f"CREATE TABLE {table} (a int)")
    refused = await failure(postgres(op="transaction", statements=[f"INSERT INTO {table} VALUES (1)", sql, f"INSERT INTO {table} VALUES (2)"]))
    assert (refused.error, "several statements belong into a transaction" in refused.cause) == ("FlowRunner.DatabaseError", True)
    assert (await postgres(query=f"SELECT count(*) AS n FROM {table}"))["rows"] == [{"n": 0}]


async def test_values_of_postgres_that_cannot_be_read(postgres):
    """What Python has no value for is told with a remedy; JSON that is none elsewhere is its text."""
    for sql in ("SELECT time '24:00'", "SELECT timestamp '100000-01-01'"):
        refused = await failure(postgres(query=sql))
        assert (refused.error, "CAST" in refused.cause) == ("FlowRunner.DatabaseError", True)
    assert (await postgres(query="""SELECT '{"a": 1e400}'::json AS j, '[1]'::jsonb AS k"""))["rows"] == [{"j": '{"a": 1e400}', "k": [1]}]


async def test_postgres_values_by_key(server):
    """The table's operations keep JSON values by key."""
    kind = DatabaseKind(reach=Reach(EgressPolicy([server["host"]])), secrets=NoSecrets())

    async def run(op, **params):
        return (await kind.run(node_call(server | {"op": op, "table_name": "node_values"} | params))).output

    assert await run("get", key="a") == {"key": "a", "value": None, "found": False}
    await run("set", key="a", value={"colour": "red", "n": 1})
    await run("set", key="b", value=None)
    await run("set", key="a", value={"colour": "red", "n": 2})
    assert (await run("get", key="a"))["value"] == {"colour": "red", "n": 2}
    assert await run("list") == {"items": [{"key": "a", "value": {"colour": "red", "n": 2}}, {"key": "b", "value": None}], "count": 2}
    assert (await run("query", filter={"colour": "red"}))["count"] == 1
    assert (await run("query", query="SELECT 1 AS one"))["rows"] == [{"one": 1}]
    assert await run("delete", key="a") == {"key": "a", "deleted": True}
    assert await run("delete", key="a") == {"key": "a", "deleted": False}
    assert (await failure(run("get", key="a", table_name='x"; DROP TABLE y'))).error == "FlowRunner.InvalidParameters"
    await run("execute", query="DROP TABLE node_values")


async def test_a_private_database_needs_the_operators_leave():
    """Addresses are checked before anything is connected to; so are ports."""
    kind = DatabaseKind(reach=Reach(EgressPolicy()), secrets=NoSecrets())
    for dsn in (
        "postgresql://u:p@127.0.0.1:5432/d",
        "postgresql://u:p@localhost/d",
        "postgresql://u:p@[::1]/d",
        "postgresql://u:p@8.8.8.8:25/d",
        "postgresql://u@2130706433/d",
    ):
        assert (await failure(kind.run(node_call({"dsn": dsn, "query": "SELECT 1"})))).error == "FlowRunner.EgressRefused"
    assert (await failure(kind.run(node_call({"host": "/tmp", "query": "SELECT 1"})))).error == "FlowRunner.InvalidParameters"


async def test_an_unknown_secret():
    """The failure names the secret."""
    kind = DatabaseKind(reach=Reach(EgressPolicy()), secrets=Secrets())
    failed = await failure(kind.run(node_call({"secret": "gone", "query": "SELECT 1"})))
    assert (failed.error, "gone" in failed.cause) == ("FlowRunner.SecretNotFound", True)
