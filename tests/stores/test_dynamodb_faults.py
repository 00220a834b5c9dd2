"""DynamoDB that throttles, conflicts, fails, loses answers, and whose indexes are behind.

The proxy lets one request through at a time: moto's transactions are not safe from each other.
"""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from flowrunner.errors import Fenced, StoreUnavailable
from flowrunner.ports.executions import ActivityTask, Chunk, Delivery, ExecutionQuery, Head, NameTaken, StepWrite
from flowrunner.stores.dynamodb.session import TRIES
from flowrunner.testing.awsproxy import Faults, dynamodb_proxy
from flowrunner.testing.conformance import DefinitionStoreConformance, ExecutionStoreConformance
from flowrunner.testing.conformance.activities import ActivityTaskConformance
from flowrunner.testing.conformance.examples import ACCOUNT, created, head, records, stepped
from flowrunner.testing.conformance.inboxes import InboxConformance
from flowrunner.testing.conformance.wakes import WakeConformance
from flowrunner.testing.dynamodb import opened_dynamodb

FIVE_PERCENT = dict.fromkeys(("throttle", "conflict", "error", "refused", "lost", "unprocessed"), 0.05 / 5)


@pytest.fixture
def proxied(dynamodb_url):
    """A function: a store behind a proxy with these faults."""

    @asynccontextmanager
    async def proxied(faults):
        endpoint = dynamodb_url.partition("endpoint=")[2].partition("&")[0]
        async with dynamodb_proxy(endpoint, faults) as address, opened_dynamodb(dynamodb_url.replace(endpoint, address)) as store:
            yield store

    return proxied


class TestFivePercent(ExecutionStoreConformance, DefinitionStoreConformance):
    """With five percent of all requests going wrong nobody notices (reliability R36).

    moto forgets ClientRequestTokens, so what was done before its answer was lost is known by the token in the head alone.
    """

    @pytest.fixture
    async def store(self, proxied):
        async with proxied(Faults(seed=1, rates=FIVE_PERCENT, serialise=True)) as store:
            yield store

    @pytest.mark.slow
    @pytest.mark.timeout(900)
    async def test_pages_of_every_size(self, store):
        """10,000 requests through a proxy; the other tests of the log are enough for every day."""
        await super().test_pages_of_every_size(store)

    @pytest.mark.slow
    async def test_pages_of_lists(self, store):
        """Thousands of requests; the other tests of lists are enough for every day."""
        await super().test_pages_of_lists(store)

    async def test_beats(self, store):
        """A beat whose answer is lost may raise the counter twice, which nobody minds; it never stands still, and others' stay as they are."""
        first = await store.executions.beat("a")
        second = await store.executions.beat("b")
        third = await store.executions.beat("a")
        assert second["a"] == first["a"] < third["a"]
        assert third["b"] == second["b"]


class TestIndexesBehind(InboxConformance, ActivityTaskConformance, WakeConformance):
    """With indexes that are an hour behind everything but lists is right at once (reliability R38)."""

    @pytest.fixture
    async def store(self, proxied):
        async with proxied(Faults(stale_seconds=3600, serialise=True)) as store:
            yield store


async def test_lists_behind(proxied):
    """A list may lack what is new, but shows nothing as it is not; everything else does not wait for it."""
    time = 0.0
    async with proxied(Faults(stale_seconds=10, serialise=True, now=lambda: time)) as store:
        of = store.executions
        everything, failed, running = (ExecutionQuery(account=ACCOUNT, status=status) for status in (None, "FAILED", "RUNNING"))
        one = await created(store, 1, wake_at=3)
        assert await of.list(everything) == []
        assert await of.due(3, 9) == [one.id]
        assert await of.commit(StepWrite(head=head(2, name=one.name), create=True)) == NameTaken(one)
        time = 11
        assert [found.id for found in await of.list(running)] == [one.id]
        one = await stepped(store, one, status="FAILED", wake_at=None)
        two = await created(store, 2)
        assert await of.list(running) == []
        assert await of.list(failed) == []
        assert [(found.id, found.status) for found in await of.list(everything)] == [(one.id, "FAILED")]
        await of.forget(one.id)
        assert await of.list(everything) == []
        time = 22
        assert [found.id for found in await of.list(everything)] == [two.id]


