"""Leaving a state: its exit event and what comes next, or its failure and what Retry and Catch make of it."""

from __future__ import annotations

from dataclasses import replace

from flowrunner.core import notes, progress, variables
from flowrunner.core.dataflow import Exit, check_size, exit_with, fill, runtime, written
from flowrunner.core.faults import INVALID_PARAMETERS, QUERY_EVALUATION_ERROR, RUNTIME, Failure, StateFailed
from flowrunner.core.program import Catcher, Route, Template
from flowrunner.core.records import failure_detail
from flowrunner.core.retry import Again, Caught, decide
from flowrunner.core.run import Run
from flowrunner.core.scope import Pause, Scope
from flowrunner.errors import FlowRunnerError
from flowrunner.jsonvalue import JSONObject, Payload, dumps

RESULT_KINDS = frozenset({"Task", "Parallel", "Map"})


def succeed(run: Run, scope: Scope, result: Payload) -> None:
    """The state's work is done: compute its output and go on at its Next."""
    state = scope.state
    has_result = state.kind in RESULT_KINDS
    made = exit_with(run, scope, result, has_result=has_result, assign=state.assign, output=state.output)
    if state.route is None:
        target, action = state.next, None
    else:
        action = _action(run, scope, result, state.route)
        target = state.route.edges.get(action, state.route.edges.get("default"))
    if scope.noted:
        notes.ended(run, scope, output=_returned(scope, made, result), action=action)
    go_on(run, scope, made, target)


def _action(run: Run, scope: Scope, result: Payload, route: Route) -> str:
    environment = run.environment(scope, scope.input.value, result=result.value)
    action = fill(scope, route.action, environment, "action")
    if not isinstance(action, str):
        raise runtime(scope, f"The action of a node must be a text, but was: {dumps(action)}")
    return action


def _returned(scope: Scope, made: Exit, result: Payload) -> Payload:
    """What a node or step has returned, as it keeps it for later ones."""
    name = scope.state.label.id if scope.state.label is not None else scope.state.name
    if (text := made.texts.get(f"results.{name}")) is not None:
        return Payload(text=text)
    kept = made.assigned.get(f"nodes.{name}")
    return Payload(value=kept["output"]) if isinstance(kept, dict) and "output" in kept else result


def skip(run: Run, scope: Scope) -> None:
    """The state's condition does not hold: go on with its input."""
    state = scope.state
    if run.program.notes and state.label is not None:
        scope.noted = True
        notes.ended(run, scope, status="skipped")
    made = exit_with(run, scope, scope.input, has_result=False, assign=state.assign, output=None, skipped=True)
    go_on(run, scope, made, state.next if state.route is None else state.route.edges.get("default"))


def choose(run: Run, scope: Scope, given: Payload, target: str, *, assign: Template | None, output: Template | None, part: str = "") -> None:
    """A Choice state goes on at `target`, with the assignments and output of the rule that was taken, which stands at `part`."""
    made = exit_with(run, scope, given, has_result=False, assign=assign, output=output, part=part)
    go_on(run, scope, made, target)


def go_on(run: Run, scope: Scope, made: Exit, target: str | None) -> None:
    """Record the exit and stand before the next state; without one the branch has ended."""
    state = scope.state
    run.advance(scope, f"{state.kind}StateExited", "stateExitedEventDetails", made.detail(run, scope))
    scope.wait = None
    scope.entered_event = 0  # no state is entered now: giving the scope up aborts none
    if made.assigned:
        variables.assign(run, scope, made)
    if target is None:
        run.end(scope, output=made.output)
        return
    scope.state = scope.branch.states[target]
    scope.input = made.output
    run.ready[scope.id] = scope


def fail(run: Run, scope: Scope, failure: Failure) -> None:
    """The state failed: try again, go on at a catcher, or fail the scope."""
    state = scope.state
    failure = _told(run, scope, failure)
    scope.wait = None
    decision = decide(state.retriers, state.catchers, failure, scope.retries, run.entropy.random)
    if isinstance(decision, Again):
        scope.retries[decision.retrier] += 1
        run.step.retried.append(failure.error or "")
        progress.again(scope)
        scope.wait = Pause(run.now + decision.delay, "retry")
        run.set_timer(scope.wait.due, scope.id, "retry")
        notes.retried(run, scope, failure, decision.delay)
        return
    notes.ended(run, scope, failure=failure)
    if state.kind in ("Map", "Parallel") and failure.error != RUNTIME:
        run.advance(scope, f"{state.kind}StateFailed")
    if isinstance(decision, Caught):
        try:
            _catch(run, scope, decision.catcher, failure)
        except StateFailed as again:
            run.end(scope, failure=_told(run, scope, again.failure))
        except FlowRunnerError as error:
            run.end(scope, failure=_told(run, scope, runtime(scope, error.message).failure))
        return
    run.end(scope, failure=failure)


def _told(run: Run, scope: Scope, failure: Failure) -> Failure:
    """The failure in its last words; an evaluation of ours that failed, not an error somebody calls so, is in the history once."""
    is_evaluation = failure.error == QUERY_EVALUATION_ERROR and failure.said is not None and not failure.recorded
    failure = _worded(run, scope, failure)
    if not is_evaluation:
        return failure
    _record_evaluation(run, scope, failure)
    return replace(failure, recorded=True)


def _worded(run: Run, scope: Scope, failure: Failure) -> Failure:
    """The failure in the words of flows and workflows, whose nodes and steps have parameters and no events: AWS's words stay with state machines."""
    if not run.program.notes or failure.said is None:
        return failure
    error = INVALID_PARAMETERS if failure.error == QUERY_EVALUATION_ERROR else failure.error
    return replace(failure, error=error, cause=f"In '{notes.nearest_label(scope)['stepName']}': {failure.said}", said=None)


def _record_evaluation(run: Run, scope: Scope, failure: Failure) -> None:
    detail = {**failure_detail(failure.error, failure.cause), "state": scope.state.name}
    if failure.location is not None:
        detail["location"] = failure.location
    # AWS evaluates before it has entered: the event follows the one before the state, unless the state has gone further.
    at_entry = scope.last_event == scope.entered_event and failure.evaluated
    scope.last_event = run.record(scope, "EvaluationFailed", "evaluationFailedEventDetails", detail, previous=scope.previous_event if at_entry else None)


def _catch(run: Run, scope: Scope, catcher: Catcher, failure: Failure) -> None:
    caught: JSONObject = {"Error": failure.error or ""}
    if failure.cause is not None:
        caught["Cause"] = failure.cause
    if failure.detail is not None:
        caught["Detail"] = failure.detail
    if catcher.lost is not None:
        notes.lost(run, scope, catcher.lost, failure)
    result = Payload(value=caught)
    if scope.state.language == "JSONata":
        index = next((index for index, one in enumerate(scope.state.catchers) if one is catcher), 0)
        made = exit_with(run, scope, result, has_result=False, assign=catcher.assign, output=catcher.output, error_output=caught, part=f"Catch[{index}]/")
    else:
        assigned = fill(scope, catcher.assign, run.environment(scope, caught), "Assign") if catcher.assign is not None else {}
        made = Exit(scope.input if catcher.keeps_input else written(scope, catcher.result_path, result), assigned)
        check_size(run, scope, made)
    go_on(run, scope, made, catcher.next)
