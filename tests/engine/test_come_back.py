"""Errors that nobody expects: what they stop goes on by itself once they are over, on a store that only this server opens."""

import json
from contextlib import AsyncExitStack

import pytest
from enginebench import ACCOUNT, Bench

from flowrunner.errors import StoreError, StoreUnavailable
from flowrunner.ports.tasks import ChildStart, Succeeded
from flowrunner.stores.memory.store import MemoryStore
from flowrunner.stores.open import open_store
from flowrunner.testing.clock import ManualClock

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:"
CHILD = "arn:aws:states:us-east-1:000000000000:stateMachine:child"


def one(state):
    """A machine of one state."""
    return {"StartAt": "S", "States": {"S": {**state, "End": True}}}


TASK = one({"Type": "Task", "Resource": FUNCTION + "f"})
SYNC = one({"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync", "Parameters": {"StateMachineArn": CHILD}})
LONG = {"StartAt": "P0", "States": {f"P{n}": {"Type": "Pass", "Next": f"P{n + 1}"} for n in range(600)} | {"P600": {"Type": "Wait", "Seconds": 1, "End": True}}}


@pytest.fixture
async def bench():
    """An engine on a store in memory, whose methods a test may replace."""
    async with AsyncExitStack() as stack:
        made = Bench(MemoryStore(), clock=ManualClock())
        await made.engine.start(stack)
        yield made


def refuse_once(bench, when):
    """The next commit of which `when` holds fails by an error that is no absence of the store."""
    commit, refused = bench.store.executions.commit, []

    async def refusing(write):
        if not refused and when(write):
            refused.append(write)
            raise StoreError("refused")
        return await commit(write)

    bench.store.executions.commit = refusing
    return refused


async def test_a_result_that_could_not_be_stored(bench):
    """The outcome is lost, so it is unknown: the execution is told so instead of waiting for ever."""
    bench.handler.table = {"f": [{"return": 1, "after": 2}]}
    head = await bench.engine.start_execution(await bench.machine(TASK))
    refused = refuse_once(bench, lambda write: write.head.status == "SUCCEEDED")
    ended = await bench.finish(head.id)
    assert refused
    assert ended.error == "FlowRunner.OutcomeUnknown"
    assert len(bench.handler.calls) == 1


async def test_the_end_of_a_child_that_could_not_be_stored(bench):
    """It is in the parent's inbox still."""
    await bench.machine(one({"Type": "Wait", "Seconds": 5}), name="child")

    async def run(call):
        start = ChildStart(account=ACCOUNT, machine_arn=CHILD, name=None, input="{}", key=call.key, parent=call.execution, attempt=call.attempt, wait="text")
        child = await bench.engine.start_child(start)
        return Succeeded(json.dumps({"ExecutionArn": child.arn, "StartDate": child.started_at}))

    bench.handler.run = run
    head = await bench.engine.start_execution(await bench.machine(SYNC))
    refused = refuse_once(bench, lambda write: write.head.id == head.id and write.consumed)
    assert (await bench.finish(head.id)).status == "SUCCEEDED"
    assert refused


async def test_a_cut_step_that_could_not_be_stored(bench):
    """The rest of the chain is made after all."""
    head = await bench.engine.start_execution(await bench.machine(LONG))
    refused = refuse_once(bench, lambda write: write.head.last_seq > 1000)
    assert (await bench.finish(head.id)).status == "SUCCEEDED"
    assert refused
    events = [record["id"] for record in await bench.records(head.id)]
    assert events == list(range(1, len(events) + 1))


@pytest.mark.parametrize("error", [StoreUnavailable("away"), ValueError("nobody expects this")], ids=["away", "broken"])
async def test_taking_up_work_from_a_store_that_fails_at_first(tmp_path, error):
    """The server before died; the one that starts cannot read what it left at once, but later: it goes on without another restart."""
    url, clock = f"sqlite:///{tmp_path / 'flow.db'}", ManualClock()
    async with AsyncExitStack() as stack:
        store = open_store(url, clock=clock)
        await store.start(stack)
        first = Bench(store, clock=clock)
        first.handler.table = {"f": [{"hang": True}]}
        await first.engine.start(AsyncExitStack())
        head = await first.engine.start_execution(await first.machine(TASK))
        await first.settle()
        first.engine._dispatcher._stopping = True
    async with AsyncExitStack() as stack:
        store = open_store(url, clock=clock)
        await store.start(stack)
        second = Bench(store, clock=clock)
        load, failures = second.store.executions.load, [error]

        async def failing(execution):
            if failures:
                raise failures.pop()
            return await load(execution)

        second.store.executions.load = failing
        await second.engine.start(stack)
        assert (await second.finish(head.id)).error == "FlowRunner.OutcomeUnknown"
