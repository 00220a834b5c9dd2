"""What a step is given: its inputs, which its expressions see as variables, and data mappers, which put parts of outputs into its config (row 26)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flowrunner.core.program import Template
from flowrunner.errors import ExpressionError
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.lang.braces.nodes import STEP_VARIABLE
from flowrunner.lang.braces.values import number_of
from flowrunner.lang.environment import Environment
from flowrunner.reading.wording import shown
from flowrunner.workflow.paths import ABSENT, Path, look


@dataclass(frozen=True, slots=True)
class Mapper:
    """Puts a part of another step's output into a parameter."""

    source: str
    path: Path
    target: Path
    transform: str | None

    def found(self, environment: Environment) -> JSONValue:
        """The value, ABSENT where there is nothing at the path; raises ExpressionError for what the transform cannot read."""
        value = look(environment.variables.get(f"{STEP_VARIABLE}{self.source}"), self.path)
        return value if value is ABSENT or self.transform is None else TRANSFORMS[self.transform](value)


def _text(change: Callable[[str], str]) -> Callable[[JSONValue], JSONValue]:
    """A transform of texts; whatever is none stays as it is."""
    return lambda value: change(value) if isinstance(value, str) else value


def _number(value: JSONValue, *, whole: bool) -> JSONValue:
    number = number_of(value)
    if number is None:
        raise ExpressionError(f"A data mapper cannot read a number from {shown(value)}.")
    return int(number) if whole else float(number)


TRANSFORMS: Mapping[str, Callable[[JSONValue], JSONValue]] = {
    "uppercase": _text(str.upper),
    "lowercase": _text(str.lower),
    "trim": _text(str.strip),
    "parseInt": lambda value: _number(value, whole=True),
    "parseFloat": lambda value: _number(value, whole=False),
}


def put(holder: JSONValue, target: Path, value: JSONValue) -> JSONValue:
    """`holder` with the value at the target, as a copy; objects on the way are made, items of lists are there already."""
    name, rest = target[0], target[1:]
    changed: Any
    if isinstance(name, int):
        if not isinstance(holder, list) or not -len(holder) <= name < len(holder):
            raise ExpressionError(
                f"A data mapper sets item {name} of a list, but there {'are ' + str(len(holder)) if isinstance(holder, list) else 'is no list'}."
            )
        changed, inner = list(holder), holder[name]
    else:
        changed = dict(holder) if isinstance(holder, dict) else {}
        inner = changed.get(name)
    changed[name] = put(inner, rest, value) if rest else value
    return changed


@dataclass(frozen=True, slots=True)
class Given:
    """The inputs of a step and its data mappers. `alone`: the step has no config, so the inputs are it."""

    inputs: Template
    mappers: tuple[Mapper, ...] = ()
    alone: bool = False

    def filled(self, config: Template, environment: Environment, *, default: str | None = None) -> tuple[JSONObject, JSONObject]:
        """The config with all expressions filled in and the mapped values at their places; the inputs with these, by name.

        The member `default` of the config is the inputs where the config has none of that name.
        """
        inputs: JSONObject = dict(self.inputs.evaluate(environment))
        mapped = [(mapper.target, value) for mapper in self.mappers if (value := mapper.found(environment)) is not ABSENT]
        given = {**inputs, **{target[-1]: value for target, value in mapped if isinstance(target[-1], str)}}
        params: JSONObject = inputs if self.alone else seeing(given, config, environment)
        if default is not None and not self.alone:
            params = {default: inputs, **params}
        for target, value in mapped:
            params = put(params, target, value)
        return params, given


def seeing(given: JSONObject, template: Template, environment: Environment) -> JSONValue:
    """What a template gives when these values are variables, too."""
    known = environment.variables
    environment.variables = {**known, **given}
    try:
        return template.evaluate(environment)
    finally:
        environment.variables = known


@dataclass(frozen=True, slots=True)
class Seeing:
    """A member of a step that sees the step's inputs as variables; `text` is that of the member."""

    inputs: Template
    inner: Template

    @property
    def text(self) -> str:
        """As written."""
        return str(getattr(self.inner, "text", ""))

    def evaluate(self, environment: Environment) -> JSONValue:
        """The value of the member."""
        return seeing(self.inputs.evaluate(environment), self.inner, environment)


@dataclass(frozen=True, slots=True)
class Asked:
    """The config of a step that starts a run. Without ``variables`` in it, the inputs are the variables."""

    config: Template
    given: Given

    def evaluate(self, environment: Environment) -> JSONValue:
        """The config."""
        return self.given.filled(self.config, environment, default="variables")[0]
