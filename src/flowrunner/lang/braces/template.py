"""JSON values with ``{{ }}`` in their texts.

A text that is one expression gives the expression's value, with its type; within a longer text values are put in as text. What leads nowhere
stays as it was written, or is null where that is asked for. Values are not looked at again, so data cannot smuggle in an expression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flowrunner.errors import ExpressionError, ExpressionSyntaxError
from flowrunner.jsonvalue import JSONValue
from flowrunner.lang.braces.nodes import CHARACTERS_PER_STEP, Node, known_or_null, pay
from flowrunner.lang.braces.parse import parse
from flowrunner.lang.braces.values import Unresolved, text_of
from flowrunner.lang.dynamic import OPENING as SECRET
from flowrunner.lang.environment import Environment

OPENING, CLOSING = "{{", "}}"
MOST_PARTS = 10_000
Filler = Callable[[Environment], JSONValue]
Place = tuple[str | int, ...]
Places = Callable[[Place], bool]  # whether a place in a value is one of them


@dataclass(frozen=True, slots=True)
class BraceTemplate:
    """A compiled value. `source` is as written."""

    source: JSONValue
    fill: Filler

    def evaluate(self, environment: Environment) -> JSONValue:
        """The value with all its expressions filled in; raises ExpressionError."""
        return self.fill(environment)


class BraceSyntaxError(ExpressionSyntaxError):
    """An expression in a value does not compile."""

    def __init__(self, message: str, place: Place) -> None:
        self.place = place  # in the value
        super().__init__(message)


def has_braces(value: JSONValue) -> bool:
    """Whether any text in the value opens an expression."""
    if isinstance(value, str):
        return OPENING in value
    if isinstance(value, dict):
        return any(OPENING in key or has_braces(child) for key, child in value.items())
    return isinstance(value, list) and any(map(has_braces, value))


def nowhere(place: Place) -> bool:
    """No place at all."""
    del place
    return False


def compile_braces(value: JSONValue, *, previous: str | None = None, nulls: Places = nowhere) -> BraceTemplate:
    """Compile a value; `previous` is the step that ``$prev`` means. Raises BraceSyntaxError with the place.

    At the places of `nulls`, a text that is one expression gives null when it leads nowhere.
    """
    return BraceTemplate(value, _compile(value, (), previous, nulls))


def _compile(value: JSONValue, place: Place, previous: str | None, nulls: Places) -> Filler:
    if not has_braces(value):
        return lambda _: value
    if isinstance(value, str):
        try:
            return _placed(_text(value, previous, null=nulls(place)), place)
        except ExpressionSyntaxError as error:
            raise BraceSyntaxError(error.message, place) from None
    if isinstance(value, list):
        items = [_compile(item, (*place, index), previous, nulls) for index, item in enumerate(value)]
        return lambda environment: [item(environment) for item in items]
    members = [(key, _compile(child, (*place, key), previous, nulls)) for key, child in value.items()]
    return lambda environment: {key: member(environment) for key, member in members}


def _placed(fill: Filler, place: Place) -> Filler:
    """The text, whose failures say where in the value it stands."""
    if not place:
        return fill
    name = ".".join(map(str, place))

    def filled(environment: Environment) -> JSONValue:
        try:
            return fill(environment)
        except ExpressionError as error:
            error.message = f"'{name}': {error.message}"
            raise

    return filled


def _text(text: str, previous: str | None, *, null: bool) -> Filler:
    parts = list(parts_of(text, previous))
    if len(parts) > MOST_PARTS:
        raise ExpressionSyntaxError(f"A text has at most {MOST_PARTS} expressions.")
    if len(parts) == 1 and isinstance(parts[0], tuple):
        [(whole, tree)] = [part for part in parts if isinstance(part, tuple)]
        return lambda environment: known_or_null(tree, environment) if null else _value(environment, tree, whole)
    return lambda environment: _joined(environment, parts)


def _value(environment: Environment, tree: Node, written: str) -> JSONValue:
    try:
        return tree.value(environment)
    except Unresolved:
        return written


def _joined(environment: Environment, parts: list[str | tuple[str, Node]]) -> str:
    made = "".join(part if isinstance(part, str) else text_of(_value(environment, part[1], part[0])) for part in parts)
    pay(environment, len(made) // CHARACTERS_PER_STEP)
    return made


def parts_of(text: str, previous: str | None) -> Iterator[str | tuple[str, Node]]:
    """Literal texts, and expressions with their trees, in order. References to secrets are literal: they are resolved in the task."""
    at = kept = 0
    while (opened := text.find(OPENING, at)) >= 0:
        closed = _closing(text, opened + len(OPENING))
        if closed < 0:
            raise ExpressionSyntaxError(f"Column {opened + 1} of {text!r}: {OPENING!r} is not closed by {CLOSING!r}.")
        at = closed + len(CLOSING)
        if text.startswith(SECRET, opened):
            continue
        if opened > kept:
            yield text[kept:opened]
        yield text[opened:at], parse(text[opened + len(OPENING) : closed], previous=previous)
        kept = at
    if kept < len(text):
        yield text[kept:]


def _closing(text: str, at: int) -> int:
    """Where the expression that begins at `at` is closed: not within one of its texts in quotes. -1 if it is not."""
    quote = ""
    while at < len(text):
        letter = text[at]
        if quote:
            if letter == "\\":
                at += 1
            elif letter == quote:
                quote = ""
        elif letter in "\"'":
            quote = letter
        elif text.startswith(CLOSING, at):
            return at
        at += 1
    return -1


def place_of(error: ExpressionError) -> Place:
    """Where in the value an error is."""
    return error.place if isinstance(error, BraceSyntaxError) else ()
