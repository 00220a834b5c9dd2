import asyncio
import contextlib
import resource
import shutil
import signal
import subprocess
import threading

import apsw
import pytest
import uvloop

from flowrunner.errors import Fenced, StoreError, StoreRefused, StoreUnavailable
from flowrunner.ports.executions import ActivityTask, ExecutionQuery, Head, StepWrite, Stored
from flowrunner.stores.sqlite import writer
from flowrunner.testing.conformance.examples import ACCOUNT, created, head, records, stepped


def new(number, **parts):
    return StepWrite(head=head(number), create=True, **parts)


class Gate:
    """A write that keeps the writer thread busy until it is opened, so that others gather behind it."""

    def __init__(self, store):
        self._entered = threading.Event()
        self._open = threading.Event()
        self._task = asyncio.ensure_future(store.session.write(lambda _: self._entered.set() or self._open.wait()))

    async def closed(self):
        await asyncio.to_thread(self._entered.wait)

    async def open(self):
        self._open.set()
        await self._task


async def gathered(store, writes):
    """Commit all behind one gate; their answers, and how many transactions they took."""
    gate = Gate(store)
    await gate.closed()
    before = store.session.counts
    tasks = [asyncio.ensure_future(store.executions.commit(write)) for write in writes]
    await asyncio.sleep(0)
    await gate.open()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    transactions, written = (after - earlier for after, earlier in zip(store.session.counts, before, strict=True))
    assert written == len(writes) + 1
    return answers, transactions - 1


async def test_writes_that_wait_share_a_transaction(store):
    """Two hundred writes that gather while one is under way are one transaction."""
    answers, transactions = await gathered(store, [new(number) for number in range(1, 201)])
    assert all(isinstance(answer, Head) for answer in answers)
    assert transactions == 1


async def test_a_lone_write_is_committed_at_once(store):
    """A write that finds nobody waiting is a transaction of its own: no timer holds it."""
    before, _ = store.session.counts
    for number in range(1, 6):
        await created(store, number)
    assert store.session.counts[0] - before == 5


async def test_transactions_are_bounded(store, monkeypatch):
    """A transaction takes at most so many writes and, unless one is larger by itself, so many bytes."""
    monkeypatch.setattr(writer, "MOST_WRITES", 10)
    _, transactions = await gathered(store, [new(number) for number in range(1, 36)])
    assert transactions == 4
    monkeypatch.setattr(writer, "MOST_BYTES", 2_500_000)
    _, transactions = await gathered(store, [new(number, snapshot=bytes(1_000_000)) for number in range(101, 105)])
    assert transactions == 2
    _, transactions = await gathered(store, [new(number, snapshot=bytes(3_000_000)) for number in range(201, 204)])
    assert transactions == 3


WRONG = {
    "facts twice": {"facts": b"again", "fact_number": 1},
    "task twice in one step": {"opened": 2 * (ActivityTask(activity="a", execution=head(1).id, attempt=5, input="", scheduled_at=1),)},
    "records twice": {"chunk": records(1, 1), "facts": b"x", "fact_number": 2},
    "not Unicode": {"opened": (ActivityTask(activity="\ud800", execution=head(1).id, attempt=5, input="", scheduled_at=1),)},
    "beyond 64 bits": {"opened": (ActivityTask(activity="a", execution=head(1).id, attempt=5, input="", scheduled_at=2**70),)},
    "not a number": {"facts": b"x", "fact_number": 2, "opened": (ActivityTask(activity="a", execution=head(1).id, attempt="x", input="", scheduled_at=1),)},
}


