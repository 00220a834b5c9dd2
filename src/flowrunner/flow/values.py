"""Parameters that the machine itself needs: constants, ``${ path }`` expressions it can follow, others that a task has computed.

``${ input.order.items }`` names a value by its path; that needs no script. Any other expression is JavaScript, and a task evaluates it before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from flowrunner.errors import ExpressionError, ExpressionSyntaxError
from flowrunner.flow.templates import RESULTS, SHARED, accumulated, execution_of, states_of
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.lang.embedded import Embedded, expressions_of, has_expression, parts_of
from flowrunner.lang.environment import Environment

COMPUTED = "computed.params"  # the variable of a node's own branch that holds the parameters a task has computed
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_STEP = rf"\.{_NAME}|\[[0-9]{{1,9}}\]|\[\"[^\"\\]*\"\]|\['[^'\\]*'\]"
_PATH = re.compile(rf"\s*(?P<root>input|results|shared|variables|execution)(?P<steps>(?:{_STEP})*)\s*", re.ASCII)
_STEPS = re.compile(rf"\.(?P<name>{_NAME})|\[(?P<index>[0-9]+)\]|\[[\"'](?P<key>[^\"']*)[\"']\]", re.ASCII)


def is_open(value: JSONValue) -> bool:
    """Whether there is an expression in the value, or what the task that fills expressions in has to look at."""
    return next(expressions_of(value), None) is not None


def is_followed(value: JSONValue) -> bool:
    """Whether every expression in the value is a path, and all of its text."""
    return all(_path_in(text) is not None and not _is_name(place) for place, text in expressions_of(value))


def _is_name(place: tuple[str | int, ...]) -> bool:
    """Whether the place is that of a member's name with an expression in it."""
    return bool(place) and isinstance(place[-1], str) and has_expression(place[-1])


def _path_in(text: str) -> re.Match[str] | None:
    """The path that is all of a text. ``length`` is none: of a list or a text JavaScript counts it."""
    try:
        [part] = parts_of(text)
    except (ExpressionSyntaxError, ValueError):
        return None
    found = _PATH.fullmatch(part.source) if isinstance(part, Embedded) else None
    return None if found is None or any("length" in (step["name"], step["key"]) for step in _STEPS.finditer(found["steps"])) else found


@dataclass(frozen=True, slots=True)
class Followed:
    """A value whose expressions are paths."""

    value: JSONValue

    def evaluate(self, environment: Environment) -> JSONValue:
        """The value with the value of each path; raises ExpressionError for one that leads nowhere, with the parameter that holds it."""
        if not isinstance(self.value, dict):
            return _followed(self.value, environment)
        filled: JSONObject = {}
        for name, part in self.value.items():
            try:
                filled[name] = _followed(part, environment)
            except ExpressionError as error:
                raise ExpressionError(f"'{name}': {error.message}") from None
        return filled


@dataclass(frozen=True, slots=True)
class Computed:
    """What a task has made of the parameters."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """The parameters."""
        return environment.variables.get(COMPUTED, {})


@dataclass(frozen=True, slots=True)
class Keep:
    """Keeps what a task has made of the parameters."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """The variable and its value."""
        result = states_of(environment).get("result")
        output = result.get("output") if isinstance(result, dict) else None
        if not isinstance(output, dict):
            raise ExpressionError("The parameters could not be computed: the task gave no object.")
        return {COMPUTED: output}


@dataclass(frozen=True, slots=True)
class KeepFollowed:
    """Keeps the parameters as they are now."""

    followed: Followed

    def evaluate(self, environment: Environment) -> JSONValue:
        """The variable and its value; raises ExpressionError as they do."""
        return {COMPUTED: self.followed.evaluate(environment)}


def _followed(value: JSONValue, environment: Environment, *, within: bool = False) -> JSONValue:
    """The value of each path. `within` a parameter what is not there is null; a parameter itself must be there, for the machine needs it."""
    if isinstance(value, dict):
        return {name: _followed(part, environment, within=True) for name, part in value.items()}
    if isinstance(value, list):
        return [_followed(part, environment, within=True) for part in value]
    found = _path_in(value) if isinstance(value, str) and has_expression(value) else None
    if found is None:
        return value
    current, steps = _root(found["root"], environment), list(_STEPS.finditer(found["steps"]))
    for step in steps:
        key: str | int = int(step["index"]) if step["index"] is not None else step["name"] or step["key"] or ""
        try:
            current = current[key]
        except (KeyError, IndexError, TypeError):
            if within and step is steps[-1] and current is not None:
                return None  # as JavaScript, which would say the same beside an expression that is no path
            raise ExpressionError(f"{value.strip()} leads to nothing: there is no {key!r}.") from None
    return current


def _root(name: str, environment: Environment) -> JSONValue:
    states, known = states_of(environment), environment.variables
    if name == "input":
        return accumulated(states["input"])
    if name == "execution":
        return execution_of(environment)
    if name == SHARED:
        return known.get(SHARED, {})
    roots: dict[str, JSONObject] = {
        "results": {name.removeprefix(RESULTS): value for name, value in known.items() if name.startswith(RESULTS)},
        "variables": {name: value for name, value in known.items() if "." not in name and name != SHARED},
    }
    return roots[name]
