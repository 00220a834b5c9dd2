"""Who is dead: seen in bounded time however slow the store is, and never of a node that beats as well as the one who watches."""

import asyncio

import pytest

from flowrunner.engine.membership import Membership
from flowrunner.errors import StoreUnavailable
from flowrunner.testing.clock import ManualClock

LEASE = 10.0
PERIOD = LEASE / 5
SLOW = (0.0, 0.2, 1.0, 4.0, LEASE, 3 * LEASE)  # seconds that a look takes


class Counters:
    """The counters of all nodes; each of two requests of a look takes half of `seconds`."""

    def __init__(self, clock):
        self.clock, self.counters, self.seconds, self.away = clock, {}, 0.0, False

    async def _take(self):
        if self.away:
            raise StoreUnavailable
        if self.seconds:
            await self.clock.sleep(self.seconds / 2)

    async def owners(self):
        await self._take()
        return list(self.counters)

    async def beat(self, node):
        self.counters[node] = self.counters.get(node, -1) + 1  # at the very beginning: the answer is as old as it can be
        counters = dict(self.counters)
        await self._take()
        return counters

    async def leave(self, node):
        self.counters.pop(node, None)


class Watcher:
    """A node that beats until it is stopped, and notes when it takes which nodes for dead."""

    def __init__(self, store, clock, name):
        self.members = Membership(store, clock, name, shared=True, lease_seconds=LEASE)
        self.clock, self.gone, self.looks = clock, {}, 0
        self.task = asyncio.create_task(self._run())

    async def _run(self):
        while True:
            await self.clock.sleep(self.members.period)
            try:
                gone = await self.members.beat()
            except StoreUnavailable:
                continue
            self.looks += 1
            for node in gone:
                self.gone.setdefault(node, self.clock.monotonic())


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store(clock):
    return Counters(clock)


@pytest.fixture
async def watch(store, clock):
    made = []

    def start(name):
        made.append(Watcher(store, clock, name))
        return made[-1]

    yield start
    for one in made:
        one.task.cancel()
    await asyncio.gather(*(one.task for one in made), return_exceptions=True)


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def go_on(clock, seconds, step=0.1):
    for _ in range(round(seconds / step)):
        clock.jump(step)
        await settle()


@pytest.mark.parametrize("seconds", SLOW)
async def test_death_is_seen_in_bounded_time(watch, store, clock, seconds):
    """However long a look takes; with a store that answers at once within 1.4 leases."""
    a, b = watch("a"), watch("b")
    await go_on(clock, 3 * LEASE)
    store.seconds = seconds
    await go_on(clock, 4 * (PERIOD + seconds))
    assert not b.gone
    a.task.cancel()
    died = clock.monotonic()
    bound = 7 * (PERIOD + seconds) + LEASE if seconds else 1.4 * LEASE + 0.2
    await go_on(clock, bound)
    assert died < b.gone["a"] <= died + bound


@pytest.mark.parametrize("seconds", SLOW)
async def test_the_living_are_not_taken_for_dead(watch, store, clock, seconds):
    """While both beat on the same slow store, none takes the other for dead, and both count two."""
    a, b = watch("a"), watch("b")
    store.seconds = seconds
    await go_on(clock, 60 * (PERIOD + seconds), step=0.25)
    assert a.looks > 25
    assert (a.gone, b.gone) == ({}, {})
    assert (a.members.nodes, b.members.nodes) == (2, 2)


@pytest.mark.parametrize("seconds", [0.0, LEASE])
async def test_after_the_store_was_away(watch, store, clock, seconds):
    """Nobody could beat: who comes back a little later than the others is not taken for dead."""
    a, b = watch("a"), watch("b")
    store.seconds = seconds
    await go_on(clock, 10 * (PERIOD + seconds))
    store.away = True
    a.task.cancel()
    await go_on(clock, 20 * LEASE)
    store.away = False
    await go_on(clock, 4 * (PERIOD + seconds))
    late = Watcher(store, clock, "a")
    await go_on(clock, 10 * (PERIOD + seconds))
    assert not b.gone
    late.task.cancel()
    await asyncio.gather(a.task, late.task, return_exceptions=True)


async def test_after_a_pause_of_the_one_who_watches(watch, store, clock):
    """The whole machine slept: the first one awake gives the others the time of five looks."""
    watch("a").task.cancel()
    b = watch("b")
    store.counters["a"] = 7
    await go_on(clock, PERIOD + 0.1)
    clock.jump(100 * LEASE)
    await settle()
    await go_on(clock, 4 * PERIOD)
    store.counters["a"] += 1
    await go_on(clock, LEASE)
    assert not b.gone


async def test_a_store_that_comes_and_goes(watch, store, clock):
    """Every look after a gap counts a little: it is seen in the end, after twenty of them at most."""
    b = watch("b")
    store.counters["a"] = 7
    await go_on(clock, PERIOD + 0.1)
    before = b.looks
    while not b.gone:
        store.away = True
        await go_on(clock, LEASE)
        store.away = False
        await go_on(clock, PERIOD)
        assert b.looks - before <= 25
    assert b.looks - before >= 20


async def test_many_looks_at_once_are_one(store, clock):
    """After a pause every attempt that is about to begin looks: that says no more than one look."""
    members = Membership(store, clock, "b", shared=True, lease_seconds=LEASE)
    store.counters["a"] = 7
    await members.beat()
    clock.jump(10 * LEASE)
    for _ in range(100):
        assert await members.beat() == set()


async def test_who_may_have_been_taken_for_dead_knows(store, clock):
    """A beat whose answer comes a lease after the one before was sent: what the node had until then may be another's."""
    members = Membership(store, clock, "a", shared=True, lease_seconds=LEASE)
    await members.beat()
    clock.jump(1)
    had = clock.monotonic()
    assert members.held_since(had)
    clock.jump(0.7 * LEASE)
    store.seconds = 0.5 * LEASE
    beat = asyncio.create_task(members.beat())
    await settle()
    await go_on(clock, 0.5 * LEASE)
    await beat
    assert not members.held_since(had)
    store.seconds = 0
    await members.beat()
    assert members.held_since(clock.monotonic())
