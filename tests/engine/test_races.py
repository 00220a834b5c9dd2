"""What may come in between: answers that are late or lost, callers that go away, clocks that step back, rows that cannot be read."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from enginebench import Bench

from flowrunner.core import facts
from flowrunner.engine import driver, engine
from flowrunner.engine.live import Message
from flowrunner.errors import Fenced, StoreError, StoreUnavailable
from flowrunner.ports.executions import ExecutionQuery
from flowrunner.ports.tasks import ChildStart, Succeeded
from flowrunner.stores.memory.store import MemoryStore
from flowrunner.stores.open import open_store
from flowrunner.testing.clock import ManualClock

ACCOUNT = "000000000000"
ACTIVITY = "arn:aws:states:us-east-1:000000000000:activity:a"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:"
CHILD = "arn:aws:states:us-east-1:000000000000:stateMachine:child"


def one(state):
    """A machine of one state."""
    return {"StartAt": "S", "States": {"S": {**state, "End": True}}}


def twice(name):
    """A branch of two activities."""
    work = {"Type": "Task", "Resource": ACTIVITY}
    return {"StartAt": f"{name}1", "States": {f"{name}1": {**work, "Next": f"{name}2"}, f"{name}2": {**work, "End": True}}}


@pytest.fixture
async def bench():
    """An engine on a store in memory, whose methods a test may replace."""
    async with AsyncExitStack() as stack:
        clock = ManualClock()
        made = Bench(MemoryStore(), clock=clock)
        await made.engine.start(stack)
        yield made


async def pass_time(bench, seconds, step=1):
    for _ in range(seconds // step):
        bench.clock.jump(step)
        await bench.settle()


async def test_a_task_taken_before_the_start_is_answered(bench):
    """A worker sees a task between the commit of its start and the answer to it: its heartbeat timer fires all the same."""
    commit = bench.store.executions.commit

    async def late(write):
        answer = await commit(write)
        if write.create:
            for _ in range(10):
                await asyncio.sleep(0)
        return answer

    bench.store.executions.commit = late
    definition = await bench.machine(one({"Type": "Task", "Resource": ACTIVITY, "HeartbeatSeconds": 5}))
    starting = asyncio.create_task(bench.engine.start_execution(definition))
    while not await bench.store.executions.activity_tasks(ACTIVITY):
        await asyncio.sleep(0)
    polling = asyncio.create_task(bench.engine.next_activity_task(ACTIVITY, worker=None, wait_seconds=0))
    head = await starting
    assert await polling is not None
    await pass_time(bench, 7)
    ended = await bench.store.executions.head(head.id)
    assert (ended.status, ended.error) == ("FAILED", "States.Timeout")


async def test_an_unanswered_create_that_was_stepped_meanwhile(bench):
    """A start is stored but answered with an error; its log has no record twice, whatever came before the engine could look."""
    executions, clock = bench.store.executions, bench.clock
    commit, look = executions.commit, executions.head
    away = []

    async def lost(write):
        answer = await commit(write)
        if write.create:
            away.append(True)
            raise StoreUnavailable("no answer")
        return answer

    async def head(execution):
        if away:
            raise StoreUnavailable("no answer")
        return await look(execution)

    executions.commit, executions.head = lost, head
    definition = await bench.machine(one({"Type": "Task", "Resource": ACTIVITY, "HeartbeatSeconds": 50}))
    with pytest.raises(StoreUnavailable):
        await bench.engine.start_execution(definition, name="n")
    polling = asyncio.create_task(bench.engine.next_activity_task(ACTIVITY, worker=None, wait_seconds=0))
    await asyncio.sleep(0)
    away.clear()
    clock.jump(1)
    token, _ = await polling
    await bench.engine.answer(token, account=ACCOUNT, output="{}")
    await bench.settle()
    ended = await executions.find(ACCOUNT, definition.name, "n")
    assert ended.status == "SUCCEEDED"
    assert [record["id"] for record in await bench.records(ended.id)] == [1, 2, 3, 4, 5, 6, 7]


async def test_a_caller_that_goes_away_stops_nothing(bench):
    """Whoever is cancelled while its start is being stored leaves an execution that runs."""
    commit = bench.store.executions.commit

    async def slow(write):
        answer = await commit(write)
        stored.set()
        await may_answer.wait()
        return answer

    stored, may_answer = asyncio.Event(), asyncio.Event()
    bench.store.executions.commit = slow
    starting = asyncio.create_task(bench.engine.start_execution(await bench.machine(one({"Type": "Task", "Resource": FUNCTION + "f"})), name="n"))
    await stored.wait()
    starting.cancel()
    may_answer.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    for _ in range(5):
        await bench.settle()
    [head] = bench.store.executions._executions.values()
    assert head.head.status == "SUCCEEDED"
    assert len(bench.handler.calls) == 1


async def test_who_waits_is_told_of_a_refused_write(bench):
    """A step that the store refuses for good is an error for those who sent its messages; they do not wait for ever."""
    head = await bench.engine.start_execution(await bench.machine(one({"Type": "Wait", "Seconds": 100})))

    async def refuse(write):
        raise StoreError("refused")

    bench.store.executions.commit = refuse
    with pytest.raises(StoreError, match="refused"):
        await bench.engine.stop_execution(head.id)


async def test_messages_are_put_back_once(bench, monkeypatch):
    """A step that was cut by time and then fenced off is tried again with each of its messages once."""
    head = await bench.engine.start_execution(await bench.machine(one({"Type": "Task", "Resource": ACTIVITY})))
    monkeypatch.setattr(driver, "LONGEST_MAKING_SECONDS", -1)
    commit = bench.store.executions.commit
    refusals = [Fenced("once")]

    async def fenced(write):
        if refusals:
            raise refusals.pop()
        return await commit(write)

    bench.store.executions.commit = fenced
    made, undone = [], []
    for number in range(4):

        def make(machine, now, number=number):
            made.append(number)
            return facts.AttemptHeartbeat(at=now, attempt=1) if number < 2 else None

        bench.engine.post(head.id, Message(make=make, undo=lambda number=number: undone.append(number)))
    await bench.settle()
    assert (made, undone) == ([0, 0, 1, 2, 3], [2, 3])


async def test_a_handler_that_lets_a_cancellation_out(bench):
    """Something that it waited for was cancelled, not the attempt: it fails like any handler that breaks, instead of hanging for ever."""

    async def run(call):
        inner = asyncio.get_running_loop().create_future()
        inner.cancel()
        await inner

    bench.handler.run = run
    ended = await bench.run(one({"Type": "Task", "Resource": FUNCTION + "f"}))
    assert (ended.status, ended.error) == ("FAILED", "States.TaskFailed")
    assert "broke: CancelledError" in ended.cause


async def test_the_clock_steps_back_as_a_timer_fires(bench):
    """A timer that came a little too early by the new time comes again."""
    bench.handler.table = {"f": [{"hang": True}]}
    head = await bench.engine.start_execution(await bench.machine(one({"Type": "Task", "Resource": FUNCTION + "f", "TimeoutSeconds": 5})))
    await bench.settle()
    fire = bench.engine._timers._fire
    back = [200]

    def fire_and_step_back(execution):
        fire(execution)
        bench.clock._now -= back.pop() if back else 0

    bench.engine._timers._fire = fire_and_step_back
    await pass_time(bench, 7)
    assert not back
    assert (await bench.store.executions.head(head.id)).error == "States.Timeout"


async def test_a_row_that_cannot_be_loaded_keeps_nobody_waiting(bench):
    """One due execution that cannot be read is looked at again after a while, not at once; the others fire."""
    definition = await bench.machine(one({"Type": "Wait", "Seconds": 5}))
    bench.engine._kept_warm = 0
    heads = [await bench.engine.start_execution(definition) for _ in range(3)]
    load = bench.store.executions.load
    looked = []

    async def broken(execution):
        if execution == heads[0].id:
            looked.append(bench.clock.now())
            raise ValueError("unreadable")
        return await load(execution)

    bench.store.executions.load = broken
    await pass_time(bench, 30)
    assert [(await bench.store.executions.head(head.id)).status for head in heads] == ["RUNNING", "SUCCEEDED", "SUCCEEDED"]
    assert len(looked) == 1
    bench.store.executions.load = load
    await pass_time(bench, 60)
    assert (await bench.store.executions.head(heads[0].id)).status == "SUCCEEDED"


@pytest.fixture
async def children(bench):
    """The bench with a machine named child, and a handler that starts it."""
    await bench.machine(one({"Type": "Wait", "Seconds": 60}), name="child")
    names = []

    async def run(call):
        start = ChildStart(
            account=call.account, machine_arn=CHILD, name=names[0] if names else None, input="{}",
            key=call.key, parent=call.execution, attempt=call.attempt, wait="text",
        )  # fmt: skip
        child = await bench.engine.start_child(start)
        return Succeeded(json.dumps({"ExecutionArn": child.arn, "StartDate": child.started_at}))

    bench.handler.run = run
    bench.names = names
    return bench


SYNC = one({"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync", "Parameters": {"StateMachineArn": CHILD, "Input": {}}})


async def test_the_end_of_a_child_waits_for_the_store(children):
    """A child ends while its parent cannot be read: the parent hears of it when the store is back."""
    bench = children
    bench.engine._kept_warm = 0
    parent = await bench.engine.start_execution(await bench.machine(SYNC))
    await bench.settle()
    load = bench.store.executions.load
    failed = []

    async def away_once(execution):
        if execution == parent.id and not failed:
            failed.append(execution)
            raise StoreUnavailable("away")
        return await load(execution)

    bench.store.executions.load = away_once
    await pass_time(bench, 70)
    assert failed
    assert (await bench.store.executions.head(parent.id)).status == "SUCCEEDED"


async def test_a_message_that_comes_after_the_stop_has_cut_a_step_off(bench):
    """The step was not stored: nobody goes on with the machine that has taken its facts in, so what is stored afterwards can be replayed."""
    head = await bench.engine.start_execution(await bench.machine(one({"Type": "Parallel", "Branches": [twice("a"), twice("b")]})))
    commit, reached = bench.store.executions.commit, asyncio.Event()
    first, second = [attempt.command.attempt for attempt in (await bench.engine._driver.load(head.id)).machine.open_attempts()]

    async def away(write):
        reached.set()
        raise StoreUnavailable("away")

    def ended(attempt):
        return lambda machine, now: facts.AttemptSucceeded(at=now, attempt=attempt, output="1")

    bench.store.executions.commit = away
    bench.engine.post(head.id, Message(make=ended(first)))
    await reached.wait()
    await bench.engine._stop()
    bench.store.executions.commit = commit
    await bench.engine.send(head.id, ended(second))
    loaded = await bench.engine._driver.load(head.id)
    assert [attempt.command.state for attempt in loaded.machine.open_attempts()] == ["a1", "b2"]
    events = [record["id"] for record in await bench.records(head.id)]
    assert events == list(range(1, len(events) + 1))


async def test_a_child_that_starts_as_the_server_stops(children):
    """Its parent's attempt is cut off by the stop and goes on with the next server: the child is not stopped meanwhile."""
    bench = children
    commit, starting = bench.store.executions.commit, asyncio.Event()
    store = bench.store.executions._part

    async def slow(write):
        if write.create and write.head.machine == "child":
            starting.set()
            await bench.engine._dispatcher.stop(0)
        return await commit(write)

    bench.store.executions.commit = slow
    await bench.engine.start_execution(await bench.machine(SYNC))
    await starting.wait()
    await bench.engine._stop()
    [child] = [one.head for one in store._executions.values() if one.head.machine == "child"]
    assert child.status == "RUNNING"


