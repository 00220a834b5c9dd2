"""Text to words: numbers, texts, names, operators, each with its column."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flowrunner.errors import ExpressionSyntaxError

_WORD = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<name>\$?[^\W\d][\w-]*|\$)
    |(?P<operator>\{\{|\}\}|===|!==|==|!=|<=|>=|&&|\|\||[-+*/%<>!().,\[\]])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0"}


@dataclass(frozen=True, slots=True)
class Word:
    """One word of an expression. `kind` is number, text, name, operator or end; `column` counts from 1."""

    kind: str
    text: str
    column: int


def words_of(source: str) -> list[Word]:
    """The words, with one of kind ``end`` after them; raises ExpressionSyntaxError that names the column."""
    words: list[Word] = []
    at = 0
    while at < len(source):
        found = _WORD.match(source, at)
        if found is None:
            raise syntax(source, at + 1, f"{source[at]!r} is not understood here")
        if found.lastgroup != "space":
            words.append(Word(found.lastgroup or "", found.group(), at + 1))
        at = found.end()
    words.append(Word("end", "", len(source) + 1))
    return words


def literal(text: str) -> str:
    """A quoted text without its quotes and escapes; raises ValueError for half of a character (a surrogate without its other half)."""
    made = _ESCAPE.sub(lambda found: chr(int(found[1][1:], 16)) if len(found[1]) == 5 else _ESCAPES.get(found[1], found[1]), text[1:-1])
    return made.encode("utf-16", "surrogatepass").decode("utf-16")


def syntax(source: str, column: int, problem: str) -> ExpressionSyntaxError:
    """The error for an expression that does not compile."""
    return ExpressionSyntaxError(f"Column {column} of the expression {source.strip()!r}: {problem}.")
