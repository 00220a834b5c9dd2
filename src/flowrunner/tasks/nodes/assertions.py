"""Comparisons of values: what assert nodes and checks of answers have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import re2  # type: ignore[import-untyped]

from flowrunner.jsonvalue import JSONObject, JSONValue, dumps
from flowrunner.kinds.check import is_type, type_of
from flowrunner.kinds.checks import ASSERTION_FAILED, COMPARISONS
from flowrunner.tasks.nodes.kind import NodeFailed
from flowrunner.tasks.nodes.reading import bad
from flowrunner.tasks.secrecy import hidden

MOST_ASSERTIONS = 1000
MOST_PATTERN_CHARACTERS = 2000
_SHOWN_CHARACTERS = 200  # of a value in a message
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(-?\d{1,9})\]|\[\"((?:[^\"\\]|\\.)*)\"\]|\['([^']*)'\]")


class Missing:
    """There is nothing at a path."""


MISSING = Missing()


def at(value: JSONValue, path: str) -> JSONValue | Missing:
    """What is at ``a.b[0]["c d"]`` in a value (a ``$`` before it is allowed); MISSING if there is nothing. Raises NodeFailed for no path."""
    for name in _names(path):
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and re.fullmatch(r"-?\d{1,9}", name, re.ASCII) and -len(value) <= int(name) < len(value):
            value = value[int(name)]
        else:
            return MISSING
    return value


@lru_cache(maxsize=1024)
def _names(path: str) -> tuple[str, ...]:
    rest = path.removeprefix("$")
    found: list[str] = []
    place = 0
    while place < len(rest):
        step = _STEP.match(rest, place)
        if step is None:
            raise bad(f"The path {path[:_SHOWN_CHARACTERS]!r} cannot be read at character {len(path) - len(rest) + place + 1}.")
        place = step.end()
        found.append(next(part for part in step.groups() if part is not None))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Checked:
    """An assertion and how it came out; `actual` is None for what is absent."""

    type: str
    actual: JSONValue
    expected: JSONValue
    passed: bool
    message: str
    path: str | None = None

    def report(self) -> JSONObject:
        """As it stands in an output."""
        path = {} if self.path is None else {"path": self.path}
        return {"type": self.type, **path, "actual": self.actual, "expected": self.expected, "passed": self.passed, "message": self.message}


def check(assertion: JSONValue, subject: JSONValue, place: str) -> Checked:
    """Evaluate one assertion about `actual`, or about `subject` when it names none. Raises NodeFailed for one that cannot be evaluated; `place` names it."""
    if not isinstance(assertion, dict):
        raise bad(f"{place} must be an object.")
    kind = assertion.get("type")
    compare = _COMPARE.get(kind) if isinstance(kind, str) else None
    if compare is None:
        raise bad(f"{place} must have a 'type': one of {', '.join(COMPARISONS)}.")
    expected = assertion.get("expected")
    path = assertion.get("path")
    actual = assertion.get("actual", subject if "actual" not in assertion else None)
    if isinstance(path, str) and path:
        actual = at(actual, path)
    try:
        passed = compare(actual, expected)
    except ValueError as error:
        raise bad(f"{place}: 'expected' {error}.") from None
    shown = None if actual is MISSING else actual
    said = assertion.get("message")
    message = said if isinstance(said, str) and said else _message(str(kind), actual, expected, path, passed=passed)
    return Checked(str(kind), shown, expected, passed, message, path if isinstance(path, str) and path else None)


def summary(checked: Iterable[Checked]) -> JSONObject:
    """The output of an assert node."""
    reports = [one.report() for one in checked]
    failed = sum(not one["passed"] for one in reports)
    return {"passed": failed == 0, "total": len(reports), "failed": failed, "assertions": reports}


def failure(output: JSONObject) -> NodeFailed:
    """The failure of a node with this `summary`: the first message, then the whole as JSON text."""
    first = next(one["message"] for one in output["assertions"] if not one["passed"])
    more = output["failed"] - 1
    return NodeFailed(f"{first}{f' (and {more} more)' if more else ''}\n{dumps(output)}", error=ASSERTION_FAILED)


def same(left: JSONValue, right: JSONValue) -> bool:
    """Whether two values are the same JSON value; true is not 1, 1.0 is."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(part, right[name]) for name, part in left.items())
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _equal(actual: JSONValue, expected: JSONValue) -> bool:
    """`same`, and a number equals its text: what a template put together is text."""
    if actual is MISSING:
        return False
    for one, other in ((actual, expected), (expected, actual)):
        if isinstance(one, str) and isinstance(other, int | float) and not isinstance(other, bool):
            return _number(one) == other
    return same(actual, expected)


