"""The tree of an expression, and how each part of it is evaluated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from flowrunner.errors import BudgetExceeded, ExpressionError
from flowrunner.jsonvalue import JSONValue
from flowrunner.lang.braces.values import Unresolved, added, calculated, is_empty, is_true, less, loosely_equal, strictly_equal, text_of
from flowrunner.lang.environment import Environment
from flowrunner.lang.moment import format_timestamp

CHARACTERS_PER_STEP = 100
STEP_VARIABLE = "nodes."  # the variable nodes.ID is what step ID left behind


class Node(ABC):
    """A part of an expression."""

    __slots__ = ()

    @abstractmethod
    def value(self, environment: Environment) -> JSONValue:
        """Its value; raises Unresolved and ExpressionError."""


def pay(environment: Environment, steps: int = 1) -> None:
    """Take the cost off what the state may spend."""
    environment.meter.take(steps)
    if environment.meter.left < 0:
        raise BudgetExceeded("The expressions of the step cost more than one step may spend.")


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A value as it is written."""

    is_: JSONValue

    def value(self, environment: Environment) -> JSONValue:
        """The value."""
        del environment
        return self.is_


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A variable, else the output of the step with that id. ``nodes`` is all steps, ``$loopIndex`` and its like are variables of the loop.

    ``input`` is what the execution was given.
    """

    name: str

    def value(self, environment: Environment) -> JSONValue:
        """The variable's value."""
        pay(environment)
        known = environment.variables
        name = self.name.removeprefix("$")
        if name in known:
            return known[name]
        if name == "nodes":
            return {key.removeprefix(STEP_VARIABLE): value for key, value in known.items() if key.startswith(STEP_VARIABLE)}
        kept = known.get(f"{STEP_VARIABLE}{name}")
        if isinstance(kept, dict) and "output" in kept:  # the output of a step by the step's id alone
            return kept["output"]
        states = environment.states
        if name == "input" and isinstance(environment.context, dict):
            return environment.context["Execution"]["Input"]
        if name in ("input", "result") and isinstance(states, dict) and name in states:
            return states[name]
        raise Unresolved(self.name)


@dataclass(frozen=True, slots=True)
class Previous(Node):
    """``$prev``: what the step before has given; leads nowhere in a step that waits for none."""

    step: str | None

    def value(self, environment: Environment) -> JSONValue:
        """The output of that step."""
        pay(environment)
        kept = environment.variables.get(f"{STEP_VARIABLE}{self.step}")
        if not isinstance(kept, dict) or "output" not in kept:
            raise Unresolved("$prev")
        return kept["output"]


@dataclass(frozen=True, slots=True)
class Member(Node):
    """A member of an object, an item of a list by its number, or the length of a list or text."""

    of: Node
    name: str

    def value(self, environment: Environment) -> JSONValue:
        """The member."""
        pay(environment)
        if isinstance(self.of, Name) and self.of.name == "nodes":  # most of all: without an object of all steps
            kept = environment.variables.get(f"{STEP_VARIABLE}{self.name}")
            if kept is None:
                raise Unresolved(self.name)
            return kept
        return reached(self.of.value(environment), self.name)


@dataclass(frozen=True, slots=True)
class Index(Node):
    """``list[0]``, ``list[-1]``, ``object["name"]``."""

    of: Node
    at: Node

    def value(self, environment: Environment) -> JSONValue:
        """The item."""
        pay(environment)
        at = self.at.value(environment)
        if isinstance(at, float) and at.is_integer():
            at = int(at)
        if isinstance(at, bool) or not isinstance(at, (int, str)):
            raise Unresolved(text_of(at))
        return reached(self.of.value(environment), at)


def reached(value: JSONValue, name: str | int) -> JSONValue:
    """What `name` names in a value; raises Unresolved."""
    if isinstance(value, dict):
        if str(name) in value:
            return value[str(name)]
    elif isinstance(value, (list, str)):
        if name == "length":
            return len(value)
        if isinstance(name, str) and name.isascii() and name.isdigit() and len(name) < 10:
            name = int(name)
        if isinstance(name, int) and -len(value) <= name < len(value):
            return value[name]
    raise Unresolved(str(name))


