"""Moving one execution: take its messages, apply them, commit the step, then act. The only loop that does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

from flowrunner.clock import Clock
from flowrunner.core import facts
from flowrunner.core.commands import CancelAttempt, Outcome, RunAttempt
from flowrunner.core.facts import Fact
from flowrunner.core.machine import Machine
from flowrunner.core.program import Program
from flowrunner.core.run import Identity
from flowrunner.engine.childends import end_delivery
from flowrunner.engine.dispatch import Dispatcher
from flowrunner.engine.feed import ENDED, Feed
from flowrunner.engine.live import Live, Message, extra_of, identity_of
from flowrunner.engine.making import Making
from flowrunner.engine.ownership import begin, inherited, owners_of, placed
from flowrunner.engine.patience import Answer, surely
from flowrunner.engine.points import AFTER_COMMIT, BEFORE_COMMIT, Point
from flowrunner.engine.programs import Programs
from flowrunner.engine.writes import step_write
from flowrunner.errors import Fenced, FlowRunnerError, NotFound, ReplayMismatch, StoreUnavailable
from flowrunner.limits import Limits
from flowrunner.ports.executions import ExecutionStore, Head, NameTaken, StepWrite
from flowrunner.ports.observe import Observer

MESSAGES_PER_STEP = 200
LONGEST_MAKING_SECONDS = 0.005  # on the event loop in one go; a single state with costly expressions may take longer
EXPRESS_MILLISECONDS = 300_000


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
        shared: bool,
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
        self._shared = shared
        self._feed = feed
        self._observer = observer
        self._point = point
        self._report = report
        self.dispatcher: Dispatcher | None = None  # set once by the engine: the dispatcher posts to the engine, which drives with this
        self.after_commit: Callable[[Live, StepWrite], None] = lambda _live, _write: None
        self.after_create: Callable[[Live], None] = lambda _live: None
        self.stop_job: Callable[[str], Coroutine[Any, Any, None]]  # set by the engine
        self.in_background: Callable[[Coroutine[Any, Any, None]], None]  # set by the engine, which owns background work

    # --- beginning

    def begin(self, head: Head, identity: Identity, programs_entry: Any) -> Live:
        """A new execution in memory, its first step not yet made."""
        revision, program = programs_entry
        return Live(head=head, revision=revision, machine=Machine(_bounded(program, head), identity, self._limits))

    async def create(self, live: Live) -> Head | NameTaken:
        """Make and commit the first step; raises StoreUnavailable. What it started runs when this returns.

        `after_create` is called once it is known whether the execution is stored; that may be after this has raised.
        """
        making = self._making([Message(make=_started)], live)
        self._finish_making(live, making)
        write = self._write(live, making, create=True)
        began = self._clock.monotonic()
        try:
            self._point(BEFORE_COMMIT)
            stored = await self._executions.commit(write)
        except StoreUnavailable:
            self.in_background(self._resolve_create(live, making, write))
            raise
        except asyncio.CancelledError:  # whoever stops waiting does not stop the write
            self.in_background(self._finish_create(live, making, write))
            raise
        except BaseException:
            self._created(live, making, write, None)
            raise
        self._observer.on_store_operation("create", self._clock.monotonic() - began)
        self._created(live, making, write, stored if isinstance(stored, Head) else None)
        return stored

    def _created(self, live: Live, making: Making, write: StepWrite, stored: Head | None) -> None:
        if stored is None:
            self._release(live, making)
        else:
            self._observer.on_execution_started(stored)
            self._committed(live, making, write, stored)
        self.after_create(live)

    async def _resolve_create(self, live: Live, making: Making, write: StepWrite) -> None:
        """The caller was told that the store failed; if the start is stored all the same, it must go on."""
        head = await self._surely(lambda: self._executions.head(live.id))
        # Whatever others have made of it since: the next step finds out by its fence.
        self._created(live, making, write, None if head is None else replace(write.head, epoch=1))

    async def _finish_create(self, live: Live, making: Making, write: StepWrite) -> None:
        """Nobody waits for the answer any more, but the start may be stored: a repeated create tells, and is harmless."""
        stored = await self._surely(lambda: self._executions.commit(write))
        foreign = isinstance(stored, NameTaken) and stored.head.id != live.id
        self._created(live, making, write, None if foreign else replace(write.head, epoch=1))

    async def _surely(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        return await surely(ask, self._clock, self._report)

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
            raise ReplayMismatch(
                f"Execution {execution} was begun by a release that recorded other things: it replays to {machine.last_seq} records, its log has {head.last_seq}.",
                remedy="Let a server of that release end it.",
            )
        live = Live(head=head, revision=revision, machine=machine, since_snapshot=since)
        live.more = more or machine.has_ready
        live.snapshot_bytes = len(stored.snapshot) if stored.snapshot is not None else 0
        live.others = placed(head, machine)
        live.local = live.others.pop(self._node, set())
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
            except Exception:
                live.mailbox.extendleft(reversed(messages))
                raise

    async def _reload(self, live: Live) -> None:
        """Somebody else has moved the execution on: forget what was not stored and read what was."""
        fresh = await self._surely(lambda: self.load(live.id))
        live.head, live.machine, live.more = fresh.head, fresh.machine, fresh.more
        live.since_snapshot, live.snapshot_bytes = fresh.since_snapshot, fresh.snapshot_bytes
        live.local, live.others = fresh.local, fresh.others
        assert self.dispatcher is not None  # noqa: S101 - set by the engine
        for attempt in live.begun - live.local:
            self.dispatcher.cancel(live.id, attempt)
        live.begun &= live.local
        if live.local - live.begun:  # committed, but the answer was lost and somebody else has written since: they never began
            live.mailbox.appendleft(Message(make=_nothing, heir_of=frozenset({self._node})))

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
        try:
            if not making.changes:
                await self._confirm(live)
                self._answer(making, live.head)
                return
            self._finish_making(live, making)
            write = self._write(live, making)
            stored = await self._commit(write)
        except BaseException:
            self._release(live, making)
            raise
        self._committed(live, making, write, stored)

    def _write(self, live: Live, making: Making, *, create: bool = False) -> StepWrite:
        step = making.step
        deliveries = () if step.outcome is None or live.head.extra is None else end_delivery(live, step.outcome, self._region)
        return step_write(live, step, making.facts, node=self._node, create=create, consumed=tuple(making.consumed), deliveries=deliveries)

    async def _confirm(self, live: Live) -> None:
        """Nothing is done, or refused, on the ground of a state that others have moved on; raises Fenced."""
        if self._shared:
            position = (await self._surely(lambda: self._executions.positions([live.id]))).get(live.id)
            if position is None or position.epoch != live.head.epoch:
                raise Fenced(f"Execution {live.id} is no longer at epoch {live.head.epoch}.")

    def _making(self, messages: list[Message], live: Live) -> Making:
        """Apply the messages' facts. Nobody is answered yet: the state may turn out to be an old one."""
        making = Making(began=self._clock.monotonic())
        now = self._clock.now()
        if live.more:
            self._apply(live, making, facts.Continued(at=now))
        for place, message in enumerate(messages):
            if place and self._clock.monotonic() - making.began > LONGEST_MAKING_SECONDS:  # the rest is another step: others have their turn
                live.mailbox.extendleft(reversed(messages[place:]))
                del messages[place:]
                break
            self._take(live, making, message, now)
        return making

    def _take(self, live: Live, making: Making, message: Message, now: int) -> None:
        if message.heir_of:
            self._inherit(live, making, message.heir_of, now)
        if message.begins is not None and message.begins not in live.local:  # while it waited, another node took it over
            making.idle.append(message)
            return
        try:
            fact = message.make(live.machine, now)
        except FlowRunnerError as error:
            making.declined.append((message, error))
            return
        if message.delivery is not None and live.machine.outcome is None:
            making.consumed.append(message.delivery)
        if fact is None:
            making.idle.append(message)
        else:
            self._apply(live, making, fact)
            making.accepted.append(message)

    def _inherit(self, live: Live, making: Making, gone: frozenset[str], now: int) -> None:
        """Go on with what nodes that are gone had in hand; with what this node has, where it never began."""
        assert self.dispatcher is not None  # noqa: S101 - set by the engine
        attempts = live.local - live.begun if self._node in gone else set()
        for node in gone & live.others.keys():
            attempts |= live.others.pop(node)
        if gone & owners_of(live.head) - {self._node}:
            making.inherits = True
        for message in inherited(live, attempts, self.dispatcher, making.queued, in_doubt=self._node not in gone):
            making.inner.append(message)
            self._take(live, making, message, now)

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
            else:
                making.queued.append(command.attempt)

    def _release(self, live: Live, making: Making) -> None:
        """The step came to nothing: give back the places it took, but not to attempts of its own."""
        assert self.dispatcher is not None  # noqa: S101
        for attempt in making.queued:
            self.dispatcher.unqueue(live.id, attempt)
        for _, handler in making.to_run:
            self.dispatcher.release(handler)
        for message in making.inner:
            message.undo_once()

    @staticmethod
    def _answer(making: Making, head: Head) -> None:
        """What was taken in is stored, what was not is judged by the newest state: tell those who sent it."""
        for message in making.accepted:
            if message.then is not None:
                message.then(making.began)
            message.accept(head)
        for message in making.idle:
            message.undo_once()
            message.accept(head)
        for message, error in making.declined:
            message.reject(error)

    def _committed(self, live: Live, making: Making, write: StepWrite, stored: Head) -> None:
        """The step is durable: now its effects begin, and those who wait for it are told."""
        self._point(AFTER_COMMIT)
        live.head = stored
        live.more = making.step.more
        live.begun.update(making.queued)
        live.begun &= live.local
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
        if making.inherits:
            self._observer.on_takeover()
        self._answer(making, stored)
        if making.step.commands:
            assert self.dispatcher is not None  # noqa: S101
            for command in making.step.commands:
                if isinstance(command, CancelAttempt):
                    self.dispatcher.cancel(live.id, command.attempt)
                    if command.job is not None:
                        self.in_background(self.stop_job(command.job))
            for call, handler in making.to_run:
                begin(live, call, handler, self.dispatcher, making.began)
        self.after_commit(live, write)


def _bounded(program: Program, head: Head) -> Program:
    """The program with the time that its kind of execution may take: AWS ends express executions after five minutes."""
    if head.extra is None or "express" not in extra_of(head):
        return program
    return replace(program, timeout_milliseconds=min(program.timeout_milliseconds or EXPRESS_MILLISECONDS, EXPRESS_MILLISECONDS))


def _started(machine: Machine, now: int) -> Fact | None:
    del machine
    return facts.Started(at=now)


def _nothing(machine: Machine, now: int) -> Fact | None:
    del machine, now
    return None
