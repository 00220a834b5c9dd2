"""From the values of an evaluation to plain JSON, with the size of the result checked before anything writes it out."""

from __future__ import annotations

import math
from typing import Any

from flowrunner.errors import BudgetExceeded
from flowrunner.lang.jsonata.messages import failure
from flowrunner.lang.jsonata.values import UNDEFINED, UNSUPPORTED, Array, Function, Object, Run, Sentinel

MAX_RESULT_PARTS = 2_000_000  # values in a result, each counted as often as it will be written


def plain(value: Any, run: Run, *, spelled: bool = False) -> Any:
    """The value with only plain containers; UNSUPPORTED when there is a function in it.

    What JSON has no number for (``1/0``) is an error, or is `spelled` out as a text, as Step Functions does.

    Parts of the input stay the very objects they were: only what the evaluation made is rebuilt. The same part may stand in a
    result very often (``$reduce`` doubling an array), so sizes are added up by identity.
    """
    if not isinstance(value, (Array, Object)):
        return _scalar(value, spelled=spelled)
    try:
        made, size = _Rebuild(run, spelled=spelled).container(value)
    except _FoundFunctionError:
        return UNSUPPORTED
    if size > MAX_RESULT_PARTS:
        raise BudgetExceeded(f"The result has more than {MAX_RESULT_PARTS} values.")
    run.spend(size >> 4)  # somebody will write it out
    return made


class _FoundFunctionError(Exception):
    pass


class _Rebuild:
    """One conversion; remembers what each container became and how many values it holds."""

    __slots__ = ("run", "seen", "spelled")

    def __init__(self, run: Run, *, spelled: bool) -> None:
        self.run = run
        self.spelled = spelled
        self.seen: dict[int, tuple[Any, int]] = {}

    def container(self, value: Any) -> tuple[Any, int]:
        known = self.seen.get(id(value))
        if known is not None:
            return known
        self.run.spend(len(value) + 1)
        size = len(value) + 1
        made: Any
        if isinstance(value, dict):
            made = {}
            for key, part in value.items():
                made[key], more = self.part(part)
                size += more
        else:
            made = []
            for part in value:
                item, more = self.part(part)
                made.append(item)
                size += more
        self.seen[id(value)] = (made, size)
        return made, size

    def part(self, value: Any) -> tuple[Any, int]:
        if isinstance(value, (Array, Object)):
            return self.container(value)
        if isinstance(value, (list, dict)):
            return value, self.input_size(value)
        if type(value) is str:
            self.run.scan(len(value))
        scalar = _scalar(value, spelled=self.spelled)
        if scalar is UNSUPPORTED:
            raise _FoundFunctionError
        return (None if scalar is UNDEFINED else scalar), len(scalar) >> 6 if type(scalar) is str else 0

    def input_size(self, value: Any) -> int:
        """A part of the input counts as its own members only, until it is used again."""
        known = self.seen.get(id(value))
        if known is None:
            self.seen[id(value)] = (value, -1)
            return len(value)
        if known[1] < 0:
            known = self.seen[id(value)] = (value, _count(value, self.run))
        return known[1]


def _count(value: Any, run: Run) -> int:
    total, stack = 0, [value]
    while stack:
        part = stack.pop()
        if isinstance(part, (dict, list)):
            run.spend(len(part) + 1)
            total += len(part) + 1
            stack.extend(part.values() if isinstance(part, dict) else part)
        elif type(part) is str:
            total += len(part) >> 6
    return total


def _scalar(value: Any, *, spelled: bool) -> Any:
    if isinstance(value, Function):
        return UNSUPPORTED
    if type(value) is float and not math.isfinite(value):
        if spelled:  # measured: github.com/floci-io/floci/pull/2783
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        raise failure("D1001", value=str(value))
    if type(value) is str and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # half a surrogate pair, from an escape in the expression: JSON text cannot hold it
            return value.encode("utf-8", "replace").decode()
    return UNDEFINED if isinstance(value, Sentinel) else value