@dataclass(frozen=True, slots=True)
class Not(Node):
    """``!``."""

    of: Node

    def value(self, environment: Environment) -> JSONValue:
        """The opposite; what leads nowhere is not true."""
        pay(environment)
        return not is_true(known_or_null(self.of, environment))


@dataclass(frozen=True, slots=True)
class Negative(Node):
    """A minus sign."""

    of: Node

    def value(self, environment: Environment) -> JSONValue:
        """The negative number."""
        pay(environment)
        return calculated("-", 0, self.of.value(environment))


@dataclass(frozen=True, slots=True)
class And(Node):
    """``&&``: the first value that is not true, else the last."""

    left: Node
    right: Node

    def value(self, environment: Environment) -> JSONValue:
        """One of the two values."""
        pay(environment)
        left = known_or_null(self.left, environment)
        return known_or_null(self.right, environment) if is_true(left) else left


@dataclass(frozen=True, slots=True)
class Or(Node):
    """``||``: the first value that is true, else the last."""

    left: Node
    right: Node

    def value(self, environment: Environment) -> JSONValue:
        """One of the two values."""
        pay(environment)
        left = known_or_null(self.left, environment)
        return left if is_true(left) else known_or_null(self.right, environment)


_COMPARED: dict[str, Callable[[JSONValue, JSONValue], bool]] = {
    "==": loosely_equal,
    "===": strictly_equal,
    "!=": lambda left, right: not loosely_equal(left, right),
    "!==": lambda left, right: not strictly_equal(left, right),
    "<": less,
    ">": lambda left, right: less(right, left),
    "<=": lambda left, right: less(left, right) or loosely_equal(left, right),
    ">=": lambda left, right: less(right, left) or loosely_equal(left, right),
}


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """Comparisons and arithmetic. In a comparison, what leads nowhere is null."""

    operator: str
    left: Node
    right: Node

    def value(self, environment: Environment) -> JSONValue:
        """The result."""
        pay(environment)
        compare = _COMPARED.get(self.operator)
        if compare is not None:
            left, right = known_or_null(self.left, environment), known_or_null(self.right, environment)
            return compare(left, right)
        one, other = self.left.value(environment), self.right.value(environment)
        if self.operator != "+":
            return calculated(self.operator, one, other)
        result = added(one, other)
        if isinstance(result, str):
            pay(environment, len(result) // CHARACTERS_PER_STEP)
        return result


def known_or_null(node: Node, environment: Environment) -> JSONValue:
    """The value, null for what leads nowhere."""
    try:
        return node.value(environment)
    except Unresolved:
        return None


@dataclass(frozen=True, slots=True)
class Function:
    """A function: how many values it takes, at least and at most, and what it gives."""

    takes: tuple[int, int]
    call: Callable[[Environment, list[JSONValue]], JSONValue]


def _length(_: Environment, given: list[JSONValue]) -> JSONValue:
    [value] = given
    if isinstance(value, (str, list, dict)):
        return len(value)
    raise ExpressionError("$length needs a text, a list or an object.")


CALLS: dict[str, Function] = {
    "$now": Function((0, 0), lambda environment, _: format_timestamp(environment.now)),
    "$timestamp": Function((0, 0), lambda environment, _: environment.now),
    "$uuid": Function((0, 0), lambda environment, _: environment.entropy.uuid()),
    "$isEmpty": Function((1, 1), lambda _, given: is_empty(given[0])),
    "$isNotEmpty": Function((1, 1), lambda _, given: not is_empty(given[0])),
    "$length": Function((1, 1), _length),
}


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function of the language."""

    name: str
    given: tuple[Node, ...]

    def value(self, environment: Environment) -> JSONValue:
        """What the function gives; a value that leads nowhere is null for it."""
        pay(environment)
        return CALLS[self.name].call(environment, [known_or_null(node, environment) for node in self.given])
