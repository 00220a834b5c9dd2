"""JSON values: types, strict reading, canonical text, size.

Values are plain ``dict, list, str, int, float, bool, None``. They are never changed in place once they are part of an
execution: parts are shared between states (copy the containers on the way to a change).
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

from flowrunner.errors import InvalidDocument, LimitExceeded

JSONValue = Any  # a recursive alias costs mypy more than it finds; values are checked where they enter
JSONObject = dict[str, JSONValue]

WRITABLE_DEPTH = 254  # of orjson
MAX_DEPTH = 128  # containers within containers; orjson itself stops at 254, Python's own parser at the recursion limit
_LONG_NUMBER = re.compile(r"[0-9]{19}")  # 2^63 has 19 digits
_LONG_NUMBER_BYTES = re.compile(rb"[0-9]{19}")
_MEMBER = re.compile(r'"[ \t\r\n]*:')
_MEMBER_BYTES = re.compile(rb'"[ \t\r\n]*:')
_SPACED = re.compile(r'"[ \t\r\n]+:')
_SPACED_BYTES = re.compile(rb'"[ \t\r\n]+:')
MAX_DIGITS = 1000  # of one number; CPython refuses 4,300 with a ValueError, AWS's parser (Jackson) 1,000


def loads(text: str | bytes) -> JSONValue:
    """Read JSON text (RFC 8259, strict: no NaN, no lone surrogates).

    Integers outside 64 bits and floats outside double range take the slower standard parser.
    Raises InvalidDocument with line and column.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return _slow_loads(text, error)
    if (_LONG_NUMBER if isinstance(text, str) else _LONG_NUMBER_BYTES).search(text):  # type: ignore[arg-type]  # each with its own kind
        return _slow_loads(text, None)  # orjson makes floats of integers beyond 64 bits
    return value


def _slow_loads(text: str | bytes, first: orjson.JSONDecodeError | None) -> JSONValue:
    """Second reading: numbers outside 64 bits are kept whole, everything else that orjson refuses is still an error."""
    try:
        words = text if isinstance(text, str) else text.decode("utf-8")
        value = json.loads(words, parse_constant=_refuse_constant, parse_int=_bounded_int, parse_float=_finite)
        words.encode("utf-8")
        dumps(value).encode("utf-8")
    except UnicodeDecodeError as error:
        raise _no_utf8(bytes(error.object), error.start) from None
    except (ValueError, RecursionError) as error:
        line, column = getattr(error, "lineno", first.lineno if first else 1), getattr(error, "colno", first.colno if first else 1)
        # Python's parser says what it expected; what only orjson refuses (a lone surrogate) has orjson's words.
        said = error.msg[:1].lower() + error.msg[1:] if isinstance(error, json.JSONDecodeError) else first.msg if first else str(error)
        raise InvalidDocument(f"Invalid JSON at line {line} column {column}: {said}", line=line, column=column) from None
    return value


def _no_utf8(text: bytes, start: int) -> InvalidDocument:
    """The refusal of a byte that is not UTF-8; all before it is."""
    line, before = text.count(b"\n", 0, start) + 1, text[text.rfind(b"\n", 0, start) + 1 : start]
    column = len(before.decode("utf-8")) + 1
    said = f"Invalid JSON at line {line} column {column}: the byte 0x{text[start]:02x} is not UTF-8"
    return InvalidDocument(said, line=line, column=column, remedy="Send the text in UTF-8.")


def _refuse_constant(name: str) -> JSONValue:
    raise ValueError(f"{name} is not JSON")


def _bounded_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError("number too long")
    return int(digits)


def _finite(digits: str) -> float:
    if len(digits) > MAX_DIGITS:
        raise ValueError("number too long")
    number = float(digits)
    if math.isinf(number):
        raise ValueError("number out of range")
    return number


def repeated_name(text: str | bytes, value: JSONValue) -> str | None:
    """The first name that an object of this JSON text has twice; None when each is there once. `value` is what was read from the text.

    Each member of an object stands in the text as a quotation mark before a colon, so when there are no more of these than members
    in the value, nothing repeats. Only where strings hold such signs, too, the text is read again; those in JSON in JSON are known by
    their backslash, as long as no backslash is escaped itself.
    """
    marks, within = _marks(text)
    if marks < 2 or _members(value) in (marks, marks - within):
        return None
    try:
        json.loads(text, object_pairs_hook=_unique)
    except _Repeated as found:
        return str(found)
    return None


