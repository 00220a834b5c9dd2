"""What may happen to a PostgreSQL server and to our connections: nothing acknowledged is lost, nothing is written twice."""

import asyncio
import os
import random
import shutil
import socket
import subprocess
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace

import asyncpg
import pytest

from flowrunner.errors import DocumentConflict, Fenced, StoreUnavailable
from flowrunner.ports.documents import Document, Put, Unchanged
from flowrunner.ports.executions import Chunk, ExecutionQuery, Head, NameTaken, StepWrite
from flowrunner.stores.postgres import session
from flowrunner.stores.postgres.keys import lock_key
from flowrunner.testing.conformance.examples import created, head
from flowrunner.testing.ports import quiet_port

pytestmark = pytest.mark.skipif("FLOWRUNNER_TEST_POSTGRES_URL" in os.environ, reason="these tests need a server of their own")
STEPS = 4


class Ledger:
    """Executions of a few steps each, written as a caller should: whoever does not know the outcome looks at the epoch."""

    def __init__(self, store):
        self.store = store
        self.acknowledged = {}
        self.unavailable = 0
        self.last = 0.0

    async def run(self, number):
        """One execution to its end, however often the store is away."""
        write = StepWrite(head=head(number, started_at=number, last_seq=1), create=True, chunk=Chunk(1, 1, b'["%d"]' % number))
        for step in range(1, STEPS + 1):
            at = await self._commit(write)
            assert at.epoch == step
            self.acknowledged[number] = step
            self.last = time.monotonic()
            more = replace(at, last_seq=step + 1, status="SUCCEEDED" if step + 1 == STEPS else "RUNNING")
            write = StepWrite(head=more, before=at, chunk=Chunk(step + 1, 1, b'["%d-%d"]' % (number, step)))

    async def _commit(self, write):
        unknown = False
        while True:
            try:
                if unknown:
                    now = await self.store.executions.head(write.head.id)
                    if now is not None and now.epoch == write.head.epoch + 1:
                        return now
                answer = await self.store.executions.commit(write)
            except StoreUnavailable:
                self.unavailable += 1
                unknown = True
                await asyncio.sleep(0.01)
            except Fenced:
                assert unknown  # what we wrote ourselves, and did not know of
            else:
                assert isinstance(answer, Head) or (unknown and isinstance(answer, NameTaken))
                return answer if isinstance(answer, Head) else answer.head

    async def forever(self, first, apart):
        while True:
            await self.run(first)
            first += apart

    async def read(self, execution):
        """An execution and its log; a write whose caller stopped waiting may still come in between."""
        while True:
            before = await self.store.executions.head(execution)
            log = [chunk.first_seq for chunk in await self.store.executions.log(execution)]
            if await self.store.executions.head(execution) == before:
                return before, log

    async def check(self):
        """Every acknowledged step is there, each once."""
        for number, step in self.acknowledged.items():
            stored, log = await self.read(f"{number:032x}")
            assert stored.epoch >= step, f"step {step} of execution {number} was acknowledged and is lost"
            assert log == list(range(1, stored.epoch + 1)), f"execution {number}"


@asynccontextmanager
async def load(ledger, callers=30, first=1):
    """Callers that write for the length of the `with`, and then stop in the middle of what they do."""
    tasks = [asyncio.create_task(ledger.forever(first + place, callers)) for place in range(callers)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, asyncio.CancelledError), outcome


async def connections(admin):
    return await admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'flowrunner'")


