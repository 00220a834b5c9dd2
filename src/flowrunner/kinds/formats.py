"""What constants of more than a type must be: durations, addresses, moments, schedules. Each says what is wrong with a value, or nothing.

A schema names a format in its member ``format``; names that JSON Schema does not know are no more than a remark to other readers of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import re2  # type: ignore[import-untyped]

from flowrunner.errors import ExpressionSyntaxError
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.durations import read_limit, read_seconds
from flowrunner.lang.cron import Cron
from flowrunner.lang.moment import is_timestamp

TIME_SPAN, TIME_LIMIT = "time-span", "time-limit"
ASSERTION = "assertion"
ANY_CASE = "any-case"  # of a text with words to choose from, which are compared without regard to case
FUNCTION_OF_LANGUAGE = "function-of-language"  # of parameters: Python has no source of its own here
TYPE_NAMES = ("string", "number", "integer", "boolean", "array", "object", "null")
MOST_PATTERN_CHARACTERS = 2000
WEB_ADDRESS, METHOD, MOMENT, CRON, TIME_ZONE, STATUS = "web-address", "http-method", "date-time", "cron", "time-zone", "http-status"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_UNSAFE = re.compile(r"[\s\\\x00-\x1f\x7f]")


def _time_span(value: JSONValue) -> str | None:
    try:
        read_seconds(value)
    except ValueError as error:
        return str(error)
    return None


def _time_limit(value: JSONValue) -> str | None:
    try:
        read_limit(value)
    except ValueError as error:
        return str(error)
    return None


def _web_address(value: JSONValue) -> str | None:
    text = str(value)
    said = "must be an address such as https://example.com/items"
    if _UNSAFE.search(text.strip()):
        return f"{said}, without blanks and backslashes"
    try:
        parts = urlsplit(text.strip())
        sound = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return said
    return None if sound else said


def _method(value: JSONValue) -> str | None:
    return None if str(value).upper() in METHODS else f"must be one of {', '.join(METHODS)}"


def _moment(value: JSONValue) -> str | None:
    return None if is_timestamp(value) else "must be a moment such as 2026-01-31T08:00:00Z"


def _cron(value: JSONValue) -> str | None:
    return _schedule(str(value), "UTC")


def _time_zone(value: JSONValue) -> str | None:
    return _schedule("* * * * *", str(value))


def _schedule(expression: str, zone: str) -> str | None:
    try:
        Cron(expression, zone)
    except ExpressionSyntaxError as error:
        return f"cannot be used: {error.message.removesuffix('.')}"
    return None


def _status(value: JSONValue) -> str | None:
    number = int(value) if isinstance(value, int | float) or (isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value, re.ASCII)) else 0
    return None if 100 <= number <= 599 else "must be a status from 100 to 599"


def _assertion(value: JSONValue) -> str | None:
    """What `expected` must be for the comparison, where it is a constant; null is a value, too."""
    missing = _missing_of(value)
    expected = value.get("expected")
    if missing is not None:
        return missing
    if isinstance(expected, str) and ("{{" in expected or "${" in expected):
        return None
    match value.get("type"):
        case "regex":
            return (
                None
                if isinstance(expected, str) and is_pattern(expected)
                else "must have a regular expression of RE2 as 'expected' (no look-around, no back-references)"
            )
        case "arrayLength":
            whole = isinstance(expected, int) and not isinstance(expected, bool) and expected >= 0
            return None if whole or (isinstance(expected, str) and expected.strip().isdecimal()) else "must have a whole number from 0 on as 'expected'"
        case "type":
            return None if expected in TYPE_NAMES else f"must have one of {', '.join(TYPE_NAMES)} as 'expected'"
        case "greaterThan" | "lessThan" | "gte" | "lte":
            number = isinstance(expected, int | float | str) and not isinstance(expected, bool)
            return None if number else "must have a number or a text as 'expected'"
    return None


def _missing_of(assertion: JSONObject) -> str | None:
    """What an assertion needs, and does not have: without it, it would compare with nothing."""
    match assertion.get("type"):
        case "equals" | "notEquals" | "contains" | "notContains":
            return None if "expected" in assertion else "must have a value as 'expected' (null is one)"
        case "status_code":
            return None if assertion.keys() & {"expected", "value", "in"} else "must have a status as 'expected', or a list of them as 'in'"
        case "json_path":
            return None if assertion.get("path") else "must have a path as 'path'"
    return None


def is_pattern(text: str) -> bool:
    """Whether a text is a regular expression of RE2, not too long."""
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(text[: MOST_PATTERN_CHARACTERS + 1], options)
    except re2.error:
        return False
    return len(text) <= MOST_PATTERN_CHARACTERS


def _function_of_language(value: JSONValue) -> str | None:
    wanted = isinstance(value, dict) and value.get("language") == "python" and not value.get("function")
    return "function is missing: Python runs only as a function that the operator has registered, and this names it" if wanted else None


FORMATS: Mapping[str, Callable[[JSONValue], str | None]] = {
    TIME_SPAN: _time_span,
    TIME_LIMIT: _time_limit,
    WEB_ADDRESS: _web_address,
    METHOD: _method,
    MOMENT: _moment,
    CRON: _cron,
    TIME_ZONE: _time_zone,
    STATUS: _status,
    ASSERTION: _assertion,
    FUNCTION_OF_LANGUAGE: _function_of_language,
}
