"""Values of the ``{{ }}`` language: truth, equality, order, arithmetic and text, as authors of JavaScript expect them.

Unlike there nothing is undefined: a name that is not known ends the evaluation (`Unresolved`), and who asked decides what that means.
"""

from __future__ import annotations

import math
import re
from typing import Any

from flowrunner.errors import ExpressionError
from flowrunner.jsonvalue import JSONValue, dumps

LONGEST_NUMBER = 400  # characters: more than any float has before its point
_NUMBER = re.compile(r"\s*[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?\s*", re.ASCII)


class Unresolved(Exception):
    """A name or path that leads nowhere."""


def is_true(value: JSONValue) -> bool:
    """False are null, false, 0, NaN and the empty text; the text ``false`` too, since conditions often come as texts."""
    if isinstance(value, str):
        return value not in ("", "false")
    if isinstance(value, float) and math.isnan(value):
        return False
    return value is not None and value is not False and (isinstance(value, (list, dict)) or value != 0)


def is_empty(value: JSONValue) -> bool:
    """Null, and a text, list or object without anything in it."""
    return value is None or (isinstance(value, (str, list, dict)) and not value)


def number_of(value: JSONValue) -> float | int | None:
    """The number that a value is or, as a text, names; None for what is none."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, str) and len(value) <= LONGEST_NUMBER and _NUMBER.fullmatch(value):
        return number(value)
    return None


def number(text: str) -> float | int | None:
    """The number with these digits; None for one beyond all floats. A whole number that 64 bits cannot hold becomes a float."""
    if text.strip().lstrip("+-").isdigit() and abs(whole := int(text)) < 1 << 63:
        return whole
    value = float(text)
    return value if math.isfinite(value) else None


def strictly_equal(left: JSONValue, right: JSONValue) -> bool:
    """Same type and same value; true is not 1, nor in a list."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return left == right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(strictly_equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(strictly_equal(value, right[name]) for name, value in left.items())
    return type(left) is type(right) and bool(left == right)


def loosely_equal(left: JSONValue, right: JSONValue) -> bool:
    """As `strictly_equal`, and a text equals the number or truth value it names."""
    if type(left) is type(right) or left is None or right is None:
        return strictly_equal(left, right)
    if isinstance(left, bool) and isinstance(right, str):
        return right == ("true" if left else "false") or strictly_equal(number_of(left), number_of(right))
    if isinstance(right, bool) and isinstance(left, str):
        return loosely_equal(right, left)
    one, other = number_of(left), number_of(right)
    return one is not None and other is not None and one == other


def less(left: JSONValue, right: JSONValue) -> bool:
    """Texts by their characters, all else by the numbers they are; false where there is none."""
    if isinstance(left, str) and isinstance(right, str) and (number_of(left) is None or number_of(right) is None):
        return left < right
    one, other = number_of(left), number_of(right)
    return one is not None and other is not None and one < other


def text_of(value: JSONValue) -> str:
    """How a value stands within a text: texts as they are, everything else as JSON."""
    return value if isinstance(value, str) else dumps(value)


def added(left: JSONValue, right: JSONValue) -> JSONValue:
    """The sum of numbers; with a text on either side both as one text."""
    if isinstance(left, str) or isinstance(right, str):
        return text_of(left) + text_of(right)
    return calculated("+", left, right)


def calculated(operator: str, left: JSONValue, right: JSONValue) -> JSONValue:
    """Arithmetic on numbers and texts that name some; raises ExpressionError for anything else and for what has no finite result."""
    one, other = number_of(left), number_of(right)
    if one is None or other is None:
        raise ExpressionError(f"{operator!r} needs numbers, but got {_short(left)} and {_short(right)}.")
    if operator in "/%" and other == 0:
        raise ExpressionError(f"{_short(left)} {operator} 0 has no result.")
    result: Any
    try:
        match operator:
            case "+":
                result = one + other
            case "-":
                result = one - other
            case "*":
                result = one * other
            case "/":
                result = one / other
            case _:
                result = math.fmod(one, other)
    except OverflowError:
        result = math.inf
    if isinstance(result, int):
        return result if abs(result) < 1 << 63 else float(result)
    if not math.isfinite(result):
        raise ExpressionError(f"{_short(left)} {operator} {_short(right)} is beyond all numbers.")
    return int(result) if result.is_integer() and abs(result) < 1 << 53 and not (isinstance(one, float) and isinstance(other, float)) else result


def _short(value: JSONValue) -> str:
    text = dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
