"""Executions that were moved while they ran go on in the other store as after a restart."""

import json
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from enginebench import Bench
from test_engine import ACTIVITY, PASS, WAIT, task

from flowrunner.errors import TaskTokenTimedOut
from flowrunner.stores.open import open_store, open_upkeep
from flowrunner.stores.transfer import Put, lines, parsed, rows
from flowrunner.testing.clock import ManualClock

WORK = {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": ACTIVITY, "End": True}}}
MAP = {
    "StartAt": "M",
    "States": {
        "M": {
            "Type": "Map",
            "MaxConcurrency": 2,
            "ItemProcessor": {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 30, "Next": "P"}, "P": {"Type": "Pass", "End": True}}},
            "End": True,
        }
    },
}


@asynccontextmanager
async def opened(path, clock, **settings):
    async with AsyncExitStack() as stack:
        store = open_store(f"sqlite:///{path}", clock=clock, **settings)
        await store.start(stack)
        yield store


async def by_lines(source, target, clock):
    """Export beside the running engine, import into the other store."""
    async with opened(source, clock, readonly=True) as store, store.archive.moment():
        text = [line async for line in lines(store.archive, Counter(), now=clock.now())]
    async with opened(target, clock) as store:
        put = Put(store.archive, strict=True)
        for row in parsed(text, "x"):
            await put.put(row)
        await put.flush()


async def by_backup(source, target, clock):
    """Back up beside the running engine, restore."""
    copy = target.with_suffix(".copy")
    await open_upkeep(f"sqlite:///{source}").back_up(copy)
    await open_upkeep(f"sqlite:///{target}").restore(copy)


@pytest.mark.parametrize("move", [by_lines, by_backup])
@pytest.mark.parametrize("may_repeat", [False, True])
async def test_what_runs_goes_on_after_the_move(tmp_path, move, may_repeat):
    """Waits, Maps and activities go on; attempts that had begun are in doubt and run again only if they may; tokens still count."""
    clock = ManualClock()
    source, target = tmp_path / "a.db", tmp_path / "b.db"
    async with opened(source, clock) as store, AsyncExitStack() as stack:
        old = Bench(store, clock=clock)
        old.handler.table["begun"] = [{"hang": True}]
        await old.engine.start(stack)
        over = await old.engine.start_execution(await old.machine(PASS), input='{"a":1}')
        waiting = await old.engine.start_execution(await old.machine(WAIT), input="{}")
        mapped = await old.engine.start_execution(await old.machine(MAP), input=json.dumps([1, 2, 3]))
        begun = await old.engine.start_execution(await old.machine(task("begun")), input='"x"')
        working = await old.engine.start_execution(await old.machine(WORK), input='"w"')
        token, given = await old.engine.next_activity_task(ACTIVITY, worker="w", wait_seconds=1)
        unasked = await old.engine.start_execution(await old.machine(WORK), input='"u"')
        await old.settle()
        assert len(old.handler.calls) == 1
        await move(source, target, clock)
        async with opened(source, clock, readonly=True) as one, opened(target, clock, readonly=True) as other:
            assert [row async for row in rows(one.archive)] == [row async for row in rows(other.archive)]
    async with opened(target, clock) as store, AsyncExitStack() as stack:
        new = Bench(store, clock=clock)
        new.handler.may_repeat = may_repeat
        await new.engine.start(stack)
        await new.settle()
        assert (await store.executions.head(over.id)).output == '{"a":1}'
        ended = await store.executions.head(begun.id)
        assert (ended.status, ended.error, len(new.handler.calls)) == (("SUCCEEDED", None, 1) if may_repeat else ("FAILED", "FlowRunner.OutcomeUnknown", 0))
        assert given == '"w"'
        await new.engine.answer(token, account="000000000000", output='"answered"')
        assert (await new.finish(working.id)).output == '"answered"'
        with pytest.raises(TaskTokenTimedOut):
            await new.engine.answer(token, account="000000000000", output='"again"')
        later, asked = await new.engine.next_activity_task(ACTIVITY, worker="w", wait_seconds=1)
        assert asked == '"u"'
        await new.engine.answer(later, account="000000000000", output="1")
        assert (await new.finish(unasked.id)).status == "SUCCEEDED"
        assert (await new.finish(waiting.id)).status == "SUCCEEDED"
        assert json.loads((await new.finish(mapped.id)).output) == [1, 2, 3]
        for execution in (over, waiting, mapped, begun, working, unasked):
            head = await store.executions.head(execution.id)
            assert [record["id"] for record in await new.records(execution.id)] == list(range(1, head.last_seq + 1))
