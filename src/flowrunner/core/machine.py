"""The machine: one execution as a pure function of its program, its identity and the facts so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop

from flowrunner.core import facts
from flowrunner.core.commands import CancelAttempt, Outcome, RunAttempt, Step
from flowrunner.core.dataflow import effective_input
from flowrunner.core.enter import EVENT_PREFIX, attempt_command, enter
from flowrunner.core.facts import Fact
from flowrunner.core.faults import DATA_LIMIT_EXCEEDED, HEARTBEAT_TIMEOUT, OUTCOME_UNKNOWN, RUNTIME, TIMEOUT, Failure, StateFailed
from flowrunner.core.groups import cancel_children, settle
from flowrunner.core.leave import fail, succeed
from flowrunner.core.program import Program, TaskWork
from flowrunner.core.records import failure_detail, text_detail
from flowrunner.core.resource import Resource, parse_resource
from flowrunner.core.run import Ended, Identity, Run, Timer
from flowrunner.core.scope import Attempt, Pause, Scope
from flowrunner.core.snapshot import pack, unpack
from flowrunner.jsonvalue import Payload
from flowrunner.limits import AWS, Limits

FAILED_EVENT = {"schedule": "ScheduleFailed", "start": "StartFailed", "submit": "SubmitFailed", "run": "Failed"}
MOST_ATTEMPTS = 2**32 - 1  # the number has four bytes in a task token
UNKNOWN_OUTCOME = "The process that ran this attempt ended before it could report; whether it took effect is unknown."


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """An attempt that is not over: what the engine needs to go on with it after a restart."""

    status: str
    command: RunAttempt


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
        return self._run.last_id

    @property
    def wake_at(self) -> int | None:
        """When a TimerFired fact is due (milliseconds since 1970 UTC); None for never."""
        run = self._run
        if run.outcome is not None:
            return None
        while run.timers and self._stale(run.timers[0]):
            heappop(run.timers)
        return run.timers[0][0] if run.timers else None

    @property
    def started(self) -> bool:
        """Whether the execution has begun."""
        return self._run.root is not None

    @property
    def has_ready(self) -> bool:
        """Whether a step was cut: a Continued fact would go on."""
        return self._run.outcome is None and bool(self._run.ready or self._run.ended)

    @property
    def has_attempts(self) -> bool:
        """Whether any attempt is not over."""
        return bool(self._run.attempts)

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
        return OpenAttempt(attempt.status, attempt_command(self._run, scope, _resource(scope), attempt))

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
        machine._run.last_id = last_seq
        machine._run.last_attempt = MOST_ATTEMPTS
        return machine

    # --- acting

    def apply(self, fact: Fact) -> Step:
        """Take one fact; return the records to keep and the commands to carry out."""
        run = self._run
        run.step = Step()
        run.fact_count += 1
        if run.outcome is not None:
            return run.step
        run.now = max(run.now, fact.at)
        _FACTS[type(fact)](self, fact)
        self._advance()
        return run.step

    def _advance(self) -> None:
        """Run on through every state that needs nothing from outside, up to the step's bound."""
        run = self._run
        for _ in range(run.limits.transitions_per_step):
            if run.outcome is not None:
                return
            if run.limits.history_events and run.last_id >= run.limits.history_events - 1:
                text = f"The execution reached the maximum number of history events ({run.limits.history_events})."
                self._finish_failed(Failure(RUNTIME, text))
            elif run.ended:
                self._settle(run.ended.popleft())
            elif run.ready:
                scope = run.ready.popleft()
                self._guarded(scope, enter)
            elif not self._fire_due():
                return
        run.step.more = run.outcome is None

    def _guarded(self, scope: Scope, act: Callable[[Run, Scope], None]) -> None:
        run = self._run
        try:
            act(run, scope)
        except StateFailed as failed:
            self._fail(scope, failed.failure)

    def _fail(self, scope: Scope, failure: Failure) -> None:
        cancel_children(self._run, scope)
        fail(self._run, scope, failure)

    def _settle(self, ended: Ended) -> None:
        run = self._run
        parent = ended.scope.parent
        if parent is None:
            self._finish(ended)
            return
        try:
            settle(run, ended)
        except StateFailed as failed:
            self._fail(parent, failed.failure)

    # --- the end

    def _finish(self, ended: Ended) -> None:
        run = self._run
        if ended.failure is not None:
            self._finish_failed(ended.failure)
            return
        assert ended.output is not None  # noqa: S101 - Ended has one or the other
        output = ended.output.text
        run.record(ended.scope, "ExecutionSucceeded", "executionSucceededEventDetails", text_detail("output", output))
        run.outcome = run.step.outcome = Outcome(status="SUCCEEDED", at=run.now, output=output)

    def _finish_failed(self, failure: Failure) -> None:
        run = self._run
        self._give_up()
        run.record(run.root, "ExecutionFailed", "executionFailedEventDetails", failure_detail(failure.error, failure.cause))
        run.outcome = run.step.outcome = Outcome(status="FAILED", at=run.now, error=failure.error, cause=failure.cause)

    def _give_up(self) -> None:
        """Cancel every attempt that runs; the history names no aborted states here, as AWS does not."""
        run = self._run
        for number in sorted(run.attempts):
            run.command(CancelAttempt(number))
        run.attempts.clear()
        run.ready.clear()
        run.ended.clear()
        run.timers.clear()

    # --- facts

    def _on_started(self, fact: Fact) -> None:
        run = self._run
        if run.root is not None:
            return
        who, branch = run.identity, run.program.root
        detail = {**text_detail("input", who.input), "roleArn": who.role_arn}
        run.record(None, "ExecutionStarted", "executionStartedEventDetails", detail)
        root = Scope(number=run.next_scope(), branch=branch, state=branch.states[branch.start_at], given=Payload(text=who.input))
        run.root = root
        if run.program.timeout_seconds is not None:
            run.deadline = run.now + 1000 * run.program.timeout_seconds
            run.set_timer(run.deadline, 0, "execution")
        run.open_scope(root)
        del fact

    def _on_time(self, fact: Fact) -> None:
        """Nothing to do: everything due by now fires when the machine advances."""

    def _on_stopped(self, fact: Fact) -> None:
        assert isinstance(fact, facts.Stopped)  # noqa: S101 - narrows; the table pairs facts and methods
        run = self._run
        self._give_up()
        run.record(None, "ExecutionAborted", "executionAbortedEventDetails", failure_detail(fact.error, fact.cause))
        run.outcome = run.step.outcome = Outcome(status="ABORTED", at=run.now, error=fact.error, cause=fact.cause)

    def _waiting(self, number: int) -> tuple[Scope, Attempt] | None:
        scope = self._run.attempts.get(number)
        return (scope, scope.wait) if scope is not None and isinstance(scope.wait, Attempt) else None

    def _on_attempt_started(self, fact: Fact) -> None:
        assert isinstance(fact, facts.AttemptStarted)  # noqa: S101
        found = self._waiting(fact.attempt)
        if found is None or found[1].status != "scheduled":
            return
        scope, attempt = found
        attempt.status = "started"
        resource = _resource(scope)
        if resource.family == "lambda":
            self._run.advance(scope, "LambdaFunctionStarted")
        elif resource.family == "activity":
            detail = {"workerName": fact.worker} if fact.worker is not None else {}
            self._run.advance(scope, "ActivityStarted", "activityStartedEventDetails", detail)
        else:
            self._run.advance(scope, "TaskStarted", "taskStartedEventDetails", _names(resource))
        self._beat(scope, attempt)

    def _on_attempt_submitted(self, fact: Fact) -> None:
        assert isinstance(fact, facts.AttemptSubmitted)  # noqa: S101
        found = self._waiting(fact.attempt)
        if found is None or found[1].status != "started":
            return
        scope, attempt = found
        attempt.status = "submitted"
        detail = {**text_detail("output", fact.output), **_names(_resource(scope))}
        self._run.advance(scope, "TaskSubmitted", "taskSubmittedEventDetails", detail)
        self._beat(scope, attempt)
        if attempt.early is not None:
            [ended] = facts.decode(attempt.early.encode())
            _FACTS[type(ended)](self, ended)

    def _hold(self, fact: facts.AttemptSucceeded | facts.AttemptFailed) -> bool:
        """Keep the end of a job until the call that started it is answered: a quick job may end before that."""
        found = self._waiting(fact.attempt)
        if found is None or not fact.job or found[1].status == "submitted":
            return False
        found[1].early = facts.encode([fact]).decode()
        return True

    def _on_attempt_heartbeat(self, fact: Fact) -> None:
        assert isinstance(fact, facts.AttemptHeartbeat)  # noqa: S101
        found = self._waiting(fact.attempt)
        if found is not None:
            self._beat(*found)

    def _beat(self, scope: Scope, attempt: Attempt) -> None:
        if attempt.heartbeat_seconds is not None:
            attempt.heartbeat_due = self._run.now + 1000 * attempt.heartbeat_seconds
            self._run.set_timer(attempt.heartbeat_due, scope.id, "heartbeat", attempt.number)

    def _on_attempt_succeeded(self, fact: Fact) -> None:
        assert isinstance(fact, facts.AttemptSucceeded)  # noqa: S101
        found = self._waiting(fact.attempt)
        if found is None or self._hold(fact):
            return
        scope, attempt = found
        run, resource, result = self._run, _resource(scope), Payload(text=fact.output)
        if run.limits.payload_bytes and result.size() > run.limits.payload_bytes:
            text = f"The state/task '{resource.arn}' returned a result with a size exceeding the maximum number of bytes service limit."
            self._attempt_failed(attempt.number, Failure(DATA_LIMIT_EXCEEDED, text), "Failed")
            return
        run.attempts.pop(attempt.number)
        scope.wait = None
        prefix = EVENT_PREFIX[resource.family]
        detail = text_detail("output", fact.output)
        detail |= _names(resource) if resource.family == "service" else {}
        run.advance(scope, f"{prefix}Succeeded", f"{prefix[0].lower()}{prefix[1:]}SucceededEventDetails", detail)
        self._guarded(scope, lambda run, scope: succeed(run, scope, result))

    def _on_attempt_failed(self, fact: Fact) -> None:
        assert isinstance(fact, facts.AttemptFailed)  # noqa: S101
        if not self._hold(fact):
            self._attempt_failed(fact.attempt, Failure(fact.error, fact.cause), FAILED_EVENT[fact.phase])

    def _on_attempt_lost(self, fact: Fact) -> None:
        assert isinstance(fact, facts.AttemptLost)  # noqa: S101
        self._attempt_failed(fact.attempt, Failure(OUTCOME_UNKNOWN, UNKNOWN_OUTCOME), "Failed")

    def _attempt_failed(self, number: int, failure: Failure, event: str) -> None:
        found = self._waiting(number)
        if found is None:
            return
        scope, attempt = found
        resource = _resource(scope)
        self._run.attempts.pop(attempt.number)
        scope.wait = None
        detail = failure_detail(failure.error, failure.cause)
        detail |= _names(resource) if resource.family == "service" else {}
        event_type = f"{EVENT_PREFIX[resource.family]}{event}"
        self._run.advance(scope, event_type, f"{event_type[0].lower()}{event_type[1:]}EventDetails", detail)
        self._fail(scope, failure)

    # --- timers

    def _stale(self, timer: Timer) -> bool:
        run = self._run
        due, number, kind, attempt = timer
        if kind == "execution":
            return False
        scope = run.scopes.get(number)
        wait = scope.wait if scope is not None else None
        if kind in ("wait", "retry"):
            return not (isinstance(wait, Pause) and wait.kind == kind and wait.due == due)
        if not isinstance(wait, Attempt) or wait.number != attempt:
            return True
        return (wait.due if kind == "timeout" else wait.heartbeat_due) != due

    def _fire_due(self) -> bool:
        """Fire the earliest timer that is due; False when there is none."""
        run = self._run
        while run.timers and (run.timers[0][0] <= run.now or self._stale(run.timers[0])):
            timer = heappop(run.timers)
            if self._stale(timer):
                continue
            _, number, kind, _ = timer
            if kind == "execution":
                self._time_out_execution()
            elif kind == "wait":
                scope = run.scopes[number]
                scope.wait = None
                self._guarded(scope, _waited)
            elif kind == "retry":
                scope = run.scopes[number]
                scope.wait, scope.resuming = None, True
                run.ready.append(scope)
            else:
                self._time_out_attempt(run.scopes[number], kind)
            return True
        return False

    def _time_out_attempt(self, scope: Scope, kind: str) -> None:
        run, attempt, resource = self._run, scope.wait, _resource(scope)
        assert isinstance(attempt, Attempt)  # noqa: S101 - the timer is not stale
        run.command(CancelAttempt(attempt.number))
        run.attempts.pop(attempt.number)
        scope.wait = None
        failure = Failure(TIMEOUT, None, alias=HEARTBEAT_TIMEOUT if kind == "heartbeat" else None)
        prefix = EVENT_PREFIX[resource.family]
        detail = {"error": TIMEOUT, **(_names(resource) if resource.family == "service" else {})}
        run.advance(scope, f"{prefix}TimedOut", f"{prefix[0].lower()}{prefix[1:]}TimedOutEventDetails", detail)
        self._fail(scope, failure)

    def _time_out_execution(self) -> None:
        run = self._run
        self._give_up()
        run.record(None, "ExecutionTimedOut", "executionTimedOutEventDetails", {})
        run.outcome = run.step.outcome = Outcome(status="TIMED_OUT", at=run.now)


def _waited(run: Run, scope: Scope) -> None:
    succeed(run, scope, effective_input(run, scope))


def _resource(scope: Scope) -> Resource:
    work = scope.state.work
    assert isinstance(work, TaskWork)  # noqa: S101 - only tasks have attempts
    resource = parse_resource(work.resource)
    assert resource is not None  # noqa: S101 - checked when the attempt was made
    return resource


def _names(resource: Resource) -> dict[str, str]:
    return {"resource": resource.name, "resourceType": resource.service}


_FACTS: dict[type, Callable[[Machine, Fact], None]] = {
    facts.Started: Machine._on_started,
    facts.Continued: Machine._on_time,
    facts.TimerFired: Machine._on_time,
    facts.AttemptStarted: Machine._on_attempt_started,
    facts.AttemptSubmitted: Machine._on_attempt_submitted,
    facts.AttemptHeartbeat: Machine._on_attempt_heartbeat,
    facts.AttemptSucceeded: Machine._on_attempt_succeeded,
    facts.AttemptFailed: Machine._on_attempt_failed,
    facts.AttemptLost: Machine._on_attempt_lost,
    facts.Stopped: Machine._on_stopped,
}
