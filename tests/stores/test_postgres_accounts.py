"""Row-level security: what a role that is no superuser sees and writes once the setting is made."""

import re
from dataclasses import replace

import asyncpg
import pytest

from flowrunner.errors import StoreError, StoreUnavailable
from flowrunner.ports.documents import Document, Put
from flowrunner.ports.executions import ExecutionQuery
from flowrunner.stores.postgres.keys import machine_key, name_key
from flowrunner.stores.postgres.migrate import PACKAGE
from flowrunner.stores.postgres.session import Session
from flowrunner.stores.postgres.url import parse_address
from flowrunner.stores.queries import load_queries
from flowrunner.testing.conformance.archive import archived
from flowrunner.testing.conformance.definitions import example_activity, example_machine
from flowrunner.testing.conformance.examples import full

MINE, THEIRS = "111111111111", "222222222222"
WHOSE = {1: MINE, 2: THEIRS}
TABLES = ("heads", "revisions", "machines", "activities", "documents", "aliases")
PARTS = ("chunks", "facts", "snapshots", "inbox", "activity_tasks")
OPEN_TO_ALL = {"alembic_version", "meta", "nodes"}


@pytest.fixture
def schema(plain_url):
    return parse_address(plain_url).schema


@pytest.fixture
async def store(plain_url, open_postgres):
    """A store with something of everything for two accounts."""
    async with open_postgres(plain_url) as store:
        for number, account in WHOSE.items():
            machine = example_machine(number, account=account)
            await store.definitions.create_machine(replace(machine, revision=replace(machine.revision, account=account)))
            await store.definitions.create_activity(replace(example_activity(), account=account))
            assert await store.archive.put_execution(archived(number, head=full(number, account=account, owner=None)))
            await store.documents.write([Put(Document(account=account, kind="user", id="ada", body=b"", aliases=(f"username:{number}",)))])
        yield store


@pytest.fixture
async def connection(store, plain_url):
    connection = await asyncpg.connect(plain_url.partition("?")[0])
    assert await connection.fetchval("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user") is False
    yield connection
    await connection.close()


async def behalf(connection, account):
    await connection.fetchval("SELECT set_config('flowrunner.account', $1, true)", account)


async def counts(connection, schema):
    return {table: await connection.fetchval(f"SELECT count(*) FROM {schema}.{table}") for table in (*TABLES, *PARTS)}


async def test_every_table_has_the_wall(connection, schema):
    """Whatever table holds something of an account has the policy, for its owner too; a table that is added must choose."""
    rows = await connection.fetch(
        "SELECT relname, relrowsecurity AND relforcerowsecurity AS walled, (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid) AS policies "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1 AND relkind = 'r'",
        schema,
    )
    assert {row["relname"] for row in rows if row["walled"] and row["policies"] == 1} == {*TABLES, *PARTS}
    assert {row["relname"] for row in rows if not row["walled"]} == OPEN_TO_ALL


