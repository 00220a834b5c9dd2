from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from flowrunner.definitions.scheduler import Scheduler
from flowrunner.definitions.schedules import DUE, Schedules
from flowrunner.errors import Conflict, ExpressionSyntaxError, InvalidDocument, NotFound, StoreUnavailable
from flowrunner.ports.documents import SYSTEM
from flowrunner.stores.open import open_store
from flowrunner.testing.clock import START, ManualClock

ACCOUNT, OTHER = "123456789012", "210987654321"
MINUTE = 60_000
NEXT = START - START % MINUTE + MINUTE


class Starter:
    """Starts under names that are given once, as the engine does; `fail` is raised instead, before or after the start."""

    def __init__(self):
        self.started, self.fail, self.after = [], None, None

    async def check(self, account, format, target):  # noqa: A002
        if target == "gone":
            raise NotFound(format, target)

    async def start(self, account, format, target, *, name, input):  # noqa: A002
        if self.fail is not None:
            raise self.fail
        await asyncio.sleep(0)
        if name in [one[-2] for one in self.started]:
            raise Conflict(name)
        self.started.append((account, format, target, name, input))
        if self.after is not None:
            raise self.after
        return f"execution-{len(self.started)}"


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def starter():
    return Starter()


@pytest.fixture(params=["memory:", "sqlite:"])
async def documents(request, clock, tmp_path):
    url = "memory:" if request.param == "memory:" else f"sqlite:///{tmp_path}/s.db"
    async with AsyncExitStack() as stack:
        store = open_store(url, clock=clock)
        await store.start(stack)
        yield store.documents


@pytest.fixture
def schedules(documents, starter, clock):
    return Schedules(documents, starter, clock)


async def test_a_schedule_fires_at_its_times(schedules, starter, clock):
    """It starts the flow with the input at each of its times, and remembers."""
    made = await schedules.put(ACCOUNT, "tick", expression="* * * * *", target="f", input={"a": 1}, node="n")
    assert (made.next_at, await schedules.fire_due()) == (NEXT, NEXT)
    assert not starter.started
    for _ in range(3):
        clock.jump((await schedules.fire_due() - clock.now()) / 1000)
        await schedules.fire_due()
    assert [one[:3] + one[4:] for one in starter.started] == [(ACCOUNT, "flow", "f", {"a": 1})] * 3
    kept = await schedules.get(ACCOUNT, "tick")
    assert [(one.planned, one.execution) for one in kept.firings] == [(NEXT + n * MINUTE, f"execution-{n + 1}") for n in range(3)]
    assert (kept.fired, kept.next_at, kept.pending) == (3, NEXT + 3 * MINUTE, None)


async def test_each_time_fires_once_on_many_servers(documents, starter, clock):
    """Whichever servers see that it is due, one starts it."""
    servers = [Schedules(documents, starter, clock) for _ in range(5)]
    for number in range(10):
        await servers[0].put(ACCOUNT, f"s{number}", expression="* * * * *", target="f")
    for _ in range(3):
        clock.jump(60)
        await asyncio.gather(*(server.fire_due() for server in servers))
    assert len(starter.started) == 30
    assert [one.fired for one in await servers[0].page(ACCOUNT)] == [3] * 10
    assert len(await documents.page(SYSTEM, DUE)) == 10


@pytest.mark.parametrize("died", ["fail", "after"])
async def test_a_server_that_dies_between(documents, starter, clock, died):
    """When a server dies after it claimed a time, before or after the start, another one sees to it; the flow is started once."""
    schedules = Schedules(documents, starter, clock)
    await schedules.put(ACCOUNT, "s", expression="0 * * * *", target="f")
    clock.jump(3600)
    setattr(starter, died, StoreUnavailable())
    await schedules.fire_due()
    assert (await schedules.get(ACCOUNT, "s")).pending is not None
    setattr(starter, died, None)
    other = Schedules(documents, starter, clock)
    following = await other.fire_due()
    assert following == clock.now() + MINUTE
    clock.jump(60)
    await other.fire_due()
    kept = await schedules.get(ACCOUNT, "s")
    assert (len(starter.started), kept.fired, kept.pending) == (1, 1, None)
    assert kept.firings[0].execution is not None