async def test_nobody_waits_for_a_child_of_others(children):
    """`.sync` with a name that another's running execution has fails like a name that is taken; its end would go elsewhere."""
    bench = children
    bench.names.append("order-1")
    stranger = await bench.engine.start_execution(await bench.store.definitions.machine(ACCOUNT, "child"), name="order-1")
    parent = await bench.engine.start_execution(await bench.machine(SYNC))
    await pass_time(bench, 70)
    assert (await bench.store.executions.head(stranger.id)).status == "SUCCEEDED"
    ended = await bench.store.executions.head(parent.id)
    assert ended.status == "FAILED"
    assert "Execution Already Exists" in ended.cause


async def test_started_idempotent_attempts_wait_for_a_place(tmp_path):
    """After a crash more attempts may be repeated than there are places: the last one runs when a place is free."""
    url, clock = f"sqlite:///{tmp_path / 'flow.db'}", ManualClock()
    async with AsyncExitStack() as stack:
        store = open_store(url, clock=clock)
        await store.start(stack)
        first = Bench(store, clock=clock)
        first.handler.table = {"f": [{"hang": True}]}
        await first.engine.start(AsyncExitStack())
        definition = await first.machine(one({"Type": "Task", "Resource": FUNCTION + "f"}))
        heads = [await first.engine.start_execution(definition) for _ in range(3)]
        await first.settle()
        first.engine._dispatcher._stopping = True
    async with AsyncExitStack() as stack:
        store = open_store(url, clock=clock)
        await store.start(stack)
        second = Bench(store, clock=clock)
        second.handler.limit = 1
        second.handler.may_repeat = True
        await second.engine.start(stack)
        for _ in range(3):
            await second.settle()
        assert [(await store.executions.head(head.id)).status for head in heads] == ["SUCCEEDED"] * 3
        assert sorted(call.execution for call in second.handler.calls) == sorted(head.id for head in heads)


