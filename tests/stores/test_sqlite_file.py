import asyncio
import os
import random
import sqlite3
import subprocess
import sys

import apsw
import pytest

from flowrunner.errors import StoreRefused, StoreUnavailable
from flowrunner.stores.sqlite import file as sqlite_file
from flowrunner.stores.sqlite.lock import FileLock
from flowrunner.stores.sqlite.migrate import APPLICATION_ID, newest
from flowrunner.testing.conformance.definitions import example_machine
from flowrunner.testing.conformance.examples import created, records


def contents(folder):
    """Every file of a folder, byte for byte; SQLite's shared memory, which it may make for a look, aside."""
    return {entry.name: entry.read_bytes() for entry in sorted(folder.iterdir()) if entry.is_file() and not entry.name.endswith("-shm")}


async def refused(open_sqlite, path):
    """Why the file is refused; nothing in its folder has changed."""
    before = contents(path.parent)
    with pytest.raises(StoreRefused) as caught:
        async with open_sqlite(path):
            pass
    after = contents(path.parent)
    after = {name: data for name, data in after.items() if data or name in before}  # an empty -wal holds nothing
    assert after == before
    assert caught.value.remedy
    assert str(path.name) in str(caught.value)
    return str(caught.value)


async def make(open_sqlite, path, count=30):
    """A small file of ours."""
    async with open_sqlite(path) as store:
        await store.definitions.create_machine(example_machine())
        for number in range(1, count + 1):
            await created(store, number, wake_at=number, write={"chunk": records(1, 20), "facts": b"f", "snapshot": b"s" * 500})


async def test_new_file(path, open_sqlite):
    """A new file is ours by its header alone, is private, and keeps its write-ahead log and vacuum modes."""
    async with open_sqlite(path) as store:
        assert [entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()] == [0o600] * 4
        connection = store.session._connections[0]
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("auto_vacuum") == 2
    header = path.read_bytes()[:100]
    assert int.from_bytes(header[68:72], "big") == APPLICATION_ID
    assert int.from_bytes(header[60:64], "big") == newest()
    assert list(path.parent.iterdir()) == [path]


async def test_header_of_a_new_file_that_was_never_checkpointed(path, open_sqlite):
    """From the first moment the mark is in the file itself, not only in its log."""
    async with open_sqlite(path):
        header = path.read_bytes()[:100]
        assert int.from_bytes(header[68:72], "big") == APPLICATION_ID


async def test_empty_file(path, open_sqlite):
    """An empty file is taken as new."""
    path.touch()
    await make(open_sqlite, path)


async def test_path_is_taken_at_the_start(tmp_path, open_sqlite, monkeypatch):
    """A relative path is one of the working directory; a symbolic link is followed, also for the lock."""
    monkeypatch.chdir(tmp_path)
    await make(open_sqlite, type(tmp_path)("flow.db"))
    (tmp_path / "link.db").symlink_to("flow.db")
    async with open_sqlite(tmp_path / "flow.db"):
        with pytest.raises(StoreRefused, match="Another server"):
            async with open_sqlite(tmp_path / "link.db"):
                pass


FOREIGN = {
    "text": b"hello\n" * 100,
    "short text": b"hi",
    "magic alone": b"SQLite format 3\0",
    "zeros": bytes(8192),
    "almost": b"SQLite format 2\0" + bytes(4080),
}


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN.keys())
async def test_not_a_database(path, open_sqlite, data):
    """A file that is not an SQLite database is refused and left."""
    path.write_bytes(data)
    assert "not an SQLite database" in await refused(open_sqlite, path)


@pytest.mark.parametrize("journal", ["delete", "wal"])
async def test_foreign_database(path, open_sqlite, journal):
    """Another application's database is refused; its log is neither recovered nor emptied."""
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute("CREATE TABLE theirs (a)")
    connection.execute("INSERT INTO theirs VALUES (1)")
    connection.commit()
    assert "another application" in await refused(open_sqlite, path)
    connection.close()
    assert "another application" in await refused(open_sqlite, path)


