"""Choice rules: one function per comparison, all in one table (ASL specification, "Data-test expressions")."""

from __future__ import annotations

import operator
from collections.abc import Callable

from flowrunner.core.dataflow import runtime
from flowrunner.core.program import All, Comparison, Negated, Some, Test
from flowrunner.core.run import Run
from flowrunner.core.scope import Scope
from flowrunner.errors import ExpressionError, PathNotFound
from flowrunner.jsonvalue import JSONValue
from flowrunner.lang.jsonpath import Path
from flowrunner.lang.moment import parse_nanoseconds

Compare = Callable[[JSONValue, JSONValue], bool]
_MISSING = object()
_SEARCHED = 256  # characters that are searched in a microsecond, a step of the meter,
_COMPARED = 8192  # and that are compared


def holds(run: Run, scope: Scope, test: Test, document: JSONValue) -> bool:
    """Whether a test holds for the state's effective input; raises StateFailed when it names what is not there."""
    match test:
        case All(tests):
            return all(holds(run, scope, part, document) for part in tests)
        case Some(tests):
            return any(holds(run, scope, part, document) for part in tests)
        case Negated(part):
            return not holds(run, scope, part, document)
        case Comparison():
            return _compare(run, scope, test, document)


def _compare(run: Run, scope: Scope, test: Comparison, document: JSONValue) -> bool:
    if test.operator == "IsPresent":
        return _present(run, scope, test.variable, document) is test.operand
    value = _variable(run, scope, test.variable, document)
    if type(value) is str and len(value) > _SEARCHED:
        run.meter.take(len(value) // (_SEARCHED if test.operator == "StringMatches" else _COMPARED))
        if run.meter.left < 0:
            raise runtime(scope, "The rules of the state search more text than one state may.")
    if isinstance(test.operand, Path):
        return COMPARE[test.operator.removesuffix("Path")](value, _variable(run, scope, test.operand, document))
    return COMPARE[test.operator](value, test.operand)


def _variable(run: Run, scope: Scope, path: Path, document: JSONValue) -> JSONValue:
    value = _look(run, scope, path, document)
    if value is _MISSING:
        raise runtime(scope, f"Invalid path '{path.text}': The choice state's condition path references an invalid value.")
    return value


def _present(run: Run, scope: Scope, path: Path, document: JSONValue) -> bool:
    return _look(run, scope, path, document) is not _MISSING


def _look(run: Run, scope: Scope, path: Path, document: JSONValue) -> JSONValue:
    if path.root == "$" and path.definite and not path.steps:
        return document
    try:
        return path.evaluate(run.environment(scope, document))
    except PathNotFound:
        return _MISSING
    except ExpressionError as error:
        raise runtime(scope, error.message) from None


def _is_number(value: JSONValue) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _numbers(compare: Compare) -> Compare:
    return lambda left, right: _is_number(left) and _is_number(right) and compare(left, right)


def _strings(compare: Compare) -> Compare:
    return lambda left, right: isinstance(left, str) and isinstance(right, str) and compare(left, right)


def _timestamps(compare: Compare) -> Compare:
    def check(left: JSONValue, right: JSONValue) -> bool:
        a, b = _moment(left), _moment(right)
        return a is not None and b is not None and compare(a, b)

    return check


def _moment(value: JSONValue) -> int | None:
    if not isinstance(value, str):
        return None
    try:
        return parse_nanoseconds(value)
    except ExpressionError:
        return None


def _kind(check: Callable[[JSONValue], bool]) -> Compare:
    return lambda value, wanted: check(value) is wanted


def _string_matches(value: JSONValue, pattern: JSONValue) -> bool:
    r"""``StringMatches``: ``*`` stands for any characters, ``\*`` and ``\\`` for themselves; linear in both lengths but for repeated stars."""
    if not isinstance(value, str) or not isinstance(pattern, str):
        return False
    pieces: list[str] = [""]
    characters = iter(pattern)
    for character in characters:
        if character == "*":
            pieces.append("")
        elif character == "\\":
            pieces[-1] += next(characters, "\\")
        else:
            pieces[-1] += character
    if len(pieces) == 1:
        return value == pieces[0]
    first, *middle, last = pieces
    if not value.startswith(first) or not value.endswith(last) or len(value) < len(first) + len(last):
        return False
    position, end = len(first), len(value) - len(last)
    for piece in middle:
        found = value.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True


_ORDER: dict[str, Callable[[JSONValue, JSONValue], bool]] = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "GreaterThan": operator.gt,
    "LessThanEquals": operator.le,
    "GreaterThanEquals": operator.ge,
}
COMPARE: dict[str, Compare] = {
    **{f"Numeric{name}": _numbers(compare) for name, compare in _ORDER.items()},
    **{f"String{name}": _strings(compare) for name, compare in _ORDER.items()},
    **{f"Timestamp{name}": _timestamps(compare) for name, compare in _ORDER.items()},
    "BooleanEquals": lambda left, right: isinstance(left, bool) and isinstance(right, bool) and left is right,
    "StringMatches": _string_matches,
    "IsNull": _kind(lambda value: value is None),
    "IsBoolean": _kind(lambda value: isinstance(value, bool)),
    "IsNumeric": _kind(_is_number),
    "IsString": _kind(lambda value: isinstance(value, str)),
    "IsTimestamp": _kind(lambda value: _moment(value) is not None),
}
