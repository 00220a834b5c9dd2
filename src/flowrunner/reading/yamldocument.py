"""YAML 1.2 text to plain JSON values with positions, built from parser events: no tags, no code, no surprises.

Scalars follow the core schema (YAML 1.2.2, 10.3.2), so ``no``, ``on`` and ``12:30`` are strings. Aliases are allowed, but
everything they stand for is counted as if it were written out, so that no small text becomes a large tree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent
from ruamel.yaml.reader import ReaderError

from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import MAX_DEPTH, JSONValue, dumps
from flowrunner.reading.findings import Place, pointer_of

MAX_NODES = 100_000  # ours: ten times the nodes of the largest definition that fits into AWS's 1 MB in practice
_INTEGER = re.compile(r"[-+]?[0-9]{1,1000}", re.ASCII)
_BASED = re.compile(r"0o[0-7]{1,1000}|0x[0-9a-fA-F]{1,1000}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,4})?", re.ASCII)
_HALF = re.compile("[\ud800-\udfff]")
_NAMED: dict[str, JSONValue] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class Scalar(NamedTuple):
    """How a text is written: where it begins, and its style (``|``, ``>``, a quote, or nothing)."""

    line: int
    column: int
    style: str


def read_yaml(text: str) -> tuple[JSONValue, dict[Place, tuple[int, int]], dict[Place, Scalar]]:
    """The value, (line, column) of each part, and how texts are written. Raises InvalidDocument."""
    builder = _Builder()
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
    except ReaderError as error:
        line, column = _position(text, error.position)
        problem = f"the character U+{ord(text[error.position]):04X} may stand in a quoted text only, written as an escape"
        raise InvalidDocument(f"Invalid YAML at line {line} column {column}: {problem}", line=line, column=column) from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
        problem = getattr(error, "problem", None) or type(error).__name__
        raise InvalidDocument(f"Invalid YAML at line {line} column {column}: {problem}", line=line, column=column) from None
    except (ValueError, RecursionError):
        raise InvalidDocument("Invalid YAML: it cannot be read.") from None
    value, positions = builder.result()
    scalars = builder.scalars
    try:
        dumps(value).encode()
    except (ValueError, RecursionError):
        raise InvalidDocument("Invalid YAML: it holds text that is not Unicode.") from None
    return value, positions, scalars


class Scalars:
    """Where parts of scalars stand in the text."""

    def __init__(self, text: str, scalars: Mapping[Place, Scalar]) -> None:
        self._text, self._scalars = text, scalars
        self._lines: list[str] | None = None

    def inside(self, place: Place, value: str, wanted: tuple[int, int]) -> tuple[int, int] | None:
        """Where a line and column of a scalar's value stand; its beginning where it is folded or escaped, None for what is not there."""
        scalar = self._scalars.get(place)
        if scalar is None:
            return None
        if self._lines is None:
            self._lines = self._text.split("\n")
        lines, (line, column) = self._lines, wanted
        if scalar.style == "|":
            at, own = scalar.line + line, _line(value, line)
            written = lines[at - 1].rstrip("\r") if at <= len(lines) else ""
            return (at, len(written) - len(own) + column) if written.endswith(own) else (at, 1)
        begins = scalar.column + (1 if scalar.style in ("'", '"') else 0)
        if lines[scalar.line - 1].startswith(value, begins - 1):
            return scalar.line, begins + column - 1
        return scalar.line, scalar.column


def _line(text: str, number: int) -> str:
    """A line of a text, counted from 1."""
    start = 0
    for _ in range(number - 1):
        start = text.find("\n", start) + 1
        if start == 0:
            return ""
    end = text.find("\n", start)
    return text[start:] if end < 0 else text[start:end]


def _position(text: str, index: int) -> tuple[int, int]:
    """Line and column, from 1 on."""
    before = text[:index]
    return before.count("\n") + 1, index - before.rfind("\n")


class _Open:
    """A container that is being filled; `key` is the member name that waits for its value."""

    __slots__ = ("anchor", "key", "place", "start", "value")

    def __init__(self, value: JSONValue, place: Place, anchor: str | None, start: int) -> None:
        self.value, self.place, self.anchor, self.start = value, place, anchor, start
        self.key: str | None = None


