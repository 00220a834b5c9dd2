"""JSON or YAML text to a tree of plain values, with line and column of every part when they are asked for.

Both readers refuse more than 1 MiB, more than 128 levels and keys that repeat. Positions of JSON are worked out only when
there is something to report: a definition without findings is read once, by the fast parser.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable
from typing import Literal, NamedTuple

from flowrunner import jsonvalue
from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import MAX_DEPTH, JSONValue
from flowrunner.reading.findings import Locate, Place, json_pointer, pointer_of

MAX_BYTES = 1024 * 1024  # the definition quota of Step Functions: 1 MB
Syntax = Literal["json", "yaml"]
Inside = Callable[[Place, str, tuple[int, int]], tuple[int, int] | None]  # place, the text there, line and column in it


class Document(NamedTuple):
    """A value and a way to find its parts in the text: `locate` of a place, `inside` of a line and column within the text at a place."""

    value: JSONValue
    locate: Locate
    inside: Inside

    def within(self, place: Place, text: str, line: int, column: int) -> tuple[int, int]:
        """Where line and column of the text at a place stand in the document; the place itself when this text is not there."""
        value = self.value
        try:
            for part in place:
                value = value[part]
        except (KeyError, IndexError, TypeError):
            return self.locate(place)
        found = self.inside(place, text, (line, column)) if value == text else None
        return found or self.locate(place)


def read_document(text: str, syntax: Syntax = "json") -> Document:
    """Read a definition. Raises InvalidDocument with line, column and the place."""
    size = len(text) if len(text) > MAX_BYTES or text.isascii() else len(text.encode(errors="surrogatepass"))
    if size > MAX_BYTES:
        raise InvalidDocument(f"The document has more than {MAX_BYTES} bytes.")
    if syntax == "yaml":
        from flowrunner.reading.yamldocument import Scalars, read_yaml  # noqa: PLC0415  # JSON users do not pay for importing a YAML parser

        value, positions, scalars = read_yaml(text)
        return Document(value, Positions(positions), Scalars(text, scalars).inside)
    return _read_json(text)


class _Repeated(Exception):  # a signal within this module
    """A key repeats; raised inside the parser, which knows no places."""


def _unique(pairs: list[tuple[str, JSONValue]]) -> dict[str, JSONValue]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Repeated
    return members


def _read_json(text: str) -> Document:
    value = jsonvalue.loads(text)
    if jsonvalue.depth(value, MAX_DEPTH) > MAX_DEPTH:
        raise InvalidDocument(f"The document is nested more than {MAX_DEPTH} levels deep.")
    try:
        json.loads(text, object_pairs_hook=_unique)
    except _Repeated:
        place, offset = _first_repeated(text)
        line, column = _line_and_column(text, offset)
        name = place[-1] if place else ""
        raise InvalidDocument(f"Duplicate key '{name}'", line=line, column=column, pointer=pointer_of(place)) from None
    positions = _JSONPositions(text)
    return Document(value, positions, positions.inside)


class Positions:
    """Places to (line, column); a place that is not in the text is found at its nearest parent."""

    def __init__(self, positions: dict[Place, tuple[int, int]]) -> None:
        self._positions = positions

    def __call__(self, place: Place) -> tuple[int, int]:
        """Line and column from 1; (1, 1) for the whole document."""
        for length in range(len(place), 0, -1):
            found = self._positions.get(place[:length])
            if found is not None:
                return found
        return 1, 1


class _JSONPositions:
    """As Positions; the text is scanned when the first place is asked for."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found: Positions | None = None
        self._starts: list[int] = []  # of the lines, found when they are needed

    def __call__(self, place: Place) -> tuple[int, int]:
        if self._found is None:
            self._found = Positions(_all_positions(self._text))
        return self._found(place)

    def inside(self, place: Place, value: str, wanted: tuple[int, int]) -> tuple[int, int] | None:
        """Where a line and column of a string's value stand in the text: escapes are counted as they are written."""
        line, column = wanted
        at_line, at_column = self(place)
        if not self._starts:
            self._starts = [0, *(match.end() for match in _BREAK.finditer(self._text))]
        start = self._starts[at_line - 1] + at_column - 1
        opening = _VALUE.match(self._text, start) if place and isinstance(place[-1], str) else _QUOTE.match(self._text, start)
        characters = line_start(value, line) + column - 1
        if opening is None or characters > len(value):
            return None
        at = _written(self._text, opening.end(), characters)
        line = bisect_right(self._starts, at)
        return line, at - self._starts[line - 1] + 1


