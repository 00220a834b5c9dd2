"""Several nodes on one store: any may step an execution, the fence decides, and what a dead one had in hand goes on elsewhere."""

import asyncio
import json
from contextlib import AsyncExitStack
from types import SimpleNamespace

import pytest
from enginebench import Bench

from flowrunner.errors import InvalidToken, StoreUnavailable, TaskTokenTimedOut
from flowrunner.ports.store import Capabilities
from flowrunner.ports.tasks import ChildStart, Succeeded
from flowrunner.stores.memory.store import MemoryStore
from flowrunner.testing.clock import ManualClock

LEASE = 10
ACCOUNT = "000000000000"


class Shared(MemoryStore):
    """A store in memory that several engines of this process share."""

    capabilities = Capabilities(durable=False, exclusive=False)


class Way:
    """One node's way to the executions: open, cut for good (the node is dead), or held up (it is paused)."""

    def __init__(self, executions):
        self._executions = executions
        self.open = asyncio.Event()
        self.open.set()
        self.lose_answers = 0  # of so many commits: they are stored, the node is told they are not
        self.commits = 0
        self.seconds, self.clock = 0, None  # what each call takes, on this clock

    def __getattr__(self, name):
        method = getattr(self._executions, name)

        async def call(*arguments, **options):
            await self.open.wait()
            answer = await method(*arguments, **options)
            if self.seconds:
                await self.clock.sleep(self.seconds)
            await self.open.wait()
            if name == "commit":
                self.commits += 1
                if self.lose_answers:
                    self.lose_answers -= 1
                    raise StoreUnavailable("the answer was lost")
            return answer

        return call


@pytest.fixture
async def nodes():
    """A function: another engine on the same store, on the same clock."""
    store, clock = Shared(), ManualClock()
    async with AsyncExitStack() as stack:
        made = []

        async def node(**options):
            way = Way(store.executions)
            way.clock = clock
            seen = SimpleNamespace(url="memory:", capabilities=store.capabilities, executions=way, definitions=store.definitions, documents=store.documents)
            bench = Bench(seen, clock=clock, **options)
            bench.way = way
            bench.is_cut_off = lambda: not way.open.is_set() or way.seconds > 0  # what it asks waits for the clock
            bench.all = made
            made.append(bench)
            await bench.engine.start(stack)
            return bench

        yield node
        for bench in made:
            bench.way.open.set()
            bench.way.seconds = 0
        clock.jump(60)  # what is on its slow way arrives


async def settle(bench):
    """Let everything on every node happen that can happen now."""
    for _ in range(3):
        for one in bench.all:
            if one.way.open.is_set():
                await one.settle()


async def pass_time(bench, seconds):
    """Move the clock in small steps, so that beats come in time."""
    for _ in range(seconds):
        bench.clock.jump(1)
        await settle(bench)


def kill(bench):
    """The node is gone: nothing of it reaches the store any more."""
    bench.way.open.clear()


