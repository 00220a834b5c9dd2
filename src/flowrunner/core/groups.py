"""Parallel and Map: opening child scopes, collecting their results, and cutting them off when one fails."""

from __future__ import annotations

from collections.abc import Callable

from flowrunner.core import graphs, loops, notes, progress
from flowrunner.core.batches import batching_of, next_batch
from flowrunner.core.commands import CancelAttempt
from flowrunner.core.dataflow import effective_input, field_value, fill, no_number, out_of_range
from flowrunner.core.faults import EXCEED_TOLERATED_FAILURE_THRESHOLD, Failure
from flowrunner.core.leave import fail, succeed
from flowrunner.core.program import Field, GraphWork, LoopWork, MapWork, ParallelWork, SwitchWork
from flowrunner.core.records import failure_detail
from flowrunner.core.run import Ended, Run
from flowrunner.core.scope import Attempt, Group, Scope
from flowrunner.jsonvalue import JSONObject, JSONValue, Payload, dumps
from flowrunner.limits import MIB

BYTES_AT_ONCE = 32 * MIB  # of what the iterations of a flow's batches that run at once are given: a snapshot holds it
DISTRIBUTED_CONCURRENCY = 1000  # AWS runs up to 10,000 children of a distributed Map at once


def open_parallel(run: Run, scope: Scope, work: ParallelWork, given: Payload) -> None:
    """Start every branch with the same input."""
    run.advance(scope, "ParallelStateStarted")
    group = Group(total=len(work.branches), limit=len(work.branches), results=[None] * len(work.branches))
    group.first_event = group.last_event = scope.last_event
    scope.wait = group
    for index, branch in enumerate(work.branches):
        child = Scope(number=run.next_scope(), branch=branch, state=branch.states[branch.start_at], given=given, parent=scope, index=index)
        child.last_event = group.first_event
        group.open[index] = child
        run.open_scope(child)
    group.next_index = group.total


def open_map(run: Run, scope: Scope, work: MapWork, given: Payload, value: list[JSONValue] | JSONObject) -> None:
    """Start as many iterations as may run at once; the others follow as places become free. Of an object each member is an item."""
    keyed = isinstance(value, dict)
    items = [{"Key": key, "Value": member} for key, member in value.items()] if isinstance(value, dict) else value
    run.advance(scope, "MapStateStarted", "mapStateStartedEventDetails", {"length": len(items)})
    limit = _concurrency(run, scope, work, given)
    group = Group(total=len(items), limit=limit, results=[None] * len(items), items=items, keyed=keyed)
    if work.distributed:
        tolerated = _tolerated(run, scope, work.tolerated_failure_count, given, whole=True)
        group.tolerated_count = None if tolerated is None else int(tolerated)
        group.tolerated_percentage = _tolerated(run, scope, work.tolerated_failure_percentage, given, whole=False)
        who = run.identity
        label = work.label or scope.state.name
        group.map_run = f"arn:aws:states:{who.region}:{who.account}:mapRun:{who.machine_name}/{label}:{run.entropy.uuid()}"
        run.advance(scope, "MapRunStarted", "mapRunStartedEventDetails", {"mapRunArn": group.map_run})
    group.first_event = group.last_event = scope.last_event
    scope.wait = group
    group.batching = batching_of(run, scope, work, given)
    group.given = given if work.selector is not None else None
    if items:
        run.go_on(scope, first=True)
    else:
        finish(run, scope, group)


