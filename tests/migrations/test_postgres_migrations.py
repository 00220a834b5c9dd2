import asyncio
import os
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from itertools import product

import pytest
from released_postgres import LATER, later_chain, single, unstamped

from flowrunner.clock import SystemClock
from flowrunner.errors import StoreRefused, StoreUnavailable
from flowrunner.stores import revisions
from flowrunner.stores.open import open_store
from flowrunner.stores.queries import load_text
from flowrunner.stores.revisions import known, latest, script, stamp

asyncpg = pytest.importorskip("asyncpg")

from flowrunner.stores.postgres import migrate  # noqa: E402  # the driver is an extra
from flowrunner.stores.postgres.migrate import PACKAGE, WRITTEN_FOR, Found, look, placed, prepare, statements  # noqa: E402  # as above
from flowrunner.stores.postgres.url import parse_address  # noqa: E402  # as above


@pytest.fixture
def schema(postgres_url):
    """The name of an empty schema."""
    return parse_address(postgres_url).schema


@pytest.fixture
async def admin(postgres_url):
    connection = await asyncpg.connect(postgres_url.partition("?")[0])
    yield connection
    await connection.close()


async def start(url):
    async with AsyncExitStack() as stack:
        store = open_store(url, clock=SystemClock())
        await store.start(stack)
        await store.check()


async def refusal(url, kind=StoreRefused):
    with pytest.raises(kind) as caught:
        await asyncio.wait_for(start(url), 10)
    assert caught.value.remedy
    return str(caught.value)


SHAPE = """
SELECT 'column ' || table_name || '.' || column_name AS what, concat_ws(' ', ordinal_position, data_type, character_maximum_length, is_nullable, collation_name,
       column_default, is_identity, identity_generation) AS how
FROM information_schema.columns WHERE table_schema = $1
UNION ALL SELECT 'index ' || indexname, replace(indexdef, quote_ident($1) || '.', '') FROM pg_indexes WHERE schemaname = $1
UNION ALL SELECT 'constraint ' || conname, conrelid::regclass::name::text || ' ' || pg_get_constraintdef(c.oid)
FROM pg_constraint c JOIN pg_namespace n ON n.oid = connamespace WHERE nspname = $1
UNION ALL SELECT 'relation ' || relname, concat_ws(' ', relkind, relpersistence, array_to_string(reloptions, ','))
FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1
UNION ALL SELECT 'trigger ' || tgname, replace(pg_get_triggerdef(t.oid), quote_ident($1) || '.', '') FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1
UNION ALL SELECT 'function ' || proname, prosrc FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = $1
ORDER BY 1
"""


async def shape(admin, schema):
    """Everything that the catalogs tell of a schema, without its name."""
    return [(row[0], row[1].replace(f"{schema}.", "")) for row in await admin.fetch(SHAPE, schema)]


async def state(admin, schema):
    """What there is, and what the two versions say."""
    found = await shape(admin, schema)
    names = {name for name, _ in found}
    rows = [await admin.fetchval(placed("SELECT version_num FROM flowrunner.alembic_version", schema))] if "relation alembic_version" in names else None
    number = await admin.fetchval(placed("SELECT value FROM flowrunner.meta WHERE key = 'version'", schema)) if "relation meta" in names else None
    return found, rows, number


async def test_revisions_make_the_schema(postgres_url, admin, schema):
    """All revisions one after the other make exactly the schema of a new database, and a start makes it too."""
    made = {"migrated": script(PACKAGE, "postgresql", None, WRITTEN_FOR), "new": (load_text(PACKAGE, "schema.sql"), *stamp(latest(PACKAGE), WRITTEN_FOR))}
    for name, texts in made.items():
        await admin.execute(f"CREATE SCHEMA {schema}_{name}")
        for text in texts:
            await admin.execute(placed(text, f"{schema}_{name}"))
    await start(postgres_url)
    shapes = [await shape(admin, name) for name in (f"{schema}_migrated", f"{schema}_new", schema)]
    assert shapes[0] == shapes[1] == shapes[2]
    assert len(shapes[0]) > 120
    assert await look(admin, schema) == Found(latest(PACKAGE), is_stamped=True)


