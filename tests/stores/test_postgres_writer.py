import asyncio
import random
from dataclasses import replace

import asyncpg
import pytest

from flowrunner.errors import Fenced, StoreError, StoreUnavailable
from flowrunner.ports.executions import ActivityTask, Delivery, Head, NameTaken, StepWrite
from flowrunner.stores.postgres import writer
from flowrunner.testing.conformance.examples import created, head, records, stepped


@pytest.fixture
async def store(postgres_url, open_postgres):
    async with open_postgres(postgres_url) as store:
        yield store


@pytest.fixture
async def admin(store):
    connection = await asyncpg.connect(store.url.partition("?")[0])
    await connection.execute(f"SET search_path = {store.session.address.schema}")
    yield connection
    await connection.close()


async def together(store, writes):
    return await asyncio.gather(*map(store.executions.commit, writes), return_exceptions=True)


def new(number, **parts):
    return StepWrite(head=head(number), create=True, **parts)


async def test_a_crowd_is_a_few_transactions(store):
    """Writes that come together are stored together, and answered each with its own head."""
    answers = await together(store, [new(number) for number in range(1, 501)])
    assert answers == [head(number, epoch=1) for number in range(1, 501)]
    transactions, writes = store.session.counts
    assert writes == 500
    assert transactions <= 3


async def test_a_batch_is_bounded(store, monkeypatch):
    """A transaction takes neither more writes nor more bytes than it may; a write above the bound goes alone."""
    monkeypatch.setattr(writer, "MOST_WRITES", 10)
    await together(store, [new(number) for number in range(1, 101)])
    assert 10 <= store.session.counts[0] <= 12
    monkeypatch.setattr(writer, "MOST_BYTES", 1000)
    before = store.session.counts[0]
    await together(store, [StepWrite(head=head(number, input="x" * 600), create=True) for number in range(101, 106)])
    await together(store, [StepWrite(head=head(106, input="x" * 6000), create=True)])
    assert store.session.counts[0] - before == 6


async def test_wrong_writes_fail_alone(store):
    """Among many writes those that break a key, or hold what is no text or no number, are refused; the others are stored whole."""
    running = [await created(store, number, write={"facts": b"0"}) for number in range(1, 11)]
    task = ActivityTask(activity="a", execution=f"{300:032x}", attempt=1, input="{}", scheduled_at=1)
    wrong = [
        StepWrite(head=replace(running[0], cause="twice"), facts=b"again", fact_number=0),
        new(300, opened=(task, task)),
        StepWrite(head=head(301, cause="\ud800"), create=True),
        StepWrite(head=head(302, started_at=1 << 63), create=True),
        new(304, deliveries=(Delivery("d", "no id", b""),)),
        StepWrite(head=replace(head(305), id="no id"), create=True),
    ]
    good = [new(number, chunk=records(1, 2)) for number in range(100, 200)]
    steps = [StepWrite(head=replace(one, last_seq=1), facts=b"1", fact_number=1) for one in running[1:]]
    answers = await together(store, [*good[:50], *wrong, *steps, *good[50:]])
    refused = answers[50:56]
    assert [type(answer) for answer in refused] == [StoreError] * 6
    assert all(isinstance(answer, Head) for answer in answers[:50] + answers[56:])
    assert (await store.executions.load(running[0].id)).facts == (b"0",)
    for number in (300, 301, 302, 304):
        assert await store.executions.head(f"{number:032x}") is None
    assert await store.executions.activity_tasks("a") == []
    assert await store.executions.log(f"{150:032x}") == [records(1, 2)]


async def test_writes_of_one_execution_go_one_after_the_other(store):
    """Two writes of one execution are never in one transaction: the first that read the epoch wins, the next is fenced."""
    answers = await together(store, [new(1), StepWrite(head=head(1, epoch=1, cause="next")), StepWrite(head=head(1, epoch=1, cause="late"))])
    assert [type(answer) for answer in answers] == [Head, Head, Fenced]
    assert (await store.executions.head(f"{1:032x}")).cause == "next"