async def storm(admin, ledger, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(0.2 * random.random())
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'flowrunner' AND random() < 0.7")


async def survive_a_storm(url, open_postgres, seconds):
    admin = await asyncpg.connect(url.partition("?")[0])
    async with open_postgres(url) as store:
        ledger = Ledger(store)
        async with load(ledger):
            await storm(admin, ledger, seconds)
            before = len(ledger.acknowledged)
            while len(ledger.acknowledged) < before + 30:  # it goes on afterwards
                await asyncio.sleep(0.01)
        await ledger.check()
        assert ledger.unavailable
        assert store.session.in_use == 0
        assert await connections(admin) <= store.session.address.connections + 2
    async with asyncio.timeout(5):
        while await connections(admin):
            await asyncio.sleep(0.01)
    await admin.close()


async def test_connections_are_terminated(own_server, open_postgres):
    """While somebody terminates our connections again and again no acknowledged step is lost, none is there twice, none leaks."""
    await survive_a_storm(own_server.url(schema="storm"), open_postgres, 3)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_connections_are_terminated_for_a_minute(own_server, open_postgres):
    """The same for a minute."""
    await survive_a_storm(own_server.url(schema="long_storm"), open_postgres, 60)


async def test_too_few_connections(own_server, open_postgres):
    """Three nodes that want more connections than the server has: calls fail and are repeated, nothing is lost, nothing leaks."""
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_postgres(own_server.url(schema="few", connections="8"))) for _ in range(3)]
        ledgers = [Ledger(store) for store in stores]
        async with AsyncExitStack() as loads:
            for place, ledger in enumerate(ledgers):
                await loads.enter_async_context(load(ledger, first=1 + place * 1_000_000))

            async def read(store):
                with suppress(StoreUnavailable):
                    await store.executions.undelivered(1)

            for _ in range(20):
                await asyncio.gather(*(read(store) for store in stores for _ in range(10)))
        for ledger in ledgers:
            await ledger.check()
            assert ledger.store.session.in_use == 0
        assert sum(len(ledger.acknowledged) for ledger in ledgers) > 30


@pytest.mark.parametrize("pooled", ["false", "true"])
async def test_a_role_whose_transactions_see_one_moment(own_server, open_postgres, pooled):
    """Whatever isolation a role or a database has by default, a write of documents sees what others wrote while it waited for its turn."""
    role = schema = f"strict_{pooled}"
    admin = await asyncpg.connect(own_server.url())
    await admin.execute(f"CREATE ROLE {role} LOGIN SUPERUSER; ALTER ROLE {role} SET default_transaction_isolation = 'repeatable read'")
    key = ("123456789012", "user", "a")
    one = Document(account=key[0], kind=key[1], id=key[2], body=b"")
    async with open_postgres(own_server.url(user=role, schema=schema, pgbouncer=pooled)) as store:
        await store.documents.write([Put(one)])
        number = lock_key(schema, *key)
        await admin.execute("SELECT pg_advisory_lock($1)", number)
        seen = Unchanged(account=key[0], kind=key[1], id=key[2], version=1)
        writing = asyncio.ensure_future(store.documents.write([seen, Put(replace(one, id="b"))]))
        async with asyncio.timeout(10):
            while not await admin.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
                await asyncio.sleep(0.005)
        await admin.execute(f"UPDATE {schema}.documents SET version = 2")
        await admin.execute("SELECT pg_advisory_unlock($1)", number)
        with pytest.raises(DocumentConflict):
            await writing
        assert await store.documents.get(*key[:2], "b") is None
    await admin.close()


async def test_lists_that_take_long_leave_a_node_alive(own_server, open_postgres, monkeypatch):
    """However many list at once in a large account, a node can show that it lives; who finds no place in time is told so."""
    monkeypatch.setattr(session, "WAIT_SECONDS", 0.2)
    admin = await asyncpg.connect(own_server.url())
    async with open_postgres(own_server.url(schema="lists")) as store:
        await admin.execute("BEGIN; LOCK TABLE lists.heads IN ACCESS EXCLUSIVE MODE")
        query = ExecutionQuery(account="123456789012")
        lists = [asyncio.ensure_future(store.executions.list(query)) for _ in range(20)]
        await asyncio.wait(lists, timeout=10, return_when=asyncio.FIRST_EXCEPTION)
        assert await store.executions.beat("n") == {"n": 0}
        await admin.execute("ROLLBACK")
        answers = await asyncio.gather(*lists, return_exceptions=True)
        assert answers.count([]) == store.session.address.connections // 2
        assert {str(answer).partition(" to ")[0] for answer in answers if answer != []} == {"The connections for lists"}
        assert await store.executions.list(query) == []
        assert store.session.in_use == 0
    await admin.close()


