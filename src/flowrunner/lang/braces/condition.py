"""Conditions: ``{{page}} <= 3 && !{{done}}``."""

from __future__ import annotations

from dataclasses import dataclass

from flowrunner.jsonvalue import JSONValue
from flowrunner.lang.braces.nodes import Literal, Node, known_or_null
from flowrunner.lang.braces.parse import parse
from flowrunner.lang.braces.values import is_true
from flowrunner.lang.environment import Environment


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition; `text` is as written."""

    text: str
    tree: Node

    def evaluate(self, environment: Environment) -> JSONValue:
        """True or false; what leads nowhere is null. Raises ExpressionError."""
        return is_true(known_or_null(self.tree, environment))


def compile_condition(given: JSONValue, *, previous: str | None = None) -> Condition:
    """Compile the text of a condition, or a truth value; `previous` is the step that ``$prev`` means. Raises ExpressionSyntaxError with the column."""
    if isinstance(given, bool):
        return Condition("true" if given else "false", Literal(given))
    text = given if isinstance(given, str) else ""
    return Condition(text, parse(text, braces=True, previous=previous))