async def test_two_hundred_starts_of_one_name(store, postgres_url, open_postgres):
    """Of two hundred creates of one name on two nodes one wins, and all others get its head."""
    async with open_postgres(postgres_url) as other:
        writes = [StepWrite(head=head(number, name="same"), create=True) for number in range(1, 201)]
        ours, theirs = await asyncio.gather(together(store, writes[::2]), together(other, writes[1::2]))
        answers = ours + theirs
    (winner,) = (answer for answer in answers if isinstance(answer, Head))
    assert sum(answer == NameTaken(winner) for answer in answers) == 199


async def test_a_deadlock_is_tried_again(store, admin):
    """A batch that PostgreSQL breaks off for a deadlock is stored in the end, nothing lost and nothing twice."""
    first, second = await created(store, 1), await created(store, 2)
    await admin.execute("SET deadlock_timeout = '30s'")  # so that it is the store's batch that is broken off
    await admin.execute("BEGIN")
    await admin.execute("UPDATE heads SET claimed_until = NULL WHERE id = $1", second.id)
    writes = [StepWrite(head=replace(one, last_seq=2), chunk=records(1, 2)) for one in (first, second)]
    storing = asyncio.create_task(together(store, writes))
    while not await admin.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        await asyncio.sleep(0.005)
    await admin.execute("UPDATE heads SET claimed_until = NULL WHERE id = $1", first.id)  # waits until the batch is broken off
    await admin.execute("ROLLBACK")
    assert [type(answer) for answer in await storing] == [Head, Head]
    assert await store.executions.log(first.id) == await store.executions.log(second.id) == [records(1, 2)]


@pytest.mark.parametrize("error", [asyncpg.SerializationError("x"), asyncpg.DeadlockDetectedError("x"), asyncpg.InvalidCachedStatementError("x")])
async def test_lost_races_are_tried_again_a_few_times(store, monkeypatch, error):
    """A lost race is repeated with a growing pause; one that never ends is told as StoreUnavailable."""
    real, left = writer.store, [3]

    async def failing(link, writes):
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return await real(link, writes)

    monkeypatch.setattr(writer, "store", failing)
    monkeypatch.setattr(writer, "FIRST_PAUSE_SECONDS", 0.0001)
    assert (await created(store, 1)).epoch == 1
    left[0] = 1000
    with pytest.raises(StoreUnavailable):
        await created(store, 2)
    assert left[0] == 1000 - writer.MOST_RACES - 1


async def test_a_claim_does_not_fence_nor_hold_up(store, admin):
    """A step commits though another node has just claimed its execution, and takes the claim away."""
    at = await created(store, 1, wake_at=5)
    assert await store.executions.due(5, 1, hide_seconds=3600) == [at.id]
    assert await store.executions.due(5, 1) == []
    at = await stepped(store, at, wake_at=6)
    assert await admin.fetchval("SELECT claimed_until FROM heads") is None
    assert await store.executions.due(6, 1) == [at.id]


async def test_a_claim_ends_by_itself(store):
    """What was claimed and never committed is due again after the time asked for."""
    at = await created(store, 1, wake_at=5)
    assert await store.executions.due(5, 1, hide_seconds=0.1) == [at.id]
    assert await store.executions.due(5, 1, hide_seconds=0.1) == []
    async with asyncio.timeout(5):
        while await store.executions.due(5, 1, hide_seconds=0.1) != [at.id]:
            await asyncio.sleep(0.01)


async def test_a_delivery_that_crosses_an_end(store, admin):
    """A delivery that another node stored in the moment of the end counts nowhere, and is gone before the execution goes on."""
    at = await stepped(store, await created(store, 1), status="FAILED")
    await admin.execute("INSERT INTO inbox (id, execution, fact) VALUES ('crossed', $1, 'x')", at.id)
    assert (await store.executions.load(at.id)).inbox == ()
    assert await store.executions.undelivered(10) == []
    at = await stepped(store, at, status="RUNNING")
    assert (await store.executions.load(at.id)).inbox == ()