TASK = {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:f", "End": True}
CALLBACK = {
    "Type": "Task",
    "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
    "Parameters": {"FunctionName": "g", "Payload": {"token.$": "$$.Task.Token"}},
    "End": True,
}


def then(first, second):
    """Two states, one after the other."""
    first = {**first, "Next": "T"}
    del first["End"]
    return {"StartAt": "C", "States": {"C": first, "T": second}}


def machine(*branches):
    """A Parallel of branches; each is one state, or several, whose names are made unique."""
    made = []
    for place, branch in enumerate(branches):
        text = json.dumps(branch if "States" in branch else {"StartAt": "S", "States": {"S": branch}})
        for name in "SCTWF":
            text = text.replace(f'"{name}"', f'"{name}{place or ""}"')
        made.append(json.loads(text))
    return {"StartAt": "P", "States": {"P": {"Type": "Parallel", "End": True, "Branches": made}}}


def token_of(bench):
    """The token that the function g was given, on this node."""
    [call] = [call for call in bench.handler.calls if "token" in call.parameters]
    return json.loads(call.parameters)["Payload"]["token"]


async def test_nodes_know_how_many_they_are(nodes):
    """Each counts those that live, and one that died no longer after its lease."""
    a, b = await nodes(), await nodes()
    assert a.engine.nodes() == 1  # it has seen nobody yet
    await pass_time(a, LEASE)
    assert [a.engine.nodes(), b.engine.nodes()] == [2, 2]
    kill(b)
    await pass_time(a, 2 * LEASE)
    assert a.engine.nodes() == 1


async def test_a_token_is_answered_on_another_node(nodes):
    """Node B takes an answer while A runs an attempt of the same execution; both go on, each attempt runs once."""
    a, b = await nodes(), await nodes()
    a.handler.table = {"f": [{"return": 1, "after": 20}], "lambda:invoke.waitForTaskToken": [{"return": {}}]}
    after = {**TASK, "Resource": TASK["Resource"] + "2"}
    head = await a.engine.start_execution(await a.machine(machine(TASK, then(CALLBACK, after))))
    await settle(a)
    token = token_of(a)
    b.handler.table = {"f2": [{"return": 2, "after": 5}]}
    await b.engine.answer(token, account=ACCOUNT, output="{}")
    with pytest.raises(TaskTokenTimedOut):
        await b.engine.answer(token, account=ACCOUNT, output="{}")
    with pytest.raises(TaskTokenTimedOut):  # A has an old state in memory, and looks before it refuses
        await a.engine.answer(token, account=ACCOUNT, output="{}")
    stored = await a.store.executions.head(head.id)
    assert set(stored.owner.split(",")) == {a.engine.node, b.engine.node}
    await pass_time(a, 25)
    ended = await a.store.executions.head(head.id)
    assert (ended.status, json.loads(ended.output)) == ("SUCCEEDED", [1, 2])
    assert (ended.owner, ended.extra) == (None, None)
    assert [len([c for c in n.handler.calls if "token" not in c.parameters]) for n in (a, b)] == [1, 1]


async def test_an_old_state_refuses_nothing(nodes):
    """A token that came to be on node A is good on node B, which has the execution in memory as it was before."""
    a, b = await nodes(), await nodes()
    for one in (a, b):
        one.handler.table = {"lambda:invoke.waitForTaskToken": [{"return": {}}]}
    head = await a.engine.start_execution(await a.machine(then(CALLBACK, CALLBACK)))
    await settle(a)
    with pytest.raises(InvalidToken):
        await b.engine.answer(token_of(a)[:-2], account=ACCOUNT, output="{}")
    await a.engine.answer(token_of(a), account=ACCOUNT, output="{}")
    await settle(a)
    second = json.loads(a.handler.calls[-1].parameters)["Payload"]["token"]
    await b.engine.answer(second, account=ACCOUNT, output="7")
    assert (await a.store.executions.head(head.id)).output == "7"


async def test_stopping_on_another_node_stops_the_attempt(nodes):
    """An attempt on A ends soon after its execution was stopped on B."""
    a, b = await nodes(), await nodes()
    a.handler.table = {"f": [{"hang": True}]}
    head = await a.engine.start_execution(await a.machine(machine(TASK)))
    await settle(a)
    await b.engine.stop_execution(head.id)
    await pass_time(a, LEASE // 5 + 1)
    assert [call.execution for call in a.handler.cancelled] == [head.id]


async def test_the_work_of_a_dead_node_goes_on(nodes):
    """B takes over what A had in hand within lease + 5 s: what had begun is in doubt and tried again by its Retry."""
    a, b = await nodes(), await nodes()
    a.handler.table = {"f": [{"hang": True}]}
    retried = {**TASK, "Retry": [{"ErrorEquals": ["FlowRunner.OutcomeUnknown"], "IntervalSeconds": 1}]}
    head = await a.engine.start_execution(await a.machine(machine(retried)), input='{"x": 1}')
    await pass_time(a, 3 * LEASE)
    assert not b.handler.calls
    kill(a)
    await pass_time(b, LEASE + 5)
    ended = await b.store.executions.head(head.id)
    assert ended.status == "SUCCEEDED"
    assert len(b.handler.calls) == 1


@pytest.mark.parametrize("seconds", [2, LEASE, 3 * LEASE])
async def test_the_work_of_a_dead_node_goes_on_with_a_slow_store(nodes, seconds):
    """However long each call takes, B takes over what A had in hand, in a time that is so many calls."""
    a, b = await nodes(), await nodes()
    a.handler.table = {"f": [{"hang": True}]}
    retried = {**TASK, "Retry": [{"ErrorEquals": ["FlowRunner.OutcomeUnknown"], "IntervalSeconds": 1}]}
    heads = [await a.engine.start_execution(await a.machine(machine(retried))) for _ in range(5)]
    await pass_time(a, LEASE)
    a.way.seconds = b.way.seconds = seconds
    await pass_time(a, 10 * seconds)
    assert not b.handler.calls
    kill(a)
    await pass_time(b, 14 * (seconds + LEASE // 5) + LEASE + 14 * seconds)
    assert [(await b.store.executions._executions.head(head.id)).status for head in heads] == ["SUCCEEDED"] * 5
    assert len(b.handler.calls) == 5


async def test_the_living_keep_their_work_with_a_slow_store(nodes):
    """With answers that take longer than a lease nothing changes hands, and attempts begin all the same."""
    a, b = await nodes(), await nodes()
    a.way.seconds = b.way.seconds = LEASE + 5
    a.handler.table = {"f": [{"return": 1, "after": 20 * LEASE}]}
    starting = asyncio.create_task(a.engine.start_execution(await a.machine(machine(TASK))))
    await pass_time(a, 60 * LEASE)
    ended = await b.store.executions._executions.head((await starting).id)
    assert (ended.status, len(a.handler.calls), len(b.handler.calls)) == ("SUCCEEDED", 1, 0)


async def test_nothing_is_taken_from_the_living(nodes):
    """While both nodes live, nothing changes hands, however long it takes."""
    a, b = await nodes(), await nodes()
    a.handler.table = {"f": [{"return": 1, "after": 100 * LEASE}]}
    head = await a.engine.start_execution(await a.machine(machine(TASK)))
    await pass_time(a, 20 * LEASE)
    stored = await a.store.executions.head(head.id)
    assert (stored.owner, b.handler.calls) == (a.engine.node, [])


async def test_a_paused_node_is_fenced(nodes):
    """A comes back after its lease: what it had in hand belongs to B now; its late result changes nothing, nothing new begins on it."""
    a, b = await nodes(), await nodes()
    a.handler.table = {"f": [{"return": "late", "after": 2 * LEASE}]}
    b.handler.table = {"f": [{"return": "new", "after": 3 * LEASE}]}
    retried = {**TASK, "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1}]}
    head = await a.engine.start_execution(await a.machine(machine(retried)))
    await settle(a)
    kill(a)
    await pass_time(b, LEASE + 15)
    assert len(b.handler.calls) == 1
    a.way.open.set()
    await pass_time(a, 5 * LEASE)
    ended = await b.store.executions.head(head.id)
    assert (ended.status, json.loads(ended.output)) == ("SUCCEEDED", ["new"])
    assert len(a.handler.calls) == 1


async def test_an_attempt_does_not_begin_after_a_pause(nodes):
    """A is paused between the commit of an attempt's start and the attempt: when it comes back B has taken over, so it does not begin."""
    a, b = await nodes(), await nodes()
    retried = {**TASK, "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1}]}
    definition = await a.machine(machine(retried))
    commit, paused = a.store.executions._executions.commit, asyncio.Event()

    async def commit_and_sleep(write):
        answer = await commit(write)
        if write.create:
            kill(a)
            paused.set()
        return answer

    a.store.executions._executions.commit = commit_and_sleep
    starting = asyncio.create_task(a.engine.start_execution(definition))
    await paused.wait()
    a.store.executions._executions.commit = commit
    await pass_time(b, LEASE + 15)
    assert len(b.handler.calls) == 1
    a.way.open.set()
    head = await starting
    await pass_time(a, 5)
    assert a.handler.calls == []
    assert (await b.store.executions.head(head.id)).status == "SUCCEEDED"


async def test_a_timer_of_a_dead_stepper_fires(nodes):
    """B stepped an execution whose attempt runs on A, set its timer, and died: A fires it."""
    a, b = await nodes(), await nodes()
    a.handler.table = {"f": [{"hang": True}], "lambda:invoke.waitForTaskToken": [{"return": {}}]}
    waiting = then(CALLBACK, {"Type": "Wait", "Seconds": 40, "Next": "F"})
    waiting["States"]["F"] = {"Type": "Fail", "Error": "Late"}
    head = await a.engine.start_execution(await a.machine(machine(TASK, waiting)))
    await settle(a)
    await b.engine.answer(token_of(a), account=ACCOUNT, output="{}")
    kill(b)
    await pass_time(a, 39)
    assert (await a.store.executions.head(head.id)).status == "RUNNING"
    await pass_time(a, 4)
    ended = await a.store.executions.head(head.id)
    assert (ended.status, ended.error) == ("FAILED", "Late")
    assert len(a.handler.cancelled) == 1


async def test_rows_of_a_dead_node_fire(nodes):
    """A Wait that A left as a row and would have fired is fired by B."""
    a, b = await nodes(), await nodes()
    definition = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 30, "End": True}}}
    head = await a.engine.start_execution(await a.machine(definition))
    kill(a)
    await pass_time(b, 36)
    assert (await b.store.executions.head(head.id)).status == "SUCCEEDED"


async def test_following_on_another_node(nodes):
    """A subscriber on B gets every record of an execution that runs on A, in order, to its end."""
    a, b = await nodes(), await nodes()
    a.handler.table = {"f": [{"return": 1, "after": 3}]}
    head = await a.engine.start_execution(await a.machine(machine(TASK, {"Type": "Wait", "Seconds": 2, "End": True})))
    got = []

    async def follow():
        async for batch in b.engine.feed.follow(head.id):
            got.extend(batch)

    following = asyncio.create_task(follow())
    await settle(a)
    assert 0 < len(got) == (await a.store.executions.head(head.id)).last_seq
    for _ in range(60):
        a.clock.jump(0.1)
        await settle(a)
    await asyncio.wait_for(following, 5)
    assert [seq for seq, _ in got] == list(range(1, (await a.store.executions.head(head.id)).last_seq + 1))
    assert got[-1][1]["type"] == "ExecutionSucceeded"


async def test_an_activity_is_polled_on_another_node(nodes):
    """A worker that waits on B gets the task that came to be on A, within a second, and only once."""
    a, b = await nodes(), await nodes()
    arn = "arn:aws:states:us-east-1:000000000000:activity:paint"
    polls = [asyncio.create_task(one.engine.next_activity_task(arn, worker=None, wait_seconds=30)) for one in (b, b)]
    await settle(a)
    head = await a.engine.start_execution(await a.machine(machine({"Type": "Task", "Resource": arn, "End": True})))
    await pass_time(a, 2)
    done = [poll for poll in polls if poll.done()]
    assert len(done) == 1
    token, given = done[0].result()
    assert given == "{}"
    await a.engine.answer(token, account=ACCOUNT, output='"red"')
    assert json.loads((await a.store.executions.head(head.id)).output) == ["red"]
    await pass_time(a, 31)
    assert [poll.result() for poll in polls if poll is not done[0]] == [None]


async def test_both_nodes_answer_every_token(nodes):
    """R18: each of 100 tokens is answered on both nodes at once; one answer counts, the other is refused as AWS does."""
    a, b = await nodes(), await nodes()
    a.handler.table = b.handler.table = {"lambda:invoke.waitForTaskToken": [{"return": {}}]}
    definition = await a.machine({"StartAt": "C", "States": {"C": CALLBACK}})
    heads = [await a.engine.start_execution(definition) for _ in range(100)]
    await settle(a)
    tokens = {call.execution: json.loads(call.parameters)["Payload"]["token"] for call in a.handler.calls}
    answers = await asyncio.gather(
        *(node.engine.answer(tokens[head.id], account=ACCOUNT, output=f'"{place}"') for head in heads for place, node in enumerate((a, b, a, b))),
        return_exceptions=True,
    )
    for place, head in enumerate(heads):
        mine = answers[4 * place : 4 * place + 4]
        [winner] = [number for number, answer in enumerate(mine) if answer is None]
        assert all(isinstance(answer, TaskTokenTimedOut) for answer in mine if answer is not None)
        assert (await a.store.executions.head(head.id)).output == f'"{winner}"'


async def answered_on_both(a, b, one, two):
    """Node A stores what token `one` was answered with and does not hear of it; node B goes on with token `two`. The task that asks A."""
    a.handler.calls.clear()
    a.way.lose_answers = 1
    answering = asyncio.create_task(a.engine.answer(one, account=ACCOUNT, output="{}"))
    while a.way.lose_answers:
        await asyncio.sleep(0)
    await b.engine.answer(two, account=ACCOUNT, output="{}")
    return answering


async def test_a_lost_answer_and_a_foreign_step(nodes):
    """A's commit is stored but its answer lost, and B steps the execution before A looks: A's attempt begins exactly once."""
    a, b = await nodes(), await nodes()
    a.handler.table = {"lambda:invoke.waitForTaskToken": [{"return": {}}], "f": [{"return": 1, "after": 5}]}
    head = await a.engine.start_execution(await a.machine(machine(then(CALLBACK, TASK), then(CALLBACK, {"Type": "Pass", "End": True}))))
    await settle(a)
    one, two = (json.loads(call.parameters)["Payload"]["token"] for call in a.handler.calls)
    answering = await answered_on_both(a, b, one, two)
    await pass_time(a, 10)
    with pytest.raises(TaskTokenTimedOut):  # the first try was stored; by the time A could ask, nobody could tell it from another's
        await answering
    ended = await a.store.executions.head(head.id)
    assert (ended.status, json.loads(ended.output)) == ("SUCCEEDED", [1, {}])
    assert [call.state for call in a.handler.calls + b.handler.calls] == ["T"]


async def test_a_lost_answer_with_more_attempts_than_places(nodes):
    """As above, and of the step's two attempts one waits for a place: the place that the other gives back does not make it begin twice."""
    a, b = await nodes(), await nodes()
    seconds = {"f": 5, "f2": 60, "f3": 3}
    a.handler.table = {name: [{"return": 1, "after": after}] for name, after in seconds.items()} | {"lambda:invoke.waitForTaskToken": [{"return": {}}]}
    short, long, other = ({**TASK, "Resource": f"arn:aws:lambda:us-east-1:000000000000:function:{name}"} for name in seconds)
    both = {"Type": "Parallel", "Branches": [{"StartAt": name, "States": {name: one}} for name, one in (("X", short), ("Y", long))], "End": True}
    await a.engine.start_execution(await a.machine(machine(then(CALLBACK, both), then(CALLBACK, {"Type": "Pass", "End": True}))))
    await settle(a)
    one, two = (json.loads(call.parameters)["Payload"]["token"] for call in a.handler.calls)
    a.handler.limit = 2
    await a.engine.start_execution(await a.machine(machine(other)))
    await settle(a)
    answering = await answered_on_both(a, b, one, two)
    await pass_time(a, 20)
    with pytest.raises(TaskTokenTimedOut):
        await answering
    assert sorted(call.state for call in a.handler.calls + b.handler.calls) == ["X", "Y"]


async def test_a_fenced_step_leaves_no_queued_attempt(nodes):
    """A's step finds no place for its attempt and is fenced off: what waited for a place is forgotten, B's attempt of that number runs once."""
    a, b = await nodes(), await nodes()
    a.handler.limit = 1
    a.handler.table = {"lambda:invoke.waitForTaskToken": [{"return": {}}], "f": [{"return": 1, "after": 60}]}
    await a.engine.start_execution(await a.machine(machine(TASK)))
    await settle(a)
    b.handler.table = {"lambda:invoke.waitForTaskToken": [{"return": {}}], "f": [{"return": 2, "after": 1}]}
    head = await b.engine.start_execution(await b.machine(then(CALLBACK, TASK)))
    await settle(b)
    answers = await asyncio.gather(*(node.engine.answer(token_of(b), account=ACCOUNT, output="{}") for node in (b, a)), return_exceptions=True)
    assert sum(answer is None for answer in answers) == 1
    await pass_time(a, 70)
    ended = await a.store.executions.head(head.id)
    assert ended.status == "SUCCEEDED"
    assert len([call for node in (a, b) for call in node.handler.calls if call.execution == head.id and call.state == "T"]) == 1
    assert not a.engine._dispatcher.known(head.id)


async def test_a_start_that_was_on_its_way_begins_nothing(nodes):
    """A's attempt found its place, and A was cut off before the start was stored: B has it since, and it runs on B only."""
    a, b = await nodes(), await nodes()
    a.handler.limit = 1
    a.handler.table = {"f": [{"return": 1, "after": 3}]}
    b.handler.table = {"f": [{"return": 2, "after": 60}]}
    definition = await a.machine(machine(TASK))
    await a.engine.start_execution(definition)
    second = await a.engine.start_execution(definition)
    await settle(a)
    assert len(a.handler.calls) == 1
    commit = a.way._executions.commit

    async def cut_off_before_the_start(write):
        if write.head.id == second.id:
            if not late.is_set():
                kill(a)
            await late.wait()
        return await commit(write)

    late = asyncio.Event()
    a.is_cut_off = lambda: not late.is_set()
    a.store.executions._part.__dict__["commit"] = cut_off_before_the_start
    await pass_time(b, LEASE + 10)
    assert [call.execution for call in b.handler.calls].count(second.id) == 1
    a.way.open.set()
    await pass_time(a, LEASE)  # it beats again: its lease is good
    late.set()
    await pass_time(a, 70)
    assert [call.execution for one in (a, b) for call in one.handler.calls].count(second.id) == 1
    ended = await b.store.executions.head(second.id)
    assert (ended.status, json.loads(ended.output)) == ("SUCCEEDED", [2])


async def test_an_attempt_that_waits_for_a_place_runs_on_one_node(nodes):
    """A is held up just as an attempt gets its place there; B takes the attempt over and begins it, so it does not begin on A."""
    a, b = await nodes(), await nodes()
    a.handler.limit = 1
    a.handler.table = {"f": [{"return": 1, "after": 5}]}
    b.handler.table = {"f": [{"return": 2, "after": 60}]}
    definition = await a.machine(machine(TASK))
    await a.engine.start_execution(definition)
    head = await a.engine.start_execution(definition)  # waits for the place
    await settle(a)
    assert len(a.handler.calls) == 1
    kill(a)
    await pass_time(b, LEASE + 15)  # A's first attempt ends meanwhile; the start of the second is on its way to the store
    assert [call.execution for call in b.handler.calls] == [head.id]
    a.way.open.set()
    await pass_time(a, 60)
    assert [call.execution for call in a.handler.calls if call.execution == head.id] == []
    ended = await a.store.executions.head(head.id)
    assert (ended.status, json.loads(ended.output)) == ("SUCCEEDED", [2])
    assert not a.engine._dispatcher.known(head.id)


CHILD = "arn:aws:states:us-east-1:000000000000:stateMachine:child"
SYNC = {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync", "Parameters": {"StateMachineArn": CHILD}, "End": True}


@pytest.mark.parametrize("stopped", [False, True], ids=["goes on", "is stopped"])
async def test_the_start_of_a_child_on_a_paused_node(nodes, stopped):
    """A is paused while it starts a child to wait for; B goes on with the attempt. When A is back it stops the child only if nobody waits for it."""
    a, b = await nodes(), await nodes()
    await a.machine({"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 20 * LEASE, "End": True}}}, name="child")
    for bench in (a, b):

        async def run(call, bench=bench):
            start = ChildStart(
                account=call.account, machine_arn=CHILD, name=None, input="{}", key=call.key, parent=call.execution, attempt=call.attempt, wait="text"
            )
            bench.handler.calls.append(call)
            return Succeeded(json.dumps({"ExecutionArn": (await bench.engine.start_child(start)).arn}))

        bench.handler.run, bench.handler.may_repeat = run, True
    executions, paused = a.way._executions, asyncio.Event()
    commit = executions.commit

    async def commit_and_sleep(write):
        answer = await commit(write)
        if write.head.machine == "child" and not paused.is_set():
            kill(a)
            a.is_cut_off = lambda: True  # of its calls one is answered long after the others
            paused.set()
            await a.way.open.wait()
            await a.clock.sleep(LEASE)
        return answer

    executions.commit = commit_and_sleep
    head = await a.engine.start_execution(await a.machine(machine(SYNC)))
    await paused.wait()
    await pass_time(b, LEASE + 15)
    assert (len(a.handler.calls), len(b.handler.calls)) == (1, 1)
    a.way.open.set()
    if stopped:
        await b.engine.stop_execution(head.id)
    await pass_time(a, 2 * LEASE)
    [child] = [one.head for one in executions._executions.values() if one.head.machine == "child"]
    assert child.status == ("ABORTED" if stopped else "RUNNING")
    await pass_time(a, 20 * LEASE)
    assert (await executions.head(head.id)).status == ("ABORTED" if stopped else "SUCCEEDED")
