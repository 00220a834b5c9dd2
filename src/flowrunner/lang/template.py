"""Payload templates: JSON in which a member named ``key.$`` holds a path or an intrinsic call.

``Parameters``, ``ResultSelector``, ``ItemSelector``, ``Assign`` and others of JSONPath states are templates. They compile
once. Parts without dynamic members stay the definition's own values and are shared by every result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from flowrunner.errors import BudgetExceeded, ExpressionSyntaxError, PathNotFound, ResultTooLarge
from flowrunner.jsonvalue import MAX_DEPTH, JSONValue, dumps, weight
from flowrunner.lang.environment import Environment
from flowrunner.lang.intrinsics import ArgumentNotFound, Intrinsic, compile_intrinsic
from flowrunner.lang.jsonpath import Path, compile_path
from flowrunner.lang.reference import IndexOutOfRange

SUFFIX = ".$"
FEW_REFERENCES = 8  # so many copies of a document are no matter; eight thousand were two gigabytes

Build = Callable[[Environment], JSONValue]


class TemplateSyntaxError(ExpressionSyntaxError):
    """A member of a template does not compile. `field` is its key, `pointer` the JSON pointer of the object it is in."""

    code = "template_syntax"

    def __init__(self, field: str, pointer: str, detail: str) -> None:
        self.field = field
        self.pointer = pointer
        self.detail = detail
        super().__init__(f"The value for the field '{field}' must be a valid JSONPath or a valid intrinsic function call at {pointer}")


class TemplateFieldNotFound(PathNotFound):
    """A path of a template names nothing. `field` is the member's key (``value.$``), `path` the path, `pointer` its object."""

    code = "template_field_not_found"

    def __init__(self, missing: PathNotFound, field: str, pointer: str, document: JSONValue) -> None:
        super().__init__(missing.path, missing.reason)
        self.field = field
        self.pointer = pointer
        self.message = f"The JSONPath '{missing.path}' specified for the field '{field}' could not be found in the input '{dumps(document)}'"
        self.args = (self.message,)


class Template:
    """A compiled template. A `constant` one gives the definition's own value every time."""

    __slots__ = ("_build", "_many", "constant", "value", "variables")

    def __init__(self, value: JSONValue, variables: frozenset[str], build: Build | None) -> None:
        self._many = build is not None and _references(value) > FEW_REFERENCES
        self.value = value
        self.variables = variables
        self.constant = build is None
        self._build = build

    def evaluate(self, environment: Environment) -> JSONValue:
        """The filled template: new containers down to the dynamic members, the rest shared.

        Raises TemplateFieldNotFound, ArgumentNotFound, IntrinsicError, BudgetExceeded, ResultTooLarge.
        """
        if self._build is None:
            return self.value
        value = self._build(environment)
        if self._many and weight(value) > environment.most_bytes:
            raise ResultTooLarge
        return value

    def __repr__(self) -> str:
        return f"Template({self.value!r})"


def compile_value(text: str) -> Path | Intrinsic:
    """Compile what a ``.$`` member holds: a path (``$...``) or an intrinsic call (``States...``).

    Raises ExpressionSyntaxError.
    """
    if text.startswith("$"):
        return compile_path(text)
    if text.startswith("States."):
        return compile_intrinsic(text)
    raise ExpressionSyntaxError(f"Neither a JSONPath nor an intrinsic function call: {text[:200]!r}.")


def compile_template(value: JSONValue, *, pointer: str = "") -> Template:
    """Compile a template; `pointer` is its place in the definition. Raises TemplateSyntaxError, BudgetExceeded (too deep)."""
    variables: set[str] = set()
    build = _compile(value, pointer, variables, 1)
    return Template(value, frozenset(variables), build)


def _compile(value: JSONValue, pointer: str, variables: set[str], level: int) -> Build | None:
    """The builder of `value`, None if it is constant."""
    if not isinstance(value, dict | list):
        return None
    if level > MAX_DEPTH:
        raise BudgetExceeded(f"The template nests deeper than {MAX_DEPTH}.")
    if isinstance(value, list):
        items = [(position, _compile(item, f"{pointer}/{position}", variables, level + 1)) for position, item in enumerate(value)]
        dynamic = [(position, build) for position, build in items if build is not None]
        return _builder(value, dynamic) if dynamic else None
    fields: list[tuple[str, Build]] = []
    plain: dict[str, JSONValue] = {}
    for key, item in value.items():
        name, build = key, _compile(item, f"{pointer}/{_escaped(key)}", variables, level + 1) if not key.endswith(SUFFIX) else None
        if key.endswith(SUFFIX):
            name = key.removesuffix(SUFFIX)
            build = _member(key, item, pointer, variables)
        plain[name] = item
        if build is not None:
            fields.append((name, build))
    return _builder(plain, fields) if fields else None


def _builder(plain: JSONValue, dynamic: list[tuple[str, Build]] | list[tuple[int, Build]]) -> Build:
    """Copy the container and put the dynamic parts in their places: order is kept."""
    parts = cast("list[tuple[str, Build]]", dynamic)

    def build(environment: Environment) -> JSONValue:
        result = plain.copy()
        for key, part in parts:
            result[key] = part(environment)
        return result

    return build


def _references(value: JSONValue) -> int:
    """How often the dynamic members may refer to the document: each does so with a dollar sign."""
    count, stack = 0, [("", value)]
    while stack:
        key, part = stack.pop()
        if isinstance(part, str):
            count += part.count("$") if key.endswith(SUFFIX) else 0
        elif isinstance(part, dict):
            stack.extend(part.items())
        elif isinstance(part, list):
            stack.extend(("", item) for item in part)
    return count


def _member(key: str, text: JSONValue, pointer: str, variables: set[str]) -> Build:
    """The builder of a ``key.$`` member."""
    if not isinstance(text, str):
        raise TemplateSyntaxError(key, pointer, "The value is not a string.")
    try:
        expression = compile_value(text)
    except ExpressionSyntaxError as error:
        raise TemplateSyntaxError(key, pointer, error.message) from None
    variables |= expression.variables
    evaluate = expression.evaluate

    def build(environment: Environment) -> JSONValue:
        try:
            return evaluate(environment)
        except ArgumentNotFound:
            raise
        except IndexOutOfRange:
            return None  # AWS: "$.items[5]" past the end is null here, and only here
        except PathNotFound as error:
            seen = environment.context if text.startswith("$$") else environment.document
            raise TemplateFieldNotFound(error, key, pointer, seen) from None

    return build


def _escaped(key: str) -> str:
    """`key` as a JSON pointer token (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