async def test_what_an_earlier_release_made_is_stamped(postgres_url, admin, schema):
    """A schema that knows only its number is recognised and gets its version row, once, whoever starts; what it holds stays."""
    await unstamped(admin, schema)
    assert await look(admin, schema) == Found("0001", is_stamped=False)
    await asyncio.gather(*(start(postgres_url) for _ in range(4)))
    assert await look(admin, schema) == Found(latest(PACKAGE), is_stamped=True)
    assert await admin.fetchval(f"SELECT beats FROM {schema}.nodes WHERE node = 'node'") == 1
    fresh = f"{schema}_new"
    await start(postgres_url.replace(schema, fresh))
    assert await shape(admin, schema) == await shape(admin, fresh)


async def test_an_older_schema_is_brought_up_to_date(postgres_url, admin, schema, tmp_path, monkeypatch):
    """An older schema gets what it lacks and the new version, once, though several nodes start; what it holds stays."""
    await start(postgres_url)
    await admin.execute(f"INSERT INTO {schema}.nodes VALUES ('node', 1)")
    monkeypatch.setattr(revisions, "_folder", later_chain(tmp_path, LATER))
    await asyncio.gather(*(start(postgres_url) for _ in range(5)))
    assert await look(admin, schema) == Found(known(PACKAGE)[-1], is_stamped=True)
    assert await admin.fetchval(f"SELECT count(*) FROM {schema}.later") == 1
    assert await admin.fetchval(f"SELECT node FROM {schema}.nodes WHERE note IS NULL") == "node"


async def test_a_revision_names_no_schema_but_the_urls(postgres_url, admin, schema, tmp_path, monkeypatch):
    """Two schemas of one database are upgraded each for itself."""
    other = f"{schema}_other"
    for url in (postgres_url, postgres_url.replace(schema, other)):
        await start(url)
    monkeypatch.setattr(revisions, "_folder", later_chain(tmp_path, LATER))
    await start(postgres_url)
    assert (await look(admin, schema)).is_current
    assert not (await look(admin, other)).is_current
    assert await admin.fetchval("SELECT to_regclass($1)", f"{other}.later") is None


async def test_a_newer_schema(postgres_url, admin, schema, tmp_path, monkeypatch):
    """A schema that a newer FlowRunner wrote is refused with both versions, and left."""
    with monkeypatch.context() as newer:
        newer.setattr(revisions, "_folder", later_chain(tmp_path, LATER))
        await start(postgres_url)
        before = await state(admin, schema)
    text = await refusal(postgres_url)
    assert f"version {len(known(PACKAGE)) + 1}; this FlowRunner knows {len(known(PACKAGE))}" in text
    assert "Run the newer FlowRunner" in text
    assert await state(admin, schema) == before


DAMAGE = {
    "the number is gone": "DELETE FROM flowrunner.meta WHERE key = 'version'",
    "the number is none": "UPDATE flowrunner.meta SET value = 'x' WHERE key = 'version'",
    "the number is that of no revision": "UPDATE flowrunner.meta SET value = '0' WHERE key = 'version'",
    "the row is gone": "DELETE FROM flowrunner.alembic_version",
    "the row is there twice": "INSERT INTO flowrunner.alembic_version VALUES ('9999')",
    "the row is unknown": "UPDATE flowrunner.alembic_version SET version_num = 'abcdef'",
}


@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE.keys())
async def test_a_version_that_cannot_be_trusted(postgres_url, admin, schema, statement):
    """A schema whose row and number do not tell one known revision is refused and left."""
    await start(postgres_url)
    await admin.execute(placed(statement, schema))
    before = await state(admin, schema)
    assert "no version, or two that do not agree" in await refusal(postgres_url)
    assert await state(admin, schema) == before