async def crash(server, store, ledger):
    """Kill the server under load, start it again; how long the first commit takes after its port has opened."""
    before = len(ledger.acknowledged)
    while len(ledger.acknowledged) < before + 20:
        await asyncio.sleep(0.005)
    server.kill()
    with pytest.raises(StoreUnavailable):
        await created(store, random.getrandbits(40) + (1 << 40))
    await asyncio.to_thread(server.start)
    opened = time.monotonic()
    async with asyncio.timeout(5):
        while ledger.last < opened:
            await asyncio.sleep(0.005)
    return ledger.last - opened


async def survive_crashes(server, open_postgres, rounds):
    async with open_postgres(server.url(schema="crash")) as store:
        ledger = Ledger(store)
        async with load(ledger):
            waits = [await crash(server, store, ledger) for _ in range(rounds)]
        await ledger.check()
        assert store.session.in_use == 0
        await store.check()
    return waits


async def test_the_server_is_killed(own_server, open_postgres):
    """PostgreSQL killed by -9 under load, three times: all that was acknowledged is there, and the open store goes on within 5 s."""
    assert max(await survive_crashes(own_server, open_postgres, 3)) < 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_the_server_is_killed_campaign(own_server, open_postgres):
    """The same a hundred times; 95 of 100 times the way back takes less than 3 s."""
    waits = sorted(await survive_crashes(own_server, open_postgres, 100))
    assert waits[94] < 3


async def race(first, other, rounds, crowd):
    """Both nodes commit on the same epochs of the same executions, in other orders; one wins each time."""
    now = [await created(first, (1 << 60) + number) for number in range(crowd)]
    for turn in range(rounds):

        async def commits(store, place, turn=turn):
            writes = [StepWrite(head=replace(at, cause=f"{place}"), chunk=Chunk(turn + 1, 1, b"[%d]" % place)) for at in now]
            order = random.sample(range(crowd), crowd)
            answers = await asyncio.gather(*(store.executions.commit(writes[index]) for index in order), return_exceptions=True)
            return dict(zip(order, answers, strict=True))

        ours, theirs = await asyncio.gather(commits(first, 1), commits(other, 2))
        for index in range(crowd):
            kinds = {type(ours[index]), type(theirs[index])}
            assert kinds == {Head, Fenced}, (ours[index], theirs[index])
            now[index] = next(answer for answer in (ours[index], theirs[index]) if isinstance(answer, Head))
    for at in now:
        assert await first.executions.head(at.id) == at
        assert len(await first.executions.log(at.id)) == rounds


async def test_two_nodes_commit_on_the_same_epochs(postgres_url, open_postgres):
    """Of ten thousand commits that two nodes make on equal epochs exactly one of each two wins, and only its records are there."""
    async with open_postgres(postgres_url) as first, open_postgres(postgres_url) as other:
        await race(first, other, rounds=20, crowd=250)


async def test_two_nodes_claim_the_same_executions(postgres_url, open_postgres):
    """What two nodes with several callers each claim from one heap of due executions they get once, and all of it."""
    async with open_postgres(postgres_url) as first, open_postgres(postgres_url) as other:
        crowd = 10_000
        await asyncio.gather(*(created(first, number, wake_at=number % 100) for number in range(1, crowd + 1)))
        claimed = Counter()

        async def claim(store):
            while found := await store.executions.due(1000, random.randint(1, 200), hide_seconds=600):
                claimed.update(found)

        await asyncio.gather(*(claim(store) for store in (first, other) for _ in range(4)))
        # A caller that found every row just locked by others may have ended early; what is left is for the next one.
        await claim(first)
        assert len(claimed) == crowd
        assert set(claimed.values()) == {1}


