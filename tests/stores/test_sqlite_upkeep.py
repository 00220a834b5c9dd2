import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import closing

import apsw
import pytest

from flowrunner.errors import ConfigurationError, StoreInUse, StoreRefused, StoreUnavailable
from flowrunner.ports.upkeep import Schema
from flowrunner.stores.open import open_upkeep
from flowrunner.stores.revisions import latest
from flowrunner.stores.soundness import flaws
from flowrunner.stores.sqlite.migrate import PACKAGE
from flowrunner.stores.sqlite.upkeep import SqliteUpkeep
from flowrunner.testing.conformance.archive import archived, everything, over
from flowrunner.testing.conformance.definitions import example_machine
from flowrunner.testing.conformance.examples import created, records, stepped


@pytest.fixture
def upkeep(path):
    return SqliteUpkeep(path)


async def make(open_sqlite, path, count=20):
    async with open_sqlite(path) as store:
        await store.definitions.create_machine(example_machine())
        for number in range(1, count + 1):
            await store.archive.put_execution(archived(number) if number % 2 else over(number))


def released(path, version):
    """A file of an earlier release (tests/migrations has its text)."""
    folder = os.path.join(os.path.dirname(__file__), "..", "migrations", "released")  # noqa: PTH118, PTH120
    connection = apsw.Connection(str(path))
    with open(f"{folder}/version-{version}.sql", encoding="utf-8") as text:  # noqa: PTH123
        connection.execute(text.read())
    connection.execute(f"PRAGMA application_id = {0x464C5257}; PRAGMA user_version = {version}; PRAGMA journal_mode = wal")
    connection.close()


def folder_of(path):
    return sorted(entry.name for entry in path.parent.iterdir())


async def test_a_url_has_upkeep(path):
    """By its scheme; memory has nothing to look after."""
    assert isinstance(open_upkeep(f"sqlite:///{path}"), SqliteUpkeep)
    for url in ("memory:", "mysql://x", "flow.db"):
        with pytest.raises(ConfigurationError) as caught:
            open_upkeep(url)
        assert caught.value.remedy


@pytest.mark.parametrize("version", [1, 2])
async def test_an_old_file_is_looked_at_then_upgraded(path, upkeep, open_sqlite, version):
    """Looking changes nothing; the script is what the upgrade does; then there is nothing to do."""
    released(path, version)
    before = path.read_bytes()
    assert await upkeep.schema() == Schema(f"{version:04}", latest(PACKAGE))
    script = await upkeep.script()
    assert script[-1] == f"PRAGMA user_version = {int(latest(PACKAGE))}"
    assert path.read_bytes() == before
    shutil.copy(path, path.with_name("by-hand.db"))
    by_hand = apsw.Connection(str(path.with_name("by-hand.db")))
    by_hand.execute(";\n".join(("BEGIN", *script, "COMMIT")))
    by_hand.close()
    assert (await upkeep.upgrade()).revision == f"{version:04}"
    for file in (path, path.with_name("by-hand.db")):
        assert (await SqliteUpkeep(file).schema()).is_current
        assert await SqliteUpkeep(file).script() == ()
        async with open_sqlite(file):
            pass
    assert (await upkeep.upgrade()).is_current


async def test_what_is_not_there_is_not_made(path, upkeep):
    """Nothing but an upgrade and a restore makes a file."""
    for call in (upkeep.schema, upkeep.findings, lambda: upkeep.back_up(path.with_name("b.db"))):
        with pytest.raises(StoreRefused, match="There is no file") as caught:
            await call()
        assert caught.value.remedy
        assert folder_of(path) == []
    assert await upkeep.script()
    assert folder_of(path) == []