BEGINNINGS = ("nothing", "the release before the version row", "the present release")


async def begin(admin, schema, beginning, url):
    """What is there before the upgrade."""
    if beginning == "the release before the version row":
        await unstamped(admin, schema)
    elif beginning == "the present release":
        connection = await asyncpg.connect(url.partition("?")[0])
        await prepare(connection, parse_address(url))
        await connection.close()


class Failing:
    """Counts statements; before number `at` something happens."""

    def __init__(self, at, happening):
        self.at, self.happening, self.count = at, happening, 0

    async def meet(self, connection):
        self.count += 1
        if self.count == self.at:
            await self.happening(connection)


class OneByOne(asyncpg.Connection):
    """A connection that sends each statement by itself, those of transactions too."""

    failing = None

    async def execute(self, query, *args, timeout=None):  # noqa: ASYNC109  # the driver's name
        for statement in single(query):
            await self.failing.meet(self)
            answer = await super().execute(statement, *args, timeout=timeout)
        return answer

    async def fetch(self, query, *args, **settings):
        await self.failing.meet(self)
        return await super().fetch(query, *args, **settings)


async def fails(connection):
    await asyncpg.Connection.execute(connection, "INSERT INTO nothing VALUES (1)")


async def is_terminated(connection):
    await asyncpg.Connection.execute(connection, "SELECT pg_terminate_backend(pg_backend_pid())")


async def vanishes(connection):
    """As a client that is killed: the socket is closed without a word."""
    connection._transport.abort()


async def ended(admin, pid):
    """Wait until the server has noticed that a connection is over."""
    while await admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid):
        await asyncio.sleep(0.005)


EVERY_WAY = list(product(BEGINNINGS, (fails, is_terminated, vanishes)))


# Every day each beginning with one way to stop, and each way with one beginning.
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "stopped",
    [pytest.param(way, marks=() if place in {0, 4, 8} else pytest.mark.slow) for place, way in enumerate(EVERY_WAY)],
    ids=[f"{beginning}-{happening.__name__}" for beginning, happening in EVERY_WAY],
)
async def test_stopped_at_every_statement(postgres_urls, admin, tmp_path, monkeypatch, stopped):
    """An upgrade that fails, or whose connection ends, before any statement leaves the old schema or the new one; the next start completes it."""
    beginning, happening = stopped
    real, chain = revisions._folder, later_chain(tmp_path, LATER)
    outcomes = []
    for at in range(1, 100):
        url = postgres_urls()
        address = parse_address(url)
        monkeypatch.setattr(revisions, "_folder", real)
        await begin(admin, address.schema, beginning, url)
        monkeypatch.setattr(revisions, "_folder", chain)
        old = await state(admin, address.schema)
        connection = await asyncpg.connect(url.partition("?")[0], connection_class=OneByOne)
        pid = connection.get_server_pid()
        connection.failing = Failing(at, happening)
        whole = False
        try:
            await prepare(connection, address)
            whole = True
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            pass
        connection.terminate()
        await ended(admin, pid)
        found = await state(admin, address.schema)
        await start(url)
        new = await state(admin, address.schema)
        assert new[1:] == ([known(PACKAGE)[-1]], str(len(known(PACKAGE))))
        assert found in (old, new)
        outcomes.append(found == new)
        if whole:
            break
    assert whole
    assert outcomes == sorted(outcomes)  # old up to COMMIT, new after it
    assert not outcomes[5]
    assert len(outcomes) > 8


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
import asyncpg
from flowrunner.stores import revisions
from flowrunner.stores.postgres.migrate import prepare
from flowrunner.stores.postgres.url import parse_address

url, at, chain = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
revisions._folder = lambda _: chain
plain, count = asyncpg.Connection.execute, 0

async def execute(self, query, *arguments, **settings):
    global count
    count += 1
    if count == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return await plain(self, query, *arguments, **settings)