async def test_150_workers_and_150_tasks(bench):
    """Every worker gets a task at once when there are enough."""
    definition = await bench.machine(one({"Type": "Task", "Resource": ACTIVITY}))
    for _ in range(150):
        await bench.engine.start_execution(definition)
    polls = [bench.engine.next_activity_task(ACTIVITY, worker=None, wait_seconds=60) for _ in range(150)]
    tokens = {token for token, _ in await asyncio.wait_for(asyncio.gather(*polls), 5)}
    assert len(tokens) == 150


@pytest.mark.parametrize("how", ["waits in line", "is being stored", "is stored", "is told too late"])
async def test_a_task_for_a_worker_that_has_gone(bench, how, monkeypatch):
    """Wherever the taking of a task stands when its worker goes away, or is told that the store does not answer: the next worker gets it."""
    head = await bench.engine.start_execution(await bench.machine(one({"Type": "Task", "Resource": ACTIVITY, "HeartbeatSeconds": 100})))
    commit, going_on, storing, stored = bench.store.executions.commit, asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(write):
        storing.set()
        if how != "is stored":
            await going_on.wait()
        answer = await commit(write)
        stored.set()
        return answer

    bench.store.executions.commit = slow
    if how == "waits in line":  # behind another message of the execution
        bench.engine.post(head.id, Message(make=lambda machine, now: facts.AttemptHeartbeat(at=now, attempt=1)))
        await storing.wait()
    poll = asyncio.create_task(bench.engine.next_activity_task(ACTIVITY, worker="gone", wait_seconds=60))
    if how == "is told too late":
        with monkeypatch.context() as patch:
            patch.setattr(engine, "ANSWER_SECONDS", 0.05)
            with pytest.raises(StoreUnavailable):
                await poll
    else:
        if how == "waits in line":
            for _ in range(20):
                await asyncio.sleep(0)
        await (stored if how == "is stored" else storing).wait()
        while how == "is stored" and bench.engine._live.get(head.id) is not None:
            await asyncio.sleep(0)
        poll.cancel()
        await asyncio.gather(poll, return_exceptions=True)
    going_on.set()
    await bench.settle()
    if poll.cancelled() or how == "is told too late":
        next_poll = asyncio.create_task(bench.engine.next_activity_task(ACTIVITY, worker="next", wait_seconds=5))
        await bench.settle()
        token, given = next_poll.result()
    else:
        token, given = poll.result()
    assert given == "{}"
    await bench.engine.answer(token, account=ACCOUNT, output="1")
    assert (await bench.store.executions.head(head.id)).status == "SUCCEEDED"
    assert not bench.engine._activities._given_back