class Proxy:
    """A way to the server that can be cut: nothing passes any more, and nobody is told."""

    def __init__(self, port):
        self.target = port
        self.open = asyncio.Event()
        self.open.set()
        self.tasks = set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.pair, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def pair(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        await self.open.wait()
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            await asyncio.gather(self.pump(reader, to_writer), self.pump(to_reader, writer))
        finally:
            writer.close()
            to_writer.close()

    async def pump(self, reader, writer):
        with suppress(OSError):
            while data := await reader.read(65536):
                await self.open.wait()
                writer.write(data)
            writer.close()


async def test_the_network_is_cut(postgres_server, open_postgres, monkeypatch):
    """Behind a cut that nobody reports calls end in bounded time and the store is not ready; after it the store goes on by itself."""
    from flowrunner.stores.postgres import link, store

    monkeypatch.setattr(link.Link.fetch, "__kwdefaults__", {"seconds": 0.6})
    monkeypatch.setattr(link, "CLOSE_SECONDS", 0.1)
    monkeypatch.setattr(store, "CHECK_SECONDS", 0.6)
    monkeypatch.setattr(store, "CHECK_SECONDS_IN_ALL", 1.2)
    async with Proxy(postgres_server.port) as proxy:
        url = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres?schema=cut&connect_timeout=0.6"
        async with open_postgres(url) as opened:
            ledger = Ledger(opened)
            async with load(ledger):
                while len(ledger.acknowledged) < 20:
                    await asyncio.sleep(0.01)
                proxy.open.clear()
                async with asyncio.timeout(6):
                    for _ in range(2):
                        with pytest.raises(StoreUnavailable):
                            await opened.check()
                    with pytest.raises(StoreUnavailable):
                        await opened.executions.next_wake()
                proxy.open.set()
                monkeypatch.setattr(link.Link.fetch, "__kwdefaults__", {"seconds": link.CALL_SECONDS})  # the machine may be busy
                healed = time.monotonic()
                async with asyncio.timeout(5):
                    while ledger.last < healed:
                        await asyncio.sleep(0.005)
            await ledger.check()
            assert ledger.unavailable
            assert opened.session.in_use == 0


@pytest.fixture
def pgbouncer(postgres_server):
    """The port of a PgBouncer in transaction mode before the server."""
    program = os.environ.get("FLOWRUNNER_TEST_PGBOUNCER") or shutil.which("pgbouncer")
    if program is None:
        pytest.skip("needs pgbouncer (apt-get install pgbouncer), or its path in FLOWRUNNER_TEST_PGBOUNCER")
    port = quiet_port()
    settings = postgres_server.folder / "pgbouncer.ini"
    settings.write_text(f"""
[databases]
* = host=127.0.0.1 port={postgres_server.port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
""")
    with subprocess.Popen([program, settings], stderr=subprocess.DEVNULL, **postgres_server._identity()) as process:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.02)
        yield port
        process.terminate()


async def test_behind_pgbouncer(pgbouncer, open_postgres):
    """Two nodes share three server connections of a pooler that lends them for a transaction at a time."""
    url = f"postgresql://postgres@127.0.0.1:{pgbouncer}/postgres?schema=pooled&pgbouncer=true"
    async with open_postgres(url) as first, open_postgres(url) as other:
        ledgers = [Ledger(first), Ledger(other)]
        async with load(ledgers[0]), load(ledgers[1], first=1_000_000):
            for _ in range(50):
                await asyncio.gather(*(store.executions.undelivered(1) for store in (first, other) for _ in range(10)))
        for ledger in ledgers:
            await ledger.check()
            assert not ledger.unavailable
        await race(first, other, rounds=2, crowd=50)
