"""The same random calls on engines over different stores, with the same chance and the same clock: every answer is equal."""

import asyncio
import json
from contextlib import AsyncExitStack
from itertools import count

from enginebench import ACCOUNT, Bench
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from flowrunner.errors import FlowRunnerError
from flowrunner.ports.definitions import Machine, Revision
from flowrunner.ports.executions import ExecutionQuery
from flowrunner.stores.open import open_store
from flowrunner.testing.clock import ManualClock
from flowrunner.testing.dynamodb import fresh_url

ACTIVITY = "arn:aws:states:us-east-1:000000000000:activity:a"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:"
TASK = {"Type": "Task", "Resource": FUNCTION + "f", "Retry": [{"ErrorEquals": ["Busy"], "IntervalSeconds": 3, "MaxAttempts": 2}], "TimeoutSeconds": 40}
CALLBACK = {
    "Type": "Task",
    "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
    "Parameters": {"FunctionName": "g", "Payload": {"token.$": "$$.Task.Token"}},
    "HeartbeatSeconds": 30,
    "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
}


def branch(name, state):
    return {"StartAt": name, "States": {name: {**state, "End": True}}}


MACHINES = {
    "pass": branch("P", {"Type": "Pass", "Result": {"a": 1}}),
    "wait": branch("W", {"Type": "Wait", "SecondsPath": "$.seconds"}),
    "task": branch("T", TASK),
    "activity": branch("A", {"Type": "Task", "Resource": ACTIVITY, "TimeoutSeconds": 60}),
    "callback": {"StartAt": "C", "States": {"C": {**CALLBACK, "End": True}, "Caught": {"Type": "Wait", "Seconds": 5, "End": True}}},
    "parallel": branch("Q", {"Type": "Parallel", "Branches": [branch("X", TASK), branch("Y", {"Type": "Wait", "Seconds": 7})]}),
    "map": branch("M", {"Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 2, "ItemProcessor": branch("I", {**TASK, "OutputPath": "$"})}),
}
OUTCOMES = ({"return": 1}, {"return": 2, "after": 4}, {"fail": {"error": "Busy"}}, {"fail": {"error": "Broken", "cause": "c"}}, {"hang": True})
INPUT = {"seconds": 9, "items": [1, 2, 3]}


class World:
    """One engine on one store, to which things are done in order."""

    def __init__(self, url):
        self.url = url
        self.stack = AsyncExitStack()
        self.heads = []

    async def start(self, script):
        clock = ManualClock()
        store = open_store(self.url, clock=clock)
        await store.start(self.stack)
        self.bench = Bench(store, clock=clock, seed=1, kept_warm=script["kept_warm"], lease_seconds=36000.0)
        self.bench.handler.table = {"f": list(script["outcomes"]), "lambda:invoke.waitForTaskToken": [{"return": {}}]}
        await self.bench.engine.start(self.stack)
        self.machines = {}
        for name, definition in MACHINES.items():
            text = json.dumps(definition)
            revision = Revision(
                id=f"r-{name}", account=ACCOUNT, machine=name, definition=text, role_arn="arn:aws:iam::000000000000:role/r", created_at=clock.now()
            )
            machine = Machine(account=ACCOUNT, name=name, type="STANDARD", created_at=clock.now(), revision=revision)
            self.machines[name] = await store.definitions.create_machine(machine)

    async def do(self, action, *arguments):
        """Its answer, or the kind of its error; then everything that can be seen."""
        self.bench.clock.jump(0.001)
        try:
            answer = await getattr(self, action)(*arguments)
        except FlowRunnerError as error:
            answer = type(error).__name__
        await self.bench.settle()
        return answer, await self.seen()

    async def begin(self, machine, name):
        head = await self.bench.engine.start_execution(self.machines[machine], name=name, input=json.dumps(INPUT))
        if head.id not in self.heads:
            self.heads.append(head.id)
        return head.id

    async def stop(self, which):
        return (await self.bench.engine.stop_execution(self.pick(which), error="E", cause="C")).status

    async def answer(self, which, good):
        tokens = [json.loads(call.parameters)["Payload"]["token"] for call in self.bench.handler.calls if "token" in call.parameters]
        token = tokens[which % len(tokens)] if tokens else "none"
        await self.bench.engine.answer(token, account=ACCOUNT, **({"output": '{"o":1}'} if good else {"error": "E", "cause": "C"}))

    async def heartbeat(self, which):
        tokens = [json.loads(call.parameters)["Payload"]["token"] for call in self.bench.handler.calls if "token" in call.parameters]
        await self.bench.engine.heartbeat(tokens[which % len(tokens)] if tokens else "none", account=ACCOUNT)

    async def work(self, good):
        taken = await self.bench.engine.next_activity_task(ACTIVITY, worker="w", wait_seconds=0)
        if taken is not None:
            await self.bench.engine.answer(taken[0], account=ACCOUNT, **({"output": taken[1]} if good else {"error": "E"}))
        return taken

    async def wait(self, seconds):
        for _ in range(seconds):
            self.bench.clock.jump(1)
            await self.bench.settle()

    def pick(self, which):
        return self.heads[which % len(self.heads)] if self.heads else f"{0:032x}"

    async def seen(self):
        executions = self.bench.store.executions
        heads = [await executions.head(execution) for execution in self.heads]
        shown = [(one.status, one.output, one.error, one.cause, one.stopped_at, one.wake_at, one.last_seq, one.epoch) for one in heads]
        listed = [(one.id, one.status) for one in await executions.list(ExecutionQuery(account=ACCOUNT))]
        logs = [await self.bench.records(execution) for execution in self.heads]
        calls = [(call.key, call.parameters) for call in self.bench.handler.calls]
        return shown, listed, logs, calls, len(self.bench.handler.cancelled)


class Comparison(RuleBasedStateMachine):
    """Everything is done on the first store and on each of the others; the first is memory."""

    urls = ()

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.worlds = [World(make() if callable(make) else make) for make in self.urls]

    def teardown(self):
        for world in self.worlds:
            self.runner.run(world.stack.aclose())
        self.runner.close()

    @initialize(kept_warm=st.sampled_from([0, 1000]), outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=6))
    def open(self, kept_warm, outcomes):
        for world in self.worlds:
            self.runner.run(world.start({"kept_warm": kept_warm, "outcomes": outcomes}))

    def everywhere(self, *call):
        first, *others = [self.runner.run(world.do(*call)) for world in self.worlds]
        for other in others:
            assert other == first

    @rule(machine=st.sampled_from(sorted(MACHINES)), name=st.none() | st.sampled_from("xy"))
    def begin(self, machine, name):
        self.everywhere("begin", machine, name)

    @rule(which=st.integers(0, 5))
    def stop(self, which):
        self.everywhere("stop", which)

    @rule(which=st.integers(0, 5), good=st.booleans())
    def answer(self, which, good):
        self.everywhere("answer", which, good)

    @rule(which=st.integers(0, 5))
    def heartbeat(self, which):
        self.everywhere("heartbeat", which)

    @rule(good=st.booleans())
    def work(self, good):
        self.everywhere("work", good)

    @rule(seconds=st.integers(1, 10))
    def wait(self, seconds):
        self.everywhere("wait", seconds)


def compared(make, examples):
    """The state machine of hypothesis over memory and another store; `make` gives the URL of an empty one."""
    made = type("Stores", (Comparison,), {"urls": ("memory:", make)})
    made.TestCase.settings = settings(max_examples=examples, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck))
    return made.TestCase("runTest")


def test_sqlite_gives_equal_answers(tmp_path):
    """SQLite gives the engine what memory gives it, whatever is done in whatever order."""
    numbers = count()
    compared(lambda: f"sqlite:///{tmp_path / f'{next(numbers)}.db'}", 6).runTest()


def test_postgresql_gives_equal_answers(postgres_urls):
    """PostgreSQL does."""
    compared(postgres_urls, 6).runTest()


def test_dynamodb_gives_equal_answers(dynamodb):
    """DynamoDB does."""
    compared(lambda: fresh_url(dynamodb), 3).runTest()
