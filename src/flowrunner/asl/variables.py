"""What states assign: names that can be read again, and each in one scope only. Step Functions Developer Guide, "Passing data between states with variables".

What AWS says of names it refuses was measured (2026-09-05, github.com/badmintoncryer/cdk-preflight). The others are warnings: no answer of AWS is
known that refuses a definition for them, and what is assigned so does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator

from flowrunner.jsonvalue import JSONValue
from flowrunner.reading.findings import Findings, Place

MAX_VARIABLE_CHARACTERS = 80
RESERVED = frozenset({"states"})
INVALID_NAME, RESERVED_NAME, SHADOWED = "INVALID_VARIABLE_NAME", "RESERVED_VARIABLE_NAME", "VARIABLE_OF_OUTER_SCOPE"


def check_variables(found: Findings, machine: JSONValue) -> None:
    """Refuse every name in an ``Assign`` that cannot be read, and warn about those that a scope around it assigns too.

    The branches of a Parallel and the iterations of a Map are scopes of their own; beside each other they may use the same names.
    """
    stack: list[tuple[JSONValue, Place, frozenset[str]]] = [(machine, (), frozenset())]
    while stack:
        scope, place, outer = stack.pop()
        states = scope.get("States") if isinstance(scope, dict) else None
        if not isinstance(states, dict):
            continue
        names = set()
        for name, state in states.items():
            for at, variable in _assigned(state, (*place, "States", name)):
                names.add(variable)
                _check(found, at, variable, outer)
        known = outer | names
        within = [part for name, state in states.items() for part in _scopes(state, (*place, "States", name))]
        stack.extend((inner, at, known if shares else frozenset()) for inner, at, shares in reversed(within))


def _check(found: Findings, place: Place, name: str, outer: frozenset[str]) -> None:
    if name in RESERVED:
        found.refuse(place, f"Cannot assign to reserved variable '${name}'.", RESERVED_NAME)
    elif not name.isidentifier():
        found.refuse(place, f"Invalid variable name '{name}': the variable name contains invalid characters.", INVALID_NAME)
    elif len(name) > MAX_VARIABLE_CHARACTERS:
        found.warning(place, f"The name of a variable has at most {MAX_VARIABLE_CHARACTERS} characters", INVALID_NAME)
    elif name in outer:
        found.warning(place, f"The variable '{name}' is assigned in an outer scope too: its names cannot be used again here", SHADOWED)


def _assigned(state: JSONValue, place: Place) -> Iterator[tuple[Place, str]]:
    """The names that a state assigns: itself, in its choices, in its catchers."""
    if not isinstance(state, dict):
        return
    parts: list[tuple[JSONValue, Place]] = [(state, place)]
    for field in ("Choices", "Catch"):
        rows = state.get(field)
        parts += [(row, (*place, field, index)) for index, row in enumerate(rows)] if isinstance(rows, list) else []
    for part, at in parts:
        assigned = part.get("Assign") if isinstance(part, dict) else None
        if isinstance(assigned, dict):
            yield from (((*at, "Assign", name), name.removesuffix(".$")) for name in assigned)


def _scopes(state: JSONValue, place: Place) -> Iterator[tuple[JSONValue, Place, bool]]:
    """The scopes within a state, and whether they see the variables around them: the children of a distributed Map do not."""
    if not isinstance(state, dict):
        return
    branches = state.get("Branches")
    yield from ((branch, (*place, "Branches", index), True) for index, branch in enumerate(branches if isinstance(branches, list) else ()))
    for field in ("ItemProcessor", "Iterator"):
        processor = state.get(field)
        config = processor.get("ProcessorConfig") if isinstance(processor, dict) else None
        yield processor, (*place, field), not (isinstance(config, dict) and config.get("Mode") == "DISTRIBUTED")