def _marks(text: str | bytes) -> tuple[int, int]:
    """How many quotation marks stand before a colon, and how many of these are surely within strings."""
    if isinstance(text, bytes):
        if _SPACED_BYTES.search(text):
            return len(_MEMBER_BYTES.findall(text)), 0
        return text.count(b'":'), 0 if b"\\\\" in text else text.count(b'\\":')
    if _SPACED.search(text):
        return len(_MEMBER.findall(text)), 0
    return text.count('":'), 0 if "\\\\" in text else text.count('\\":')


class _Repeated(Exception):  # a signal within this module
    """A name repeats."""


def _unique(pairs: list[tuple[str, JSONValue]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Repeated(next(name for place, name in enumerate(names) if name in names[:place]))


def _members(value: JSONValue) -> int:
    count, stack = 0, [value]
    while stack:
        part = stack.pop()
        if type(part) is dict:
            count += len(part)
            stack.extend(part.values())
        elif type(part) is list:
            stack.extend(part)
    return count


def dumps(value: JSONValue) -> str:
    """Compact JSON text, keys in their own order; raises LimitExceeded for a value nested deeper than MAX_DEPTH."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # integers beyond 64 bits, deep nesting
        if depth(value) > MAX_DEPTH:
            raise LimitExceeded(f"The value is nested more than {MAX_DEPTH} levels deep.") from None
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def encoded(value: Any) -> bytes:
    """Compact JSON of a record or message around values of authors: these may hold whole numbers beyond 64 bits, and be as deep as can be written."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def depth(value: JSONValue, limit: int = MAX_DEPTH) -> int:
    """How many containers are nested in `value`, counting no further than limit + 1. Iterative: safe on anything."""
    deepest, stack = 0, [(value, 1)]
    while stack:
        part, level = stack.pop()
        if isinstance(part, dict):
            children = part.values()
        elif isinstance(part, list):
            children = part  # type: ignore[assignment]
        else:
            continue
        deepest = max(deepest, level)
        if deepest > limit:
            return deepest
        stack.extend((child, level + 1) for child in children)
    return deepest


def is_too_deep(text: str) -> bool:
    """Whether this JSON text is nested deeper than MAX_DEPTH; most texts are known at a glance. Raises InvalidDocument."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    try:
        wrapped = loads(text)
    except LimitExceeded:  # whole numbers beyond 64 bits are read and written the long way
        return True
    for _ in range(WRITABLE_DEPTH - MAX_DEPTH):
        wrapped = [wrapped]
    try:
        orjson.dumps(wrapped)  # it refuses what is too deep sooner than a walk over every part would
    except TypeError:
        return depth(wrapped, WRITABLE_DEPTH) > WRITABLE_DEPTH
    return False


def weight(value: JSONValue) -> int:
    """How many bytes the JSON text of a value has, about and at least: what is escaped and the digits of numbers are not counted.

    A small tree of parts that are shared may stand for gigabytes of text. Each part is looked at once, and counted as often as it would
    be written.
    """
    if type(value) is str:
        return len(value) + 2
    weights: dict[int, int] = {}
    stack = [value]
    while stack:
        part = stack[-1]
        kind = type(part)
        total = 1
        unknown: list[JSONValue] = []
        if kind is dict:
            total += 4 * len(part) + sum(map(len, part))
            members = part.values()
        else:
            members = part if kind is list else ()
            total += len(members)
        for member in members:
            kind = type(member)
            if kind is str:
                total += len(member) + 2
            elif kind is list or kind is dict:
                known = weights.get(id(member))
                if known is None:
                    unknown.append(member)
                else:
                    total += known
            else:
                total += 1
        if unknown:
            stack.extend(unknown)  # and then this part again
        else:
            weights[id(part)] = total
            stack.pop()
    return weights[id(value)]


class Payload:
    """A JSON value beside its text; each is made from the other at most once.

    States pass most values on untouched, so the text written to the history is made once per value, not per event.
    """

    __slots__ = ("_text", "_value")
    _MISSING: JSONValue = object()

    def __init__(self, value: JSONValue = _MISSING, text: str | None = None) -> None:
        self._value = value
        self._text = text

    @property
    def value(self) -> JSONValue:
        """The value; shared, so never changed in place."""
        if self._value is Payload._MISSING:
            self._value = loads(self._text or "")
        return self._value

    @property
    def text(self) -> str:
        """The JSON text."""
        if self._text is None:
            self._text = dumps(self._value)
        return self._text

    def size(self) -> int:
        """Bytes of the text in UTF-8."""
        text = self.text
        return len(text) if text.isascii() else len(text.encode())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Payload) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Payload({self.text[:80]})"
