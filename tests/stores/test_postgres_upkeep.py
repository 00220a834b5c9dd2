import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from flowrunner.errors import StoreRefused, StoreUnavailable
from flowrunner.ports.upkeep import FileUpkeep, Schema
from flowrunner.stores import revisions
from flowrunner.stores.open import open_upkeep
from flowrunner.stores.postgres.migrate import PACKAGE, placed
from flowrunner.stores.postgres.upkeep import PostgresUpkeep
from flowrunner.stores.postgres.url import parse_address
from flowrunner.stores.revisions import latest
from flowrunner.testing.conformance.archive import archived, everything, over
from flowrunner.testing.conformance.definitions import example_machine
from flowrunner.testing.conformance.examples import created, records, stepped
from flowrunner.testing.postgres import PostgresServer

LATER = """from alembic import op

revision = "{:04}"
down_revision = "{:04}"


def upgrade() -> None:
    op.execute("ALTER TABLE flowrunner.nodes ADD COLUMN note text")
"""


@pytest.fixture
def upkeep(postgres_url):
    return open_upkeep(postgres_url)


@pytest.fixture
def schema(postgres_url):
    return parse_address(postgres_url).schema


@pytest.fixture
async def admin(postgres_url):
    connection = await asyncpg.connect(postgres_url.partition("?")[0])
    yield connection
    await connection.close()


@pytest.fixture
async def made(postgres_url, open_postgres):
    """A schema with something in it, whose server is stopped."""
    async with open_postgres(postgres_url) as store:
        await store.definitions.create_machine(example_machine())
        for number in range(1, 9):
            await store.archive.put_execution(archived(number) if number % 2 else over(number))


@pytest.fixture
def next_release(tmp_path, monkeypatch):
    """Have a revision more from now on."""

    def come():
        shutil.copytree(revisions._folder(PACKAGE), tmp_path / "chain", ignore=shutil.ignore_patterns("__pycache__"))
        present = int(latest(PACKAGE))
        (tmp_path / "chain" / f"{present + 1:04}_later.py").write_text(LATER.format(present + 1, present))
        monkeypatch.setattr(revisions, "_folder", lambda _: tmp_path / "chain")

    return come


def looks(upkeep, opened):
    """Whatever only looks."""
    return upkeep.schema, upkeep.script, upkeep.findings, upkeep.upgrade, opened


@pytest.fixture
def opened(postgres_url, open_postgres):
    async def opened():
        async with open_postgres(postgres_url, readonly=True) as store:
            return await store.archive.size()

    return opened


async def test_its_upkeep(upkeep):
    """By its URL; it has no file form."""
    assert isinstance(upkeep, PostgresUpkeep)
    assert not isinstance(upkeep, FileUpkeep)


async def test_what_is_not_there_is_not_made(upkeep, opened, admin, schema):
    """Neither a look nor a store for reading makes a schema or anything in an empty one."""
    for there in (False, True):
        assert await upkeep.script()
        for call in (upkeep.schema, upkeep.findings, opened):
            with pytest.raises(StoreRefused, match=f"no schema '{schema}'") as caught:
                await call()
            assert "flowrunner serve" in caught.value.remedy
        assert (await admin.fetchval("SELECT to_regnamespace($1)", schema) is not None) == there
        assert await admin.fetchval("SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace($1)", schema) == 0
        if not there:
            await admin.execute(f"CREATE SCHEMA {schema}")


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("by_script", [False, True])
async def test_an_upgrade_makes_what_is_not_there(upkeep, opened, admin, schema, *, there, by_script):
    """In a missing schema and in an empty one, by itself and by its script; there is nothing to do then."""
    if there:
        await admin.execute(f"CREATE SCHEMA {schema}")
    if by_script:
        async with admin.transaction():
            await admin.execute(";\n".join(await upkeep.script()))
    else:
        assert await upkeep.upgrade() == Schema("", latest(PACKAGE))
    assert await upkeep.script() == ()
    assert await upkeep.upgrade() == Schema(latest(PACKAGE), latest(PACKAGE))
    assert await upkeep.findings() == []
    assert (await opened())["executions"] == 0


async def test_a_server_whose_role_makes_nothing(postgres_server, open_postgres, admin, schema, upkeep):
    """What the owner's upgrade has made serves a role with rights to the rows only, as the documentation grants them."""
    await upkeep.upgrade()
    await admin.execute(f"CREATE ROLE {schema} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {schema}")
    await admin.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {schema}")
    async with open_postgres(postgres_server.url(user=schema, schema=schema)) as store:
        await created(store, 1)
        assert (await store.archive.size())["executions"] == 1