class _Builder:
    """Takes parser events one by one; never recursive, so depth costs nothing before it is refused."""

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._roots: list[JSONValue] = []
        self._anchors: dict[str, tuple[JSONValue, int]] = {}
        self._nodes = 0
        self._positions: dict[Place, tuple[int, int]] = {}
        self.scalars: dict[Place, Scalar] = {}

    def result(self) -> tuple[JSONValue, dict[Place, tuple[int, int]]]:
        if len(self._roots) > 1:
            raise InvalidDocument("The text holds more than one YAML document.")
        return (self._roots[0] if self._roots else None), self._positions

    def take(self, event: Any) -> None:
        if isinstance(event, ScalarEvent):
            self._count(event, 1)
            self._scalar(event)
        elif isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            self._count(event, 1)
            if len(self._open) >= MAX_DEPTH:
                raise _refused(event, f"The document is nested more than {MAX_DEPTH} levels deep.")
            value: JSONValue = {} if isinstance(event, MappingStartEvent) else []
            if self._awaits_key():
                raise _refused(event, "A key must be a scalar.")
            self._open.append(_Open(value, self._next_place(event), event.anchor, self._nodes))
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            closed = self._open.pop()
            if closed.anchor:
                self._anchors[closed.anchor] = (closed.value, self._nodes - closed.start + 1)
            self._put(closed.value)
        elif isinstance(event, AliasEvent):
            value, nodes = self._anchors.get(event.anchor, (None, 0))
            if not nodes:
                raise _refused(event, f"Alias '*{event.anchor}' names nothing that is complete.")
            self._count(event, nodes)
            if self._awaits_key():
                raise _refused(event, "A key must be a plain scalar.")
            self._next_place(event)
            self._put(value)

    def _scalar(self, event: ScalarEvent) -> None:
        if self._awaits_key():
            parent, key = self._open[-1], _joined(event)
            if key in parent.value:
                raise _refused(event, f"Duplicate key '{key}'", (*parent.place, key))
            parent.key = key
            self._positions[(*parent.place, key)] = _mark(event)
            return
        place, value = self._next_place(event), _resolve(event)
        if isinstance(value, str):
            self.scalars[place] = Scalar(*_mark(event), event.style or "")
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)
        self._put(value)

    def _awaits_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is None

    def _next_place(self, event: Any) -> Place:
        if not self._open:
            return ()
        parent = self._open[-1]
        if parent.key is not None:
            return (*parent.place, parent.key)
        place = (*parent.place, len(parent.value))
        self._positions[place] = _mark(event)
        return place

    def _put(self, value: JSONValue) -> None:
        if not self._open:
            self._roots.append(value)
            return
        parent = self._open[-1]
        if isinstance(parent.value, dict):
            parent.value[parent.key] = value
            parent.key = None
        else:
            parent.value.append(value)

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _refused(event, f"The document has more than {MAX_NODES} values, aliases written out.")


def _resolve(event: ScalarEvent) -> JSONValue:
    """The value of a plain scalar by the core schema; a quoted or block scalar is a string."""
    text = _joined(event)
    tag = str(event.tag or event.ctag or "")
    if tag and tag not in {"!", "tag:yaml.org,2002:str"}:
        raise _refused(event, f"Tags are not supported: {tag}")
    if tag or not event.implicit[0]:
        return text
    if text in _NAMED:
        return _NAMED[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text[2:], 8 if text[1] == "o" else 16)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if number in {float("inf"), float("-inf")}:
            raise _refused(event, "The number is out of range.")
        return number
    return text


def _joined(event: Any) -> str:
    """A scalar's text. JSON writes a character beyond U+FFFF as two escapes, which the parser takes for two characters."""
    text: str = event.value
    if event.style != '"' or text.isascii() or _HALF.search(text) is None:
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _refused(event, "The text has half of a character: an escape such as \\ud83d without its other half.") from None


def _mark(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _refused(event: Any, message: str, place: Place = ()) -> InvalidDocument:
    line, column = _mark(event)
    return InvalidDocument(message, line=line, column=column, pointer=pointer_of(place) if place else "")