async def nothing(_seconds):
    """No pause."""


@pytest.mark.parametrize("kind", ["throttle", "conflict", "error", "refused"])
async def test_a_fault_that_lasts(proxied, kind):
    """When it lasts, the caller is told to try again after a bounded number of tries, and nothing was written."""
    async with proxied(faults := Faults(serialise=True)) as store:
        one = await created(store, 1)
        store.session._sleep = nothing
        faults.rates = {f"TransactWriteItems.{kind}": 1.0}
        with pytest.raises(StoreUnavailable) as caught:
            await stepped(store, one)
        assert store.session.settings.table in str(caught.value)
        assert faults.done[kind] == TRIES
        assert await store.executions.head(one.id) == one
        faults.rates = {}
        await stepped(store, one)


async def test_conflicts_that_have_decided(proxied):
    """Who runs into other transactions looks whether those have won, so a crowd does not wear itself out."""
    async with proxied(faults := Faults(serialise=True)) as store:
        store.session._sleep = nothing
        one = await created(store, 1)
        faults.rates = {"TransactWriteItems.conflict": 1.0}
        assert await store.executions.commit(StepWrite(head=head(2, name=one.name), create=True)) == NameTaken(one)
        with pytest.raises(Fenced):
            await stepped(store, replace(one, epoch=0))
        with pytest.raises(Fenced):
            await stepped(store, head(3))
        assert faults.done["conflict"] == 3


async def test_an_answer_that_is_lost(proxied):
    """A step, and a create, whose answers are lost are sent again and found done."""
    async with proxied(faults := Faults(serialise=True)) as store:

        async def once(_seconds):
            faults.rates = {}

        store.session._sleep = once
        parts = {"deliveries": (Delivery("d", f"{9:032x}", b"f"),), "facts": b"f"}
        faults.rates = {"TransactWriteItems.lost": 1.0}
        one = await created(store, 1, write=parts)
        assert await store.executions.head(one.id) == one
        faults.rates = {"TransactWriteItems.lost": 1.0}
        one = await stepped(store, one, write={"facts": b"g", "fact_number": 1})
        assert await store.executions.head(one.id) == one
        assert faults.done["lost"] == 2
        assert (await store.executions.load(one.id)).facts == (b"f", b"g")
        assert len(await store.executions.undelivered(9)) == 1


async def test_an_answer_that_is_lost_while_others_go_on(proxied):
    """If another writer has moved on meanwhile the fence holds, and nothing is written twice."""
    async with proxied(faults := Faults(serialise=True)) as store:
        one = await created(store, 1)

        async def meanwhile(_seconds):
            faults.rates = {}
            await stepped(store, replace(one, epoch=2), last_seq=7)

        store.session._sleep = meanwhile
        faults.rates = {"TransactWriteItems.lost": 1.0}
        with pytest.raises(Fenced):
            await stepped(store, one, last_seq=5)
        assert (await store.executions.head(one.id)).last_seq == 7


async def test_what_was_stored_before_others_went_on_stays_whole(proxied):
    """Who is fenced by what came after its own step, whose answer was lost, takes nothing of that step away, nor of a start."""
    async with proxied(faults := Faults(serialise=True)) as store:
        long = Chunk(1, 1, b"[%s]" % (b"1" * 2_000_000))
        one = await created(store, 1)

        async def meanwhile(_seconds):
            faults.rates = {}
            await stepped(store, replace(one, epoch=2, last_seq=1), last_seq=2, write={"chunk": records(2, 1)})

        store.session._sleep = meanwhile
        faults.rates = {"TransactWriteItems.lost": 1.0}
        with pytest.raises(Fenced):
            await stepped(store, one, last_seq=1, write={"chunk": long})

        async def moved_on(_seconds):
            faults.rates = {}
            await stepped(store, replace(two, epoch=1), last_seq=1, write={"chunk": records(1, 1)})

        two = head(2, input="i" * 2_000_000)
        store.session._sleep = moved_on
        faults.rates = {"TransactWriteItems.lost": 1.0}
        answer = await store.executions.commit(StepWrite(head=two, create=True))
        await store._sweeper._idle.wait()
        assert await store.executions.log(one.id) == [long, records(2, 1)]
        assert answer == NameTaken(replace(two, epoch=2, last_seq=1)) == NameTaken(await store.executions.head(two.id))