def line_start(text: str, line: int) -> int:
    """The offset at which a line begins, counted from 1; behind the text when it has fewer."""
    start = 0
    for _ in range(line - 1):
        found = text.find("\n", start)
        if found < 0:
            return len(text) + 1
        start = found + 1
    return start


_BREAK = re.compile(r"\n")
_QUOTE = re.compile(r'"')
_VALUE = re.compile(r'"(?:[^"\\]|\\.)*"\s*:\s*"')
_PIECE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\\]", re.DOTALL)


def _written(text: str, start: int, characters: int) -> int:
    """Where so many characters of a string literal end that begins at `start`."""
    for _ in range(characters):
        piece = _PIECE.match(text, start)
        if piece is None:
            break
        start = piece.end()
    return start


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def _tokens(text: str) -> list[tuple[Place, int, bool]]:
    """(place, offset, repeated) of every member name and array item of valid JSON, in order of the text."""
    found: list[tuple[Place, int, bool]] = []
    place: list[str | int] = []
    names: list[set[str] | None] = []  # per open container: names seen, None for an array
    fresh = False  # a member name or an item may follow
    for match in _TOKEN.finditer(text):
        word, start = match[0], match.start()
        if word in "}]":
            names.pop()
            if place:
                place.pop()
            fresh = False
            continue
        if word == ",":
            fresh = True
            if names[-1] is None:
                place[-1] = int(place[-1]) + 1
            continue
        if word == ":":
            continue
        if fresh and names:
            seen = names[-1]
            if seen is None:
                found.append((tuple(place), start, False))
                fresh = False
            else:
                name = json.loads(word)
                place[-1] = name
                found.append((tuple(place), start, name in seen))
                seen.add(name)
                fresh = False
                continue
        if word in "{[":
            names.append(set() if word == "{" else None)
            place.append("" if word == "{" else 0)
            fresh = True
    return found


def _all_positions(text: str) -> dict[Place, tuple[int, int]]:
    positions: dict[Place, tuple[int, int]] = {}
    line, line_start, at = 1, 0, 0
    for place, offset, _ in _tokens(text):
        line += text.count("\n", at, offset)
        line_start = text.rfind("\n", at, offset) + 1 or line_start
        at = offset
        positions[place] = (line, offset - line_start + 1)
    return positions


class Pointers:
    """Line and column of the parts of JSON text, by their pointers of RFC 6901. The text must be valid."""

    def __init__(self, text: str) -> None:
        self._positions = {json_pointer(place): position for place, position in _all_positions(text).items()}

    def __call__(self, pointer: str) -> tuple[int, int]:
        """Line and column from 1; of what is not there those of the nearest part around it, (1, 1) for the whole."""
        while pointer.strip("/"):
            found = self._positions.get(pointer)
            if found is not None:
                return found
            pointer = pointer.rpartition("/")[0]
        return 1, 1

    def begins(self, pointer: str) -> bool:
        """Whether the member of the whole that it begins with is there."""
        return not pointer.strip("/") or "/".join(pointer.split("/", 2)[:2]) in self._positions


def _first_repeated(text: str) -> tuple[Place, int]:
    return next(((place, offset) for place, offset, repeated in _tokens(text) if repeated), ((), 0))


def _line_and_column(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1
