r"""``${ expression }`` in texts: where the expressions stand, and where JavaScript ends.

This is a scanner, not a parser: it knows strings, templates, comments, regular expressions and brackets, so it finds the brace
that closes an expression. Whether the expression compiles is the engine's business. ``\${`` is a literal ``${``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from flowrunner.errors import ExpressionSyntaxError
from flowrunner.jsonvalue import JSONValue

OPENING = "${"
_MARK = re.compile(r"\\?\$\{")
# What is not closed is taken to the end of its line, so that broken code is gone through once, too.
_TOKEN = re.compile(
    r"""(?P<space>(?:\s|//[^\n]*)+)
    | (?P<comment>/\*)
    | (?P<word>(?:[\w$.\#]|\\u[0-9a-fA-F{}]+)+)
    | (?P<string>"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?)
    | (?P<step>\+\+|--)
    | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_REGULAR_EXPRESSION = re.compile(r"/(?:\\[^\n]|\[(?:\\[^\n]|[^\]\\\n])*\]?|[^/\\\[\n])+/?\w*")
_TEMPLATE_PART = re.compile(r"(?:\\.|\$(?!\{)|[^`\\$])*", re.DOTALL)
# After these a slash begins a regular expression; after any other word it divides.
_BEFORE_OPERAND = frozenset(("return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "instanceof", "do", "else", "yield", "await"))
_PAIRS = {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True, slots=True)
class Embedded:
    """An expression within a text; `offset` is where its first character stands."""

    source: str
    offset: int


@dataclass(frozen=True, slots=True)
class Extent:
    """Where code ends: `end` at the brace that closes nothing (or the text's end), `last` behind the last token that is no semicolon."""

    end: int
    last: int


@lru_cache(maxsize=4096)
def parts_of(text: str) -> tuple[str | Embedded, ...]:
    """The literal texts and expressions of a text, in order. Raises ExpressionSyntaxError for an expression without end or content."""
    parts: list[str | Embedded] = []
    literal, at = "", 0
    while (match := _MARK.search(text, at)) is not None:
        literal += text[at : match.start()]
        if match[0].startswith("\\"):
            literal, at = literal + OPENING, match.end()
            continue
        end = extent(text, match.end()).end
        if end == len(text):
            message = f"The expression that opens at character {match.start() + 1} has no closing brace."
            raise ExpressionSyntaxError(message, remedy="Close it with }, or write \\${ for the characters themselves.")
        source = text[match.end() : end]
        if not source.strip():
            raise ExpressionSyntaxError(f"The expression at character {match.start() + 1} is empty.", remedy="Write JavaScript between ${ and }.")
        if literal:
            parts.append(literal)
        parts.append(Embedded(source, match.end()))
        literal, at = "", end + 1
    literal += text[at:]
    return (*parts, literal) if literal or not parts else tuple(parts)


def has_expression(text: str) -> bool:
    """Whether the text has to be looked at: it opens an expression, or escapes an opening."""
    return OPENING in text


def expressions_of(value: JSONValue) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every text of a value that has to be looked at, with its place; of a member, first its name, then what it holds."""
    stack: list[tuple[tuple[str | int, ...], JSONValue]] = [((), value)]
    while stack:
        place, part = stack.pop()
        if isinstance(part, str):
            if has_expression(part):
                yield place, part
        elif isinstance(part, dict):
            for key in part:
                if has_expression(key):
                    yield (*place, key), key
            stack.extend(((*place, key), child) for key, child in reversed(part.items()))
        elif isinstance(part, list):
            stack.extend(((*place, index), part[index]) for index in range(len(part) - 1, -1, -1))


@lru_cache(maxsize=4096)
def without_end(source: str) -> str:
    """`source` without the semicolons and comments at its end: what may still be one expression."""
    return source[: extent(source).last] if ";" in source else source


def extent(text: str, at: int = 0) -> Extent:
    """Where the code that begins at `at` ends. Never raises: code that is broken ends with the text."""
    opened: list[str] = []  # ( [ { of code, and ` for a template within which we are
    last, operand = at, False
    while at < len(text):
        if opened and opened[-1] == "`":
            at = _TEMPLATE_PART.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
            if text.startswith("`", at):
                opened.pop()
                at, operand = at + 1, True
            elif text.startswith(OPENING, at):
                opened.append("{")
                at, operand = at + 2, False
            else:
                break
            last = at
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            break
        kind, piece, at = match.lastgroup, match[0], match.end()
        if kind == "space":
            continue
        if kind == "comment":
            closed = text.find("*/", at)
            if closed < 0:
                break
            at = closed + 2
            continue
        if piece == "/" and not operand and (found := _REGULAR_EXPRESSION.match(text, match.start())) is not None:
            at, operand = found.end(), True
        elif kind == "word":
            operand = piece not in _BEFORE_OPERAND
        elif kind == "string":
            operand = True
        elif piece in _PAIRS:
            if not opened:
                if piece == "}":
                    return Extent(match.start(), last)
            elif opened[-1] == _PAIRS[piece]:
                opened.pop()
            operand = True
        elif kind == "mark":
            if piece in "([{`":
                opened.append(piece)
            operand = False
        if piece != ";":
            last = at
    return Extent(len(text), last)