async def test_answers_that_stay_lost(proxied):
    """What stays unknown is told as such; the head shows that it was done, and the repeated call is fenced."""
    async with proxied(faults := Faults(serialise=True)) as store:
        one = await created(store, 1)
        store.session._sleep = nothing
        write = StepWrite(head=replace(one, last_seq=5), before=one)
        faults.rates = {"TransactWriteItems.lost": 1.0}
        with pytest.raises(StoreUnavailable):
            await store.executions.commit(write)
        assert await store.executions.head(one.id) == replace(one, last_seq=5, epoch=2)
        faults.rates = {}
        with pytest.raises(Fenced):
            await store.executions.commit(write)


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
async def test_many_writers_under_faults(proxied, seed):
    """Ten executions of twenty steps each, one request in five going wrong: every step is stored once, in order."""
    rates = dict.fromkeys(("throttle", "conflict", "error", "refused", "lost"), 0.04)
    async with proxied(faults := Faults(seed=seed, rates=rates, serialise=True)) as store:
        store.session._sleep = nothing

        async def grow(number):
            now = await created(store, number, last_seq=1, write={"chunk": records(1, 1), "facts": b"0"})
            for count in range(2, 21):
                delivery = Delivery(f"{number}-{count}", f"{number % 10 + 1:032x}", b"f")
                parts = {"chunk": records(count, 1), "facts": b"f", "fact_number": count, "deliveries": (delivery,)}
                now = await stepped(store, now, last_seq=count, wake_at=count, write=parts)
            return now

        heads = await asyncio.gather(*map(grow, range(1, 11)))
        assert faults.done["lost"] > 5
        for one in heads:
            stored = await store.executions.load(one.id)
            assert stored.head == one
            assert len(stored.facts) == 20
            assert len(stored.inbox) == 19
            assert await store.executions.log(one.id) == [records(count, 1) for count in range(1, 21)]
        assert sorted(await store.executions.due(20, 100)) == sorted(one.id for one in heads)


async def test_one_name_under_faults(proxied):
    """Two hundred callers of one name under faults: one execution, and everybody learns which (reliability R17)."""
    rates = dict.fromkeys(("throttle", "conflict", "refused", "lost"), 0.05)
    async with proxied(Faults(seed=3, rates=rates, serialise=True)) as store:
        store.session._sleep = nothing
        answers = await asyncio.gather(*(store.executions.commit(StepWrite(head=head(number, name="one"), create=True)) for number in range(1, 201)))
        (winner,) = {answer.head if isinstance(answer, NameTaken) else answer for answer in answers}
        assert sum(isinstance(answer, Head) for answer in answers) == 1
        assert await store.executions.find(winner.account, winner.machine, winner.name) == winner


async def test_batches_that_are_not_processed(proxied):
    """What a batch leaves is sent again, until it is told that it cannot be done now."""
    async with proxied(faults := Faults(serialise=True, rates={"unprocessed": 0.6})) as store:
        store.session._sleep = nothing
        heads = [await created(store, number) for number in range(1, 41)]
        assert len(await store.executions.positions([one.id for one in heads])) == 40
        task = ActivityTask(activity="a", execution=heads[0].id, attempt=1, input="i" * 2_000_000, scheduled_at=1)
        await stepped(store, heads[0], write={"opened": (task,)})
        assert await store.executions.activity_tasks("a") == [task]
        assert faults.done["unprocessed"] > 5
