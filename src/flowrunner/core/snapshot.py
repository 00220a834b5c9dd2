"""A machine's state as bytes: compact, versioned, and read back without the facts before it.

Layout (JSON): ``{"v": 3, counters..., "root": scope}``; a scope holds the scopes of its group. Values that several
scopes share (the input of parallel branches) are written once, in ``values``, and named by their place there.
"""

from __future__ import annotations

from typing import Any

import orjson

from flowrunner.core.program import Branch, GraphWork, LoopWork, MapWork, ParallelWork, State, SwitchWork
from flowrunner.core.run import Run
from flowrunner.core.scope import Attempt, Batching, Group, Pause, Scope, Waiting
from flowrunner.errors import ReplayMismatch
from flowrunner.jsonvalue import JSONValue, Payload, dumps, encoded, loads

VERSION = 3


def pack(run: Run) -> bytes:
    """The state of a run; everything not in it is in the program and the identity."""
    shared = _Shared()
    root = _pack_scope(run.root, shared) if run.root is not None else None
    packed = {
        "v": VERSION,
        "now": run.now,
        "events": run.last_id,
        "seq": run.last_seq,
        "progress": [run.progress, run.steps_ended],
        "scopes": run.last_scope,
        "attempts": run.last_attempt,
        "facts": run.fact_count,
        "draws": run.entropy.position,
        "deadline": run.deadline,
        "root": root,
        "ready": list(run.ready),
        "ended": [_pack_ended(ended.scope.id, ended.output, ended.failure, shared) for ended in run.ended.values()],
        "values": shared.texts,
    }
    return encoded(packed)


