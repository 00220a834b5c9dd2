"""Moving one execution: take its messages, apply them, commit the step, then act. The only loop that does."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from flowrunner.clock import Clock
from flowrunner.core import facts
from flowrunner.core.commands import CancelAttempt, Outcome, RunAttempt, Step
from flowrunner.core.facts import Fact
from flowrunner.core.machine import Machine
from flowrunner.core.program import Program
from flowrunner.core.run import Identity
from flowrunner.engine.children import end_delivery
from flowrunner.engine.dispatch import Dispatcher
from flowrunner.engine.feed import ENDED, Feed
from flowrunner.engine.live import Live, Message, extra_of, identity_of
from flowrunner.engine.points import AFTER_COMMIT, BEFORE_COMMIT, Point
from flowrunner.engine.programs import Programs
from flowrunner.engine.writes import step_write
from flowrunner.errors import Fenced, FlowRunnerError, NotFound, ReplayMismatch, StoreUnavailable
from flowrunner.limits import Limits
from flowrunner.ports.executions import ExecutionStore, Head, NameTaken, StepWrite
from flowrunner.ports.observe import Observer
from flowrunner.ports.tasks import TaskCall, TaskHandler

FIRST_RETRY_SECONDS = 0.05
LONGEST_RETRY_SECONDS = 5.0
MESSAGES_PER_STEP = 200
LONGEST_MAKING_SECONDS = 0.005  # on the event loop in one go; a single state with costly expressions may take longer
EXPRESS_SECONDS = 300
Answer = TypeVar("Answer")


@dataclass(slots=True, kw_only=True)
class Making:
    """A step in the making: what it takes in, what it will do after its commit."""

    step: Step
    facts: list[Fact]
    accepted: list[Message]
    consumed: tuple[str, ...]
    to_run: list[tuple[TaskCall, TaskHandler]]
    began: float


class Driver:
    """Steps executions of one store on one node."""

    def __init__(
        self,
        *,
        executions: ExecutionStore,
        programs: Programs,
        clock: Clock,
        limits: Limits,
        region: str,
        node: str,
        feed: Feed,
        observer: Observer,
        point: Point,
        report: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._executions = executions
        self._programs = programs
        self._clock = clock
        self._limits = limits
        self._region = region
        self._node = node
        self._feed = feed
        self._observer = observer
        self._point = point
        self._report = report
        self.dispatcher: Dispatcher | None = None  # set once by the engine: the dispatcher posts to the engine, which drives with this
        self.after_commit: Callable[[Live, StepWrite], None] = lambda _live, _write: None
        self.stop_job: Callable[[str], Coroutine[Any, Any, None]]  # set by the engine
        self.in_background: Callable[[Coroutine[Any, Any, None]], None]  # set by the engine, which owns background work

    # --- beginning

    def begin(self, head: Head, identity: Identity, programs_entry: Any) -> Live:
        """A new execution in memory, its first step not yet made."""
        revision, program = programs_entry
        return Live(head=head, revision=revision, machine=Machine(_bounded(program, head), identity, self._limits))

    async def create(self, live: Live) -> Head | NameTaken:
        """Make and commit the first step; raises StoreUnavailable. What it started runs when this returns."""
        making = self._making([Message(make=_started)], live)
        self._finish_making(live, making)
        write = step_write(live, making.step, making.facts, node=self._node, create=True, deliveries=self._deliveries(live, making.step))
        began = self._clock.monotonic()
        try:
            self._point(BEFORE_COMMIT)
            stored = await self._executions.commit(write)
            self._observer.on_store_operation("create", self._clock.monotonic() - began)
        except StoreUnavailable:
            self.in_background(self._resolve_create(live, making, write))
            raise
        except BaseException:
            self._release(making)
            raise
        if isinstance(stored, NameTaken):
            self._release(making)
            return stored
        self._created(live, making, write, stored)
        return stored

    def _created(self, live: Live, making: Making, write: StepWrite, stored: Head) -> None:
        self._observer.on_execution_started(stored)
        self._committed(live, making, write, stored)

    async def _resolve_create(self, live: Live, making: Making, write: StepWrite) -> None:
        """The caller was told that the store failed; if the start is stored all the same, it must go on."""
        head = await self._surely(lambda: self._executions.head(live.id))
        if head is None:
            self._release(making)
        else:
            self._created(live, making, write, head)

    async def _surely(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Ask the store until it answers."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                return await ask()
            except StoreUnavailable as error:
                self._report("store_unavailable", {"error": str(error)})
                await self._clock.sleep(delay * (0.5 + random.random() / 2))  # noqa: S311 - spreads retries, guards nothing
                delay = min(delay * 2, LONGEST_RETRY_SECONDS)

    async def load(self, execution: str) -> Live:
        """Bring an execution back into memory; raises NotFound, StoreUnavailable, ReplayMismatch."""
        began = self._clock.monotonic()
        stored = await self._executions.load(execution)
        self._observer.on_store_operation("load", self._clock.monotonic() - began)
        if stored is None:
            raise NotFound("execution", execution)
        head = stored.head
        self._observer.on_execution_loaded(head)
        revision, program = await self._programs.of(head.revision)
        program = _bounded(program, head)
        identity = identity_of(head, revision, self._region)
        since = 0
        if head.status in ENDED:
            outcome = Outcome(status=head.status, at=head.stopped_at or 0, output=head.output, error=head.error, cause=head.cause)  # type: ignore[arg-type]  # checked by ENDED
            return Live(head=head, revision=revision, machine=Machine.closed(program, identity, outcome, head.last_seq))
        machine = Machine(program, identity, self._limits)
        if stored.snapshot is not None:
            machine = Machine.restore(program, identity, stored.snapshot, self._limits)
        more = False
        for encoded in stored.facts:
            for fact in facts.decode(encoded):
                more = machine.apply(fact).more
                since += 1
        if machine.last_seq != head.last_seq:
            raise ReplayMismatch(f"Execution {execution} replays to {machine.last_seq} records; its log has {head.last_seq}.")
        live = Live(head=head, revision=revision, machine=machine, since_snapshot=since)
        live.more = more or machine.has_ready
        live.snapshot_bytes = len(stored.snapshot) if stored.snapshot is not None else 0
        return live

    # --- going on

    async def drive(self, live: Live) -> None:
        """Step while there is something to do. Never raises for a store that is away: it tries again until it can."""
        while live.mailbox or live.more:
            messages = [live.mailbox.popleft() for _ in range(min(len(live.mailbox), MESSAGES_PER_STEP))]
            try:
                await self._step(live, messages)
            except Fenced:
                live.mailbox.extendleft(reversed(messages))
                await self._reload(live)

    async def _reload(self, live: Live) -> None:
        """Somebody else has moved the execution on: forget what was not stored and read what was."""
        fresh = await self._surely(lambda: self.load(live.id))
        live.head, live.machine, live.more = fresh.head, fresh.machine, fresh.more
        live.since_snapshot, live.snapshot_bytes = fresh.since_snapshot, fresh.snapshot_bytes
        live.local &= {attempt.command.attempt for attempt in live.machine.open_attempts()}

    async def _commit(self, write: StepWrite) -> Head:
        """Store a step, however long it takes; raises Fenced.

        After an error the outcome is unknown, and the same write is tried again: if it had been stored, the fence refuses
        the second try and the head tells that it was ours.
        """
        tried = False
        began = self._clock.monotonic()

        async def commit() -> Head | NameTaken:
            nonlocal tried
            self._point(BEFORE_COMMIT)
            first, tried = not tried, True
            try:
                return await self._executions.commit(write)
            except Fenced:
                head = None if first else await self._executions.head(write.head.id)
                if head is None or head != replace(write.head, epoch=write.head.epoch + 1):
                    raise
                return head

        stored = await self._surely(commit)
        self._observer.on_store_operation("commit", self._clock.monotonic() - began)
        assert isinstance(stored, Head)  # noqa: S101 - only a create can meet a taken name
        return stored

    async def _step(self, live: Live, messages: list[Message]) -> None:
        making = self._making(messages, live)
        if not making.facts and not making.consumed:
            for message in making.accepted:
                message.accept(live.head)
            return
        self._finish_making(live, making)
        deliveries = self._deliveries(live, making.step)
        write = step_write(live, making.step, making.facts, node=self._node, consumed=making.consumed, deliveries=deliveries)
        try:
            stored = await self._commit(write)
        except BaseException:
            self._release(making)
            raise
        self._committed(live, making, write, stored)

    def _making(self, messages: list[Message], live: Live) -> Making:
        """Apply the messages' facts; each message is accepted, or rejected at once."""
        making = Making(step=Step(), facts=[], accepted=[], consumed=(), to_run=[], began=self._clock.monotonic())
        now = self._clock.now()
        consumed = []
        if live.more:
            self._apply(live, making, facts.Continued(at=now))
        for place, message in enumerate(messages):
            if place and self._clock.monotonic() - making.began > LONGEST_MAKING_SECONDS:  # the rest is another step: others have their turn
                live.mailbox.extendleft(reversed(messages[place:]))
                break
            try:
                fact = message.make(live.machine, now)
            except FlowRunnerError as error:
                message.reject(error)
                continue
            if message.delivery is not None:
                consumed.append(message.delivery)
            if fact is not None:
                self._apply(live, making, fact)
                making.accepted.append(message)
            else:
                if message.undo is not None:
                    message.undo()
                    message.undo = message.then = None
                making.accepted.append(message)
        making.consumed = tuple(consumed)
        return making

    def _apply(self, live: Live, making: Making, fact: Fact) -> None:
        making.step.extend(live.machine.apply(fact))
        making.facts.append(fact)
        if isinstance(fact, facts.AttemptSubmitted | facts.AttemptLost) or (isinstance(fact, facts.AttemptSucceeded | facts.AttemptFailed) and not fact.job):
            live.local.discard(fact.attempt)

    def _finish_making(self, live: Live, making: Making) -> None:
        """Give the step's attempts their places: what can start now is started in the same commit."""
        if not making.step.commands:
            return
        assert self.dispatcher is not None  # noqa: S101 - set by the engine
        cancelled = {command.attempt for command in making.step.commands if isinstance(command, CancelAttempt)}
        live.local -= cancelled
        for command in [command for command in making.step.commands if isinstance(command, RunAttempt)]:
            if command.resource.family == "activity" or command.attempt in cancelled:
                continue
            live.local.add(command.attempt)
            call = self.dispatcher.call(live, command)
            handler = self.dispatcher.reserve(call)
            if handler is not None:
                self._apply(live, making, facts.AttemptStarted(at=self._clock.now(), attempt=command.attempt))
                making.to_run.append((call, handler))

    def _deliveries(self, live: Live, step: Step) -> tuple[Any, ...]:
        return () if step.outcome is None or live.head.extra is None else end_delivery(live, step.outcome, self._region)

    def _release(self, making: Making) -> None:
        assert self.dispatcher is not None  # noqa: S101
        for _, handler in making.to_run:
            self.dispatcher.release(handler)

    def _committed(self, live: Live, making: Making, write: StepWrite, stored: Head) -> None:
        """The step is durable: now its effects begin, and those who wait for it are told."""
        self._point(AFTER_COMMIT)
        live.head = stored
        live.more = making.step.more
        if write.snapshot is not None:
            live.since_snapshot, live.snapshot_bytes = 0, len(write.snapshot)
        else:
            live.since_snapshot += len(making.facts)
        self._feed.publish(stored, write.chunk)
        self._observer.on_step(len(making.step.records), self._clock.monotonic() - making.began)
        for error in making.step.retried:
            self._observer.on_retry(error)
        if making.step.outcome is not None:
            self._observer.on_execution_ended(stored)
        for message in making.accepted:
            if message.then is not None:
                message.then()
            message.accept(stored)
        if making.step.commands:
            assert self.dispatcher is not None  # noqa: S101
            for command in making.step.commands:
                if isinstance(command, CancelAttempt):
                    self.dispatcher.cancel(live.id, command.attempt)
                    if command.job is not None:
                        self.in_background(self.stop_job(command.job))
            for call, handler in making.to_run:
                self.dispatcher.run(call, handler)
        self.after_commit(live, write)


def _bounded(program: Program, head: Head) -> Program:
    """The program with the time that its kind of execution may take: AWS ends express executions after five minutes."""
    if head.extra is None or "express" not in extra_of(head):
        return program
    return replace(program, timeout_seconds=min(program.timeout_seconds or EXPRESS_SECONDS, EXPRESS_SECONDS))


def _started(machine: Machine, now: int) -> Fact | None:
    del machine
    return facts.Started(at=now)
