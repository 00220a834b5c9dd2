"""State machines as JSON values: which of their states differ, followed from the start as an execution would."""

from __future__ import annotations

from collections.abc import Iterator

from flowrunner.jsonvalue import JSONObject
from flowrunner.reading.findings import Place

_SAID = frozenset({"Comment", "States", "StartAt", "Version"})


def differences(one: JSONObject, other: JSONObject, place: Place = ()) -> Iterator[Place]:
    """Where two sound machines are not the same; names and comments of states do not count, nor whether one ends by itself or in a Succeed state.

    The places are those of the first one: a member of a state that differs, or a state for one that is of another type. Nothing means that every
    execution of the one goes on as one of the other does, state by state.
    """
    yield from ((*place, name) for name in _unlike(one, other, _SAID))
    seen: set[tuple[str | None, str | None]] = set()
    waiting = [(_met(one, one["StartAt"]), _met(other, other["StartAt"]), (*place, "StartAt"))]
    while waiting:
        mine, theirs, way = waiting.pop()
        if (mine, theirs) in seen:
            continue
        seen.add((mine, theirs))
        if mine is None or theirs is None:
            yield way
            continue
        state, remade = one["States"][mine], other["States"][theirs]
        here: Place = (*place, "States", mine)
        if state["Type"] != remade["Type"]:
            yield here
            continue
        yield from ((*here, name) for name in _unlike(_followed(state), _followed(remade), _SAID))
        ways = zip(_targets(state), _targets(remade), strict=False)
        waiting += [(_met(one, my), _met(other, their), (*here, *below)) for (below, my), (_, their) in ways if _met(one, my) or _met(other, their)]
        for index, (branch, its) in enumerate(zip(state.get("Branches", ()), remade.get("Branches", ()), strict=False)):
            yield from differences(branch, its, (*here, "Branches", index))


def reached(start: str, states: JSONObject) -> JSONObject:
    """The states that an execution may come to from `start`, in their order: a definition may have no others."""
    names: set[str] = set()
    waiting: list[str | None] = [start]
    while waiting:
        name = waiting.pop()
        if name is not None and name in states and name not in names:
            names.add(name)
            waiting += [target for _, target in _targets(states[name])]
    return {name: state for name, state in states.items() if name in names}


def is_end(state: JSONObject) -> bool:
    """Whether a state only ends its branch."""
    return state["Type"] == "Succeed" and state.keys() <= {"Type", "Comment", "QueryLanguage"}


def _met(machine: JSONObject, name: str | None) -> str | None:
    """The state of this name, None for an end."""
    return None if name is None or is_end(machine["States"][name]) else name


def _unlike(one: JSONObject, other: JSONObject, left_out: frozenset[str]) -> list[str]:
    return sorted(name for name in (one.keys() | other.keys()) - left_out if one.get(name) != other.get(name))


def _followed(state: JSONObject) -> JSONObject:
    """A state without the names of others, and without its branches: these are followed."""
    made: JSONObject = {}
    for name, part in state.items():
        if name in ("Choices", "Catch"):
            made[name] = [{key: value for key, value in each.items() if key not in ("Next", "Comment")} for each in part]
        elif name == "Branches":
            made[name] = len(part)
        elif name not in ("Next", "End"):
            made[name] = part if name != "Default" else True
    return made


def _targets(state: JSONObject) -> list[tuple[Place, str | None]]:
    """The ways on and the states they lead to, in a fixed order."""
    parts = [((name, index, "Next"), part["Next"]) for name in ("Choices", "Catch") for index, part in enumerate(state.get(name, ()))]
    return [(("Next",), state.get("Next")), (("Default",), state.get("Default")), *parts]
