"""Words to a tree of operations, by precedence: ``|| && (=== == != !==) (< <= > >=) (+ -) (* / %) (! -) paths``.

In conditions ``{{`` and ``}}`` stand like parentheses around parts of the expression: ``{{page}} <= 3`` and ``{{page <= 3}}`` mean the same,
and what a variable holds is never read as an expression.
"""

from __future__ import annotations

from flowrunner.errors import ExpressionSyntaxError
from flowrunner.jsonvalue import JSONValue
from flowrunner.lang.braces.nodes import CALLS, And, Binary, Call, Index, Literal, Member, Name, Negative, Node, Not, Or, Previous
from flowrunner.lang.braces.values import LONGEST_NUMBER, number
from flowrunner.lang.braces.words import Word, literal, syntax, words_of

DEEPEST = 64  # levels of parentheses, signs and paths
LONGEST = 10_000  # characters
_BINDING = {
    "||": 1, "&&": 2, "==": 3, "!=": 3, "===": 3, "!==": 3, "<": 4, "<=": 4, ">": 4, ">=": 4, "+": 5, "-": 5, "*": 6, "/": 6, "%": 6,
}  # fmt: skip
_WORDS: dict[str, JSONValue] = {"true": True, "false": False, "null": None, "undefined": None}
PREVIOUS = "$prev"
_CLOSING = {"(": ")", "{{": "}}", "[": "]"}


def parse(source: str, *, braces: bool = False, previous: str | None = None) -> Node:
    """The tree of an expression; with `braces` those may stand around its parts. `previous` is the step that ``$prev`` means. Raises ExpressionSyntaxError."""
    if len(source) > LONGEST:
        raise ExpressionSyntaxError(f"An expression has {LONGEST} characters at most.")
    return _Parser(source, braces=braces, previous=previous).whole()


class _Parser:
    def __init__(self, source: str, *, braces: bool, previous: str | None) -> None:
        self._source = source
        self._braces = braces
        self._previous = previous
        self._words = words_of(source)
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        tree = self._binary(0)
        if self._word.kind != "end":
            raise self._refusal(self._word)
        return tree

    @property
    def _word(self) -> Word:
        return self._words[self._at]

    def _next(self) -> Word:
        word = self._word
        self._at += 1
        return word

    def _refusal(self, word: Word, more: str = "") -> ExpressionSyntaxError:
        problem = "it ends too early" if word.kind == "end" else f"{word.text!r} is not expected here"
        return syntax(self._source, word.column, problem + more)

    def _binary(self, least: int) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise syntax(self._source, self._word.column, f"it is nested more than {DEEPEST} levels deep")
        left = self._unary()
        while self._word.kind == "operator" and _BINDING.get(self._word.text, 0) > least:
            operator = self._next().text
            right = self._binary(_BINDING[operator])
            left = And(left, right) if operator == "&&" else Or(left, right) if operator == "||" else Binary(operator, left, right)
        self._depth -= 1
        return left

    def _unary(self) -> Node:
        signs = []
        while self._word.kind == "operator" and self._word.text in "!-" and len(self._word.text) == 1:
            signs.append(self._next().text)
        if len(signs) > DEEPEST:
            raise syntax(self._source, self._word.column, "it has too many signs")
        node = self._path(self._single())
        for sign in reversed(signs):
            node = Not(node) if sign == "!" else Negative(node)
        return node

    def _single(self) -> Node:
        word = self._next()
        match word.kind:
            case "number":
                value = number(word.text) if len(word.text) <= LONGEST_NUMBER else None
                if value is None:
                    raise syntax(self._source, word.column, f"{word.text[:40]} is beyond all numbers")
                return Literal(value)
            case "text":
                return Literal(self._literal(word))
            case "name":
                return self._named(word)
            case "operator" if word.text == "(" or (word.text == "{{" and self._braces):
                inner = self._binary(0)
                self._expect(_CLOSING[word.text])
                return inner
        raise self._refusal(word)

    def _literal(self, word: Word) -> str:
        try:
            return literal(word.text)
        except ValueError:
            raise syntax(self._source, word.column, "its text has half of a character (a surrogate without its other half)") from None

    def _named(self, word: Word) -> Node:
        if word.text in _WORDS:
            return Literal(_WORDS[word.text])
        if self._word.text == "(" and self._word.kind == "operator":
            if word.text not in CALLS:
                raise syntax(self._source, word.column, f"there is no function {word.text}; there are {', '.join(sorted(CALLS))}")
            self._next()
            given = [] if self._word.text == ")" else [self._binary(0)]
            while self._word.text == ",":
                self._next()
                given.append(self._binary(0))
            self._expect(")")
            least, most = CALLS[word.text].takes
            if not least <= len(given) <= most:
                raise syntax(self._source, word.column, f"{word.text} takes {least if least == most else f'{least} to {most}'} value(s), not {len(given)}")
            return Call(word.text, tuple(given))
        if word.text in CALLS and CALLS[word.text].takes[0] == 0:
            return Call(word.text, ())
        return Previous(self._previous) if word.text == PREVIOUS else Name(word.text)

    def _path(self, node: Node) -> Node:
        steps = 0
        while self._word.kind == "operator" and self._word.text in (".", "["):
            steps += 1
            if steps > DEEPEST:
                raise syntax(self._source, self._word.column, f"its path has more than {DEEPEST} steps")
            if self._next().text == ".":
                word = self._next()
                if word.kind not in ("name", "number"):
                    raise self._refusal(word)
                for part in word.text.split("."):  # ``a.0.1``: the word is a number
                    node = Member(node, part)
            else:
                node = Index(node, self._binary(0))
                self._expect("]")
        return node

    def _expect(self, text: str) -> None:
        word = self._next()
        if word.kind != "operator" or word.text != text:
            raise self._refusal(word, f"; {text!r} is missing")