async def test_newer_file(path, open_sqlite):
    """A file of a later version is refused, whether its version is in the file or still in its log."""
    await make(open_sqlite, path)
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", newest() + 1)
    assert f"schema version {newest() + 1}" in await refused(open_sqlite, path)
    connection.close()
    assert "newer FlowRunner" in await refused(open_sqlite, path)


async def test_missing_table(path, open_sqlite):
    """A file of ours that lacks a table, an index or a column is refused, and the message names it."""
    await make(open_sqlite, path)
    connection = apsw.Connection(str(path))
    connection.execute("DROP TABLE facts; DROP INDEX heads_due; ALTER TABLE nodes RENAME COLUMN beats TO beets")
    connection.close()
    message = await refused(open_sqlite, path)
    for name in ("column facts.body", "table facts", "index heads_due", "column nodes.beats"):
        assert name in message


async def test_own_index(path, open_sqlite):
    """What an operator adds is no reason to refuse."""
    await make(open_sqlite, path)
    connection = apsw.Connection(str(path))
    connection.execute("CREATE INDEX mine ON heads (error)")
    connection.close()
    await make(open_sqlite, path, 0)


async def test_folder(tmp_path, open_sqlite):
    """A folder is refused."""
    (tmp_path / "data").mkdir()
    assert "is a folder" in await refused(open_sqlite, tmp_path / "data")


async def test_no_folder(tmp_path, open_sqlite):
    """A file in a folder that does not exist is refused; the folder is not made."""
    with pytest.raises(StoreRefused, match="no folder"):
        async with open_sqlite(tmp_path / "a" / "flow.db"):
            pass
    assert list(tmp_path.iterdir()) == []


async def test_special_file(tmp_path, open_sqlite):
    """A named pipe is refused, not waited for."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreRefused, match="not an ordinary file"):
        async with open_sqlite(tmp_path / "pipe"):
            pass


@pytest.fixture
def ordinary_user():
    """Rights mean something only to those who are not root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.mark.parametrize("modes", [(0o444, 0o777), (0o000, 0o777), (0o666, 0o555), (0o666, 0o000)])
@pytest.mark.parametrize("exclusive", [True, False])
async def test_read_only(tmp_path, open_sqlite, request, modes, exclusive):
    """A file or a folder that cannot be written is refused."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder == tmp_path or folder.name.startswith("pytest"):  # pytest keeps them for their owner alone
            folder.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    path = home / "flow.db"
    await make(open_sqlite, path)
    path.chmod(modes[0])
    home.chmod(modes[1])
    request.getfixturevalue("ordinary_user")
    with pytest.raises(StoreRefused) as caught:
        async with open_sqlite(path, exclusive=exclusive):
            pass
    assert caught.value.remedy


async def test_second_server(path, open_sqlite):
    """While a server has the file a second one is refused and told who has it; afterwards it may."""
    async with open_sqlite(path) as store:
        with pytest.raises(StoreRefused, match=f"Another server \\(process {os.getpid()}\\) is using .*flow.db") as caught:
            async with open_sqlite(path):
                pass
        assert "Stop it first" in caught.value.remedy
        await created(store)
        async with open_sqlite(path, exclusive=False) as guest:  # a command that looks at the file is no server
            assert not guest.capabilities.exclusive
            assert await guest.executions.head(f"{1:032x}") is not None
    await make(open_sqlite, path, 0)


SERVE = """
import asyncio, sys
from contextlib import AsyncExitStack
from flowrunner.clock import SystemClock
from flowrunner.stores.open import open_store

async def serve():
    async with AsyncExitStack() as stack:
        await open_store("sqlite:///" + sys.argv[1], clock=SystemClock()).start(stack)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(serve())
