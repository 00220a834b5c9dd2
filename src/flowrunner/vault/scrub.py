"""Hiding values in what leaves a task: each is replaced by ``***``, as it is and in the encodings it travels in.

Encodings: base64 (at all three alignments) and base64url, percent-encoding in the usual variants, JSON strings (up to three levels
deep, escaped to ASCII or not), HTML, hexadecimal, Python's `repr`. Lines of a text with several are values of their own. Values of fewer
than four characters are hidden only where they are a whole JSON string: in running text they would hide half of everything.

Measured: 256 KiB against 125 spellings (five secrets) in 0.4 to 3 ms.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, quote_plus

import re2  # type: ignore[import-untyped]

from flowrunner.errors import FlowRunnerError
from flowrunner.jsonvalue import JSONValue, dumps, loads, texts_of

MASK: Final = "***"
LEAST: Final = 4  # characters; shorter values are hidden as whole JSON strings only
_HEAD_BYTES = 8  # of a spelling are looked for by one automaton; the rest is compared
_JSON_LEVELS = 3
_PATTERN_MEMORY_BYTES = 32 * 1024 * 1024
_MASK_BYTES = MASK.encode()
_Bytes = bytes  # within the class the name is a method
_YARL_SAFE = "/?:@-._~!$'()*,"  # what the HTTP client leaves as it is in a query


class Scrubber:
    """Hides a set of values: texts, numbers, and those within objects and arrays. Two of the same values are equal."""

    __slots__ = ("_by_head", "_heads", "_numbers", "_pattern", "_short", "_spelt_short", "_values")

    def __init__(self, values: Iterable[JSONValue]) -> None:
        texts, numbers = _leaves(values)
        self._values = frozenset(texts)
        self._numbers = frozenset(numbers)
        self._short = frozenset(text for text in texts if len(text) < LEAST)
        self._spelt_short = frozenset(spelt.encode("utf-8", "replace") for text in self._short for spelt in (text, json.dumps(text)[1:-1]))
        self._by_head: dict[bytes, list[bytes]] = {}
        for spelling in sorted({one for text in texts if len(text) >= LEAST for one in _spellings(text)}, key=len, reverse=True):
            self._by_head.setdefault(spelling[:_HEAD_BYTES], []).append(spelling)
        self._heads = sorted({len(head) for head in self._by_head}, reverse=True)
        self._pattern = _automaton(self._by_head)

    def __bool__(self) -> bool:
        """Whether there is anything to hide."""
        return bool(self._values)

    def __repr__(self) -> str:
        return f"Scrubber({len(self._values)} values)"

    @property
    def spellings(self) -> int:
        """How many byte strings are looked for."""
        return sum(map(len, self._by_head.values()))

    def text(self, text: str) -> str:
        """`text` with every value hidden."""
        if self._pattern is None:
            return text
        given = text.encode("utf-8", "surrogatepass")
        found = self.bytes(given)
        return text if found is given else found.decode("utf-8", "replace")

    def bytes(self, given: bytes) -> bytes:
        """`given` with every value hidden; the very same object if there is none in it."""
        if self._pattern is None:
            return given
        parts: list[bytes] = []
        done = at = 0
        while (found := self._pattern.search(given, at)) is not None:
            start = found.start()
            end = self._end(given, start)
            if end is None:
                at = start + 1
                continue
            parts += (given[done:start], _MASK_BYTES)
            done = at = end
        if not parts:
            return given
        parts.append(given[done:])
        return b"".join(parts)

    def json(self, text: str) -> str:
        """JSON text with every value hidden: strings and keys in part, numbers and short strings as a whole; it stays JSON.

        What is no JSON is treated as any text.
        """
        given = text.encode("utf-8", "surrogatepass")
        if not self._suspects(given) and b"\\" not in given:
            return text
        try:
            value = loads(text)
            # Strings may be escaped in any way, so only what they say counts; all of them are looked at in one go.
            if not self._suspects(given) and not self._suspects("\n".join(texts_of(value)).encode("utf-8", "surrogatepass")):
                return text
            return dumps(self.value(value))
        except (FlowRunnerError, ValueError, RecursionError):
            return self.text(text)

    def value(self, value: JSONValue) -> JSONValue:
        """A JSON value with every value hidden."""
        match value:
            case str():
                return MASK if value in self._short else self.text(value)
            case bool() | None:
                return value
            case int() | float():
                return MASK if value in self._numbers or self.text(dumps(value)) != dumps(value) else value
            case dict():
                return {self.text(key): self.value(part) for key, part in value.items()}
            case list():
                return [self.value(part) for part in value]
            case _:
                return value

    def beginning(self, text: str) -> str:
        """`text`, which was cut before its values were hidden, with what may be the beginning of one at its end hidden."""
        given = text.encode("utf-8", "surrogatepass")
        longest = max((_overlap(given, spelling) for spellings in self._by_head.values() for spelling in spellings), default=0)
        return text if longest < LEAST else given[:-longest].decode("utf-8", "replace") + MASK

    def _suspects(self, given: _Bytes) -> bool:
        return self.bytes(given) is not given or any(short in given for short in self._spelt_short)

    def _end(self, given: _Bytes, start: int) -> int | None:
        """Where the longest spelling that stands at `start` ends."""
        for length in self._heads:
            for spelling in self._by_head.get(given[start : start + length], ()):
                if given.startswith(spelling, start):
                    return start + len(spelling)
        return None


def _overlap(given: bytes, spelling: bytes) -> int:
    """With how many bytes of its beginning a spelling stands at the end."""
    end = given[-len(spelling) + 1 :]
    at = end.find(spelling[:LEAST])
    while at >= 0 and not spelling.startswith(end[at:]):
        at = end.find(spelling[:LEAST], at + 1)
    return len(end) - at if at >= 0 else 0


@lru_cache(maxsize=128)
def scrubber_of(values: frozenset[str]) -> Scrubber:
    """The scrubber of these texts, kept: a state that runs often uses the same secrets each time."""
    return Scrubber(values)


def leaves(values: Iterable[JSONValue]) -> frozenset[str]:
    """Everything in `values` that is to be hidden, as texts (a number as JSON writes it)."""
    texts, numbers = _leaves(values)
    return frozenset(texts) | {dumps(number) for number in numbers}


def _leaves(values: Iterable[JSONValue]) -> tuple[set[str], set[float]]:
    texts: set[str] = set()
    numbers: set[float] = set()
    stack = list(values)
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            if not value.strip():
                continue
            texts.add(value)
            lines = [line.strip() for line in value.splitlines()]
            texts.update(line for line in lines if len(line) >= LEAST)
            if value[:1] in "{[":
                stack += _parsed(value)
        elif isinstance(value, bool) or value is None:
            continue
        elif isinstance(value, int | float):
            written = dumps(value)
            if len(written) >= LEAST:
                texts.add(written)
                numbers.add(value)
        elif isinstance(value, dict):
            stack += value.values()
        elif isinstance(value, list):
            stack += value
    return texts, numbers


def _parsed(text: str) -> list[Any]:
    try:
        found = loads(text)
    except (FlowRunnerError, ValueError, RecursionError):
        return []
    return [found] if isinstance(found, dict | list) else []


def _spellings(value: str) -> Iterator[bytes]:
    raw = value.encode("utf-8", "surrogatepass")
    texts = {value, html.escape(value), html.escape(value, quote=False), html.escape(value).replace("&#x27;", "&#39;")}
    for ascii_only in (True, False):
        escaped = value
        for _ in range(_JSON_LEVELS):
            escaped = json.dumps(escaped, ensure_ascii=ascii_only)[1:-1]
            texts |= {escaped, escaped.replace("/", "\\/"), escaped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")}
    for inner in (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
        parts = [repr(part)[1:-1] for part in inner.split("'")]  # how a quote is written depends on the text around it
        texts |= {"'".join(parts), "\\'".join(parts)}
    texts |= _quoted(raw) | {raw.hex(), raw.hex().upper()} | _base64(raw)
    for text in texts:
        spelt = text.encode("utf-8", "surrogatepass")
        if len(spelt) >= LEAST:
            yield spelt


def _quoted(raw: bytes) -> set[str]:
    found = {
        quote(raw, safe=""),
        quote(raw),
        quote_plus(raw),
        quote(raw, safe=_YARL_SAFE),
        quote(raw, safe=_YARL_SAFE).replace("%20", "+"),
        quote(raw, safe="*-._"),
    }
    return found | {_lower_hex(text) for text in found} | {"".join(f"%{byte:02X}" for byte in raw), "".join(f"%{byte:02x}" for byte in raw)}


def _lower_hex(text: str) -> str:
    first, *others = text.split("%")
    return "%".join((first, *(part[:2].lower() + part[2:] for part in others)))


def _base64(raw: bytes) -> set[str]:
    """What is sure to stand in the base64 of any text with `raw` in it: of each alignment, the digits that no neighbour has bits in."""
    found = set()
    for before in range(3):
        bits_before, bits = 8 * before, 8 * (before + len(raw))
        first, last = -(-bits_before // 6), bits // 6
        digits = base64.b64encode(b"\0" * before + raw).decode()[first:last]
        found |= {digits, digits.replace("+", "-").replace("/", "_")}
        if before == 0:
            whole = base64.b64encode(raw).decode()
            found |= {whole, base64.urlsafe_b64encode(raw).decode(), whole.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")}
    return {digits for digits in found if len(digits) >= LEAST}


def _automaton(by_head: dict[bytes, list[bytes]]) -> Any:
    if not by_head:
        return None
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = _PATTERN_MEMORY_BYTES
    options.log_errors = False
    return re2.compile(b"|".join(re2.escape(head) for head in sorted(by_head)), options)
