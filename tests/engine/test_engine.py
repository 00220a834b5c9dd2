"""The engine's promises: names, tokens, activities, stopping, recovery, places, the feed."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from enginebench import ACCOUNT, Bench

from flowrunner.core import facts
from flowrunner.engine.children import MOST_NESTED
from flowrunner.engine.live import ExecutionAlreadyExists
from flowrunner.errors import InvalidToken, LimitExceeded, NotFound, StoreUnavailable, TaskTokenTimedOut
from flowrunner.jsonvalue import MAX_DEPTH
from flowrunner.ports.tasks import ChildStart, Succeeded
from flowrunner.stores.open import open_store
from flowrunner.testing.clock import ManualClock

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:"
ACTIVITY = "arn:aws:states:us-east-1:000000000000:activity:work"
PASS = {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}
WAIT = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 60, "End": True}}}


def task(name="f", **fields):
    return {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": FUNCTION + name, "End": True, **fields}}}


CALLBACK = {
    "StartAt": "T",
    "States": {
        "T": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
            "Parameters": {"FunctionName": "f", "Payload": {"token.$": "$$.Task.Token"}},
            "TimeoutSeconds": 100,
            "End": True,
        }
    },
}


async def test_a_start_that_ends_costs_one_commit(bench):
    """An execution of pure states is started and ended by one write."""
    commits = []
    original = bench.store.executions.commit
    bench.store.executions.commit = lambda write: (commits.append(write), original(write))[1]
    head = await bench.engine.start_execution(await bench.machine(PASS), input='{"a":1}')
    assert head.status == "SUCCEEDED"
    assert len(commits) == 1


@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1, 900])
async def test_results_that_no_input_could_be(bench, levels):
    """Whoever does the work: a result nested too deep fails its task, instead of the next expression; Catch can answer it."""
    text = "[" * levels + "]" * levels

    async def run(call):
        return Succeeded(text)

    bench.handler.run = run
    machine = await bench.machine(task())
    ended = await bench.finish((await bench.engine.start_execution(machine)).id)
    if levels == MAX_DEPTH:
        assert (ended.status, ended.output) == ("SUCCEEDED", text)
    else:
        assert (ended.status, ended.error) == ("FAILED", "States.Runtime")
        assert f"The result of {FUNCTION}f cannot be used: it is nested more than {MAX_DEPTH} levels deep." in ended.cause


async def test_names(bench):
    """The same name and input finds the running execution; other input, or an ended one, is refused."""
    machine = await bench.machine(WAIT)
    first = await bench.engine.start_execution(machine, name="n", input="{}")
    again = await bench.engine.start_execution(machine, name="n", input="{}")
    assert again.id == first.id
    with pytest.raises(ExecutionAlreadyExists):
        await bench.engine.start_execution(machine, name="n", input='{"other":1}')
    await bench.finish(first.id)
    with pytest.raises(ExecutionAlreadyExists):
        await bench.engine.start_execution(machine, name="n", input="{}")


async def test_two_hundred_callers_one_name(bench):
    """R17: 200 callers with one name get one execution."""
    machine = await bench.machine(WAIT)
    heads = await asyncio.gather(*(bench.engine.start_execution(machine, name="n", input="{}") for _ in range(200)))
    assert len({head.id for head in heads}) == 1


async def test_stop(bench):
    """Stopping aborts, once; the attempt that runs is cancelled."""
    bench.handler.table = {"f": [{"hang": True}]}
    head = await bench.engine.start_execution(await bench.machine(task()))
    await bench.settle()
    stopped = await bench.engine.stop_execution(head.id, error="E", cause="C")
    assert (stopped.status, stopped.error, stopped.cause) == ("ABORTED", "E", "C")
    await bench.settle()
    assert len(bench.handler.cancelled) == 1
    again = await bench.engine.stop_execution(head.id, error="X")
    assert again.error == "E"
    with pytest.raises(NotFound):
        await bench.engine.stop_execution("0" * 32)


async def test_a_task_token_is_good_for_one_answer(bench):
    """G5: of 16 callers one wins; the others, late and foreign tokens get the typed errors."""
    head = await bench.engine.start_execution(await bench.machine(CALLBACK))
    await bench.settle()
    token = json.loads(bench.handler.calls[0].parameters)["Payload"]["token"]

    async def answer(number):
        try:
            if number % 2:
                await bench.engine.answer(token, account=ACCOUNT, output=json.dumps(number))
            else:
                await bench.engine.answer(token, account=ACCOUNT, error="E", cause=str(number))
        except TaskTokenTimedOut:
            return None
        return number

    won = [number for number in await asyncio.gather(*map(answer, range(16))) if number is not None]
    assert len(won) == 1
    ended = await bench.finish(head.id)
    assert (ended.status == "SUCCEEDED") is bool(won[0] % 2)
    with pytest.raises(TaskTokenTimedOut):
        await bench.engine.answer(token, account=ACCOUNT, output="1")
    for wrong in ("", "x", token[:-6] + "AAAAA=", token.swapcase(), "é"):
        with pytest.raises(InvalidToken):
            await bench.engine.answer(wrong, account=ACCOUNT, output="1")
        with pytest.raises(InvalidToken):
            await bench.engine.heartbeat(wrong, account=ACCOUNT)
    with pytest.raises(InvalidToken):
        await bench.engine.answer(token, account="111111111111", output="1")


async def test_a_token_that_is_answered_within_its_call(bench):
    """A function may answer its own token: the first answer counts, and the state goes on when the function has returned, as with AWS."""
    seen = []

    async def run(call):
        token = json.loads(call.parameters)["Payload"]["token"]
        await bench.engine.answer(token, account=ACCOUNT, output="1")
        for late in (bench.engine.answer(token, account=ACCOUNT, output="2"), bench.engine.heartbeat(token, account=ACCOUNT)):
            with pytest.raises(TaskTokenTimedOut):
                await late
        seen.append((await bench.store.executions.head(call.execution)).status)
        return Succeeded("{}")

    bench.handler.run = run
    head = await bench.run(CALLBACK)
    assert (head.status, head.output, seen) == ("SUCCEEDED", "1", ["RUNNING"])
    events = [record["type"] for record in await bench.records(head.id)]
    assert [event for event in events if event.startswith("Task")] == [
        *("TaskStateEntered", "TaskScheduled", "TaskStarted", "TaskSubmitted", "TaskSucceeded", "TaskStateExited"),
    ]


async def test_heartbeats_keep_a_callback_alive(bench):
    """Each heartbeat moves the deadline; without one the state times out."""
    definition = json.loads(json.dumps(CALLBACK))
    definition["States"]["T"] |= {"HeartbeatSeconds": 10, "TimeoutSeconds": 1000}
    head = await bench.engine.start_execution(await bench.machine(definition))
    await bench.settle()
    token = json.loads(bench.handler.calls[0].parameters)["Payload"]["token"]
    for _ in range(5):
        bench.clock.jump(8)
        await bench.settle()
        await bench.engine.heartbeat(token, account=ACCOUNT)
    ended = await bench.finish(head.id)
    assert (ended.status, ended.error) == ("FAILED", "States.Timeout")
    assert (ended.stopped_at - ended.started_at) / 1000 == pytest.approx(50, abs=0.1)


async def test_activities(bench):
    """A worker gets each task once, in order; waiting workers are woken; its answer ends the task."""
    definition = {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": ACTIVITY, "End": True}}}
    machine = await bench.machine(definition)
    waiting = [asyncio.ensure_future(bench.engine.next_activity_task(ACTIVITY, worker="w", wait_seconds=60)) for _ in range(2)]
    await bench.settle()
    heads = [await bench.engine.start_execution(machine, input=json.dumps(number)) for number in (1, 2)]
    await bench.settle()
    taken = [await task for task in waiting]
    assert sorted(json.loads(given) for _, given in taken) == [1, 2]
    nobody = asyncio.ensure_future(bench.engine.next_activity_task(ACTIVITY, worker="w", wait_seconds=5))
    await bench.settle()
    bench.clock.jump(6)
    assert await nobody is None
    for token, given in taken:
        await bench.engine.answer(token, account=ACCOUNT, output=given)
    for head, number in zip(heads, (1, 2), strict=True):
        ended = await bench.finish(head.id)
        assert json.loads(ended.output) == number
        assert "ActivityStarted" in [record["type"] for record in await bench.records(head.id)]


async def test_an_activity_nobody_takes_times_out(bench):
    """An open activity task leaves its queue when its state times out."""
    definition = {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": ACTIVITY, "TimeoutSeconds": 5, "End": True}}}
    head = await bench.run(definition)
    assert (head.status, head.error) == ("FAILED", "States.Timeout")
    assert not await bench.store.executions.activity_tasks(ACTIVITY)


async def test_places(bench):
    """No more attempts start than the handler has places; the others wait unstarted and follow in order."""
    bench.handler.limit = 3
    bench.handler.table = {"f": [{"return": 1, "after": 1}]}
    definition = {
        "StartAt": "M",
        "States": {"M": {"Type": "Map", "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, **task()}, "End": True}},
    }
    head = await bench.engine.start_execution(await bench.machine(definition), input=json.dumps(list(range(10))))
    await bench.settle()
    assert len(bench.handler.calls) == 3
    types = [record["type"] for record in await bench.records(head.id)]
    assert (types.count("LambdaFunctionScheduled"), types.count("LambdaFunctionStarted")) == (10, 3)
    ended = await bench.finish(head.id)
    assert ended.status == "SUCCEEDED"
    assert (ended.stopped_at - ended.started_at) / 1000 == pytest.approx(4, abs=0.1)


async def test_the_feed_has_no_hole(bench):
    """Followers from any place see every later record once, in order, and then the end."""
    definition = {
        "StartAt": "M",
        "States": {"M": {"Type": "Map", "MaxConcurrency": 1, "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, **WAIT}, "End": True}},
    }
    head = await bench.engine.start_execution(await bench.machine(definition), input="[1,2,3,4]")

    async def follow(after):
        return [seq async for batch in bench.engine.feed.follow(head.id, after=after) for seq, _ in batch]

    followers = [asyncio.ensure_future(follow(after)) for after in (0, 1, 5, 10_000)]
    ended = await bench.finish(head.id)
    await bench.settle()
    late = [await follow(after) for after in (0, 7, ended.last_seq)]
    everything = list(range(1, ended.last_seq + 1))
    assert [await follower for follower in followers] == [everything, everything[1:], everything[5:], []]
    assert late == [everything, everything[7:], []]
    with pytest.raises(NotFound):
        await follow_missing(bench)


async def follow_missing(bench):
    async for _ in bench.engine.feed.follow("0" * 32):
        pass


async def test_a_child_reports_to_its_parent(bench):
    """.sync: the child's end is stored with the child and becomes the result of the parent's attempt; a repeated start finds the same child."""
    await bench.machine(WAIT, name="child")
    parent = await bench.engine.start_execution(await bench.machine(CALLBACK))
    await bench.settle()
    start = ChildStart(
        account=ACCOUNT,
        machine_arn="arn:aws:states:us-east-1:000000000000:stateMachine:child",
        name=None,
        input='{"x":1}',
        key="k",
        parent=parent.id,
        attempt=1,
        wait="json",
    )
    first = await bench.engine.start_child(start)
    assert await bench.engine.start_child(start) == first
    ended = await bench.finish(parent.id)
    described = json.loads(ended.output)
    assert (described["Status"], described["Output"], described["Input"]) == ("SUCCEEDED", {"x": 1}, {"x": 1})
    assert not await bench.store.executions.undelivered(10)


async def test_flows_nest_only_so_deep(bench):
    """A flow that starts itself comes to an end; a state machine may, as with AWS, but is counted."""
    arn = "arn:aws:states:us-east-1:000000000000:stateMachine:"
    parent = await bench.engine.start_execution(await bench.machine(WAIT, name="flow/self"))
    await bench.machine(WAIT, name="machine")

    async def child(of, machine="flow/self"):
        start = ChildStart(account=ACCOUNT, machine_arn=arn + machine, name=None, input="{}", key=f"{of}/1", parent=of, attempt=1, wait=None)
        return await bench.engine.start_child(start)

    last = parent.id
    for level in range(MOST_NESTED):
        last = (await child(last, "machine" if level == 3 else "flow/self")).id
    with pytest.raises(LimitExceeded, match=f"{MOST_NESTED} levels"):
        await child(last)
    beyond = await child(last, "machine")
    with pytest.raises(LimitExceeded, match="flow 'self'"):
        await child(beyond.id)


SYNC = {
    "StartAt": "T",
    "States": {
        "T": {
            "Type": "Task",
            "Resource": "arn:aws:states:::states:startExecution.sync",
            "Parameters": {"StateMachineArn": "x"},
            "TimeoutSeconds": 30,
            "End": True,
        }
    },
}


@pytest.mark.parametrize("how", ["stop", "timeout"])
async def test_a_child_does_not_outlive_the_attempt_that_waits_for_it(bench, how):
    """.sync: when the parent is stopped, or its attempt times out, the child is stopped too."""
    await bench.machine(WAIT, name="child")
    bench.handler.table = {}
    started = asyncio.Event()

    async def run(call):
        child = await bench.engine.start_child(
            ChildStart(
                account=ACCOUNT,
                machine_arn="arn:aws:states:us-east-1:000000000000:stateMachine:child",
                name="c",
                input="{}",
                key=call.key,
                parent=call.execution,
                attempt=1,
                wait="text",
            )
        )
        started.set()
        return Succeeded(json.dumps({"ExecutionArn": child.arn}))

    bench.handler.run = run
    parent = await bench.engine.start_execution(await bench.machine(SYNC))
    await started.wait()
    if how == "stop":
        await bench.engine.stop_execution(parent.id)
    else:
        bench.clock.jump(31)
    child = await bench.store.executions.find(ACCOUNT, "child", "c")
    async with asyncio.timeout(20):  # the clock stands still: only a stop can end it
        child = await bench.engine.feed.ended(child.id)
    assert child.status == "ABORTED"
    assert (await bench.store.executions.head(parent.id)).status == ("ABORTED" if how == "stop" else "FAILED")


@pytest.fixture
async def durable(tmp_path):
    """A SQLite file that survives its engines: a function that starts one more server on it."""
    clock = ManualClock()
    stacks = []

    async def restart():
        while stacks:  # the old one dies without a word: no stop, no hand-over
            old = stacks.pop()
            for work in old.engine._background | set(old.engine._dispatcher._running.values()):
                work.cancel()
            await old.crash()
        stack = AsyncExitStack()
        store = open_store(f"sqlite:///{tmp_path / 'flowrunner.db'}", clock=clock)
        await store.start(stack)
        made = Bench(store, clock=clock)
        services = AsyncExitStack()
        await made.engine.start(services)

        async def crash():
            made.engine._stop = no_stop
            made.engine._dispatcher._stopping = True
            for callback in list(services._exit_callbacks)[1:]:  # the services' tasks, but not the graceful stop
                await callback[1](None, None, None)
            await stack.aclose()

        made.crash = crash
        stacks.append(made)
        return made

    async def no_stop():
        pass

    yield restart
    for made in stacks:
        await made.crash()


async def test_a_running_attempt_is_in_doubt_after_a_crash(durable):
    """G3: an attempt that had begun fails with FlowRunner.OutcomeUnknown; its handler is not called again."""
    bench = await durable()
    bench.handler.table = {"f": [{"hang": True}]}
    head = await bench.engine.start_execution(await bench.machine(task()))
    await bench.settle()
    assert len(bench.handler.calls) == 1
    bench = await durable()
    ended = await bench.finish(head.id)
    assert (ended.status, ended.error) == ("FAILED", "FlowRunner.OutcomeUnknown")
    assert not bench.handler.calls


async def test_retry_allows_the_attempt_again(durable):
    """G3: with a Retry that matches, a new attempt with a new key is made."""
    bench = await durable()
    bench.handler.table = {"f": [{"hang": True}]}
    head = await bench.engine.start_execution(await bench.machine(task(Retry=[{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 1}])))
    await bench.settle()
    old = bench.handler.calls[0]
    bench = await durable()
    ended = await bench.finish(head.id)
    assert ended.status == "SUCCEEDED"
    assert [call.key != old.key for call in bench.handler.calls] == [True]


async def test_an_idempotent_attempt_is_repeated_under_its_key(durable):
    """G3: a task that is marked idempotent runs again, same attempt, same key, one start in the history."""
    bench = await durable()
    bench.handler.table = {"f": [{"hang": True}]}
    head = await bench.engine.start_execution(await bench.machine(task()))
    await bench.settle()
    key = bench.handler.calls[0].key
    bench = await durable()
    bench.handler.may_repeat = True
    # The engine took over before the test could say so: restart once more.
    ended = await bench.finish(head.id)
    assert ended.status in ("SUCCEEDED", "FAILED")
    assert all(call.key == key for call in bench.handler.calls)


async def test_the_number_of_running_executions_outlives_a_restart(durable):
    """What is taken over or woken counts as running, once; its end counts down what was counted up, so never below nothing."""
    bench = await durable()
    bench.handler.table = {"f": [{"hang": True}]}
    waiting = await bench.engine.start_execution(await bench.machine(WAIT))
    await bench.engine.start_execution(await bench.machine(PASS))
    busy = await bench.engine.start_execution(await bench.machine(task(Retry=[{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 1}])))
    await bench.settle()
    assert bench.running() == 2
    bench = await durable()
    assert bench.running() == 1
    started = await bench.engine.start_execution(await bench.machine(WAIT))
    await bench.finish(busy.id)
    assert bench.running() == 1
    for execution in (waiting, started):
        await bench.finish(execution.id)
    assert bench.running() == 0


async def test_waits_tokens_and_queued_attempts_survive(durable):
    """Timers fire after a restart, tokens stay good, attempts that had not begun begin."""
    bench = await durable()
    bench.handler.limit = 1
    bench.handler.table = {"f": [{"hang": True}]}
    waiting = await bench.engine.start_execution(await bench.machine(WAIT))
    callback = await bench.engine.start_execution(await bench.machine(CALLBACK))
    await bench.settle()
    token = json.loads(bench.handler.calls[0].parameters)["Payload"]["token"]
    busy = await bench.engine.start_execution(await bench.machine(task("busy")))
    bench.handler.table["busy"] = [{"hang": True}]
    await bench.settle()
    queued = await bench.engine.start_execution(await bench.machine(task("g")), input="7")
    await bench.settle()
    started = [call.resource.arn.rsplit(":", 1)[-1] for call in bench.handler.calls]
    bench = await durable()
    await bench.engine.answer(token, account=ACCOUNT, output='"late"')
    await bench.settle()
    assert json.loads((await bench.finish(callback.id)).output) == "late"
    assert (await bench.finish(waiting.id)).status == "SUCCEEDED"
    ended = await bench.finish(queued.id)
    assert json.loads(ended.output) == 7
    assert (await bench.finish(busy.id)).error == ("FlowRunner.OutcomeUnknown" if "busy" in started else None)


async def test_a_store_that_fails_loses_nothing(bench):
    """R6: a commit that fails, or succeeds and says it failed, is taken up again; each transition happens once."""
    original = bench.store.executions.commit
    moods = iter([None, "before", None, "after", None, "before", "after", None])

    async def commit(write):
        mood = next(moods, None)
        if mood == "before":
            raise StoreUnavailable("not done")
        head = await original(write)
        if mood == "after":
            raise StoreUnavailable("done, but you are not told")
        return head

    bench.store.executions.commit = commit
    states = {f"T{number}": {"Type": "Task", "Resource": FUNCTION + "f", "Next": f"T{number + 1}"} for number in range(4)}
    head = await bench.run({"StartAt": "T0", "States": {**states, "T4": {"Type": "Pass", "End": True}}}, {"x": 1})
    assert head.status == "SUCCEEDED"
    types = [record["type"] for record in await bench.records(head.id)]
    assert types.count("LambdaFunctionScheduled") == types.count("LambdaFunctionSucceeded") == 4
    assert [record["id"] for record in await bench.records(head.id)] == list(range(1, len(types) + 1))


async def test_a_foreign_step_fences_this_one_off(bench):
    """R13: when somebody else has moved the execution on, the own step is dropped and made again from what is stored."""
    head = await bench.engine.start_execution(await bench.machine(CALLBACK))
    await bench.settle()
    other = Bench(bench.store, clock=bench.clock)
    other.handler.may_repeat = True
    token = json.loads(bench.handler.calls[0].parameters)["Payload"]["token"]
    await other.engine.heartbeat(token, account=ACCOUNT)  # moves the epoch behind the first engine's back
    await bench.engine.answer(token, account=ACCOUNT, output="1")
    assert (await bench.finish(head.id)).output == "1"


async def test_many_waits_due_at_once(bench):
    """Executions that become due in the same second all go on, also where they are more than are asked for at once."""
    machine = await bench.machine(WAIT)
    number_of = {"memory": 2000, "sqlite": 2000, "postgresql": 700, "dynamodb": 50}[bench.store.url.partition(":")[0]]  # its stand-in is slow
    heads = [await bench.engine.start_execution(machine, input=str(number)) for number in range(number_of)]
    assert len(bench.engine._live) == 0
    bench.clock.jump(61)
    for _ in range(40):
        await bench.settle()
        if (await bench.store.executions.head(heads[-1].id)).status == "SUCCEEDED":
            break
    statuses = {(await bench.store.executions.head(head.id)).status for head in heads}
    assert statuses == {"SUCCEEDED"}


def test_facts_are_kept_apart_from_what_is_not():
    """The codec refuses what is no fact."""
    import msgspec

    with pytest.raises(msgspec.ValidationError):
        facts.decode(b'[{"t":"nonsense","at":1}]')


NESTED = {
    "StartAt": "Deeper",
    "States": {
        "Deeper": {"Type": "Pass", "Parameters": {"n.$": "States.MathAdd($.n, 1)", "d.$": "$.d"}, "Next": "Wrap"},
        "Wrap": {"Type": "Pass", "Parameters": {"n.$": "$.n", "d": {"d.$": "$.d"}}, "Next": "More"},
        "More": {"Type": "Choice", "Choices": [{"Variable": "$.n", "NumericLessThan": 1000, "Next": "Deeper"}], "Default": "Done"},
        "Done": {"Type": "Succeed"},
    },
}


async def test_data_that_grows_without_end_fails_its_execution_only(bench):
    """A value nested by a loop, or a task's answer that is no JSON, fails the execution with a typed error; the engine lives."""
    head = await bench.run(NESTED, {"n": 0, "d": 1})
    assert (head.status, head.error) == ("FAILED", "States.Runtime")
    assert "levels deep" in head.cause
    head = await bench.engine.start_execution(await bench.machine(CALLBACK))
    await bench.settle()
    token = json.loads(bench.handler.calls[-1].parameters)["Payload"]["token"]
    await bench.engine.answer(token, account=ACCOUNT, output="[" * 5000 + "]" * 5000)
    head = await bench.finish(head.id)
    assert head.status in ("FAILED", "SUCCEEDED")
    assert not bench.reports
    assert (await bench.run(PASS, {"still": "alive"})).status == "SUCCEEDED"