class _Shared:
    """Payload texts, each once."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._places: dict[int, int] = {}
        self._kept: list[Payload] = []

    def place(self, payload: Payload) -> int:
        place = self._places.get(id(payload))
        if place is None:
            place = self._places[id(payload)] = len(self.texts)
            self._kept.append(payload)  # an id is only unique while its object lives
            self.texts.append(payload.text)
        return place


def _pack_ended(scope: int, output: Payload | None, failure: Any, shared: _Shared) -> list[Any]:
    told = None if failure is None else [failure.error, failure.cause, failure.location, failure.evaluated, failure.alias, failure.recorded]
    if told is not None and failure.detail is not None:
        told.append(failure.detail)
    return [scope, None if output is None else shared.place(output), told]


def _pack_scope(scope: Scope, shared: _Shared) -> dict[str, Any]:
    packed: dict[str, Any] = {
        "id": scope.id,
        "index": scope.index,
        "state": scope.state.name,
        "input": shared.place(scope.input),
        "events": [scope.last_event, scope.entered_event, scope.previous_event],
        "entered": scope.entered_at,
        "retries": scope.retries,
    }
    if scope.item is not None:
        packed["item"] = dumps(scope.item)
    if scope.variables:
        packed["variables"] = dumps(scope.variables)
    if scope.resuming:
        packed["resuming"] = True
    if scope.silent:
        packed["silent"] = True
    if scope.passed:
        packed["passed"] = scope.passed
    if scope.noted:
        packed["noted"] = True
    if scope.undecided:
        packed["undecided"] = True
    if scope.opened_at:
        packed["opened"] = scope.opened_at
    if scope.wait is not None:
        packed["wait"] = _pack_wait(scope.wait, shared)
    return packed


def _pack_wait(wait: Waiting, shared: _Shared) -> list[Any]:
    match wait:
        case Pause():
            return ["pause", wait.due, wait.kind]
        case Attempt():
            timing = [wait.due, wait.heartbeat_seconds, wait.heartbeat_due]
            return ["attempt", wait.number, wait.status, wait.parameters, wait.token, wait.credentials, *timing, wait.job, wait.early]
        case Group():
            results = [None if result is None else shared.place(result) for result in wait.results]
            children = [_pack_scope(child, shared) for child in wait.open.values()]
            items = None if wait.items is None else dumps(wait.items[wait.next_item :])
            batching = None if wait.batching is None else _pack_batching(wait.batching, shared)
            counts = [wait.total, wait.limit, wait.next_index, wait.next_item, wait.done, wait.failed, wait.first_event, wait.last_event]
            given = None if wait.given is None else shared.place(wait.given)
            return [
                "group",
                counts,
                results,
                items,
                given,
                batching,
                wait.tolerated_count,
                wait.tolerated_percentage,
                wait.map_run,
                children,
                *([wait.reason, True] if wait.keyed else [] if wait.reason is None else [wait.reason]),
            ]


def _pack_batching(batching: Batching, shared: _Shared) -> list[Any]:
    return [batching.most, batching.largest, None if batching.shared is None else shared.place(batching.shared)]


def unpack(run: Run, snapshot: bytes) -> None:
    """Bring a fresh run to the state of a snapshot; raises ReplayMismatch when they do not fit."""
    from flowrunner.core.faults import Failure  # noqa: PLC0415
    from flowrunner.core.run import Ended  # noqa: PLC0415

    try:
        packed = orjson.loads(snapshot)
        if packed["v"] != VERSION:
            raise ReplayMismatch(f"The snapshot has version {packed['v']}; this release reads {VERSION}.")
        values = [Payload(text=text) for text in packed["values"]]
        run.now, run.last_id, run.fact_count = packed["now"], packed["events"], packed["facts"]
        run.last_seq = packed.get("seq", run.last_id)
        run.progress, run.steps_ended = packed.get("progress", (0.0, 0))
        run.last_scope, run.last_attempt = packed["scopes"], packed["attempts"]
        run.entropy.position = packed["draws"]
        run.deadline = packed["deadline"]
        if run.deadline is not None:
            run.set_timer(run.deadline, 0, "execution")
        if packed["root"] is not None:
            run.root = _unpack_scope(run, packed["root"], run.program.root, None, values)
        for number in packed["ready"]:
            run.go_on(run.scopes[number])
        for number, output, told in packed["ended"]:
            failure = None if told is None else Failure(*told)
            run.ended[number] = Ended(run.scopes[number], None if output is None else values[output], failure)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ReplayMismatch(f"The snapshot does not fit its definition: {type(error).__name__} {error}.") from error


def _unpack_scope(run: Run, packed: dict[str, Any], branch: Branch, parent: Scope | None, values: list[Payload]) -> Scope:
    scope = Scope(number=packed["id"], branch=branch, state=branch.states[packed["state"]], given=values[packed["input"]], parent=parent, index=packed["index"])
    scope.last_event, scope.entered_event, scope.previous_event = packed["events"]
    scope.entered_at, scope.retries = packed["entered"], packed["retries"]
    scope.item = loads(packed["item"]) if "item" in packed else None
    if "variables" in packed:
        values_by_name = loads(packed["variables"])
        run.assign(scope, values_by_name, {name: dumps(value) for name, value in values_by_name.items()})
    scope.resuming, scope.silent, scope.noted = packed.get("resuming", False), packed.get("silent", False), packed.get("noted", False)
    scope.undecided, scope.opened_at = packed.get("undecided", False), packed.get("opened", 0)
    scope.passed = packed.get("passed", 0.0)
    run.scopes[scope.id] = scope
    if "wait" in packed:
        scope.wait = _unpack_wait(run, scope, packed["wait"], values)
    return scope


def _unpack_wait(run: Run, scope: Scope, packed: list[Any], values: list[Payload]) -> Waiting:
    if packed[0] == "pause":
        run.set_timer(packed[1], scope.id, packed[2])
        return Pause(packed[1], packed[2])
    if packed[0] == "attempt":
        _, number, status, parameters, token, credentials, due, heartbeat, heartbeat_due, job, early = packed
        run.attempts[number] = scope
        if due is not None:
            run.set_timer(due, scope.id, "timeout", number)
        if heartbeat_due is not None:
            run.set_timer(heartbeat_due, scope.id, "heartbeat", number)
        return Attempt(
            number=number, status=status, parameters=parameters, token=token, credentials=credentials,
            due=due, heartbeat_seconds=heartbeat, heartbeat_due=heartbeat_due, job=job,
            early=early,
        )  # fmt: skip
    _, counts, results, items, given, batching, tolerated, percentage, map_run, children, *later = packed
    total, limit, next_index, next_item, done, failed, first, last = counts
    group = Group(total=total, limit=limit, results=[None if place is None else values[place] for place in results], next_index=next_index)
    group.next_item, group.done, group.failed, group.first_event, group.last_event = next_item, done, failed, first, last
    group.tolerated_count, group.tolerated_percentage, group.map_run = tolerated, percentage, map_run
    group.reason, group.keyed = later[0] if later else None, len(later) > 1
    group.given = None if given is None else values[given]
    if batching is not None:
        most, largest, place = batching
        group.batching = Batching(most, largest, None if place is None else values[place])
    if items is not None:
        missing: list[JSONValue] = [None] * next_item  # those have started: their values are in their scopes
        group.items = missing + loads(items)
    scope.wait = group
    for child in children:
        group.open[child["index"]] = _unpack_scope(run, child, _branch(scope.state, child["index"]), scope, values)
    return group


def _branch(state: State, index: int) -> Branch:
    work = state.work
    if isinstance(work, ParallelWork):
        return work.branches[index]
    if isinstance(work, MapWork):
        return work.processor
    if isinstance(work, LoopWork):
        return work.body
    if isinstance(work, GraphWork):
        return work.nodes[index].branch
    if isinstance(work, SwitchWork):
        return work.cases[index].branch
    raise KeyError(state.name)
