"""Running attempts on this node: a place for each, one asyncio task each, and the outcome as a message to its execution."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from flowrunner.core import facts
from flowrunner.core.commands import RunAttempt
from flowrunner.core.facts import Fact
from flowrunner.core.machine import Machine
from flowrunner.engine.live import Live, Message, arn_of, extra_of
from flowrunner.engine.points import AFTER_DISPATCH, AFTER_RESULT, Point
from flowrunner.errors import InvalidDocument
from flowrunner.ids import machine_arn
from flowrunner.jsonvalue import MAX_DEPTH, is_too_deep, whole
from flowrunner.ports.tasks import AttemptLost, Completed, Failed, Succeeded, TaskCall, TaskHandler, TaskOutcome, TaskResolver, begin, may_begin, say

Post = Callable[[str, Message], None]
Make = Callable[[Machine, int], Fact | None]
Report = Callable[[str, dict[str, Any]], None]


class Dispatcher:
    """Starts, counts and cancels attempts.

    An attempt that finds no free place of its handler stays unstarted: only when a place is free, its start is committed,
    and only then it runs. So after a crash no more attempts are in doubt than really ran (reliability G3).
    """

    def __init__(self, resolver: TaskResolver, *, region: str, post: Post, point: Point, report: Report) -> None:
        self._resolver = resolver
        self._region = region
        self._post = post
        self._point = point
        self._report = report
        self._used: dict[TaskHandler, int] = {}
        self._queues: dict[TaskHandler, dict[tuple[str, int], TaskCall]] = {}  # in order of arrival
        self._running: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._said: dict[tuple[str, int], list[facts.LogLine]] = {}  # lines that no fact has taken yet
        self._stopping = False
        self.is_ours: Callable[[TaskCall, float], Awaitable[bool]] | None = None  # set by the engine where other nodes may take over
        self.abandon: Callable[[str], None] = lambda _answer: None  # set by the engine: stops a job that nobody waits for any more

    def call(self, live: Live, command: RunAttempt) -> TaskCall:
        """The attempt as its handler sees it."""
        head = live.head
        return TaskCall(
            execution=head.id,
            execution_arn=arn_of(head, self._region),
            machine_arn=machine_arn(self._region, head.account, head.machine),
            account=head.account,
            region=self._region,
            state=command.state,
            attempt=command.attempt,
            retry=command.retry,
            resource=command.resource,
            parameters=command.parameters,
            key=command.key,
            token=command.token,
            deadline=command.deadline,
            heartbeat_seconds=command.heartbeat_seconds,
            credentials=command.credentials,
            secrets=command.secrets,
            test_case=extra_of(head).get("testCase") if head.extra else None,
        )

    def idempotent(self, call: TaskCall) -> bool:
        """Whether the call may simply be made again."""
        return self._resolver.resolve(call).idempotent(call)

    def reserve(self, call: TaskCall) -> TaskHandler | None:
        """A place for the call, or None: it is queued then and starts by itself later."""
        handler = self._resolver.resolve(call)
        used = self._used.get(handler, 0)
        if used >= handler.places() or self._queues.get(handler) or self._stopping:
            self._queues.setdefault(handler, {})[call.execution, call.attempt] = call
            return None
        self._used[handler] = used + 1
        return handler

    def release(self, handler: TaskHandler) -> None:
        """Give a place back; the longest waiting attempt takes it."""
        self._used[handler] -= 1
        queue = self._queues.get(handler)
        if queue and not self._stopping:
            call = queue.pop(next(iter(queue)))
            self._used[handler] += 1
            self._post(
                call.execution,
                Message(make=_start_of(call), then=lambda since: self.run(call, handler, since), undo=lambda: self.release(handler), begins=call.attempt),
            )

    def run(self, call: TaskCall, handler: TaskHandler, since: float) -> None:
        """Run a call whose place is reserved, and whose start was committed after `since` (monotonic)."""
        key = (call.execution, call.attempt)
        task = asyncio.get_running_loop().create_task(self._run(call, handler, since), name=f"attempt {call.key}")
        self._running[key] = task
        task.add_done_callback(lambda _: self._ended(key, handler))

    def _ended(self, key: tuple[str, int], handler: TaskHandler) -> None:
        self._running.pop(key, None)
        self.release(handler)

    async def _run(self, call: TaskCall, handler: TaskHandler, since: float) -> None:
        self._point(AFTER_DISPATCH)
        say.set(lambda level, message, data: self._say(call, facts.LogLine(level=level, message=whole(message), data=data and whole(data))))
        try:
            if self.is_ours is not None:
                ours = self.is_ours
                may_begin.set(lambda: ours(call, since))
                await begin()
            outcome = await handler.run(call)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self._stopping or task is None or task.cancelling():
                return  # timed out or stopped: the machine has gone on without it; or the node stops: its outcome is unknown
            outcome = self._broken(call, error)  # something within the handler was cancelled, not the attempt
        except AttemptLost:
            return  # this node was away for so long that others went on without it (reliability R13)
        except Exception as error:  # noqa: BLE001 - a broken handler fails its attempt, not the engine
            outcome = self._broken(call, error)
        outcome = _fit(call, outcome)
        self._point(AFTER_RESULT)
        for make in self._facts_of(call, outcome):
            self._post(call.execution, Message(make=make))

    def _broken(self, call: TaskCall, error: BaseException) -> Failed:
        self._report("handler_broke", {"call": call.key, "resource": call.resource.arn, "error": repr(error)})
        return Failed("States.TaskFailed", f"The handler of {call.resource.arn} broke: {type(error).__name__}: {error}")

    def _say(self, call: TaskCall, line: facts.LogLine) -> None:
        """Hand on a line of an attempt; lines that come before the execution's next step become one fact."""
        key = (call.execution, call.attempt)
        if (waiting := self._said.get(key)) is not None:
            waiting.append(line)
            return
        lines = self._said[key] = [line]

        def close() -> None:
            if self._said.get(key) is lines:
                del self._said[key]

        def make(machine: Machine, now: int) -> Fact | None:  # asked again when another node wrote in between
            close()
            return facts.AttemptLogged(at=now, attempt=call.attempt, lines=tuple(lines)) if machine.open_attempt(call.attempt) is not None else None

        self._post(call.execution, Message(make=make, undo=close))

    def _facts_of(self, call: TaskCall, outcome: TaskOutcome) -> list[Make]:
        made = _facts_of(call, outcome)
        if not call.resource.pattern.startswith("sync") or not isinstance(outcome, Succeeded):
            return made

        def submitted(machine: Machine, now: int) -> Fact | None:
            fact = made[0](machine, now)
            if fact is None:  # the attempt was given up while its job was being started
                self.abandon(outcome.output)
            return fact

        return [submitted]

    def cancel(self, execution: str, attempt: int) -> None:
        """Stop an attempt, wherever it stands; nothing happens if it is not here."""
        task = self._running.get((execution, attempt))
        if task is not None:
            task.cancel()
        else:
            self.unqueue(execution, attempt)

    def unqueue(self, execution: str, attempt: int) -> None:
        """Forget an attempt that waits for a place; nothing happens if it is not among them."""
        for queue in self._queues.values():
            if queue.pop((execution, attempt), None) is not None:
                return

    def known(self, execution: str) -> set[int]:
        """The attempts of an execution that run or wait for a place here."""
        keys = [*self._running, *(key for queue in self._queues.values() for key in queue)]
        return {attempt for known, attempt in keys if known == execution}

    def cancel_all(self) -> None:
        """Stop every attempt at once."""
        for task in self._running.values():
            task.cancel()

    async def stop(self, seconds: float) -> None:
        """Start nothing more, let what runs finish within `seconds`, then cancel it."""
        self._stopping = True
        tasks = set(self._running.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)


