"""JSON values with ``{% expression %}`` strings in them: ``Arguments``, ``Assign``, ``Output``, ``Items`` and single fields.

Only a string that begins with ``{%`` and ends with ``%}`` is an expression; one space before is enough to make it a
constant. Parts without expressions are compiled to the value itself, which all evaluations share.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from flowrunner.errors import ExpressionError, ExpressionSyntaxError, ResultTooLarge
from flowrunner.jsonvalue import JSONValue, weight
from flowrunner.lang.environment import Environment
from flowrunner.lang.jsonata import UNDEFINED, UNSUPPORTED, JsonataExpression, compile_expression

FailureKind = Literal["undefined", "error", "unsupported"]

_OPEN, _CLOSE = "{%", "%}"
_PATH = re.compile(r"\{%\s*\$?\w+(\s*\.\s*\w+)*\s*%\}")  # no variable behind a dot: `items.$large` is as many copies of it as there are items


class TemplateFailure(ExpressionError):
    """An expression within a template gave no value."""

    code = "template_failure"

    def __init__(self, expression: str, location: str, kind: FailureKind, detail: str = "") -> None:
        self.expression, self.location, self.kind, self.detail = expression, location, kind, detail
        reason = {
            "undefined": "returned nothing (undefined).",
            "error": f"threw an error during evaluation. {detail}",
            "unsupported": "returned an unsupported result type.",
        }[kind]
        super().__init__(f"The JSONata expression '{expression}' at '{location}' {reason}")


class TemplateSyntaxError(ExpressionSyntaxError):
    """An expression within a template does not compile."""

    def __init__(self, location: str, error: ExpressionSyntaxError) -> None:
        self.location = location
        super().__init__(error.message)


class JsonataTemplate:
    """A compiled template. `constant` tells that `evaluate` always returns the same shared value."""

    __slots__ = ("_build", "_makes", "constant", "source", "variables")

    def __init__(self, source: JSONValue, build: _Build | None, variables: frozenset[str]) -> None:
        self.source = source
        self.constant = build is None
        self.variables = variables
        self._build = build
        # One plain path gives a part of what there is; anything else may stand for much more of it.
        self._makes = not (isinstance(source, str) and _PATH.fullmatch(source))

    def evaluate(self, environment: Environment) -> JSONValue:
        """The value with every expression replaced by its result.

        Raises TemplateFailure at the first that has none, ResultTooLarge.
        """
        if self._build is None:
            return self.source
        value = self._build(environment)
        if self._makes and weight(value) > environment.most_bytes:
            raise ResultTooLarge
        return value


_Build = Callable[[Environment], JSONValue]


def is_expression(text: str) -> bool:
    """Whether a string of a definition is a JSONata expression rather than a constant."""
    return text.startswith(_OPEN) and text.endswith(_CLOSE) and len(text) >= len(_OPEN) + len(_CLOSE)


def expression_text(text: str) -> str:
    """What stands between ``{%`` and ``%}``, without the blanks around it."""
    return text[len(_OPEN) : -len(_CLOSE)].strip()


def compile_jsonata_template(value: JSONValue) -> JsonataTemplate:
    """Compile every expression of `value`; raises TemplateSyntaxError (with `location`) for one that does not compile."""
    variables: set[str] = set()
    build = _compile(value, "", variables)
    return JsonataTemplate(value, build, frozenset(variables))


def _compile(value: JSONValue, location: str, variables: set[str]) -> _Build | None:
    """The builder of `value`; None for a constant."""
    if isinstance(value, str):
        return _compile_text(value, location, variables) if is_expression(value) else None
    if isinstance(value, dict):
        members = [(key, part, _compile(part, f"{location}/{key}" if location else key, variables)) for key, part in value.items()]
        if all(build is None for _, _, build in members):
            return None
        return lambda environment: {key: part if build is None else build(environment) for key, part, build in members}
    if isinstance(value, list):
        items = [(part, _compile(part, f"{location}[{index}]", variables)) for index, part in enumerate(value)]
        if all(build is None for _, build in items):
            return None
        return lambda environment: [part if build is None else build(environment) for part, build in items]
    return None


def _compile_text(text: str, location: str, variables: set[str]) -> _Build:
    source = expression_text(text)
    try:
        expression = compile_expression(source)
    except ExpressionSyntaxError as error:
        raise TemplateSyntaxError(location, error) from None
    variables.update(expression.variables)
    return lambda environment: _value(expression, location, environment)


def _value(expression: JsonataExpression, location: str, environment: Environment) -> JSONValue:
    try:
        value = expression.evaluate(environment)
    except ExpressionError as error:
        raise TemplateFailure(expression.text, location, "error", f"{error.code}: {error.message}") from None
    if value is UNDEFINED:
        raise TemplateFailure(expression.text, location, "undefined")
    if value is UNSUPPORTED:
        raise TemplateFailure(expression.text, location, "unsupported")
    return value