@pytest.mark.usefixtures("made")
async def test_what_is_not_ours_is_left(upkeep, opened, admin, schema):
    """A newer schema, a damaged one and one of others are refused with the remedy."""
    for statement, why in {
        "UPDATE flowrunner.meta SET value = '99' WHERE key = 'version'": "version 99; this FlowRunner knows",
        "UPDATE flowrunner.meta SET value = '0' WHERE key = 'version'": "two that do not agree",
        "DELETE FROM flowrunner.meta": "another application",
        "DROP TABLE flowrunner.meta": "another application",
    }.items():
        await admin.execute(placed(statement, schema))
        for call in looks(upkeep, opened):
            with pytest.raises(StoreRefused, match=why) as caught:
                await call()
            assert caught.value.remedy


@pytest.mark.usefixtures("made")
async def test_an_older_schema_is_looked_at_then_upgraded(upkeep, opened, admin, schema, next_release):
    """Looking changes nothing and says what to do; the script is what the upgrade does; then there is nothing to do."""
    present = latest(PACKAGE)
    assert await upkeep.schema() == Schema(present, present)
    assert await upkeep.script() == ()
    next_release()
    later = latest(PACKAGE)
    assert await upkeep.schema() == Schema(present, later) != Schema(present, present)
    script = await upkeep.script()
    assert "pg_advisory_xact_lock" in script[0]
    assert f'ALTER TABLE "{schema}".nodes ADD COLUMN note text' in script
    for call in (upkeep.findings, opened):
        with pytest.raises(StoreRefused, match="older one") as caught:
            await call()
        assert "flowrunner db upgrade" in caught.value.remedy
    assert await upkeep.schema() == Schema(present, later)
    assert await upkeep.upgrade() == Schema(present, later)
    assert await upkeep.upgrade() == Schema(later, later)
    assert await upkeep.script() == ()
    assert await upkeep.findings() == []
    assert await admin.fetch(f"SELECT note FROM {schema}.nodes") == []
    assert (await opened())["executions"] == 8


async def test_what_the_release_before_the_version_row_made(upkeep, opened, admin, schema):
    """It is left as it is by who looks, and stamped by an upgrade."""
    released = (Path(__file__).parent.parent / "migrations" / "released" / "postgres-1.sql").read_text()
    marks = "INSERT INTO flowrunner.meta VALUES ('application', 'flowrunner'), ('version', '1')"
    await admin.execute(placed(f"CREATE SCHEMA {schema}; {released}; {marks}", schema))
    for call in (upkeep.findings, opened):
        with pytest.raises(StoreRefused, match="older one"):
            await call()
    assert await admin.fetchval("SELECT to_regclass($1)", f"{schema}.alembic_version") is None
    assert len(await upkeep.script()) > 1
    await upkeep.upgrade()
    assert await upkeep.script() == ()
    assert await upkeep.findings() == []
    assert await admin.fetchval(f"SELECT version_num FROM {schema}.alembic_version") == latest(PACKAGE)


FINDINGS = {
    "DELETE FROM flowrunner.heads WHERE status <> 'RUNNING'": "4 times chunks of an execution that is not there",
    "INSERT INTO flowrunner.facts VALUES (gen_random_uuid(), 1, '')": "1 times facts of an execution that is not there",
    "INSERT INTO flowrunner.snapshots VALUES (gen_random_uuid(), '')": "1 times a snapshot of an execution that is not there",
    "UPDATE flowrunner.activity_tasks SET execution = gen_random_uuid() WHERE place = (SELECT min(place) FROM flowrunner.activity_tasks)": "an activity task",
    "DELETE FROM flowrunner.revisions": "1 times a state machine without its revision",
    "INSERT INTO flowrunner.aliases VALUES ('x', '111111111111', 'user', 'a')": "1 times an alias that its document does not have",
    "DELETE FROM flowrunner.chunks WHERE first_seq = 1 AND execution = '00000000000000000000000000000001'": f"the log of execution {1:032x} has a gap: after record 0",
    "UPDATE flowrunner.chunks SET count = count + 1 WHERE first_seq = 1 AND execution = '00000000000000000000000000000001'": "has a gap: after record 5 comes record 5",
    "UPDATE flowrunner.heads SET last_seq = last_seq + 1 WHERE id = '00000000000000000000000000000001'": f"the log of execution {1:032x} has ",
    "DROP INDEX flowrunner.heads_due": "lacks heads_due",
    "DROP TABLE flowrunner.snapshots": "lacks snapshots",
    "DROP POLICY heads_of_the_account ON flowrunner.heads": "lacks heads_of_the_account",
    "DROP TRIGGER documents_are_kept ON flowrunner.documents": "lacks documents_are_kept",
}


