"""Loops: a body that runs once per item, so many times, or while a condition holds (systems.md 2.4, rows 22 and 98).

Each iteration is opened by a step of its own, so a loop of pure states can be cut between any two. Exit reasons: ``completed``, ``break``,
``maxIterations``, ``conditionFalse``, ``error``.
"""

from __future__ import annotations

from typing import Any

from flowrunner.core import notes, progress
from flowrunner.core.dataflow import field_value, fill, query_failed
from flowrunner.core.faults import Failure, StateFailed
from flowrunner.core.program import Field, LoopWork, Template
from flowrunner.core.run import Run
from flowrunner.core.scope import Group, Scope
from flowrunner.errors import FlowRunnerError
from flowrunner.jsonvalue import JSONValue, Payload, dumps
from flowrunner.lang.braces.values import number_of

MOST_COUNTED = (1 << 53) - 1  # iterations: what every reader of JSON has as a whole number
BROKEN_OFF = "break"
MOST = "maxIterations"
FAILED = "error"


def open_loop(run: Run, scope: Scope, work: LoopWork, given: Payload) -> None:
    """Find out how often the body is to run; the iterations are opened one by one."""
    told = {"forEach": "source", "while": "condition", "count": "count"}[work.kind]
    try:
        items, total = _extent(run, scope, work, given)
    except (StateFailed, FlowRunnerError):
        notes.told(run, scope, "LoopStarted", {"loopType": work.kind, told: work.source})
        _told_end(run, scope, Group(total=0, limit=work.concurrency, results=[]), FAILED)
        raise
    run.advance(scope, "MapStateStarted", "mapStateStartedEventDetails", {"length": total or 0})
    group = Group(total=0, limit=work.concurrency, results=[], items=items)
    if total is None:
        group.total = work.max_iterations + 1  # the condition is looked at once more than the body may run
    else:
        group.total = min(total, work.max_iterations)
        group.reason = MOST if total > work.max_iterations else None
    group.first_event = group.last_event = scope.last_event
    scope.wait = group
    notes.told(run, scope, "LoopStarted", {"loopType": work.kind, told: work.source if work.kind != "count" else total})
    run.go_on(scope, first=True)


def _extent(run: Run, scope: Scope, work: LoopWork, given: Payload) -> tuple[list[JSONValue] | None, int | None]:
    if work.kind == "forEach":
        assert work.items is not None  # noqa: S101 - the compilers give it
        items = field_value(run, scope, work.items, given.value)
        if not isinstance(items, list):
            raise query_failed(scope, f"A forEach loop needs a list, but its source gave: {_short(items)}", work.items.name, evaluated=False)
        return items, len(items)
    if work.kind == "count":
        assert work.count is not None  # noqa: S101 - as above
        return None, _whole(scope, work.count, field_value(run, scope, work.count, given.value))
    return None, None


def _whole(scope: Scope, field: Field, value: JSONValue) -> int:
    number = number_of(value) if isinstance(value, str) else None  # a text with a number counts as one, as where it is compared
    if number is not None:
        value = number
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise query_failed(scope, f"The {field.name} of a loop must be a whole number from 0 on, but was: {_short(value)}", field.name, evaluated=False)
    if value > MOST_COUNTED:
        raise query_failed(scope, f"The {field.name} of a loop must be at most {MOST_COUNTED}, but was: {_short(value)}", field.name, evaluated=False)
    return value


def _short(value: JSONValue) -> str:
    text = dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def is_through(group: Group) -> bool:
    """No iteration is open, and none is left to open."""
    return not group.open and group.next_index >= group.total


def open_iteration(run: Run, scope: Scope, group: Group, work: LoopWork) -> None:
    """Open the next iteration if there is one and a place for it."""
    index = group.next_index
    if index >= group.total or len(group.open) >= group.limit:
        return
    variables = _variables(group, work, index)
    environment = run.environment(scope, scope.input.value)
    environment.variables = {**environment.variables, **variables}
    if work.kind == "while":
        if work.condition is None or not fill(scope, work.condition, environment, "condition"):
            _stop(group, "conditionFalse")
            return
        if index >= work.max_iterations:
            _stop(group, MOST)
            return
    group.next_index += 1
    group.next_item += 1
    group.results += [None] * (group.next_index - len(group.results))
    total = group.total if work.kind != "while" else None
    notes.told(run, scope, "IterationStarted", {"index": index, "item": variables["loopItem"], "total": total})
    if work.skip_when is not None and fill(scope, work.skip_when, environment, "continueCondition"):
        group.results[index] = Payload(value=None)
        group.done += 1
        progress.left_out(run, scope)
        notes.told(run, scope, "IterationCompleted", {"index": index, "status": "skipped", "duration": 0})
    else:
        _open_child(run, scope, group, work, index=index, variables=variables)
    if group.next_index < group.total and len(group.open) < group.limit:
        run.go_on(scope, first=True)


