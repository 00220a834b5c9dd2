"""An engine with everything around it, for tests: a clock that stands still, scripted tasks, a real store."""

import asyncio
import inspect
import itertools
import json
import random
import uuid

from flowrunner.engine.engine import Engine
from flowrunner.formats import compile_revision
from flowrunner.kinds import BUILT_IN
from flowrunner.limits import AWS
from flowrunner.ports.definitions import Machine, Revision
from flowrunner.ports.tasks import Failed, Succeeded, TaskHandler, log
from flowrunner.telemetry.metrics import Metrics
from flowrunner.testing.clock import ManualClock

ACCOUNT = "000000000000"
SEEDS = itertools.count()
QUIET_TURNS = 25  # of the event loop, in which nothing of the store is under way


def compiler(revision):
    """The front end of the revision's format as the engine's compiler."""
    return compile_revision(revision, BUILT_IN)


class Scripted(TaskHandler):
    """Answers calls from a table like the player of tests/core; counts them, and never sleeps but on the clock."""

    def __init__(self, clock):
        self.clock = clock
        self.table = {}
        self.calls = []
        self.cancelled = []
        self.limit = 1000
        self.may_repeat = False

    def resolve(self, call):
        """Every call is ours."""
        return self

    def places(self):
        return self.limit

    def idempotent(self, call):
        return self.may_repeat

    def outcomes(self, call):
        """What the table has for a call: by the function's name; for a node or step by its state, a batch by its number behind that."""
        if call.resource.service != "flowrunner":
            return self.table.get(call.resource.arn.rsplit(":", 1)[-1])
        batch = (json.loads(call.parameters)["input"] or {}).get("batch_index")
        return self.table.get(call.state if batch is None else f"{call.state} {batch}")

    async def run(self, call):
        self.calls.append(call)
        outcomes = self.outcomes(call)
        outcome = {"return": json.loads(call.parameters)} if outcomes is None else outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]
        for level, message, data in outcome.get("log", ()):
            log(level, message, None if data is None else json.dumps(data))
        try:
            await self.clock.sleep(outcome.get("after", 0) if "hang" not in outcome else 10**9)
        except BaseException:
            self.cancelled.append(call)
            raise
        if "return" in outcome:
            return Succeeded(json.dumps(outcome["return"]))
        if "lost" in outcome:
            return Failed("FlowRunner.OutcomeUnknown", "lost")
        return Failed(outcome["fail"].get("error"), outcome["fail"].get("cause"))


class Watched:
    """Part of a store; the calls of it that are on their way are in `in_flight`."""

    def __init__(self, part, in_flight):
        self._part = part
        self._in_flight = in_flight

    def __getattr__(self, name):
        found = getattr(self._part, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def call(*arguments, **options):
            task = asyncio.ensure_future(found(*arguments, **options))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)
            return await asyncio.shield(task)

        return call


class WatchedStore:
    """A store that tells whether anything is under way in it."""

    def __init__(self, store):
        self.in_flight = set()
        self.url, self.capabilities = store.url, store.capabilities
        self.executions, self.definitions = Watched(store.executions, self.in_flight), Watched(store.definitions, self.in_flight)


class Bench:
    """One engine with its clock, handler and store."""

    def __init__(self, store, *, kept_warm=1000, limits=AWS, clock=None, seed=None, lease_seconds=10.0):
        self.store = store = WatchedStore(store)
        self.clock = clock or ManualClock()
        self.handler = Scripted(self.clock)
        self.reports = []
        self.is_cut_off = lambda: False  # its store answers nothing: there is nothing to wait for
        self.metrics = Metrics()
        source = random.Random(next(SEEDS) if seed is None else seed)  # every engine is another node
        self.engine = Engine(
            store=store,
            compiler=compiler,
            tasks=self.handler,
            clock=self.clock,
            randomness=source.randbytes,
            region="us-east-1",
            limits=limits,
            kept_warm=kept_warm,
            lease_seconds=lease_seconds,
            drain_seconds=0.05,  # real ones: what hangs here hangs by a script
            observer=self.metrics,
            report=lambda event, detail: self.reports.append((event, detail)),
        )

    def running(self):
        """How many executions the metric says are running."""
        return self.metrics.registry.get_sample_value("flowrunner_executions_running")

    async def machine(self, definition, name=None, *, form=None):
        """Register a definition: a JSON value or a text, of a state machine or of another format."""
        name = name or f"m-{uuid.uuid4().hex[:8]}"
        revision = Revision(
            id=str(uuid.uuid4()),
            account=ACCOUNT,
            machine=name,
            definition=definition if isinstance(definition, str) else json.dumps(definition),
            role_arn="arn:aws:iam::000000000000:role/r",
            created_at=self.clock.now(),
            settings={} if form is None else {"format": form},
        )
        return await self.store.definitions.create_machine(Machine(account=ACCOUNT, name=name, type="STANDARD", created_at=self.clock.now(), revision=revision))

    async def settle(self):
        """Let everything that can happen now happen; what waits for the clock stays."""
        quiet = 0
        while quiet < QUIET_TURNS:
            await asyncio.sleep(0)
            quiet += 1
            while self.store.in_flight and not self.is_cut_off():
                quiet = 0
                await asyncio.wait(self.store.in_flight, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)

    async def run(self, definition, given=None, *, form=None, most=2000, **options):
        """Start, move the clock until it ends, return the head."""
        head = await self.engine.start_execution(await self.machine(definition, form=form), input=json.dumps({} if given is None else given), **options)
        return await self.finish(head.id, most=most)

    async def finish(self, execution, *, most=2000):
        """Move the clock until the execution has ended."""
        for _ in range(most):
            await self.settle()
            head = await self.store.executions.head(execution)
            if head.status != "RUNNING":
                return head
            assert self.clock.jump_to_next(), "nothing will ever happen"
        raise AssertionError(f"{execution} did not end")

    async def records(self, execution):
        """Its whole log."""
        chunks = await self.store.executions.log(execution, limit=100_000)
        return [record for chunk in chunks for record in json.loads(chunk.body)]