@pytest.mark.parametrize("empty", [False, True])
async def test_an_upgrade_makes_what_is_not_there(path, upkeep, open_sqlite, empty):
    """The script, in one transaction, makes the same file as the upgrade and as a server; there is nothing to do then."""
    if empty:
        path.touch()
    scripted = path.with_name("scripted.db")
    with closing(apsw.Connection(str(scripted))) as connection:
        connection.execute(";\n".join(("BEGIN", *await upkeep.script(), "COMMIT")))
    assert await upkeep.upgrade() == Schema("", latest(PACKAGE))
    assert await upkeep.upgrade() == Schema(latest(PACKAGE), latest(PACKAGE))
    served = path.with_name("served.db")
    async with open_sqlite(served):
        pass
    made = []
    for file in (path, scripted, served):
        async with open_sqlite(file) as store:
            await created(store)
        with closing(apsw.Connection(str(file))) as connection:
            made.append((connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall(), connection.pragma("auto_vacuum")))
        assert await SqliteUpkeep(file).script() == ()
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("content", [b"", b"hello" * 100, b"SQLite format 3\0" + bytes(4080)])
async def test_what_is_not_ours_is_left(path, upkeep, content):
    """Each command refuses a foreign file and leaves it byte for byte; an upgrade may fill an empty one."""
    path.write_bytes(content)
    ours = path.with_name("ours.db")
    released(ours, 2)
    upgrades = (upkeep.script, upkeep.upgrade) if content else ()
    for call in (upkeep.schema, *upgrades, upkeep.findings, lambda: upkeep.back_up(path.with_name("b.db"))):
        with pytest.raises(StoreRefused):
            await call()
        assert path.read_bytes() == content
        assert folder_of(path) == ["flow.db", "ours.db"]
    if content:
        with pytest.raises(StoreRefused):
            await upkeep.restore(ours)
        assert path.read_bytes() == content
    with pytest.raises(StoreRefused):
        await SqliteUpkeep(ours).restore(path)


async def test_beside_a_server(path, upkeep, open_sqlite):
    """While a server has the file it can be looked at and backed up; what writes says who has it."""
    async with open_sqlite(path) as store:
        await created(store)
        assert (await upkeep.schema()).is_current
        assert await upkeep.findings() == []
        await upkeep.back_up(path.with_name("b.db"))
        for call in (upkeep.upgrade, upkeep.shrink, lambda: upkeep.restore(path.with_name("b.db"))):
            with pytest.raises(StoreInUse, match=f"process {os.getpid()}"):
                await call()
        await created(store, 2)
    assert folder_of(path) == ["b.db", "flow.db"]


async def test_a_look_at_a_store(path, open_sqlite):
    """A store for reading reads beside a server what is committed, writes nothing and leaves nothing behind."""
    async with open_sqlite(path) as store:
        await created(store, 1)
        async with open_sqlite(path, readonly=True) as look:
            assert look.capabilities.durable
            assert not look.capabilities.exclusive
            await created(store, 2)
            assert len(await everything(look.archive)) == 2
            for call in (created(look, 3), look.check(), look.archive.put_execution(over(4)), look.executions.forget(f"{1:032x}"), look.executions.beat("n")):
                with pytest.raises(StoreUnavailable, match="reading only"):
                    await call
        assert len(await everything(store.archive)) == 2
    before = path.read_bytes()
    async with open_sqlite(path, readonly=True) as look:
        assert len(await everything(look.archive)) == 2
    assert path.read_bytes() == before
    assert folder_of(path) == ["flow.db"]
    with pytest.raises(StoreRefused, match="no file"):
        async with open_sqlite(path.with_name("none.db"), readonly=True):
            pass
    released(path.with_name("old.db"), 1)
    with pytest.raises(StoreRefused, match="older schema"):
        async with open_sqlite(path.with_name("old.db"), readonly=True):
            pass


ORPHANS = {
    "chunks": "INSERT INTO chunks VALUES (77 << 26, 1, x'5b315d')",
    "facts": "INSERT INTO facts VALUES (77 << 26, x'')",
    "snapshot": "INSERT INTO snapshots VALUES (77, x'')",
    "long input of": "INSERT INTO inputs VALUES (77, '')",
    "activity task": "INSERT INTO activity_tasks VALUES (77, 'nobody', 1, 'a', 1, '')",
    "neither in its row": "UPDATE heads SET input = NULL WHERE number = 1",
    "machine without its revision": "DELETE FROM revisions",
    "alias that its document does not have": "INSERT INTO aliases VALUES ('x', 77)",
}


