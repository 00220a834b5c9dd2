"""Accounts share the processes for scripts: whoever has much to do keeps nobody else waiting for longer than a turn."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from script_calls import script

from flowrunner.config import Settings
from flowrunner.tasks.javascript.calls import ScriptFailed
from flowrunner.tasks.javascript.scripts import Scripts
from flowrunner.tasks.javascript.turns import TooManyWaiting, Turns
from flowrunner.wiring import build

ENDLESS = {"source": "for (;;);", "limits": {"milliseconds": 250}}


class Visitors:
    """Who holds a place, and in which order they came to it."""

    def __init__(self, turns):
        self.turns, self.order, self.holds = turns, [], []

    def come(self, account):
        leave = asyncio.Event()

        async def visit():
            async with self.turns.turn(account):
                self.order.append(account)
                self.holds.append((account, leave))
                await leave.wait()

        return asyncio.create_task(visit())

    async def one_leaves(self):
        self.holds.pop(0)[1].set()
        await settle()


async def settle():
    for _ in range(6):
        await asyncio.sleep(0)


async def test_round_robin():
    """With one place, accounts that wait take turns; within an account the first to come is the first."""
    visitors = Visitors(Turns(1))
    tasks = [visitors.come(account) for account in "aaaabbc"]
    await settle()
    for _ in range(7):
        await visitors.one_leaves()
    assert "".join(visitors.order) == "aabcaba"
    await asyncio.gather(*tasks)


async def test_who_comes_to_a_full_pool_has_the_next_place():
    """However many scripts of another account wait before it; and from then on its share."""
    visitors = Visitors(Turns(4))
    tasks = [visitors.come("a") for _ in range(50)]
    await settle()
    tasks += [visitors.come("b") for _ in range(50)]
    await settle()
    assert visitors.order == ["a"] * 4
    for _ in range(8):
        await visitors.one_leaves()
    assert visitors.order[4:6] == ["b", "b"]
    assert sorted(account for account, _ in visitors.holds) == ["a", "a", "b", "b"]
    for _ in range(88):
        await visitors.one_leaves()
    while visitors.holds:
        await visitors.one_leaves()
    await asyncio.gather(*tasks)
    assert visitors.order.count("a") == visitors.order.count("b") == 50


async def test_so_many_may_wait():
    """One more is refused at once; another account is not."""
    visitors = Visitors(Turns(1, most_waiting=2))
    tasks = [visitors.come("a") for _ in range(3)]
    await settle()
    with pytest.raises(TooManyWaiting):
        await visitors.come("a")
    tasks.append(visitors.come("b"))
    for _ in range(4):
        await settle()
        await visitors.one_leaves()
    await asyncio.gather(*tasks)


@given(st.integers(1, 3), st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["come", "leave", "cancel"])), max_size=60))
def test_no_place_is_lost(size, moves):
    """Whoever comes, leaves or gives up in the middle: never more than there are places, and at the end all are free."""

    async def play():
        turns = Turns(size)
        visitors, tasks = Visitors(turns), []
        for number, (account, move) in enumerate(moves):
            if move == "come":
                tasks.append(visitors.come(account))
            elif move == "leave" and visitors.holds:
                visitors.holds.pop(0)[1].set()  # and whoever is given the place may be cancelled before it knows
            elif move == "cancel" and tasks:
                task = tasks.pop(number % len(tasks))
                task.cancel()
            if number % 3 == 0:
                await settle()
            assert sum(turns._taken.values()) <= size
        while visitors.holds or any(not task.done() for task in tasks):
            await settle()
            if visitors.holds:
                visitors.holds.pop(0)[1].set()
        await asyncio.gather(*tasks, return_exceptions=True)
        await settle()
        assert (turns._free, dict(turns._taken), dict(turns._waiting)) == (size, {}, {})

    asyncio.run(play())


# --- real processes


async def test_one_script_beside_fifty_endless_ones(stack):
    """It runs as soon as one of those that run has ended, not after all that wait."""
    scripts = Scripts(2)
    await scripts.start(stack)
    ended = []

    async def endless(number):
        with pytest.raises(ScriptFailed, match="did not end"):
            await scripts.run(script(**ENDLESS, account="busy"))
        ended.append(number)

    busy = [asyncio.create_task(endless(number)) for number in range(50)]
    while not scripts._pool._turns._waiting:
        await asyncio.sleep(0.01)
    waits = []
    for _ in range(3):  # and again, whenever it comes
        before = len(ended)
        assert (await scripts.run(script("input.x", account="calm"))).value == 3
        waits.append(len(ended) - before)
    assert max(waits) <= 8, waits  # one or two on an idle machine; more may end while its process is made
    for task in busy:
        task.cancel()
    await asyncio.gather(*busy, return_exceptions=True)


async def test_a_full_queue(stack):
    """The script fails at once, by a name that Retry can take up; another account's runs."""
    scripts = Scripts(1, 1)
    await scripts.start(stack)
    busy = [asyncio.create_task(scripts.run(script(**ENDLESS, account="busy"))) for _ in range(2)]
    while not scripts._pool._turns._waiting:
        await asyncio.sleep(0.01)
    with pytest.raises(ScriptFailed) as caught:
        await scripts.run(script("1", account="busy"))
    assert caught.value.error == "FlowRunner.ScriptBusy"
    assert (await scripts.run(script("1", account="calm"))).value == 1
    await asyncio.gather(*busy, return_exceptions=True)


FLOWS = {
    "short": "metadata: {name: short}\nnodes:\n  a: {type: transform, params: {script: 'for (;;);'}}\n",
    "own": "metadata: {name: own}\nnodes:\n  a: {type: script, params: {script: 'return 1', timeout: 10}}\n",
    "large": "metadata: {name: large}\nnodes:\n  a: {type: transform, params: {script: 'return new Array(1e6).fill().map((_, i) => [i]).length'}}\n",
}


async def test_settings_bound_scripts(tmp_path):
    """Workers, time, memory and queue are those of the settings, for scripts of flows that say nothing of their own."""
    from flowrunner.definitions.entries import About

    settings = Settings(store="memory:", dev=True, script_workers=3, script_timeout_seconds=0.2, script_memory_mebibytes=8, script_queue=7)
    application = build(settings)
    outcomes = {}
    async with AsyncExitStack() as stack:
        await application.start(stack)
        pool = application._tasks._scripts._pool
        assert (pool.size, pool._turns._most_waiting) == (3, 7)
        flows = application.authoring.flows
        for name, text in FLOWS.items():
            flow = (await flows.create("000000000000", text, by="ada", about=About())).definition.id
            head = await application.engine.start_execution(await flows.machine("000000000000", flow))
            ended = await application.feed.ended(head.id)
            outcomes[name] = (ended.error, ended.status)
    assert outcomes == {
        "short": ("FlowRunner.ScriptTimeout", "FAILED"), "own": (None, "SUCCEEDED"), "large": ("FlowRunner.ScriptMemory", "FAILED"),
    }  # fmt: skip