@pytest.mark.usefixtures("made")
async def test_findings(upkeep, admin, schema):
    """Each kind of damage is found, and none where there is none; nothing is changed by looking."""
    assert await upkeep.findings() == []
    for statement, finding in FINDINGS.items():
        damaged = f"{schema}_damaged"
        await copied(admin, schema, damaged)
        await admin.execute(placed(statement, damaged))
        found = await PostgresUpkeep(replace(upkeep._address, schema=damaged)).findings()
        assert any(finding in text for text in found), (statement, found)
        await admin.execute(f"DROP SCHEMA {damaged} CASCADE")


async def copied(admin, schema, name):
    """A schema with the same tables and rows."""
    from flowrunner.stores.postgres.migrate import create

    await create(admin, name)
    for (table,) in await admin.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema):
        await admin.execute(f"DELETE FROM {name}.{table}; INSERT INTO {name}.{table} SELECT * FROM {schema}.{table}")


async def test_findings_beside_a_running_server(postgres_url, upkeep, open_postgres):
    """While steps are committed the findings are of one moment: none."""
    async with open_postgres(postgres_url) as store:
        now = [await created(store, number, write={"chunk": records(1, 1)}, last_seq=1) for number in range(1, 21)]

        async def write():
            nonlocal now
            for step in range(1, 25):
                now = await asyncio.gather(*(stepped(store, at, last_seq=step + 1, write={"chunk": records(step + 1, 1)}) for at in now))

        writing = asyncio.create_task(write())
        while not writing.done():
            assert await upkeep.findings() == []
        await writing


@pytest.mark.usefixtures("made")
async def test_reading_only(postgres_url, open_postgres, upkeep):
    """A store for reading reads all, writes nothing, and holds a moment though only one connection is allowed for."""
    async with open_postgres(f"{postgres_url}&connections=1", readonly=True) as store, open_postgres(postgres_url) as server:
        before = await everything(server.archive)
        for write in (
            lambda: created(store, 100),
            lambda: store.definitions.create_machine(example_machine(5, name="new")),
            lambda: store.definitions.delete_machine(example_machine().account, example_machine().name),
            lambda: store.executions.forget(f"{2:032x}"),
            lambda: store.archive.put_execution(archived(100)),
            store.check,
        ):
            with pytest.raises(StoreUnavailable):
                await write()
        assert await everything(store.archive) == await everything(server.archive) == before
        async with store.archive.moment() as whole:
            assert whole
            await created(server, 101)
            assert await store.definitions.revision(example_machine().revision.id) == example_machine().revision
            assert f"{101:032x}" not in [one.head.id for one in await store.archive.executions(None, 100)]
        assert f"{101:032x}" in [one.head.id for one in await store.archive.executions(None, 100)]
    assert (await upkeep.schema()).is_current


@pytest.mark.usefixtures("made")
async def test_a_role_that_may_only_read(postgres_server, open_postgres, admin, schema, next_release):
    """It is told which rights it lacks; with these it can look, and an upgrade is refused."""
    await admin.execute(f"CREATE ROLE {schema} LOGIN")
    url = postgres_server.url(user=schema, schema=schema)
    for call in (open_upkeep(url).schema, open_upkeep(url).findings):
        with pytest.raises(StoreRefused, match="may not read the schema") as caught:
            await call()
    await admin.execute(caught.value.remedy)
    assert (await open_upkeep(url).schema()).is_current
    assert await open_upkeep(url).findings() == []
    async with open_postgres(url, readonly=True) as store:
        assert (await store.archive.size())["executions"] == 8
    next_release()
    with pytest.raises(StoreRefused, match="may not make or use"):
        await open_upkeep(url).upgrade()


async def test_a_server_that_is_away(own_server, upkeep):
    """It is said where nobody listens."""
    url = own_server.url()
    own_server.kill()
    with pytest.raises(StoreUnavailable, match="No PostgreSQL server listens"):
        await open_upkeep(url).schema()
    own_server.start()


async def test_a_standby(postgres_server, open_postgres):
    """A server that only follows another is looked at like any, as one moment; only a server of ours refuses it."""
    with PostgresServer(binaries=postgres_server.binaries) as server:
        url = server.url()
        async with open_postgres(url) as store:
            await store.archive.put_execution(archived(1))
        server.stop()
        signal = server.folder / "data" / "standby.signal"
        signal.touch()
        shutil.chown(signal, server.folder.owner(), server.folder.group())
        server.start()
        upkeep = open_upkeep(url)
        assert (await upkeep.schema()).is_current
        assert await upkeep.findings() == []
        async with open_postgres(url, readonly=True) as store, store.archive.moment() as whole:
            assert whole
            assert await everything(store.archive) == [archived(1)]
        with pytest.raises(StoreRefused, match="standby"):
            async with open_postgres(url):
                pass