"""


async def test_second_server_in_another_process(path, open_sqlite):
    """The lock holds between processes and goes with the process that is killed."""
    with subprocess.Popen([sys.executable, "-c", SERVE, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220
        assert process.stdout.readline() == "ready\n"
        assert f"process {process.pid}" in await refused(open_sqlite, path)
        process.kill()
        process.wait()
        assert path.with_name("flow.db.lock").exists()
        await make(open_sqlite, path)
    assert list(path.parent.iterdir()) == [path]


def test_lock_file_that_vanishes(path):
    """Whoever locks a file that its holder has just removed takes the new one, so two never hold the lock."""
    first, second = FileLock(path), FileLock(path)
    first.acquire()
    stale = os.open(first.lock_path, os.O_RDWR)
    first.release()
    second.acquire()
    assert not second._is_current(stale)
    os.close(stale)
    with pytest.raises(StoreRefused):
        first.acquire()
    second.release()
    second.release()
    first.acquire()
    first.release()


def mutations(data, count):
    """`count` seeded copies, each cut or with flipped bits, half of the flips near the front where the structure is."""
    for seed in range(count):
        draw = random.Random(seed)
        copy = bytearray(data)
        if seed % 4 == 0:
            del copy[draw.randrange(1, len(copy)) :]
        elif seed % 4 == 1:
            del copy[draw.randrange(1, len(copy) // 4096) * 4096 :]
        else:
            for _ in range(draw.choice((1, 1, 3, 50))):
                place = draw.randrange(100 if draw.random() < 0.5 else len(copy))
                copy[place] ^= 1 << draw.randrange(8)
        yield seed, bytes(copy)


async def use(store):
    """Read and write all over; the only errors are ours."""
    try:
        for number in range(0, 40, 3):
            await store.executions.load(f"{number:032x}")
            await store.executions.log(f"{number:032x}")
        await store.executions.due(100, 100)
        await store.definitions.machines("123456789012")
        await created(store, 500)
    except StoreUnavailable:
        return False
    return True


async def test_damaged_files(tmp_path, open_sqlite):
    """Of 200 cut or bit-flipped copies each is refused and left as it is, or opens and answers; a cut is always seen."""
    path = tmp_path / "flow.db"
    await make(open_sqlite, path)
    whole = path.read_bytes()
    opened = 0
    for seed, data in mutations(whole, 200):
        path.write_bytes(data)
        try:
            async with open_sqlite(path) as store:
                assert seed % 4 > 1, f"seed {seed}: a cut file was opened"
                opened += await use(store)
        except StoreRefused as error:
            assert path.read_bytes() == data, f"seed {seed}: a refused file was changed"
            assert error.remedy
        for rest in tmp_path.glob("flow.db-*"):
            rest.unlink()
    assert opened > 5  # flips of text are not seen: SQLite has no checksums


async def test_damage_that_is_found_later(path, open_sqlite, monkeypatch):
    """A large file is not read whole at the start; damage that a read meets is StoreUnavailable, and the store stops there."""
    monkeypatch.setattr(sqlite_file, "CHECKED_WHOLE_BYTES", 1000)
    await make(open_sqlite, path, 300)
    data = bytearray(path.read_bytes())
    for page in range(4096 * 40, len(data), 4096):
        data[page : page + 8] = b"\xee" * 8
    path.write_bytes(data)
    async with open_sqlite(path) as store:
        with pytest.raises(StoreUnavailable, match="damaged"):
            await asyncio.gather(*(store.executions.log(f"{number:032x}") for number in range(1, 301)))
        assert store.failure is not None
    path.write_bytes(data[: 4096 * 10])
    assert "damaged" in await refused(open_sqlite, path)


async def test_cut_to_nothing_beside_its_log(path, open_sqlite):
    """An empty file beside a log that is not empty was cut, and is refused."""
    await make(open_sqlite, path)
    path.write_bytes(b"")
    path.with_name("flow.db-wal").write_bytes(b"\x37\x7f\x06\x82" + bytes(60))
    assert "was cut" in await refused(open_sqlite, path)


async def test_stopping_twice_and_starting_again(path, open_sqlite):
    """A stop can be repeated, and a store that was stopped can be started again."""
    async with open_sqlite(path) as store:
        await created(store, 1)
        await store.session._stop()
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:
        await store.start(stack)
        await created(store, 2)
        await asyncio.gather(*(created(store, number) for number in range(3, 30)))


async def test_read_only_statements_on_the_reading_connections(store):
    """The connections for reading cannot write."""
    for connection in store.session._connections[1:]:
        with pytest.raises(apsw.ReadOnlyError):
            connection.execute("DELETE FROM heads")
