"""The machine: one execution as a pure function of its program, its identity and the facts so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop
from typing import Any

from flowrunner.core import attempts, facts, loops, notes
from flowrunner.core.attempts import resource_of
from flowrunner.core.commands import CancelAttempt, Outcome, RunAttempt, Step
from flowrunner.core.enter import attempt_command, enter
from flowrunner.core.facts import Fact
from flowrunner.core.faults import RUNTIME, TIMEOUT, Failure, too_long
from flowrunner.core.groups import open_more, settle
from flowrunner.core.program import Program
from flowrunner.core.records import failure_detail, text_detail
from flowrunner.core.run import Ended, Identity, Run
from flowrunner.core.scope import Attempt, Scope
from flowrunner.core.snapshot import pack, unpack
from flowrunner.core.variables import begin_variables
from flowrunner.jsonvalue import Payload
from flowrunner.limits import AWS, Limits

EXPRESSION_STEPS = 20_000  # of expressions in one step, then it is cut: about 20 ms, so that no chain of states holds the event loop
STEP_CHARACTERS = 1_000_000  # of payloads in the records of one step, then it is cut: one write of the store holds them all
MOST_ATTEMPTS = 2**32 - 1  # the number has four bytes in a task token


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """An attempt that is not over: what the engine needs to go on with it after a restart. `answered` tells that its end is known, but not yet its turn."""

    status: str
    command: RunAttempt
    answered: bool


class Machine:
    """Takes facts, gives steps; does no I/O and reads no clock.

    `apply` never raises for anything a user or a task did: failures become records and commands. A fact that nothing
    waits for (late, repeated) gives an empty step. The same facts always give the same steps; `snapshot` and `restore`
    stand for all facts before them.
    """

    def __init__(self, program: Program, identity: Identity, limits: Limits = AWS) -> None:
        self._run = Run(program, identity, limits)

    # --- looking

    @property
    def outcome(self) -> Outcome | None:
        """How the execution ended, once it has."""
        return self._run.outcome

    @property
    def fact_count(self) -> int:
        """How many facts were applied, those before a snapshot included."""
        return self._run.fact_count

    @property
    def last_seq(self) -> int:
        """How many records the log has."""
        return self._run.last_seq

    @property
    def wake_at(self) -> int | None:
        """When a TimerFired fact is due (milliseconds since 1970 UTC); None for never."""
        if self._run.outcome is not None:
            return None
        timer = attempts.next_due(self._run)
        return timer[0] if timer is not None else None

    @property
    def started(self) -> bool:
        """Whether the execution has begun."""
        return self._run.root is not None

    @property
    def has_ready(self) -> bool:
        """Whether a step was cut: a Continued fact would go on."""
        run = self._run
        return run.outcome is None and bool(run.ready or run.ended or attempts.next_overdue(run))

    def open_attempts(self) -> Iterator[OpenAttempt]:
        """Attempts that are not over, oldest first."""
        for number in sorted(self._run.attempts):
            yield self._open(self._run.attempts[number])

    def open_attempt(self, number: int) -> OpenAttempt | None:
        """One attempt, if it is not over."""
        scope = self._run.attempts.get(number)
        return self._open(scope) if scope is not None else None

    def owns_token(self, token: str, attempt: int) -> bool:
        """Whether a task token is the real one of that attempt, over or not (constant time)."""
        return 0 < attempt <= self._run.last_attempt and self._run.owns(token, attempt)

    def token_of(self, attempt: int) -> str:
        """The task token of an attempt."""
        return self._run.token(attempt)

    def _open(self, scope: Scope) -> OpenAttempt:
        attempt = scope.wait
        assert isinstance(attempt, Attempt)  # noqa: S101 - run.attempts holds no other scopes
        return OpenAttempt(attempt.status, attempt_command(self._run, scope, resource_of(scope), attempt), attempt.early is not None)

    # --- snapshots

    def snapshot(self) -> bytes:
        """The whole state, compact and versioned."""
        return pack(self._run)

    @classmethod
    def restore(cls, program: Program, identity: Identity, snapshot: bytes, limits: Limits = AWS) -> Machine:
        """The machine a snapshot was taken of; raises ReplayMismatch for a snapshot that does not fit the program."""
        machine = cls(program, identity, limits)
        unpack(machine._run, snapshot)
        return machine

    @classmethod
    def closed(cls, program: Program, identity: Identity, outcome: Outcome, last_seq: int) -> Machine:
        """The machine of an execution that has ended, of which only the outcome is kept: every fact comes too late."""
        machine = cls(program, identity)
        machine._run.outcome = outcome
        machine._run.last_seq = last_seq
        machine._run.last_attempt = MOST_ATTEMPTS
        return machine

    # --- acting

    def apply(self, fact: Fact) -> Step:
        """Take one fact; return the records to keep and the commands to carry out."""
        run = self._run
        run.step = Step()
        run.meter.spent = run.written = 0
        run.meter.refill()
        run.fact_count += 1
        if run.outcome is not None:
            return run.step
        run.now = max(run.now, fact.at)
        if self._take(fact):
            if len(run.timers) > attempts.STALE_TIMERS:
                attempts.drop_stale(run)
            self._advance()
        else:
            run.step.more = self.has_ready
        return run.step

    def _take(self, fact: Fact) -> bool:
        """Take a fact in; whether the execution goes on by it.

        A fact that ends no attempt (it was started, its worker is alive; late or repeated facts) only marks it: its step has no
        commands, so whoever carries out a step's commands may apply such facts meanwhile. A step that was cut waits for Continued.
        """
        run = self._run
        match fact:
            case facts.Started():
                return self._begin()
            case facts.Stopped():
                self._abort(fact)
                return False
            case facts.Continued() | facts.TimerFired():
                return True  # everything due by now fires
            case _:
                was_open = fact.attempt in run.attempts
                _ATTEMPT_FACTS[type(fact)](run, fact)
                return was_open and fact.attempt not in run.attempts

    def _advance(self) -> None:
        """Run on through every state that needs nothing from outside, up to the step's bound.

        What is due when the step begins comes before what the step before left: a loop of pure states stops no clock.
        """
        run = self._run
        meter, limits = run.meter, run.limits
        most_events = limits.history_events - 1 if limits.history_events else math.inf
        overdue = bool(run.timers) and run.timers[0][0] <= run.now
        for _ in range(limits.transitions_per_step):
            if run.outcome is not None:
                return
            if meter.spent > EXPRESSION_STEPS or run.written > STEP_CHARACTERS:
                break
            meter.refill()
            if run.last_id >= most_events:
                text = f"The execution reached the maximum number of history events ({limits.history_events})."
                self._finish_failed(Failure(RUNTIME, text))
            elif run.ended:
                self._settle(run.ended.popitem(last=False)[1])
            elif overdue and (overdue := self._fire_due()):
                pass
            elif run.ready:
                _, scope = run.ready.popitem(last=False)
                attempts.guarded(run, scope, enter if scope.wait is None else open_more)
            elif not run.timers or run.timers[0][0] > run.now or not self._fire_due():
                return
        run.step.more = self.has_ready

    def _settle(self, ended: Ended) -> None:
        run = self._run
        parent = ended.scope.parent
        if parent is None:
            self._finish(ended)
            return
        attempts.guarded(run, parent, lambda run, _: settle(run, ended))

    # --- the end

    def _finish(self, ended: Ended) -> None:
        run = self._run
        if ended.failure is not None:
            self._finish_failed(ended.failure)
            return
        assert ended.output is not None  # noqa: S101 - Ended has one or the other
        output = ended.output.text
        run.record(ended.scope, "ExecutionSucceeded", "executionSucceededEventDetails", text_detail("output", output))
        told, value = run.program.verdict, None if run.program.verdict is None else ended.output.value
        verdict = value.get(told) if told is not None and isinstance(value, dict) else None
        run.outcome = run.step.outcome = Outcome(status="SUCCEEDED", at=run.now, output=output, verdict=verdict)

    def _finish_failed(self, failure: Failure) -> None:
        run = self._run
        self._give_up()
        run.record(run.root, "ExecutionFailed", "executionFailedEventDetails", failure_detail(failure.error, failure.cause))
        run.outcome = run.step.outcome = Outcome(status="FAILED", at=run.now, error=failure.error, cause=failure.cause)

    def _give_up(self) -> None:
        """Cancel every attempt that runs; the history names no aborted states here, as AWS does not."""
        run = self._run
        notes.cancelled(run, run.scopes.values())
        loops.all_given_up(run)
        for number in sorted(run.attempts):
            attempt = run.attempts[number].wait
            run.command(CancelAttempt(number, attempt.job if isinstance(attempt, Attempt) else None))
        run.attempts.clear()
        run.ready.clear()
        run.ended.clear()
        run.timers.clear()

    def _begin(self) -> bool:
        run = self._run
        if run.root is not None:
            return False
        who, branch = run.identity, run.program.root
        detail = {**text_detail("input", who.input), "roleArn": who.role_arn}
        run.record(None, "ExecutionStarted", "executionStartedEventDetails", detail)
        run.root = Scope(number=run.next_scope(), branch=branch, state=branch.states[branch.start_at], given=Payload(text=who.input))
        begin_variables(run, run.root)
        if run.program.timeout_milliseconds is not None:
            run.deadline = run.now + run.program.timeout_milliseconds
            run.set_timer(run.deadline, 0, "execution")
        run.open_scope(run.root)
        return True

    def _abort(self, fact: facts.Stopped) -> None:
        run = self._run
        self._give_up()
        run.record(None, "ExecutionAborted", "executionAbortedEventDetails", failure_detail(fact.error, fact.cause))
        run.outcome = run.step.outcome = Outcome(status="ABORTED", at=run.now, error=fact.error, cause=fact.cause)

    # --- timers

    def _fire_due(self) -> bool:
        """Fire the earliest timer that is due; False when there is none."""
        run = self._run
        timer = attempts.next_overdue(run)
        if timer is None:
            return False
        heappop(run.timers)
        if timer[2] == "execution":
            self._time_out()
        else:
            attempts.fire(run, timer)
        return True

    def _time_out(self) -> None:
        run = self._run
        self._give_up()
        error = cause = None
        if run.program.notes and run.program.timeout_milliseconds is not None:  # AWS tells an error in the event only
            error, cause = TIMEOUT, too_long("The execution", run.program.timeout_milliseconds)
        run.record(None, "ExecutionTimedOut", "executionTimedOutEventDetails", failure_detail(TIMEOUT, cause))
        run.outcome = run.step.outcome = Outcome(status="TIMED_OUT", at=run.now, error=error, cause=cause)


_ATTEMPT_FACTS: dict[type, Callable[[Run, Any], None]] = {
    facts.AttemptStarted: attempts.on_started,
    facts.AttemptSubmitted: attempts.on_submitted,
    facts.AttemptHeartbeat: attempts.on_heartbeat,
    facts.AttemptLogged: attempts.on_logged,
    facts.AttemptSucceeded: attempts.on_succeeded,
    facts.AttemptFailed: attempts.on_failed,
    facts.AttemptLost: attempts.on_lost,
}