async def test_times_that_were_missed(schedules, starter, clock):
    """Times that passed while no server ran are made up for once."""
    await schedules.put(ACCOUNT, "s", expression="* * * * *", target="f")
    clock.jump(3600 * 24)
    await schedules.fire_due()
    assert len(starter.started) == 1
    assert (await schedules.get(ACCOUNT, "s")).next_at > clock.now()


async def test_a_start_that_fails_is_kept(schedules, starter, clock):
    """The firing has the error, and the schedule goes on; the last 100 are kept."""
    await schedules.put(ACCOUNT, "s", expression="* * * * *", target="f")
    starter.fail = NotFound("flow", "f")
    for _ in range(103):
        clock.jump(60)
        await schedules.fire_due()
    kept = await schedules.get(ACCOUNT, "s")
    assert (kept.fired, len(kept.firings)) == (103, 100)
    assert kept.firings[-1].error.startswith("not_found: ")


async def test_changes(schedules, starter, clock, documents):
    """A changed schedule fires at its new times only, a disabled or deleted one never; what has fired stays."""
    await schedules.put(ACCOUNT, "s", expression="* * * * *", target="f")
    clock.jump(60)
    await schedules.fire_due()
    await schedules.put(ACCOUNT, "s", expression="0 0 * * *", target="w", format="workflow")
    clock.jump(120)
    await schedules.fire_due()
    assert len(starter.started) == 1
    changed = await schedules.put(ACCOUNT, "s", expression="* * * * *", target="f", enabled=False)
    assert (changed.next_at, changed.fired, await schedules.fire_due()) == (None, 1, None)
    await schedules.put(ACCOUNT, "s", expression="* * * * *", target="f")
    await schedules.delete(ACCOUNT, "s")
    assert not await documents.page(SYSTEM, DUE)
    for gone in (schedules.get(ACCOUNT, "s"), schedules.delete(ACCOUNT, "s"), schedules.get(ACCOUNT, "a b")):
        with pytest.raises(NotFound):
            await gone


async def test_accounts_do_not_meet(schedules, starter, clock):
    """Each account has its own schedules, of whatever id."""
    for account in (ACCOUNT, OTHER):
        await schedules.put(account, "s.1", expression="* * * * *", target="f")
    await schedules.delete(OTHER, "s.1")
    clock.jump(60)
    await schedules.fire_due()
    assert [one[0] for one in starter.started] == [ACCOUNT]
    assert not await schedules.page(OTHER)


async def test_schedules_that_cannot_be(schedules):
    """The error says what is wrong."""
    with pytest.raises(ExpressionSyntaxError):
        await schedules.put(ACCOUNT, "s", expression="* * *", target="f")
    with pytest.raises(NotFound):
        await schedules.put(ACCOUNT, "s", expression="* * * * *", target="gone")
    with pytest.raises(InvalidDocument):
        await schedules.put(ACCOUNT, "a/b", expression="* * * * *", target="f")


async def test_the_service(schedules, starter, clock):
    """The service sleeps till the next time, and wakes for a schedule that is made meanwhile and for a store that is back."""
    reports = []
    async with AsyncExitStack() as stack:
        await Scheduler(schedules, clock, lambda event, detail: reports.append(event)).start(stack)
        await schedules.put(ACCOUNT, "s", expression="*/5 * * * * *", target="f")
        for _ in range(3):
            while (await schedules.get(ACCOUNT, "s")).next_at not in [when for when, _, waiter in clock._sleepers if not waiter.done()]:
                await asyncio.sleep(0)
            clock.jump_to_next()
        while len(starter.started) < 3:
            await asyncio.sleep(0)
        assert [one[-2].rpartition("-")[2] for one in starter.started] == [str(START - START % 5000 + n * 5000) for n in (1, 2, 3)]
    assert not reports