@pytest.mark.parametrize("parts", WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_write_fails_alone(store, parts):
    """A write that SQLite refuses after its fence passed leaves nothing, and those that shared its transaction are stored."""
    at = await created(store, 1, write={"facts": b"1", "fact_number": 1, "chunk": records(1, 1)})
    wrong = StepWrite(head=at, **parts)
    writes = [new(2), wrong, new(3), StepWrite(head=head(4))]
    (second, refused, third, fenced), _ = await gathered(store, writes)
    assert isinstance(refused, StoreError)
    assert not isinstance(refused, StoreUnavailable)
    assert isinstance(fenced, Fenced)
    assert await store.executions.load(at.id) == Stored(at, None, (b"1",), ())
    assert await store.executions.log(at.id) == [records(1, 1)]
    assert await store.executions.head(second.id) == second
    assert await store.executions.head(third.id) == third
    assert isinstance(await stepped(store, at), Head)


async def test_a_caller_that_goes_away_does_not_stop_its_write(store):
    """A commit whose caller is cancelled is stored all the same, and the others are answered."""
    gate = Gate(store)
    await gate.closed()
    tasks = [asyncio.ensure_future(store.executions.commit(new(number))) for number in (1, 2)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await gate.open()
    assert isinstance(await tasks[1], Head)
    assert await store.executions.head(head(1).id) is not None


async def test_reads_do_not_wait_for_the_writer(store):
    """While a transaction is open reads answer with what was committed before."""
    await created(store, 1)
    gate = Gate(store)
    await gate.closed()
    waiting = asyncio.ensure_future(store.executions.commit(new(2)))
    await asyncio.sleep(0)
    assert await store.executions.head(head(1).id) is not None
    assert len(await store.executions.list(ExecutionQuery(account=ACCOUNT))) == 1
    await gate.open()
    await waiting
    assert len(await store.executions.list(ExecutionQuery(account=ACCOUNT))) == 2


async def test_a_stop_commits_what_waits(path, open_sqlite):
    """Writes that were queued when the store stops are stored and answered; later ones are refused."""
    async with open_sqlite(path) as store:
        tasks = [asyncio.ensure_future(store.executions.commit(new(number))) for number in range(1, 100)]
        await asyncio.sleep(0)
    assert all(isinstance(answer, Head) for answer in await asyncio.gather(*tasks))
    with pytest.raises(StoreUnavailable, match="not started"):
        await store.executions.commit(new(200))
    async with open_sqlite(path) as store:
        assert len(await store.executions.list(ExecutionQuery(account=ACCOUNT, limit=1000))) == 99


def test_uvloop(path, open_sqlite):
    """The store runs on uvloop as on asyncio's own loop."""

    async def crowd():
        async with open_sqlite(path) as store:
            return await asyncio.gather(*(created(store, number) for number in range(1, 51)))

    assert len(uvloop.run(crowd())) == 50


async def test_a_foreign_writer_is_waited_for(store, foreign_writer):
    """A commit that meets another process's transaction waits for its end and succeeds; reads go on meanwhile."""
    await created(store, 1)
    with foreign_writer():
        waiting = asyncio.ensure_future(store.executions.commit(new(2)))
        await asyncio.sleep(0)
        assert await store.executions.head(head(1).id) is not None
        assert not waiting.done()
    assert isinstance(await waiting, Head)


async def test_a_foreign_writer_that_stays(store, foreign_writer):
    """When the other process does not end in time the commits raise StoreUnavailable, change nothing, and work again afterwards."""
    await created(store, 1)
    assert store.session._connections[0].pragma("busy_timeout") == 5000
    store.session._connections[0].set_busy_timeout(20)
    with foreign_writer():
        answers = await asyncio.gather(*(store.executions.commit(new(number)) for number in (2, 3, 4)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {StoreUnavailable}
        assert "Another process is writing" in str(answers[0])
        assert await store.executions.head(head(1).id) is not None
    assert store.failure is None
    for number in (2, 3, 4):
        await created(store, number)


async def fill(store):
    """Write until the store has no room; the heads that were answered."""
    stored = []
    for number in range(1, 10_000):
        try:
            stored.append(await created(store, number, write={"chunk": records(1, 200), "snapshot": bytes(20_000)}))
        except StoreUnavailable as error:
            assert "full" in str(error)
            assert "no restart" in str(error)
            return stored
    raise AssertionError("it never became full")


async def whole(store, stored):
    """Every answered execution is there with all its parts, and nothing else; the file is sound."""
    assert [one.id for one in await store.executions.list(ExecutionQuery(account=ACCOUNT, limit=10_000))] == [one.id for one in reversed(stored)]
    for one in stored:
        assert await store.executions.load(one.id) == Stored(one, bytes(20_000), (), ())
        assert await store.executions.log(one.id) == [records(1, 200)]
    connection = apsw.Connection(str(store.session.path))
    assert connection.execute("PRAGMA integrity_check").get == "ok"
    connection.close()


async def test_database_full(store):
    """When the file may not grow, writes raise StoreUnavailable and reads go on; with room again writes go on without a restart."""
    await store.session.write(lambda cursor: cursor.execute("PRAGMA max_page_count = 300").fetchall())
    stored = await fill(store)
    assert len(stored) > 10
    assert store.failure is None
    await whole(store, stored)
    await store.session.write(lambda cursor: cursor.execute("PRAGMA max_page_count = 3000").fetchall())
    stored.append(await created(store, 10_000, write={"chunk": records(1, 200), "snapshot": bytes(20_000)}))
    await whole(store, stored)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=False, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


async def test_disk_full(small_disk, open_sqlite):
    """On a disk that is really full writes raise StoreUnavailable; once a file is removed they go on without a restart."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_500_000))
    async with open_sqlite(small_disk / "flow.db") as store:
        stored = await fill(store)
        with pytest.raises(StoreUnavailable):
            await asyncio.gather(*(store.executions.commit(new(number, snapshot=bytes(900_000))) for number in (20_000, 20_001)))
        await whole(store, stored)
        ballast.unlink()
        stored.append(await created(store, 10_000, write={"chunk": records(1, 200), "snapshot": bytes(20_000)}))
        await whole(store, stored)
    async with open_sqlite(small_disk / "flow.db") as store:
        await whole(store, stored)


def filled_up(folder):
    """A file that takes all that is left of a disk."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return ballast


async def test_a_start_on_a_full_disk(small_disk, open_sqlite):
    """A server that was stopped on a full disk starts on it again and shows what there is."""
    async with open_sqlite(small_disk / "flow.db") as store:
        stored = await fill(store)
    ballast = filled_up(small_disk)
    async with open_sqlite(small_disk / "flow.db") as store:
        await whole(store, stored)
        ballast.unlink()
        await created(store, 10_000)


async def test_a_start_without_room_for_a_log(small_disk, open_sqlite):
    """Where SQLite cannot even begin its log the start is refused for that reason, not for the rights, and leaves nothing locked."""
    path = small_disk / "flow.db"
    async with open_sqlite(path) as store:
        await created(store, 1)
    ballast = filled_up(small_disk)
    with pytest.raises(StoreRefused, match="is full") as caught:
        await open_sqlite(path).__aenter__()
    assert "Free some space" in caught.value.remedy
    ballast.unlink()
    async with open_sqlite(path) as store:
        await created(store, 2)


async def refuses_everything(store):
    """Every call of a store whose file failed raises StoreUnavailable."""
    for call in (
        store.executions.commit(new(900)),
        store.executions.load(head(1).id),
        store.executions.head(head(1).id),
        store.executions.list(ExecutionQuery(account=ACCOUNT)),
        store.executions.next_wake(),
        store.definitions.machine(ACCOUNT, "m"),
        store.definitions.machines(ACCOUNT),
        store.check(),
    ):
        with pytest.raises(StoreUnavailable):
            await call


@pytest.mark.parametrize("operation", ["sync", "write"])
async def test_io_error(faults, path, open_sqlite, operation):
    """After a failed sync or write nothing is acknowledged and the handle never used; a new start finds all that was acknowledged."""
    told = []
    async with open_sqlite(path) as store:
        store.on_fatal(told.append)
        for number in range(1, 11):
            await created(store, number)
        faults.fail[operation, "-wal"] = apsw.IOError("disk failure")
        answers = await asyncio.gather(*(store.executions.commit(new(number)) for number in range(11, 31)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {StoreUnavailable}
        faults.fail.clear()
        used = len(faults.done)
        await refuses_everything(store)
        assert told == [store.failure]
        assert "restart" in str(told[0])
        assert [(operation, name) for operation, name in faults.done[used:] if operation != "read"] == []
    assert [(operation, name) for operation, name in faults.done[used:] if operation != "read"] == []
    async with open_sqlite(path) as store:
        found = {one.id for one in await store.executions.list(ExecutionQuery(account=ACCOUNT, limit=1000))}
        assert found >= {head(number).id for number in range(1, 11)}
        await created(store, 900)


async def test_read_error(faults, path, open_sqlite):
    """A read that fails below SQLite is StoreUnavailable, and the store says why from then on."""
    async with open_sqlite(path) as store:
        for number in range(1, 20):
            await created(store, number, write={"snapshot": bytes(100_000)})
    async with open_sqlite(path) as store:
        faults.fail["read", "flow.db"] = apsw.IOError("disk failure")
        with pytest.raises(StoreUnavailable, match="failed"):
            await store.executions.load(head(1).id)
        faults.fail.clear()
        await refuses_everything(store)


async def test_file_size_limit(path, open_sqlite):
    """An I/O error from the operating system itself (a write beyond the file size limit) is taken in the same way."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with open_sqlite(path) as store:
        await created(store, 1)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
            with pytest.raises(StoreUnavailable):
                await created(store, 2, write={"snapshot": bytes(1_000_000)})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await refuses_everything(store)
    async with open_sqlite(path) as store:
        assert [one.id for one in await store.executions.list(ExecutionQuery(account=ACCOUNT))] == [head(1).id]


@pytest.mark.parametrize(("setting", "level"), [({}, 2), ({"synchronous": "NORMAL"}, 1)])
async def test_synchronous(faults, path, open_sqlite, setting, level):
    """By default every transaction is synced before it is answered (FULL); with NORMAL it is not."""
    async with open_sqlite(path, **setting) as store:
        assert store.session._connections[0].pragma("synchronous") == level
        await created(store, 100)
        faults.done.clear()
        for number in range(1, 6):
            await created(store, number)
        assert faults.done.count(("sync", "flow.db-wal")) == (5 if level == 2 else 0)
        writes = [place for place, (operation, name) in enumerate(faults.done) if operation == "write" and name == "flow.db-wal"]
        assert (faults.done[-1] == ("sync", "flow.db-wal")) == (level == 2)
        assert writes


async def test_the_writer_never_leaves_callers_waiting(store, monkeypatch):
    """If the writer meets what nobody foresaw, every caller is told, the store counts as failed, and stopping it works."""
    monkeypatch.setattr(store.session._writer, "_transaction", lambda *_, **__: 1 // 0)
    answers = await asyncio.gather(*(store.executions.commit(new(number)) for number in (1, 2, 3)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreUnavailable}
    await refuses_everything(store)