def _number(value: JSONValue) -> float | int | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) < 64 and re.fullmatch(r"\s*-?\d+(\.\d+)?([eE][+-]?\d+)?\s*", value, re.ASCII):
        return float(value) if re.search(r"[.eE]", value) else int(value)
    return None


def _contains(actual: JSONValue, expected: JSONValue) -> bool:
    if isinstance(actual, str):
        return (expected if isinstance(expected, str) else dumps(expected)) in actual
    if isinstance(actual, list):
        return any(same(item, expected) for item in actual)
    return isinstance(actual, dict) and expected in actual if isinstance(expected, str) else False


@lru_cache(maxsize=256)
def _pattern(text: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(text, options=options)


def _matches(actual: JSONValue, expected: JSONValue) -> bool:
    if not isinstance(expected, str) or len(expected) > MOST_PATTERN_CHARACTERS:
        raise ValueError(f"must be a regular expression of at most {MOST_PATTERN_CHARACTERS} characters")
    try:
        pattern = _pattern(expected)
    except re2.error:
        raise ValueError("is no regular expression of RE2 (no look-around, no back-references)") from None
    text = actual if isinstance(actual, str) else None if actual is MISSING or actual is None else dumps(actual)
    return text is not None and pattern.search(text) is not None


def _exists(actual: JSONValue, expected: JSONValue) -> bool:
    there = actual is not MISSING and actual is not None
    return not there if expected is False else there


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[JSONValue, JSONValue], bool]:
    def compare(actual: JSONValue, expected: JSONValue) -> bool:
        left, right = _number(actual), _number(expected)
        if left is not None and right is not None:
            return test(left, right)
        if isinstance(actual, str) and isinstance(expected, str):
            return test(actual, expected)
        if not isinstance(expected, str) and right is None:
            raise ValueError("must be a number or a text")
        return False

    return compare


def _has_length(actual: JSONValue, expected: JSONValue) -> bool:
    length = _number(expected)
    if length is None:
        raise ValueError("must be a number")
    return isinstance(actual, list) and len(actual) == length


def _has_type(actual: JSONValue, expected: JSONValue) -> bool:
    if expected not in ("string", "number", "integer", "boolean", "array", "object", "null"):
        raise ValueError("must be string, number, integer, boolean, array, object or null")
    return actual is not MISSING and is_type(actual, cast("str", expected))


_COMPARE: dict[str, Callable[[JSONValue, JSONValue], bool]] = {
    "equals": _equal,
    "notEquals": lambda actual, expected: not _equal(actual, expected),
    "contains": _contains,
    "notContains": lambda actual, expected: not _contains(actual, expected),
    "regex": _matches,
    "exists": _exists,
    "notExists": lambda actual, _: actual is MISSING or actual is None,
    "greaterThan": _ordered(lambda left, right: left > right),
    "lessThan": _ordered(lambda left, right: left < right),
    "gte": _ordered(lambda left, right: left >= right),
    "lte": _ordered(lambda left, right: left <= right),
    "arrayLength": _has_length,
    "type": _has_type,
}


def _message(kind: str, actual: JSONValue | Missing, expected: JSONValue, path: JSONValue, *, passed: bool) -> str:
    what = f"{path} " if path else ""
    is_ = "is absent" if actual is MISSING else f"is {_shown(actual)}"
    if kind == "type" and actual is not MISSING:
        is_ = f"is of type {type_of(actual)}"
    elif kind == "arrayLength" and isinstance(actual, list):
        is_ = f"has {len(actual)} items"
    wanted = "" if kind in ("exists", "notExists") else f" {_shown(expected)}"
    return f"{what}{is_}; {'as asserted' if passed else 'asserted'}: {kind}{wanted}"


def _shown(value: JSONValue) -> str:
    text = hidden(dumps(value))  # before it is cut: half of a secret would not be found
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