@pytest.mark.parametrize(("what", "statement"), ORPHANS.items())
async def test_rows_that_belong_to_nothing_are_found(path, upkeep, open_sqlite, what, statement):
    """Every kind of them, and only them."""
    await make(open_sqlite, path)
    assert await upkeep.findings() == []
    connection = apsw.Connection(str(path))
    connection.execute(statement)
    connection.close()
    [finding] = await upkeep.findings()
    assert what in finding
    assert finding.startswith("1 times")


async def test_damage_is_found(path, upkeep, open_sqlite):
    """What SQLite's own check says is told, the file is not changed."""
    await make(open_sqlite, path, 300)
    data = bytearray(path.read_bytes())
    for page in range(40, len(data) // 4096, 7):
        data[page * 4096 : page * 4096 + 8] = b"\xee" * 8
    path.write_bytes(data)
    assert await upkeep.findings()
    assert path.read_bytes() == data


async def test_a_backup_is_of_one_moment(path, upkeep, open_sqlite):
    """While a server writes as fast as it can, every backup is whole, sound and has all that was answered before it began."""
    async with open_sqlite(path) as store:
        stop = asyncio.Event()
        answered = {}

        async def step_on(number):
            now = await created(store, number, last_seq=1, stopped_at=None, write={"chunk": records(1, 1)})
            while not stop.is_set():
                count = now.last_seq + 1
                now = await stepped(store, now, last_seq=count, write={"chunk": records(count, 1)})
                answered[now.id] = count

        steppers = [asyncio.create_task(step_on(number)) for number in range(1, 9)]
        await asyncio.sleep(0.1)
        for number in range(3):
            least = dict(answered)
            copy = path.with_name(f"{number}.db")
            await upkeep.back_up(copy)
            assert copy.stat().st_mode & 0o777 == 0o600
            assert await SqliteUpkeep(copy).findings() == []
            async with open_sqlite(copy) as other:
                found = await everything(other.archive)
                assert [flaw for one in found for flaw in flaws(one)] == []
                assert {one.head.id for one in found} >= least.keys()
                assert all(one.head.last_seq >= least.get(one.head.id, 0) for one in found)
        stop.set()
        await asyncio.gather(*steppers)


async def test_restored(path, upkeep, open_sqlite):
    """A backup becomes a store that is absent or empty, with everything; an old one is brought up to date."""
    await make(open_sqlite, path)
    copy, target = path.with_name("copy.db"), path.with_name("target.db")
    await upkeep.back_up(copy)
    async with open_sqlite(target):
        pass
    for place in (target, path.with_name("absent.db")):
        await SqliteUpkeep(place).restore(copy)
        async with open_sqlite(path) as one, open_sqlite(place) as other:
            assert await everything(one.archive) == await everything(other.archive)
            assert await one.archive.machines(None, 9) == await other.archive.machines(None, 9)
    released(path.with_name("old.db"), 1)
    await SqliteUpkeep(path.with_name("new.db")).restore(path.with_name("old.db"))
    assert (await SqliteUpkeep(path.with_name("new.db")).schema()).is_current
    assert (await SqliteUpkeep(path.with_name("old.db")).schema()).revision == "0001"


async def test_a_store_with_something_in_it_is_not_restored_over(path, upkeep, open_sqlite):
    """Not even over a single machine; and what is refused changes nothing."""
    await make(open_sqlite, path)
    await upkeep.back_up(path.with_name("copy.db"))
    target = path.with_name("target.db")
    async with open_sqlite(target) as store:
        await store.definitions.create_machine(example_machine())
    before = target.read_bytes()
    with pytest.raises(StoreRefused, match="is not empty") as caught:
        await SqliteUpkeep(target).restore(path.with_name("copy.db"))
    assert caught.value.remedy
    assert target.read_bytes() == before
    damaged = path.with_name("damaged.db")
    damaged.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(StoreRefused):
        await SqliteUpkeep(path.with_name("absent.db")).restore(damaged)
    assert [name for name in folder_of(path) if name.endswith((".db", ".partial", ".lock"))] == ["copy.db", "damaged.db", "flow.db", "target.db"]


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from flowrunner.stores.sqlite import upkeep

upkeep.PAGES_AT_ONCE = 1
path, action, file, at = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])