INDEXED = """
SELECT DISTINCT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND pg_get_indexdef(i.indexrelid) ~ ('\\m' || a.attname || '\\M')
WHERE i.indrelid = 'heads'::regclass AND a.attnum > 0
"""


async def test_an_update_may_stay_in_its_page(admin):
    """Nothing that every step changes is in an index or its condition, so an update whose owner, wake-up and status stay is HOT."""
    assert {row[0] for row in await admin.fetch(INDEXED)} == {"id", "account", "machine_key", "name_key", "started_at", "status", "wake_at", "owner"}


async def test_who_stops_waiting(store):
    """A caller that goes away does not stop its write, nor those beside it."""
    tasks = [asyncio.create_task(created(store, number)) for number in range(1, 21)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(5):
        while len(await store.executions.positions([f"{number:032x}" for number in range(1, 21)])) < 20:
            await asyncio.sleep(0.005)


async def test_cancelled_reads_leave_the_pool_whole(store):
    """Readers that are cancelled while they wait for a row, or for a connection, give everything back."""
    await created(store, 1)
    for _ in range(5):
        tasks = [asyncio.create_task(store.executions.load(f"{1:032x}")) for _ in range(30)]
        await asyncio.sleep(random.random() * 0.003)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert store.session.in_use == 0
    assert await asyncio.gather(*(store.executions.head(f"{1:032x}") for _ in range(30)))


async def test_all_connections_are_busy(store, admin, monkeypatch):
    """A read that gets no connection in time says so, and the next one after the jam succeeds."""
    from flowrunner.stores.postgres import session

    everyone = range(store.session.address.connections)
    await asyncio.gather(*(store.executions.next_wake() for _ in everyone))  # which opens all of them: that may take longer than the wait below
    monkeypatch.setattr(session, "WAIT_SECONDS", 0.1)
    await admin.execute("BEGIN; LOCK TABLE nodes")
    beats = [asyncio.create_task(store.executions.beat(f"n{number}")) for number in everyone]
    async with asyncio.timeout(10):
        while store.session.in_use < len(beats):
            await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="are busy"):
        await store.executions.next_wake()
    await admin.execute("COMMIT")
    await asyncio.gather(*beats)
    assert await store.executions.next_wake() is None


async def test_a_statement_that_hangs_is_given_up(store, admin, monkeypatch):
    """A commit that the database does not answer is told as unavailable in bounded time; the next one goes well."""
    from flowrunner.stores.postgres import link

    monkeypatch.setattr(link.Link.fetch, "__kwdefaults__", {"seconds": 0.2})
    at = await created(store, 1)
    await admin.execute("BEGIN")
    await admin.execute("UPDATE heads SET claimed_until = NULL")
    with pytest.raises(StoreUnavailable, match="in time"):
        await stepped(store, at, cause="given up")
    await admin.execute("ROLLBACK")
    assert await store.executions.head(at.id) == at  # by contract unknown; a server that hears us has broken it off
    await stepped(store, at, cause="after")


async def test_the_check_proves_a_write(store, admin):
    """Readiness is a row written; a database that has become read-only is not ready."""
    await store.check()
    assert await admin.fetchval("SELECT value FROM meta WHERE key = 'checked_at'")
    await admin.execute("ALTER TABLE meta RENAME TO away")
    with pytest.raises(StoreUnavailable):
        await store.check()


async def test_stopping_answers_everyone(postgres_url, open_postgres):
    """What waits when the store stops is stored and answered; what comes later is told that it is stopped."""
    async with open_postgres(postgres_url) as store:
        tasks = [asyncio.create_task(created(store, number)) for number in range(1, 1001)]
        await asyncio.sleep(0)
    assert all(isinstance(answer, Head) for answer in await asyncio.gather(*tasks))
    with pytest.raises(StoreUnavailable):
        await created(store, 1001)
    with pytest.raises(StoreUnavailable):
        await store.executions.head(f"{1:032x}")