async def test_express_executions_share_names():
    """AWS: a name is no key of express executions; two starts with it are two executions, each under that name."""
    async with AsyncExitStack() as stack:
        clock = ManualClock()
        express, standard = Bench(MemoryStore(), clock=clock), Bench(MemoryStore(), clock=clock)
        standard.engine._express = express.engine
        for made in (express, standard):
            await made.engine.start(stack)
        definition = await express.machine(one({"Type": "Pass"}))
        definition = type(definition)(**{field: getattr(definition, field) for field in definition.__slots__} | {"type": "EXPRESS"})
        first, second = [await standard.engine.run_to_end(definition, name="same") for _ in range(2)]
        assert first.id != second.id
        assert {first.status, second.status} == {"SUCCEEDED"}


@pytest.mark.parametrize("done", [True, False], ids=["done and denied", "refused"])
async def test_a_child_is_started_once_though_the_store_fails(bench, done):
    """A start of a child that the store failed, or did and denied, is asked for until it is answered: it is one child, and no attempt fails."""
    await bench.machine(one({"Type": "Wait", "Seconds": 1}), name="child")
    commit, failed = bench.store.executions.commit, []

    async def deny(write):
        if write.create and len(failed) < 3:
            failed.append(await commit(write) if done else None)
            raise StoreUnavailable("no answer")
        return await commit(write)

    bench.store.executions.commit = deny
    start = ChildStart(account=ACCOUNT, machine_arn=CHILD, name=None, input="{}", key="k", parent="0" * 32, attempt=1, wait="text")
    starting = asyncio.create_task(bench.engine.start_child(start))
    await pass_time(bench, 5)
    arn = (await starting).arn
    executions = await bench.store.executions.list(ExecutionQuery(account=ACCOUNT, machine="child"))
    assert [execution.name for execution in executions] == [arn.rpartition(":")[2]]


async def test_an_attempt_that_is_given_up_asks_no_more(bench):
    """A start of a child that nobody waits for any more is not tried again once its attempt is cancelled."""
    await bench.machine(one({"Type": "Wait", "Seconds": 1}), name="child")
    commit = bench.store.executions.commit

    async def away(write):
        raise StoreUnavailable("away")

    bench.store.executions.commit = away
    start = ChildStart(account=ACCOUNT, machine_arn=CHILD, name=None, input="{}", key="k", parent="0" * 32, attempt=1, wait=None)
    starting = asyncio.create_task(bench.engine.start_child(start))
    await pass_time(bench, 1)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    bench.store.executions.commit = commit
    await pass_time(bench, 10)
    assert not await bench.store.executions.list(ExecutionQuery(account=ACCOUNT, machine="child"))