async def test_only_the_rows_of_the_account_are_seen(connection, schema):
    """With the setting half of everything is there, without it and after the transaction all of it."""
    everything = await counts(connection, schema)
    assert min(everything.values()) >= 2
    for account in (MINE, THEIRS):
        async with connection.transaction():
            await behalf(connection, account)
            assert await counts(connection, schema) == {table: count // 2 for table, count in everything.items()}
            assert {await connection.fetchval(f"SELECT min(account) FROM {schema}.{table}") for table in TABLES} == {account}
        assert await counts(connection, schema) == everything
    async with connection.transaction():
        await behalf(connection, "333333333333")
        assert set((await counts(connection, schema)).values()) == {0}
        await behalf(connection, "")
        assert await counts(connection, schema) == everything


@pytest.mark.parametrize("table", [*TABLES, *PARTS])
async def test_rows_of_another_account_are_not_written(connection, schema, table):
    """Neither changed nor removed, nor put there, nor given away."""
    column, value = ("account", "account") if table in TABLES else ("execution", "execution")
    whole = await connection.fetchval(f"SELECT count(*) FROM {schema}.{table}")
    async with connection.transaction():
        await behalf(connection, MINE)
        assert await connection.execute(f"UPDATE {schema}.{table} SET {column} = {value}") == f"UPDATE {whole // 2}"
        other = f"'{THEIRS}'" if table in TABLES else f"'{2:032x}'"
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            async with connection.transaction():
                await connection.execute(f"UPDATE {schema}.{table} SET {column} = {other}")
    theirs = await connection.fetchrow(f"SELECT * FROM {schema}.{table} WHERE {column} = {other}")
    names = [name for name in theirs.keys() if name != "place"]  # noqa: SIM118  # a row is no mapping
    places = ", ".join(f"${number}" for number in range(1, len(names) + 1))
    async with connection.transaction():
        await behalf(connection, MINE)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            async with connection.transaction():
                await connection.execute(f"INSERT INTO {schema}.{table} ({', '.join(names)}) VALUES ({places})", *(theirs[name] for name in names))
        assert await connection.execute(f"DELETE FROM {schema}.{table} WHERE {column} = {other}") == "DELETE 0"
    assert await connection.fetchval(f"SELECT count(*) FROM {schema}.{table}") == whole


@pytest.mark.parametrize("table", ["heads", "revisions", "machines", "activities", "documents", "aliases"])
@pytest.mark.parametrize("account", ["", "1", "11111111111a", "1111111111111", None])
async def test_an_account_has_twelve_digits(connection, schema, table, account):
    """No row is without an account, or with what is none."""
    with pytest.raises((asyncpg.CheckViolationError, asyncpg.NotNullViolationError)):
        await connection.execute(f"UPDATE {schema}.{table} SET account = $1", account)


ON_BEHALF = {
    "head_by_name": ((name_key(THEIRS, full(2).machine, full(2).name),), "name_key"),
    "list_account": ((None, 1 << 62, "f" * 32, 9), "account"),
    "list_machine": ((None, 1 << 62, "f" * 32, 9, machine_key(THEIRS, full(2).machine)), "machine_key"),
    "list_machine_status": (("RUNNING", 1 << 62, "f" * 32, 9, machine_key(THEIRS, full(2).machine)), "machine_key"),
    "machine": (("orders",), "account"),
    "machines": ((None, 9), "account"),
    "activity": (("approve",), "account"),
    "activities": ((None, 9), "account"),
    "document": (("user", "ada", 0), "account"),
    "documents": (("user", "a", "b", 0, 9), "account"),
    "documents_reverse": (("user", "a", "b", 0, 9), "account"),
}


def test_which_queries_are_on_behalf():
    """Each query that makes the setting is shown below."""
    queries = load_queries(PACKAGE)
    assert {name for name, text in queries.items() if "set_config" in text} == set(ON_BEHALF)


@pytest.mark.parametrize("name", ON_BEHALF)
async def test_the_wall_stands_where_a_query_forgets_the_account(store, name, monkeypatch):
    """Without its own comparison of the account a query on behalf of one still shows nothing of another."""
    session = store.session
    arguments, _ = ON_BEHALF[name]
    forgetful, times = re.subn(r"\(?\w\.account = caller\.account\)?(?: IS TRUE)?", "caller.account IS NOT NULL", session._queries[name])
    assert times == 1
    for link in session._links:
        monkeypatch.setattr(link, "_queries", {**session._queries, "forgetful": forgetful, "after": "SELECT current_setting('flowrunner.account', true)"})
    for account in (MINE, THEIRS):
        rows = await session.read("forgetful", account, *arguments)
        assert {row["account"] for row in rows} <= {account}
        assert (rows != []) == (account == THEIRS or "key" not in ON_BEHALF[name][1])
    assert [row[0] or "" for row in await session.read("after")] == [""]


async def test_reads_on_behalf_of_an_account(store):
    """Every read of the contract gives what is the account's, and what it does not name for the other."""
    of, head = store.executions, full(2)
    for account, other in ((MINE, THEIRS), (THEIRS, MINE)):
        assert (await store.definitions.machine(account, "orders")).account == account
        assert [one.account for one in await store.definitions.machines(account)] == [account]
        assert [one.account for one in await store.definitions.activities(account)] == [account]
        assert [one.account for one in await of.list(ExecutionQuery(account=account))] == [account]
        assert [one.account for one in await store.documents.page(account, "user")] == [account]
        assert (await store.documents.get(account, "user", "ada")).account != other
    assert await of.find(MINE, head.machine, head.name) is None
    assert (await of.find(THEIRS, head.machine, head.name)).account == THEIRS
    assert (await store.documents.find("username:2")).account == THEIRS


async def test_the_audit_log_is_only_added_to(store, connection, schema):
    """Not even a statement of the owner's changes or removes an entry."""
    await store.documents.write([Put(Document(account=MINE, kind="audit", id="0", body=b"entry"))])
    for statement in ("UPDATE {}.documents SET body = ''", "DELETE FROM {}.documents", "UPDATE {}.documents SET kind = 'user' WHERE kind = 'audit'"):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="never"):
            await connection.execute(statement.format(schema))
    assert (await store.documents.get(MINE, "audit", "0")).body == b"entry"


async def test_a_refusal_shows_no_row(store):
    """The text of a refused write has nothing of what was to be written."""
    with pytest.raises(StoreError) as caught:
        await store.archive.put_activity(replace(example_activity(), account="none", name="canary"))
    assert not isinstance(caught.value, StoreUnavailable)
    assert "canary" not in str(caught.value)


async def test_behind_a_pooler(plain_url, store):
    """The setting ends with the statement, so whoever gets the connection next has none."""
    session = Session(parse_address(plain_url + "&pgbouncer=true&connections=1"))
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:
        await session.start(stack)
        for account in (MINE, THEIRS):
            assert [row["account"] for row in await session.read("list_account", account, None, 1 << 62, "f" * 32, 9)] == [account]
            assert len(await session.read("positions", [f"{number:032x}" for number in WHOSE])) == 2
