"""The graph of states: targets that exist, states that are reached, an end, names that are unique and short enough.

What AWS answers, in which order and where, is published with measurements in github.com/floci-io/floci/issues/2735 and
pull/2786: a missing target says ``Next`` whatever the field; without an end, unreachable states are not reported.
"""

from __future__ import annotations

from collections.abc import Iterator

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.reading.findings import Findings, Place

TARGET = "MISSING_TRANSITION_TARGET"
MAX_NAME_LENGTH = 80  # characters; Step Functions Developer Guide, "States"


def check_graph(found: Findings, start: str, states: JSONObject, place: Place, *, sound: bool) -> None:
    """Check one graph: the machine's, a parallel branch's or an item processor's. When its states are not `sound`, an end is not missed."""
    if start not in states:
        found.error((*place, "StartAt"), f"Missing 'Next' target: {start}", TARGET)
    for name, state in states.items():
        for where, target in transitions(state):
            if target not in states:
                found.error((*place, "States", name, *where), f"Missing 'Next' target: {target}", TARGET)
    if sound and not any(_ends(state) for state in states.values()):
        found.error(None, "Workflow has no terminal state", "MISSING_END_STATE")
        return
    reached = _reached(start, states)
    for name in states:
        if name not in reached:
            found.error((*place, "States", name), f'State "{name}" is not reachable.', TARGET)


def transitions(state: JSONValue) -> Iterator[tuple[Place, str]]:
    """(place within the state, target) of every way out of a state; parts of the wrong type are passed over."""
    if not isinstance(state, dict):
        return
    for field in ("Next", "Default"):
        if isinstance(target := state.get(field), str):
            yield (field,), target
    for field in ("Choices", "Catch"):
        parts = state.get(field)
        for index, part in enumerate(parts if isinstance(parts, list) else ()):
            if isinstance(part, dict) and isinstance(target := part.get("Next"), str):
                yield (field, index, "Next"), target


def _ends(state: JSONValue) -> bool:
    return isinstance(state, dict) and (state.get("End") is True or state.get("Type") in ("Succeed", "Fail"))


def _reached(start: str, states: JSONObject) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in states and name not in reached:
            reached.add(name)
            waiting.extend(target for _, target in transitions(states[name]))
    return reached


def check_names(found: Findings, machine: JSONObject) -> None:
    """Names of states are at most 80 characters long and unique in the whole machine, all branches and processors; so are the labels of Maps."""
    seen: set[str] = set()
    labels: set[str] = set()
    for place, name, state in _names(machine):
        label = state.get("Label") if isinstance(state, dict) and state.get("Type") == "Map" else None
        if isinstance(label, str):
            if label in labels:
                found.refuse((*place, "Label"), f"Duplicate Label name: {label}", "DUPLICATE_LABEL_NAME")
            labels.add(label)
        if not name or len(name) > MAX_NAME_LENGTH:
            found.error(place, f"State names must have between 1 and {MAX_NAME_LENGTH} characters", "INVALID_STATE_NAME")
        if name in seen:
            found.error(place, f"Duplicate State name: {name}", "DUPLICATE_STATE_NAME")
        seen.add(name)


def _names(machine: JSONObject) -> Iterator[tuple[Place, str, JSONValue]]:
    """(place, name, state) of every state, outer ones first; iterative, for any nesting."""
    waiting: list[tuple[Place, JSONValue]] = [((), machine)]
    while waiting:
        place, graph = waiting.pop(0)
        states = graph.get("States") if isinstance(graph, dict) else None
        for name, state in states.items() if isinstance(states, dict) else ():
            yield (*place, "States", name), name, state
            if not isinstance(state, dict):
                continue
            here: Place = (*place, "States", name)
            branches = state.get("Branches")
            waiting.extend(((*here, "Branches", index), branch) for index, branch in enumerate(branches if isinstance(branches, list) else ()))
            waiting.extend(((*here, field), state[field]) for field in ("ItemProcessor", "Iterator") if field in state)
