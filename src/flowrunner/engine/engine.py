"""The engine: starts, steps, answers and stops executions of one store on one node. The facade of this package."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from flowrunner.clock import Clock
from flowrunner.core import facts
from flowrunner.core.facts import Fact
from flowrunner.core.machine import Machine as Core
from flowrunner.engine.activities import Activities
from flowrunner.engine.callbacks import INVALID, FactOf, alive, answered, named_by, proven
from flowrunner.engine.children import Children
from flowrunner.engine.dispatch import Dispatcher
from flowrunner.engine.driver import Driver
from flowrunner.engine.feed import ENDED, Feed
from flowrunner.engine.live import ExecutionAlreadyExists, Live, Message, arn_of, identity_of
from flowrunner.engine.membership import LEASE_SECONDS, Membership
from flowrunner.engine.ownership import NOBODY
from flowrunner.engine.patience import FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS, for_ever
from flowrunner.engine.points import Point, no_point
from flowrunner.engine.programs import Compiler, Programs
from flowrunner.engine.recovery import Recovery, tick
from flowrunner.engine.timers import Timers
from flowrunner.errors import InvalidToken, NotFound, StoreError, StoreUnavailable
from flowrunner.ids import execution_id
from flowrunner.jsonvalue import dumps
from flowrunner.limits import AWS, Limits
from flowrunner.ports.definitions import Machine
from flowrunner.ports.executions import Delivery, Head, NameTaken, StepWrite
from flowrunner.ports.observe import NullObserver, Observer
from flowrunner.ports.store import Store
from flowrunner.ports.tasks import Child, ChildStart, TaskResolver

ANSWER_SECONDS = 5.0  # how long a request waits for a store that is away: a database that restarts is back by then
KEPT_WARM = 1000  # executions that only wait, but are kept in memory to save the loading


class Engine:
    """See the module's docstring. `randomness` gives unpredictable bytes (ids, seeds); everything else is injected too.

    `kept_ended` bounds how many executions that have ended stay in the store (express ones live in memory); None keeps all.
    """

    def __init__(
        self,
        *,
        store: Store,
        compiler: Compiler,
        tasks: TaskResolver,
        clock: Clock,
        randomness: Callable[[int], bytes],
        region: str,
        limits: Limits = AWS,
        express: Engine | None = None,
        observer: Observer | None = None,
        point: Point = no_point,
        kept_warm: int = KEPT_WARM,
        kept_ended: int | None = None,
        drain_seconds: float = 10.0,
        lease_seconds: float = LEASE_SECONDS,
        report: Callable[[str, dict[str, Any]], None] = lambda _event, _detail: None,
    ) -> None:
        self.store = store
        self.feed = Feed(store.executions, clock, look_seconds=store.capabilities.look_seconds)
        self.node = uuid.UUID(bytes=randomness(16), version=4).hex
        self.region = region
        self.clock = clock
        self._randomness = randomness
        self._express = express
        self._drain_seconds = drain_seconds
        self._report = report
        self._kept_warm = kept_warm
        self._kept_ended = kept_ended
        self._ended: deque[str] = deque()
        self._live: dict[str, Live] = {}
        self._warm: OrderedDict[str, Live] = OrderedDict()
        self._loading: dict[str, list[Message]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._executions = store.executions
        self._observer = observer = observer or NullObserver()
        self._members = Membership(store.executions, clock, self.node, shared=not store.capabilities.exclusive, lease_seconds=lease_seconds)
        self._programs = Programs(store.definitions, compiler)
        self._driver = Driver(
            executions=store.executions, programs=self._programs, clock=clock, limits=limits, region=region, node=self.node,
            shared=self._members.shared, feed=self.feed, observer=observer, point=point, report=report,
        )  # fmt: skip
        self._dispatcher = Dispatcher(tasks, region=region, post=self.post, point=point, report=report)
        self._driver.dispatcher = self._dispatcher
        self._dispatcher.abandon = lambda answer: self._spawn(self._children.stop(answer))
        self._driver.after_commit = self._after_commit
        self._driver.after_create = self._after_create
        self._driver.in_background = self._spawn
        self._children = Children(store, region, self.start_execution, self.stop_execution, self._spawn, send=self.send, clock=clock, report=report)
        self._driver.stop_job = self._children.stop
        self._recovery = Recovery(
            executions=store.executions, members=self._members, clock=clock, live=self._live,
            send=self.send, post=self.post, deliver=self._deliver, report=report,
        )  # fmt: skip
        if self._members.shared:
            self._dispatcher.is_ours = self._recovery.is_ours
        self._timers = Timers(store.executions, clock, self._fire, observer.on_timer_lag, members=self._members)
        self._activities = Activities(store.executions, clock, self.send, shared=self._members.shared)

    # --- life

    async def start(self, stack: AsyncExitStack) -> None:
        """Take over what nobody owns and begin to fire timers; clean-up goes on `stack`. Raises StoreUnavailable."""
        gone = await self._members.beat()
        stack.push_async_callback(self._stop)
        services = [self._timers.run]
        if self._members.shared:  # from now on: recovery may take longer than a lease
            services += [self._recovery.run, self.feed.watch]
        for service in services:
            task = asyncio.get_running_loop().create_task(for_ever(service, self.clock, self._report))
            stack.push_async_callback(_cancelled, task)
        await self._recovery.recover(gone, deliveries=True)

    def nodes(self) -> int:
        """How many nodes share the store, as far as this one has seen; itself included."""
        return self._members.nodes

    def hurry(self) -> None:
        """Give what runs no more time."""
        self._drain_seconds = 0.0
        self._dispatcher.cancel_all()

    async def drain(self) -> None:
        """Start nothing new; return when what runs has finished, or the time for that is over."""
        self._stopping = True
        await self._dispatcher.stop(self._drain_seconds)

    async def _stop(self) -> None:
        """Finish or hand over: nothing new starts, what runs may finish for a while, the rest is left for the next node."""
        await self.drain()
        self._recovery.stop()
        if self._background:  # steps on their way; with a store that is away they would wait for ever
            _, late = await asyncio.wait(self._background, timeout=self._drain_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        with contextlib.suppress(StoreError):
            await self._members.leave()

    # --- starting

    async def start_execution(self, machine: Machine, *, name: str | None = None, input: str = "{}", extra: dict[str, Any] | None = None) -> Head:  # noqa: A002 - the API's word
        """Start an execution; return its head once that is durable.

        `input` is JSON text. Names as AWS has it: the same name, machine and input while it runs answers with the running
        execution. Raises ExecutionAlreadyExists, InvalidDefinition, StoreUnavailable.
        """
        if machine.type == "EXPRESS" and self._express is not None:
            run = str(uuid.UUID(bytes=self._randomness(16), version=4))
            return await self._express._start(  # noqa: SLF001 - the same class
                machine, run, input, {**(extra or {}), "express": run, "name": name or run}
            )
        return await self._start(machine, name, input, extra)

    async def run_to_end(self, machine: Machine, *, name: str | None = None, input: str = "{}", extra: dict[str, Any] | None = None) -> Head:  # noqa: A002
        """Start an execution and wait for its end; return the ended head. Raises as start_execution."""
        engine = self._express if machine.type == "EXPRESS" and self._express is not None else self
        head = await self.start_execution(machine, name=name, input=input, extra=extra)
        return await engine.feed.ended(head.id)

    async def _start(self, machine: Machine, name: str | None, given: str, extra: dict[str, Any] | None) -> Head:
        if self._stopping:
            raise StoreUnavailable("The server is stopping; try again on the next one.")
        revision = machine.revision
        now, entropy = self.clock.now(), self._randomness(42)
        number = execution_id(now, entropy)
        head = Head(
            id=number,
            account=machine.account,
            machine=machine.name,
            name=name if name is not None else str(uuid.UUID(bytes=entropy[10:26], version=4)),
            revision=revision.id,
            status="RUNNING",
            input=given,
            seed=entropy[26:42],
            started_at=now,
            extra=dumps(extra) if extra else None,
        )
        live = self._driver.begin(head, identity_of(head, revision, self.region), await self._programs.compiled(revision))
        self._live[number] = live  # from now on, so that who meets it in the store before the answer comes finds this one
        live.driving = True
        stored = await self._driver.create(live)
        if isinstance(stored, NameTaken):
            found = stored.head
            if found.status == "RUNNING" and found.input == given and name is not None:
                return found
            raise ExecutionAlreadyExists(found, arn_of(found, self.region))
        return stored

    def _after_create(self, live: Live) -> None:
        live.driving = False
        if live.head.epoch == 0:  # not stored
            self._live.pop(live.id, None)
            for message in live.mailbox:
                self.post(live.id, message)
        elif live.mailbox or live.more:
            self._kick(live)
        else:
            self._rest(live)

    async def start_child(self, start: ChildStart) -> Child:
        """Start a nested execution for an attempt; the same attempt always gets the same child. See ports.tasks.

        When the attempt is given up meanwhile (cancelled), a child that it would have waited for is stopped once it has started.
        """
        return await self._children.start(start)

    # --- stopping and answering

    async def stop_execution(self, execution: str, *, error: str | None = None, cause: str | None = None) -> Head:
        """Stop an execution; an ended one stays as it is. Returns the head. Raises NotFound, StoreUnavailable."""

        def make(machine: Core, now: int) -> Fact | None:
            return None if machine.outcome is not None else facts.Stopped(at=now, error=error, cause=cause)

        head = await self._executions.head(execution)
        if head is None and self._express is not None:
            return await self._express.stop_execution(execution, error=error, cause=cause)
        if head is None:
            raise NotFound("execution", execution)
        return head if head.status in ENDED else await self.send(execution, make)

    async def answer(self, token: str, *, account: str, output: str | None = None, error: str | None = None, cause: str | None = None) -> None:
        """End the attempt of a task token: with output (JSON text) it succeeds, else it fails.

        A token is good for its own account only. Raises InvalidToken, TaskTokenTimedOut.
        """
        await self._with_token(token, account, answered(output, error, cause))

    async def heartbeat(self, token: str, *, account: str) -> None:
        """Tell that the worker of a task token is alive. Raises as `answer`."""
        await self._with_token(token, account, alive)

    async def _with_token(self, token: str, account: str, fact_of: FactOf) -> None:
        execution, attempt = named_by(token)
        head = await self._executions.head(execution)
        if head is not None and head.account == account:
            await self.send(execution, proven(token, attempt, fact_of))
        elif head is None and self._express is not None:
            await self._express._with_token(token, account, fact_of)  # noqa: SLF001 - the same class
        else:
            raise InvalidToken(INVALID)

    async def next_activity_task(self, activity_arn: str, *, worker: str | None, wait_seconds: float) -> tuple[str, str] | None:
        """The next task of an activity as (token, input), waiting for one up to this long; None if none came."""
        return await self._activities.next(activity_arn, worker=worker, wait_seconds=wait_seconds)

    # --- messages

    async def send(
        self, execution: str, make: Callable[[Core, int], Fact | None], *, heir_of: frozenset[str] = frozenset(), then: Callable[[float], None] | None = None
    ) -> Head:
        """Post a message and wait until it is stored; raises what `make` raised. `then` is called in any case, once its fact is stored."""
        done: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        done.add_done_callback(lambda _: done.cancelled() or done.exception())  # an answer that nobody waits for any more is no mishap
        self.post(execution, Message(make=make, done=done, heir_of=heir_of, then=then))
        answered, _ = await asyncio.wait((done,), timeout=ANSWER_SECONDS)
        if not answered:
            raise StoreUnavailable(
                "The store has not answered in time; the request may still take effect.", remedy="Ask for the state of the execution, or try again."
            )
        return done.result()

    def post(self, execution: str, message: Message) -> None:
        """Leave a message for an execution; it is brought into memory if need be."""
        live = self._live.get(execution)
        if live is None and execution in self._warm:
            live = self._live[execution] = self._warm.pop(execution)
        if live is not None:
            live.mailbox.append(message)
            self._kick(live)
        elif execution in self._loading:
            self._loading[execution].append(message)
        else:
            self._loading[execution] = [message]
            self._spawn(self._load(execution))

    async def _load(self, execution: str) -> None:
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                live = await self._driver.load(execution)
                break
            except StoreUnavailable as error:  # senders are told; what nobody would send again waits for the store
                self._refuse(execution, error, only_those_who_wait=True)
                if execution not in self._loading:
                    self._timers.settled(execution)
                    return
                await self.clock.sleep(delay)
                delay = min(2 * delay, LONGEST_RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
                self._report("execution_not_loaded", {"execution": execution, "error": str(error)})
                self._refuse(execution, error, only_those_who_wait=False)
                self._timers.set_aside(execution)
                self._recovery.come_back(execution, error)
                return
        live.mailbox.extend(self._loading.pop(execution))
        live.begun = live.local & self._dispatcher.known(execution)
        gone = frozenset() if self._members.shared else frozenset(live.others)  # nobody else has this store open
        if live.local - live.begun:  # their outcome went astray, unless it is in the mailbox
            live.others[NOBODY], live.local = live.local - live.begun, set(live.begun)
            gone |= {NOBODY}
        if gone:
            live.mailbox.append(Message(make=tick, heir_of=gone))
        self._live[execution] = live
        self._kick(live)

    def _refuse(self, execution: str, error: Exception, *, only_those_who_wait: bool) -> None:
        messages = self._loading.pop(execution)
        kept = [message for message in messages if only_those_who_wait and message.done is None]
        for message in messages:
            if message not in kept:
                message.reject(error)
        if kept:
            self._loading[execution] = kept

    def _kick(self, live: Live) -> None:
        if not live.driving:
            live.driving = True
            self._spawn(self._drive(live))

    async def _drive(self, live: Live) -> None:
        try:
            await self._driver.drive(live)
        except asyncio.CancelledError:  # the server stops, in the middle of a step perhaps: nobody goes on with facts that were not stored
            self._live.pop(live.id, None)
            raise
        except Exception as error:  # noqa: BLE001 - one execution that cannot be stepped must not take the others with it
            self._report("execution_stuck", {"execution": live.id, "error": repr(error)})
            live.refuse(error)
            self._live.pop(live.id, None)
            self._recovery.come_back(live.id, error)
        finally:
            live.driving = False
            self._timers.settled(live.id)
            if live.head.owner is not None and live.head.wake_at is not None:  # the clock may have gone back since the timer fired
                self._timers.watch(live.id, live.head.wake_at, is_row=False)
            self._rest(live)

    def _rest(self, live: Live) -> None:
        """Let go of an execution that only waits, or is over."""
        if live.mailbox or live.more or live.local or live.driving:
            return
        if self._live.pop(live.id, None) is None:
            return
        if live.head.owner is None:  # else this node answers for its timers, though others run its attempts
            self._timers.forget(live.id)
        if live.machine.outcome is None and self._kept_warm:
            self._warm[live.id] = live
            if len(self._warm) > self._kept_warm:
                self._warm.popitem(last=False)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _fire(self, execution: str) -> None:
        self.post(execution, Message(make=tick))

    def _deliver(self, delivery: Delivery) -> None:
        [fact] = facts.decode(delivery.fact)

        def make(machine: Core, now: int) -> Fact | None:
            del now
            attempt = getattr(fact, "attempt", None)
            return fact if attempt is None or machine.open_attempt(attempt) is not None else None

        self.post(delivery.execution, Message(make=make, delivery=delivery.id))

    def _after_commit(self, live: Live, write: StepWrite) -> None:
        head = live.head
        if head.status == "RUNNING":
            if head.wake_at is not None:
                self._timers.watch(head.id, head.wake_at, is_row=head.owner is None)
        elif self._kept_ended is not None:
            self._ended.append(head.id)
            if len(self._ended) > self._kept_ended:
                self._spawn(self._executions.forget(self._ended.popleft()))
        for delivery in write.deliveries:
            self._deliver(delivery)
        for opened in write.opened:
            self._activities.opened(opened.activity)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