def _concurrency(run: Run, scope: Scope, work: MapWork, given: Payload) -> int:
    most = DISTRIBUTED_CONCURRENCY if work.distributed else run.limits.inline_map_concurrency
    if work.max_concurrency is None:
        return most
    value = field_value(run, scope, work.max_concurrency, given.value)
    if isinstance(value, float) and value == int(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise no_number(scope, work.max_concurrency, "integer", value)
    if value < 0:
        raise out_of_range(scope, work.max_concurrency, "MaxConcurrency cannot be negative.")
    return min(value, most) if value else most


def _tolerated(run: Run, scope: Scope, field: Field | None, given: Payload, *, whole: bool) -> float | None:
    if field is None:
        return None
    value = field_value(run, scope, field, given.value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or (whole and value != int(value)):
        raise no_number(scope, field, "integer" if whole else "float", value)
    if whole and value < 0:
        raise out_of_range(scope, field, "ToleratedFailureCount cannot be negative.")
    if not whole and not 0 <= value <= 100:
        raise out_of_range(scope, field, "ToleratedFailurePercentage must be between 0 and 100.")
    return value


def _is_through(group: Group) -> bool:
    """Every child has been opened and has ended."""
    return not group.open and (group.next_index if group.items is None else group.next_item) >= group.total


def open_more(run: Run, scope: Scope) -> None:
    """Open one more iteration of a Map or a loop, if there is one and a place for it; a loop may find out here that it is through."""
    group, work = scope.wait, scope.state.work
    if isinstance(work, LoopWork):
        assert isinstance(group, Group)  # noqa: S101 - only loops that wait for their iterations are made ready
        loops.open_iteration(run, scope, group, work)
        if loops.is_through(group):
            finish(run, scope, group)
    else:
        open_next(run, scope)


def open_next(run: Run, scope: Scope) -> None:
    """Open one more iteration, if there is a place. Each has a budget of its own, and a large Map can be cut between any two."""
    group = scope.wait
    assert isinstance(group, Group)  # noqa: S101 - only Maps with places are made ready while they wait
    if group.next_item < group.total and len(group.open) < group.limit:
        _open_iteration(run, scope, group)
        if group.next_item < group.total and len(group.open) < group.limit:
            run.go_on(scope, first=True)


def _open_iteration(run: Run, scope: Scope, group: Group) -> None:
    work, items, index = scope.state.work, group.items, group.next_index
    assert isinstance(work, MapWork)  # noqa: S101
    assert items is not None  # noqa: S101 - a Map's group always has items
    group.next_index += 1
    if group.batching is None:
        value = items[group.next_item]
        group.next_item += 1
    else:
        value = next_batch(group, group.batching, _selecting(run, scope, work, group, items))
    branch = work.processor
    child = Scope(number=run.next_scope(), branch=branch, state=branch.states[branch.start_at], given=Payload(value=value), parent=scope, index=index)
    child.item = {"Index": index, "Value": value} if group.batching is not None else _item(group, index, value)
    child.silent = scope.silent or group.map_run is not None
    # With places given on, an iteration follows the one that made place for it.
    child.last_event = group.first_event if index < group.limit else group.last_event
    started = {"index": index, "name": scope.state.name}
    child.last_event = run.record(child, "MapIterationStarted", "mapIterationStartedEventDetails", started)
    group.open[index] = child
    if work.selector is not None and group.batching is None:
        child.input = Payload(value=_selected(run, scope, work, group, child.item))
    if run.program.notes:  # which allows more of them at once, and larger ones, than AWS does
        size = child.input.size() + run.variable_bytes
        group.limit = min(group.limit, max(1, BYTES_AT_ONCE // max(1, size)))
    run.open_scope(child)


def _item(group: Group, index: int, value: JSONValue) -> JSONObject:
    """The context object's ``Map.Item`` of an item."""
    return {"Index": index, **value} if group.keyed else {"Index": index, "Value": value}


def _selecting(run: Run, scope: Scope, work: MapWork, group: Group, items: list[JSONValue]) -> Callable[[int], JSONValue]:
    """What an item is passed on as, for batches."""
    if work.selector is None:
        return items.__getitem__
    return lambda place: _selected(run, scope, work, group, _item(group, place, items[place]))


def _selected(run: Run, scope: Scope, work: MapWork, group: Group, item: JSONValue) -> JSONValue:
    assert work.selector is not None  # noqa: S101 - the caller looked
    assert group.given is not None  # noqa: S101 - kept when there is a selector
    environment = run.environment(scope, group.given.value)
    environment.context = {**environment.context, "Map": {"Item": item}}
    if environment.states is not None:
        environment.states = {**environment.states, "context": environment.context}
    return fill(scope, work.selector, environment, work.selector_name)


def settle(run: Run, ended: Ended) -> None:
    """A child scope is through: take its result, start the next iteration, finish or fail the group."""
    child, parent = ended.scope, ended.scope.parent
    assert parent is not None  # noqa: S101 - the machine settles the root itself
    run.close_scope(child)
    group = parent.wait
    if not isinstance(group, Group) or group.open.get(child.index) is not child:
        return  # the group was given up in the meantime
    del group.open[child.index]
    if group.map_run is None:  # the events of a distributed Map's children are not in this history
        group.last_event = child.last_event
    work = parent.state.work
    if ended.failure is not None:
        _child_failed(run, parent, group, child, ended.failure)
        return
    group.results[child.index] = ended.output
    group.done += 1
    succeeded = group.last_event
    if isinstance(work, (GraphWork, SwitchWork)):
        progress.passed(run, child)
    if isinstance(work, LoopWork):
        group.last_event = _iteration_event(run, parent, child, "MapIterationSucceeded")
        loops.iteration_succeeded(run, parent, group, child)
        return
    if isinstance(work, MapWork):
        succeeded = _iteration_event(run, parent, child, "MapIterationSucceeded")
        handed = {name: child.variables[name] for name in work.hands_on if name in child.variables}
        if handed:
            run.assign(parent, handed, {name: dumps(value) for name, value in handed.items()})
        if _is_enough(run, parent, work, ended.output):
            cancel_children(run, parent)
            finish(run, parent, group)
            return
        open_next(run, parent)
    elif isinstance(work, GraphWork):
        graphs.open_ready(run, parent, work, effective_input(run, parent))
    if _is_through(group):
        # An iteration follows the last event in the one before it; what follows the whole Map, the end of its last iteration.
        group.last_event = succeeded if group.map_run is None else group.last_event
        finish(run, parent, group)


def _is_enough(run: Run, parent: Scope, work: MapWork, output: Payload | None) -> bool:
    """Whether a Map ends with this iteration."""
    if work.stop_when is None or output is None:
        return False
    return bool(fill(parent, work.stop_when, run.environment(parent, None, result=output.value), "stop_when"))


def _iteration_event(run: Run, parent: Scope, child: Scope, event_type: str) -> int:
    key = f"{event_type[0].lower()}{event_type[1:]}EventDetails"
    return run.record(child, event_type, key, {"index": child.index, "name": parent.state.name})


def _child_failed(run: Run, parent: Scope, group: Group, child: Scope, failure: Failure) -> None:
    is_loop = isinstance(parent.state.work, LoopWork)
    if is_loop or isinstance(parent.state.work, MapWork):
        _iteration_event(run, parent, child, "MapIterationFailed")
    if is_loop and loops.iteration_failed(run, parent, group, child, failure):
        return
    if not is_loop:
        group.failed += 1 if group.batching is None else len(child.item["Value"]["Items"])
    if group.map_run is not None:
        if _tolerates(group):
            open_next(run, parent)
            if _is_through(group):
                finish(run, parent, group)
            return
        failure = Failure(EXCEED_TOLERATED_FAILURE_THRESHOLD, "The specified tolerated failure threshold was exceeded")
    cancel_children(run, parent)
    parent.last_event = group.last_event
    if group.map_run is not None:
        run.advance(parent, "MapRunFailed", "mapRunFailedEventDetails", failure_detail(failure.error, failure.cause))
    fail(run, parent, failure)


def _tolerates(group: Group) -> bool:
    """Whether no threshold that was stated is exceeded; with none stated, no failure is tolerated (Developer Guide, "Tolerated failure threshold")."""
    most, percentage = group.tolerated_count, group.tolerated_percentage
    if most is not None and group.failed > most:
        return False
    if percentage is not None and group.failed * 100 > percentage * group.total:
        return False
    return most is not None or percentage is not None


def cancel_children(run: Run, scope: Scope) -> None:
    """Give up whatever the scope waits for: attempts are cancelled, states in them aborted, children closed."""
    wait = scope.wait
    if isinstance(wait, Attempt):
        run.command(CancelAttempt(wait.number, wait.job))
        run.attempts.pop(wait.number, None)
    elif isinstance(wait, Group):
        for child in wait.open.values():
            cancel_children(run, child)
            notes.cancelled(run, (child,))
            if child.entered_event > wait.first_event:
                run.advance(child, f"{child.state.kind}StateAborted")
            if isinstance(scope.state.work, (MapWork, LoopWork)):
                _iteration_event(run, scope, child, "MapIterationAborted")
            run.drop_scope(child)
        wait.open.clear()
        if isinstance(scope.state.work, LoopWork):
            loops.given_up(run, scope, wait)
        run.ready.pop(scope.id, None)  # it had iterations to open
    scope.wait = None


def finish(run: Run, scope: Scope, group: Group) -> None:
    """Every child is through: the state has succeeded with the list of their outputs, a switch with the one of its branch, a loop with its summary."""
    scope.last_event = group.last_event
    if group.map_run is not None:
        run.advance(scope, "MapRunSucceeded")
    run.record(scope, f"{scope.state.kind}StateSucceeded")
    scope.wait = None
    work = scope.state.work
    if isinstance(work, LoopWork):
        result = loops.result_of(run, scope, group)
    else:
        whole = isinstance(work, MapWork) and work.stop_when is not None
        ended = group.results[: group.total] if whole else [result for result in group.results if result is not None]
        results = [None if result is None else result.value for result in ended]
        result = Payload(value=(results[0] if results else None) if isinstance(work, SwitchWork) else results)
    succeed(run, scope, result)


def fail_scope(run: Run, scope: Scope, failure: Failure) -> None:
    """The scope's state has failed: give up what it waits for; Retry and Catch decide how it goes on."""
    cancel_children(run, scope)
    fail(run, scope, failure)