async def test_express_executions_are_bounded_in_time_and_number():
    """Express executions end after five minutes at most, and only so many that have ended are kept."""
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        store = open_store("memory:", clock=clock)
        await store.start(stack)
        bench = Bench(store, clock=clock)
        bench.engine._kept_ended = 3
        await bench.engine.start(stack)
        slow = json.loads(json.dumps(WAIT).replace("60", "600"))
        head = await bench.run(slow, extra={"express": "run"})
        assert (head.status, (head.stopped_at - head.started_at) / 1000) == ("TIMED_OUT", 300)
        heads = [await bench.run(PASS) for _ in range(5)]
        await bench.settle()
        kept = [one.id for one in heads if await store.executions.head(one.id) is not None]
        assert kept == [one.id for one in heads[2:]]


COSTLY = "{% ($f := function($n) { $n = 0 ? 'done' : $f($n - 1) }; $f(8000)) %}"


async def test_costly_expressions_do_not_hold_the_event_loop(bench):
    """A chain of states with costly expressions is cut into short steps; one state's expressions share one budget."""
    states = {f"S{number}": {"Type": "Pass", "Output": COSTLY, "Next": f"S{number + 1}"} for number in range(20)}
    definition = {"StartAt": "S0", "QueryLanguage": "JSONata", "States": {**states, "S20": {"Type": "Succeed"}}}
    commits = []
    original = bench.store.executions.commit
    bench.store.executions.commit = lambda write: (commits.append(write), original(write))[1]
    assert (await bench.run(definition)).status == "SUCCEEDED"
    assert len(commits) >= 5
    many = {f"f{number}": COSTLY for number in range(200)}
    head = await bench.run({"StartAt": "A", "QueryLanguage": "JSONata", "States": {"A": {"Type": "Pass", "Output": many, "End": True}}})
    assert (head.status, head.error) == ("FAILED", "States.QueryEvaluationError")
    assert "steps" in head.cause
