"""Notes: the records that authors of flows and workflows follow, beside the history events of Step Functions.

``{"timestamp": seconds, "type": TYPE, "note": {...}}``, without an ``id``: GetExecutionHistory leaves them out. They tell which node has
started and how it ended, what it said, how variables changed, and how loops and branches went. A state is noted if it has a label; within an
iteration the note has its index as ``iteration``. Times are milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flowrunner.core.facts import LogLine
from flowrunner.core.faults import Failure
from flowrunner.core.program import Label, LoopWork, MapWork
from flowrunner.core.run import Run
from flowrunner.core.scope import Scope
from flowrunner.jsonvalue import JSONValue, Payload, loads

MOST_BEFORE_END = 99.0  # percent: only the end is 100
MOST_TOLD = 1_000  # characters of a cause within a node, of which there may be thousands: the history and the node's result have all of it
RESERVED = frozenset({"shared"})  # variables of the compilers' own; those with a dot in their names as well


def started(run: Run, scope: Scope) -> None:
    """The scope has entered a state that its author knows."""
    label = scope.state.label
    if not run.program.notes or label is None:
        return
    run.progress = max(run.progress, min(_progress(run, scope, label), MOST_BEFORE_END))
    scope.noted = True
    run.note("StepStarted", {**_place(scope, label), "progress": round(run.progress, 2)})
    run.note("StepLogged", {**_said_by(scope, label), "level": "info", "message": f"Starting step: {label.name}"})


def _progress(run: Run, scope: Scope, label: Label) -> float:
    if scope.parent is not None and not run.program.steps:
        return 0.0  # what runs within a node does not move the flow
    if label.progress is not None:
        return label.progress
    if run.program.steps:
        whole = 0.0 if run.root is None else run.root.passed
        return max(whole, 100 * run.steps_ended / run.program.steps)  # snapshots of earlier releases know only the latter
    return 100 * run.steps_ended / (run.steps_ended + max(label.remaining, 1))


def ended(
    run: Run, scope: Scope, *, output: Payload | None = None, action: str | None = None, failure: Failure | None = None, status: str | None = None
) -> None:
    """The state that was noted is over."""
    label = scope.state.label
    if not scope.noted or label is None:
        return
    scope.noted = False
    status = status or ("success" if failure is None else "failed")
    if scope.parent is None or (run.program.steps and scope.parent.parent is None):  # those of a graph's first level, which `steps` counts
        run.steps_ended += 1
    note: dict[str, Any] = {**_place(scope, label), "status": status, "duration": run.now - scope.entered_at}
    if output is not None:
        note["output"] = output.text
        run.written += len(output.text)
    if action is not None:
        note["action"] = action
    if failure is not None:
        note["error"] = failure.error
        note["cause"] = failure.cause
    run.note("StepCompleted", note)


def cancelled(run: Run, scopes: Iterable[Scope]) -> None:
    """These scopes are given up: what was noted in them ends so."""
    for scope in scopes:
        if scope.noted:
            ended(run, scope, status="cancelled")


def retried(run: Run, scope: Scope, failure: Failure, delay: int) -> None:
    """The state will be tried again after `delay` milliseconds; a state within a node (a batch) tells it for that one."""
    if not run.program.notes or (scope.state.label is not None and not scope.noted):
        return
    cause = failure.cause if scope.noted else _shortened(failure.cause)
    run.written += len(cause or "")
    told = {**nearest_label(scope), "attempt": scope.retry_count, "delay": delay, "error": failure.error, "cause": cause}
    if not scope.noted and (index := _iteration(scope)) is not None:
        told["batch_index"] = index
    run.note("StepRetried", told)


def lost(run: Run, scope: Scope, what: str, failure: Failure) -> None:
    """A part of a node's work has failed for good, and the node goes on without it."""
    cause, index = _shortened(failure.cause), _iteration(scope)
    why = ": ".join(part for part in (failure.error, cause) if part)
    message = f"{what} {index} is lost: {why}"
    run.written += len(message) + len(cause or "")
    data = {"batch_index": index, "error": failure.error, "cause": cause}
    run.note("StepLogged", {**nearest_label(scope), "level": "error", "message": message, "data": data})


def _shortened(text: str | None) -> str | None:
    return text if text is None or len(text) <= MOST_TOLD else f"{text[:MOST_TOLD]}..."


def waits(run: Run, scope: Scope, what: str, until: int | None = None) -> None:
    """The state waits: `what` is ``time``, ``execution`` or ``callback``; at `until`, milliseconds since 1970 UTC, it waits no longer."""
    told(run, scope, "StepWaiting", {"for": what, "until": until})


def logged(run: Run, scope: Scope, lines: Iterable[LogLine]) -> None:
    """An attempt of the scope's state said something."""
    said_by = nearest_label(scope)
    for line in lines:
        note: dict[str, Any] = {**said_by, "level": line.level, "message": line.message}
        if line.data is not None:
            note["data"] = loads(line.data)
        run.written += len(line.message) + len(line.data or "")
        run.note("StepLogged", note)


def variable_changed(run: Run, scope: Scope, name: str, change: str, *, old: JSONValue, new: JSONValue) -> None:
    """A variable got another value; those of the compilers' own are not told."""
    if "." in name or name in RESERVED:
        return
    run.note("VariableChanged", {**nearest_label(scope), "name": name, "oldValue": old, "newValue": new, "changeType": change})


def told(run: Run, scope: Scope, kind: str, note: dict[str, Any]) -> None:
    """A note about a loop or a branch, if the program has notes."""
    if run.program.notes:
        run.note(kind, {**nearest_label(scope), **note})


def nearest_label(scope: Scope) -> dict[str, Any]:
    """The step that a scope works for: its own, or that of the state around it."""
    around: Scope | None = scope
    while around is not None:
        if around.state.label is not None:
            return _said_by(scope, around.state.label)
        around = around.parent
    return {"stepId": scope.state.name, "stepName": scope.state.name}


def _place(scope: Scope, label: Label) -> dict[str, Any]:
    return {**_said_by(scope, label), "stepType": label.type}


def _said_by(scope: Scope, label: Label) -> dict[str, Any]:
    said = {"stepId": label.id, "stepName": label.name}
    iteration = _iteration(scope)
    return said if iteration is None else {**said, "iteration": iteration}


def _iteration(scope: Scope) -> int | None:
    while scope.parent is not None:
        if isinstance(scope.parent.state.work, (LoopWork, MapWork)):
            return scope.index
        scope = scope.parent
    return None