class Counted:
    def __init__(self, backup):
        self.backup, self.steps = backup, 0
    def __getattr__(self, name):
        return getattr(self.backup, name)
    def step(self, pages):
        self.steps += 1
        if self.steps == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.backup.step(pages)

class Connection(upkeep.apsw.Connection):
    def backup(self, *arguments):
        backup = super().backup(*arguments)
        class Context:
            def __enter__(self):
                return Counted(backup.__enter__())
            def __exit__(self, *error):
                return backup.__exit__(*error)
        return Context()

upkeep.apsw = type("apsw", (), {**vars(upkeep.apsw), "Connection": Connection})
asyncio.run(getattr(upkeep.SqliteUpkeep(path), action)(file))
"""


@pytest.mark.parametrize("at", [1, 5, 15])
async def test_killed_while_it_copies(path, upkeep, open_sqlite, at):
    """A copy that was interrupted has no name that anybody would take for one; the next try succeeds."""
    await make(open_sqlite, path)
    copy, target = path.with_name("copy.db"), path.with_name("target.db")
    for store, action, file, made in ((path, "back_up", copy, copy), (target, "restore", copy, target)):
        child = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", KILLED, store, action, file, str(at)], check=False)
        assert child.returncode == -signal.SIGKILL
        assert not made.exists()
        await getattr(SqliteUpkeep(store), action)(file)
        assert await SqliteUpkeep(made).findings() == []
    assert [name for name in folder_of(path) if "partial" in name] == []


async def test_shrunk(path, upkeep, open_sqlite):
    """Room of what was removed goes back to the disk."""
    async with open_sqlite(path) as store:
        for number in range(1, 2001):
            await store.archive.put_execution(over(number) if number <= 1000 else archived(number))
    before = path.stat().st_size
    async with open_sqlite(path) as store:
        ended = await store.archive.ended(2**60, None, 5000)
        assert len(ended) == 1000
        await asyncio.gather(*map(store.executions.forget, ended))
    await upkeep.shrink()
    assert path.stat().st_size < 0.8 * before
    assert await upkeep.findings() == []
    assert folder_of(path) == ["flow.db"]


@pytest.mark.parametrize("planted", ["file", "link"])
async def test_a_copy_is_never_made_in_what_somebody_put_there(path, upkeep, open_sqlite, planted):
    """A file with wider rights, or a link to another file, that lies where the copy is made is replaced, not written to."""
    async with open_sqlite(path) as store:
        await created(store, 1)
    copy, partial, victim = (path.with_name(name) for name in ("copy.db", "copy.db.partial", "victim"))
    victim.write_text("mine")
    if planted == "link":
        partial.symlink_to(victim)
    else:
        partial.touch(mode=0o666)
        partial.chmod(0o666)
    await upkeep.back_up(copy)
    assert not copy.is_symlink()
    assert copy.stat().st_mode & 0o777 == 0o600
    assert victim.read_text() == "mine"
    assert await SqliteUpkeep(copy).findings() == []


COUNT = "SELECT entered(), (WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 30000000) SELECT count(*) FROM c)"


async def test_an_export_that_is_broken_off_in_the_middle_of_a_page(path, open_sqlite):
    """Whoever breaks it off (Ctrl-C) waits for no page and meets no error of its own; what it held is let go."""
    entered = threading.Event()

    def page(cursor):
        cursor.connection.create_scalar_function("entered", lambda: entered.set() or 1, 0)
        cursor.execute(COUNT).fetchall()

    async with open_sqlite(path) as store:

        async def export():
            async with store.session.moment() as cursor:
                await store.session.look(page, cursor)

        task = asyncio.ensure_future(export())
        await asyncio.to_thread(entered.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await created(store, 1)
        with closing(apsw.Connection(str(path))) as other:
            assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall() == [(0, 0, 0)]
