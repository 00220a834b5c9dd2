"""What happens to attempts: started, submitted, alive, ended, lost or out of time; and the pauses between them."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop

from flowrunner.core import facts
from flowrunner.core.commands import CancelAttempt
from flowrunner.core.dataflow import effective_input, runtime, too_large
from flowrunner.core.enter import EVENT_PREFIX
from flowrunner.core.faults import DATA_LIMIT_EXCEEDED, HEARTBEAT_TIMEOUT, OUTCOME_UNKNOWN, TIMEOUT, Failure, StateFailed, too_long
from flowrunner.core.groups import fail_scope
from flowrunner.core.leave import succeed
from flowrunner.core.notes import logged, waits
from flowrunner.core.program import TaskWork
from flowrunner.core.records import failure_detail, text_detail
from flowrunner.core.resource import Resource, parse_resource
from flowrunner.core.run import Run, Timer
from flowrunner.core.scope import Attempt, Pause, Scope
from flowrunner.errors import FlowRunnerError
from flowrunner.jsonvalue import Payload

FAILED_EVENT = {"schedule": "ScheduleFailed", "start": "StartFailed", "submit": "SubmitFailed", "run": "Failed"}
STALE_TIMERS = 64
UNKNOWN_OUTCOME = "The process that ran this attempt ended before it could report; whether it took effect is unknown."


def guarded(run: Run, scope: Scope, act: Callable[[Run, Scope], None]) -> None:
    """Do something in a scope; if its state fails by that, Retry and Catch have their turn.

    Data that cannot be handled (nested too deep, a task's answer that is no JSON) fails the state, never the machine.
    """
    try:
        act(run, scope)
    except StateFailed as failed:
        fail_scope(run, scope, failed.failure)
    except FlowRunnerError as error:
        fail_scope(run, scope, runtime(scope, error.message).failure)


def resource_of(scope: Scope) -> Resource:
    """The resource of a scope that stands in a Task."""
    work = scope.state.work
    assert isinstance(work, TaskWork)  # noqa: S101 - only tasks have attempts
    resource = parse_resource(work.resource)
    assert resource is not None  # noqa: S101 - checked when the attempt was made
    return resource


def _names(resource: Resource) -> dict[str, str]:
    return {"resource": resource.name, "resourceType": resource.service} if resource.family == "service" else {}


def _ended(run: Run, scope: Scope, event: str, detail: dict[str, object]) -> None:
    """Record how an attempt ended: ``LambdaFunctionFailed`` and its like."""
    resource = resource_of(scope)
    event_type = f"{EVENT_PREFIX[resource.family]}{event}"
    run.advance(scope, event_type, f"{event_type[0].lower()}{event_type[1:]}EventDetails", {**detail, **_names(resource)})


def _waiting(run: Run, number: int) -> tuple[Scope, Attempt] | None:
    scope = run.attempts.get(number)
    return (scope, scope.wait) if scope is not None and isinstance(scope.wait, Attempt) else None


# --- facts


def on_started(run: Run, fact: facts.AttemptStarted) -> None:
    """Somebody begins."""
    found = _waiting(run, fact.attempt)
    if found is None or found[1].status != "scheduled":
        return
    scope, attempt = found
    attempt.status = "started"
    family = resource_of(scope).family
    if family == "lambda":
        run.advance(scope, "LambdaFunctionStarted")
    elif family == "activity":
        run.advance(scope, "ActivityStarted", "activityStartedEventDetails", {"workerName": fact.worker} if fact.worker is not None else {})
    else:
        run.advance(scope, "TaskStarted", "taskStartedEventDetails", _names(resource_of(scope)))
    _beat(run, scope, attempt)


def on_submitted(run: Run, fact: facts.AttemptSubmitted) -> None:
    """The call was answered; the result comes later, or has come already."""
    found = _waiting(run, fact.attempt)
    if found is None or found[1].status != "started":
        return
    scope, attempt = found
    attempt.status = "submitted"
    attempt.job = fact.output if resource_of(scope).pattern.startswith("sync") else None
    run.advance(scope, "TaskSubmitted", "taskSubmittedEventDetails", {**text_detail("output", fact.output), **_names(resource_of(scope))})
    _beat(run, scope, attempt)
    if attempt.early is not None:
        _take_early(run, attempt)
    else:
        waits(run, scope, "execution" if resource_of(scope).pattern.startswith("sync") else "callback", attempt.due)


def _take_early(run: Run, attempt: Attempt) -> None:
    """The end that was kept."""
    assert attempt.early is not None  # noqa: S101 - the callers looked
    [ended] = facts.decode(attempt.early.encode())
    attempt.status = "submitted"
    if isinstance(ended, facts.AttemptSucceeded):
        on_succeeded(run, ended)
    elif isinstance(ended, facts.AttemptFailed):
        on_failed(run, ended)


def on_heartbeat(run: Run, fact: facts.AttemptHeartbeat) -> None:
    """Its worker is alive."""
    found = _waiting(run, fact.attempt)
    if found is not None:
        _beat(run, *found)


def _beat(run: Run, scope: Scope, attempt: Attempt) -> None:
    if attempt.heartbeat_seconds is None:
        return
    first = attempt.heartbeat_due is None
    attempt.heartbeat_due = run.now + 1000 * attempt.heartbeat_seconds
    if first:  # one timer per attempt: when it comes up too early, `next_due` sets it again
        run.set_timer(attempt.heartbeat_due, scope.id, "heartbeat", attempt.number)


def _hold(run: Run, fact: facts.AttemptSucceeded | facts.AttemptFailed) -> bool:
    """Keep the end of a job, or the answer to a task token, until the call that began it is answered: a quick one may come before that.

    TaskSubmitted stands before the end in all recorded histories. Without `job` it is the end of the call itself.
    """
    found = _waiting(run, fact.attempt)
    if found is None or not fact.job or found[1].status == "submitted" or not resource_of(found[0]).is_submitted:
        return False
    if found[1].early is None:  # the first answer counts
        found[1].early = facts.encode([fact]).decode()
    return True


def on_succeeded(run: Run, fact: facts.AttemptSucceeded) -> None:
    """It ended with a result."""
    found = _waiting(run, fact.attempt)
    if found is None or _hold(run, fact):
        return
    scope, attempt = found
    result = Payload(text=fact.output)
    if run.limits.payload_bytes and result.size() > run.limits.payload_bytes:
        text = f"The state/task '{resource_of(scope).arn}' returned a result with a size exceeding the maximum number of bytes service limit."
        said = too_large(result.size(), run.limits.payload_bytes)
        _failed(run, attempt.number, Failure(DATA_LIMIT_EXCEEDED, text, said=said), "Failed")
        return
    run.attempts.pop(attempt.number)
    scope.wait = None
    _ended(run, scope, "Succeeded", text_detail("output", fact.output))
    guarded(run, scope, lambda run, scope: succeed(run, scope, result))


def on_failed(run: Run, fact: facts.AttemptFailed) -> None:
    """It ended with an error; a call whose token was answered, or whose job has ended, by that end."""
    found = _waiting(run, fact.attempt)
    if found is None or _hold(run, fact):
        return
    if found[1].early is not None and not fact.job:
        _take_early(run, found[1])
    else:
        _failed(run, fact.attempt, Failure(fact.error, fact.cause), FAILED_EVENT[fact.phase])


def on_logged(run: Run, fact: facts.AttemptLogged) -> None:
    """It said something. Lines that come after its end are lost: nobody waits for them."""
    found = _waiting(run, fact.attempt)
    if found is not None:
        logged(run, found[0], fact.lines)


def on_lost(run: Run, fact: facts.AttemptLost) -> None:
    """Nobody knows how it ended, unless its token was answered."""
    found = _waiting(run, fact.attempt)
    if found is not None and found[1].early is not None:
        _take_early(run, found[1])
        return
    _failed(run, fact.attempt, Failure(OUTCOME_UNKNOWN, UNKNOWN_OUTCOME), "Failed")


def _failed(run: Run, number: int, failure: Failure, event: str) -> None:
    found = _waiting(run, number)
    if found is None:
        return
    scope, attempt = found
    run.attempts.pop(attempt.number)
    scope.wait = None
    _ended(run, scope, event, failure_detail(failure.error, failure.cause))
    fail_scope(run, scope, failure)


# --- timers


def is_stale(run: Run, timer: Timer) -> bool:
    """Whether what the timer was set for is over."""
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


def next_due(run: Run) -> Timer | None:
    """The earliest timer that still counts."""
    while run.timers and is_stale(run, run.timers[0]):
        _, number, kind, attempt = heappop(run.timers)
        found = _waiting(run, attempt) if kind == "heartbeat" else None
        if found is not None and found[1].heartbeat_due is not None:
            run.set_timer(found[1].heartbeat_due, number, kind, attempt)
    return run.timers[0] if run.timers else None


def next_overdue(run: Run) -> Timer | None:
    """The earliest timer that still counts, if it is due."""
    if not run.timers or run.timers[0][0] > run.now:  # asked several times per fact
        return None
    timer = next_due(run)
    return timer if timer is not None and timer[0] <= run.now else None


def drop_stale(run: Run) -> None:
    """Forget timers of what is over, when they are most of all: an attempt that ended leaves its timeout behind, for years perhaps."""
    if len(run.timers) > STALE_TIMERS + 4 * len(run.scopes):  # a scope has two at most
        run.timers = [timer for timer in run.timers if (timer[3] in run.attempts if timer[3] else not is_stale(run, timer))]
        heapify(run.timers)


def fire(run: Run, timer: Timer) -> None:
    """A pause is over, or an attempt is out of time."""
    _, number, kind, _ = timer
    scope = run.scopes[number]
    if kind == "wait":
        scope.wait = None
        guarded(run, scope, lambda run, scope: succeed(run, scope, effective_input(run, scope)))
    elif kind == "retry":
        scope.wait, scope.resuming = None, True
        run.go_on(scope)
    else:
        _timed_out(run, scope, missed_heartbeat=kind == "heartbeat")


def _timed_out(run: Run, scope: Scope, *, missed_heartbeat: bool) -> None:
    attempt = scope.wait
    assert isinstance(attempt, Attempt)  # noqa: S101 - the timer is not stale
    run.command(CancelAttempt(attempt.number, attempt.job))
    if attempt.early is not None:  # only the call that began it took too long
        _take_early(run, attempt)
        return
    run.attempts.pop(attempt.number)
    scope.wait = None
    work, cause = scope.state.work, None
    if run.program.notes and not missed_heartbeat and isinstance(work, TaskWork) and work.timeout_milliseconds is not None:  # AWS tells none
        cause = too_long("The attempt", work.timeout_milliseconds)
    _ended(run, scope, "TimedOut", failure_detail(TIMEOUT, cause))
    fail_scope(run, scope, Failure(TIMEOUT, cause, alias=HEARTBEAT_TIMEOUT if missed_heartbeat else None))
