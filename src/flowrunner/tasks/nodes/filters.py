"""Filters and orders of values: what queries of the store say, and queries that look like them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.storing import FILTERS
from flowrunner.tasks.nodes.assertions import MISSING, Missing, at, same
from flowrunner.tasks.nodes.reading import bad

KEY, WHOLE = "$key", "$value"
_RANK = {bool: 0, int: 1, float: 1, str: 2, list: 3, dict: 4}  # how values of different kinds are ordered; null after them, absent last


def matches(filter_: JSONObject, key: str, value: JSONValue) -> bool:
    """Whether a value passes every condition: ``{field: value}`` or ``{field: {$gte: value, ...}}``. Raises NodeFailed for an unknown operator."""
    for field, wanted in filter_.items():
        found = field_of(field, key, value)
        conditions = wanted if isinstance(wanted, dict) and any(name.startswith("$") for name in wanted) else {"$eq": wanted}
        for operator, operand in conditions.items():
            test = _TESTS.get(operator)
            if test is None:
                raise bad(f"The filter of {field!r} has the operator {operator!r}; there are {', '.join(FILTERS)}.")
            if operator == "$in" and not isinstance(operand, list):
                raise bad(f"The filter of {field!r}: $in needs a list.")
            if not test(found, operand):
                return False
    return True


def field_of(field: str, key: str, value: JSONValue) -> JSONValue | Missing:
    """A field of a value; ``$key`` is its key, ``$value`` the value as a whole."""
    return key if field == KEY else value if field == WHOLE else at(value, field)


def ordered(items: Sequence[tuple[str, JSONValue]], sort: Sequence[str]) -> list[tuple[str, JSONValue]]:
    """Items by these fields, the first counting most; ``-field`` downwards. What lacks the field comes last, either way."""
    found = list(items)
    for name in reversed(sort):
        field, down = name.removeprefix("-"), name.startswith("-")
        there = [item for item in found if field_of(field, *item) is not MISSING]
        absent = [item for item in found if field_of(field, *item) is MISSING]
        there.sort(key=lambda item: _place(field_of(field, *item)), reverse=down)
        found = there + absent
    return found


def _place(value: JSONValue) -> tuple[int, Any]:
    if value is None:
        return (5, 0)
    rank = _RANK[type(value)]
    return (rank, value if rank < 3 else len(value))


def _ordering(test: Callable[[Any, Any], bool]) -> Callable[[JSONValue, JSONValue], bool]:
    def compare(found: JSONValue, operand: JSONValue) -> bool:
        if isinstance(found, bool) or isinstance(operand, bool):
            return False
        both = isinstance(found, int | float) and isinstance(operand, int | float)
        return (both or (isinstance(found, str) and isinstance(operand, str))) and test(found, operand)

    return compare


def _contains(found: JSONValue, operand: JSONValue) -> bool:
    if isinstance(found, str):
        return isinstance(operand, str) and operand in found
    if isinstance(found, list):
        return any(same(item, operand) for item in found)
    return isinstance(found, dict) and isinstance(operand, str) and operand in found


def _same(found: JSONValue, operand: JSONValue) -> bool:
    return found is not MISSING and same(found, operand)


_TESTS: dict[str, Callable[[JSONValue, JSONValue], bool]] = {
    "$eq": _same,
    "$ne": lambda found, operand: not _same(found, operand),
    "$gt": _ordering(lambda found, operand: found > operand),
    "$gte": _ordering(lambda found, operand: found >= operand),
    "$lt": _ordering(lambda found, operand: found < operand),
    "$lte": _ordering(lambda found, operand: found <= operand),
    "$in": lambda found, operand: any(_same(found, one) for one in operand),
    "$contains": _contains,
}