def _fit(call: TaskCall, outcome: TaskOutcome) -> TaskOutcome:
    """The outcome, or a failure instead of a result that no input could have either: the next expression would stumble over it."""
    match outcome:
        case Failed(error, cause, phase):
            return Failed(error and whole(error), cause and whole(cause), phase)
        case Succeeded(output):
            outcome = Succeeded(whole(output))
        case Completed(submitted, output):
            outcome = Completed(whole(submitted), whole(output))
    try:
        if not is_too_deep(outcome.output):
            return outcome
        problem = f"it is nested more than {MAX_DEPTH} levels deep"
    except InvalidDocument as error:
        problem = error.message
    return Failed("States.Runtime", f"The result of {call.resource.arn} cannot be used: {problem}.")


def _start_of(call: TaskCall) -> Callable[[Machine, int], Fact | None]:
    def make(machine: Machine, now: int) -> Fact | None:
        attempt = machine.open_attempt(call.attempt)
        return facts.AttemptStarted(at=now, attempt=call.attempt) if attempt is not None and attempt.status != "submitted" else None

    return make


def _facts_of(call: TaskCall, outcome: TaskOutcome) -> list[Make]:
    number = call.attempt
    match outcome:
        case Succeeded(output) if call.resource.is_submitted:
            return [lambda machine, now: _if_open(machine, facts.AttemptSubmitted(at=now, attempt=number, output=output))]
        case Succeeded(output):
            return [lambda machine, now: _if_open(machine, facts.AttemptSucceeded(at=now, attempt=number, output=output))]
        case Completed(submitted, output):
            return [
                lambda machine, now: _if_open(machine, facts.AttemptSubmitted(at=now, attempt=number, output=submitted)),
                lambda machine, now: _if_open(machine, facts.AttemptSucceeded(at=now, attempt=number, output=output)),
            ]
        case Failed(error, cause, phase):
            return [lambda machine, now: _if_open(machine, facts.AttemptFailed(at=now, attempt=number, error=error, cause=cause, phase=phase))]


def _if_open(machine: Machine, fact: facts.AttemptSubmitted | facts.AttemptSucceeded | facts.AttemptFailed) -> Fact | None:
    return fact if machine.open_attempt(fact.attempt) is not None else None