async def main():
    connection = await asyncpg.connect(url.partition("?")[0])
    asyncpg.Connection.execute = execute
    await prepare(connection, parse_address(url))
    await connection.close()

asyncio.run(main())
"""


@pytest.mark.timeout(120)
async def test_a_process_that_is_killed(postgres_urls, admin, tmp_path, monkeypatch):
    """A process killed anywhere between its first request and its last leaves the old schema or the new one."""
    chain = later_chain(tmp_path, LATER)
    monkeypatch.setattr(revisions, "_folder", chain)
    outcomes = []
    for at in range(1, 20):
        url = postgres_urls()
        schema = parse_address(url).schema
        await unstamped(admin, schema)
        old = await state(admin, schema)
        child = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", KILLED, url, str(at), chain(PACKAGE)], check=False, env=dict(os.environ))
        while await admin.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"):
            await asyncio.sleep(0.01)
        found = await state(admin, schema)
        await start(url)
        assert found in (old, await state(admin, schema))
        outcomes.append(found != old)
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
    assert outcomes.count(True) == 1  # the last: nothing is executed after COMMIT
    assert len(outcomes) > 5


async def test_a_start_whose_revision_fails(postgres_url, admin, schema, tmp_path, monkeypatch):
    """A node whose upgrade fails does not start, says so, and leaves the old schema."""
    await start(postgres_url)
    before = await state(admin, schema)
    for end in ("INSERT INTO nothing VALUES (1)", "SELECT pg_terminate_backend(pg_backend_pid())"):
        with monkeypatch.context() as broken:
            broken.setattr(revisions, "_folder", later_chain(tmp_path / end[:6], LATER, end))
            await refusal(postgres_url, StoreUnavailable)
        assert await state(admin, schema) == before
    await start(postgres_url)


async def test_a_table_that_is_in_use(postgres_url, admin, schema, tmp_path, monkeypatch):
    """An upgrade does not wait long for a transaction that has read the table, since all servers would wait behind it; the next start does it."""
    await start(postgres_url)
    before = await state(admin, schema)
    monkeypatch.setattr(revisions, "_folder", later_chain(tmp_path, LATER))
    monkeypatch.setattr(migrate, "LOCK_MILLISECONDS", 200)
    async with admin.transaction():
        await admin.fetch(f"SELECT * FROM {schema}.nodes")
        assert "wait for its end" in await refusal(postgres_url, StoreUnavailable)
    assert await state(admin, schema) == before
    await start(postgres_url)
    assert (await look(admin, schema)).is_current


async def test_the_script_is_the_upgrade(postgres_url, admin, schema, tmp_path, monkeypatch):
    """The statements run by hand do what a start does."""
    await unstamped(admin, schema)
    monkeypatch.setattr(revisions, "_folder", later_chain(tmp_path, LATER))
    texts = statements(await look(admin, schema), schema)
    await admin.execute(";\n".join(("BEGIN", *texts, "COMMIT")))
    by_hand = await state(admin, schema)
    assert statements(await look(admin, schema), schema) == ()
    await start(postgres_url)
    assert await state(admin, schema) == by_hand


START = """
import asyncio, sys
from contextlib import AsyncExitStack
from flowrunner.clock import SystemClock
from flowrunner.stores.open import open_store

async def start():
    async with AsyncExitStack() as stack:
        await open_store(sys.argv[1], clock=SystemClock()).start(stack)

asyncio.run(start())
print(*({"alembic", "sqlalchemy"} & set(sys.modules)))
"""


async def test_a_start_on_a_current_schema_loads_no_alembic(postgres_urls, admin):
    """Neither a new schema nor a current one pays for alembic and SQLAlchemy; an old one does, once."""
    url = postgres_urls()
    old = postgres_urls()
    await unstamped(admin, parse_address(old).schema)
    for given, loaded in ((url, []), (url, []), (old, ["alembic", "sqlalchemy"]), (old, [])):
        child = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", START, given], check=True, capture_output=True, text=True)
        assert sorted(child.stdout.split()) == loaded