def _open_child(run: Run, scope: Scope, group: Group, work: LoopWork, *, index: int, variables: dict[str, JSONValue]) -> None:
    body = work.body
    child = Scope(number=run.next_scope(), branch=body, state=body.states[body.start_at], given=scope.input, parent=scope, index=index)
    child.item = {"Index": index, "Value": variables["loopItem"]}
    child.opened_at = run.now
    child.last_event = group.last_event
    child.last_event = run.record(child, "MapIterationStarted", "mapIterationStartedEventDetails", {"index": index, "name": scope.state.name})
    group.open[index] = child
    run.open_scope(child)
    run.assign(child, variables, {name: dumps(value) for name, value in variables.items()})


def _variables(group: Group, work: LoopWork, index: int) -> dict[str, JSONValue]:
    item: JSONValue = index if group.items is None else (group.items[index] if index < len(group.items) else None)
    known = work.kind != "while"
    values: dict[str, JSONValue] = {
        "loopIndex": index,
        "loopCount": index + 1,
        "loopTotal": group.total if known else None,
        "loopFirst": index == 0,
        "loopLast": index == group.total - 1 if known else False,
        "loopItem": item,
    }
    if work.item_variable is not None:
        values[work.item_variable] = item
    if work.index_variable is not None:
        values[work.index_variable] = index
    return values


def _stop(group: Group, reason: str) -> None:
    """Open no more iterations."""
    group.total = group.next_index
    group.reason = reason


def iteration_succeeded(run: Run, scope: Scope, group: Group, child: Scope) -> None:
    """An iteration is through and its result is kept; the loop is to go on, unless it breaks off here."""
    work = scope.state.work
    assert isinstance(work, LoopWork)  # noqa: S101 - the caller looked
    progress.passed(run, child)
    _completed(run, scope, child, "success")
    if work.break_when is not None and _breaks(run, scope, child, work.break_when, group.results[child.index]):
        _stop(group, BROKEN_OFF)
    run.go_on(scope, first=True)


def _breaks(run: Run, scope: Scope, child: Scope, test: Template, output: Payload | None) -> bool:
    environment = run.environment(scope, scope.input.value, result=None if output is None else output.value)
    environment.variables = {**environment.variables, **child.variables}
    return bool(fill(scope, test, environment, "breakCondition"))


def iteration_failed(run: Run, scope: Scope, group: Group, child: Scope, failure: Failure) -> bool:
    """An iteration has failed; whether the loop goes on all the same."""
    work = scope.state.work
    assert isinstance(work, LoopWork)  # noqa: S101 - the caller looked
    group.failed += 1
    _completed(run, scope, child, "failed")
    if not work.keeps_going:
        return False
    progress.passed(run, child)
    group.results[child.index] = Payload(value={"error": failure.error, "cause": failure.cause})
    run.go_on(scope, first=True)
    return True


def _completed(run: Run, scope: Scope, child: Scope, status: str) -> None:
    notes.told(run, scope, "IterationCompleted", {"index": child.index, "status": status, "duration": run.now - child.opened_at})


def result_of(run: Run, scope: Scope, group: Group) -> Payload:
    """What the loop gives, and a note that it has ended."""
    reason = group.reason or "completed"
    _told_end(run, scope, group, reason)
    outputs: list[Any] = [None if result is None else result.value for result in group.results]
    counts = {"total": group.next_index, "completed": group.done, "failed": group.failed}
    return Payload(value={"iterations": outputs, **counts, "exitReason": reason})


def given_up(run: Run, scope: Scope, group: Group) -> None:
    """Note that the loop has ended without a result: an iteration or an expression of its own has failed, or what is around it was given up."""
    _told_end(run, scope, group, FAILED)


def all_given_up(run: Run) -> None:
    """The execution is given up: so are its loops, the innermost first."""
    for scope in reversed(list(run.scopes.values())):
        if isinstance(scope.wait, Group) and isinstance(scope.state.work, LoopWork):
            given_up(run, scope, scope.wait)


def _told_end(run: Run, scope: Scope, group: Group, reason: str) -> None:
    counts = {"totalIterations": group.next_index, "completedIterations": group.done, "failedIterations": group.failed}
    notes.told(run, scope, "LoopCompleted", {**counts, "exitReason": reason})
