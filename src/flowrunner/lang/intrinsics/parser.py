r"""Intrinsic calls: from ``States.Format('{}', $.name)`` to something that evaluates.

Arguments are strings in single quotes, JSON numbers, ``true``, ``false``, ``null``, paths and further calls. In strings
``\'``, ``\{``, ``\}`` and ``\\`` are the only escapes: AWS refuses others when the state machine is created.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from flowrunner.errors import BudgetExceeded, ExpressionSyntaxError, IntrinsicError, PathNotFound
from flowrunner.jsonvalue import JSONValue, dumps
from flowrunner.lang.environment import STEPS_PER_STATE, Environment
from flowrunner.lang.intrinsics.functions import FUNCTIONS, MANY, Function
from flowrunner.lang.jsonpath import compile_path

MAX_NESTING = 10  # calls within calls (AWS: "up to 10 intrinsic functions")
MAX_LENGTH = 65_536  # characters of one call; ours

Evaluate = Callable[[Environment], JSONValue]

_NAME = re.compile(r"States\.[A-Za-z0-9]+(?=\()")
_STRING = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SCALAR = re.compile(r"-?(?:0|[1-9]\d{0,308})(?:\.\d{1,308})?(?:[eE][+-]?\d{1,3})?(?=[\s,)])|(?:true|false|null)(?=[\s,)])", re.ASCII)
_SPACE = re.compile(r"\s*")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_CONSTANTS: dict[str, JSONValue] = {"true": True, "false": False, "null": None}


class ArgumentNotFound(PathNotFound):
    """A path among the arguments of an intrinsic call names nothing (AWS: ``States.Runtime``)."""

    code = "argument_not_found"

    def __init__(self, function: str, missing: PathNotFound, document: JSONValue) -> None:
        super().__init__(missing.path, missing.reason)
        self.function = function
        path = missing.path.removeprefix("$") if missing.path.startswith("$$") else missing.path  # AWS names it so
        self.message = (
            f"The function '{function}' had the following error: The JsonPath argument for the field '{path}' "
            f"could not be found in the input '{dumps(document)}'"
        )
        self.args = (self.message,)


class Intrinsic:
    """A compiled intrinsic call."""

    __slots__ = ("_evaluate", "text", "variables")

    def __init__(self, text: str, variables: frozenset[str], evaluate: Evaluate) -> None:
        self.text = text
        self.variables = variables
        self._evaluate = evaluate

    def evaluate(self, environment: Environment) -> JSONValue:
        """The result of the call.

        Raises IntrinsicError (``States.IntrinsicFailure``), ArgumentNotFound for a path that names nothing, BudgetExceeded;
        the messages name the whole call, as AWS's do.
        """
        try:
            return self._evaluate(environment)
        except IntrinsicError as error:
            raise IntrinsicError(f"The function '{self.text}' had the following error: {error.message}") from None
        except PathNotFound as error:
            raise ArgumentNotFound(self.text, error, environment.document) from None

    def __repr__(self) -> str:
        return f"Intrinsic({self.text!r})"


def compile_intrinsic(text: str) -> Intrinsic:
    """Compile a call. Raises ExpressionSyntaxError: bad syntax, no such function, wrong number of arguments, too deep."""
    if len(text) > MAX_LENGTH:
        raise ExpressionSyntaxError(f"The intrinsic function call is longer than {MAX_LENGTH} characters.")
    parser = _Parser(text)
    evaluate = parser.call(1)
    if parser.at != len(text):
        raise parser.wrong("nothing may follow the call")
    return Intrinsic(text, frozenset(parser.variables), evaluate)


class _Parser:
    """One pass over the text; `at` is the position."""

    __slots__ = ("arguments", "at", "text", "variables")

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.arguments = 0
        self.variables: set[str] = set()

    def wrong(self, what: str) -> ExpressionSyntaxError:
        return ExpressionSyntaxError(f"Invalid intrinsic function call {self.text[:200]!r}: {what} at character {self.at + 1}.")

    def call(self, level: int) -> Evaluate:
        """``States.Name(argument, ...)``."""
        match = _NAME.match(self.text, self.at)
        if match is None:
            raise self.wrong("expected 'States.' and the name of a function")
        name = match[0]
        if name not in FUNCTIONS:
            raise self.wrong(f"there is no function {name}")
        if level > MAX_NESTING:
            raise self.wrong(f"calls nest deeper than {MAX_NESTING}")
        self.at = match.end() + 1
        arguments: list[Evaluate] = []
        self.space()
        if not self.take(")"):
            while True:
                arguments.append(self.argument(level, raw=name == "States.Format" and not arguments))
                self.space()
                if self.take(")"):
                    break
                if not self.take(","):
                    raise self.wrong("expected ',' or ')'")
                self.space()
        function = FUNCTIONS[name]
        if not function.least <= len(arguments) <= function.most:
            raise self.wrong(f"{name} takes {_count(function.least, function.most)}, not {len(arguments)}")
        return lambda environment: _called(function, [argument(environment) for argument in arguments], environment)

    def argument(self, level: int, *, raw: bool) -> Evaluate:
        """One argument; a `raw` string keeps its escapes (the template of States.Format, which has its own use for them)."""
        self.arguments += 1
        if self.arguments > MANY:
            raise self.wrong(f"more than {MANY} arguments")
        if self.text.startswith("$", self.at):
            path = compile_path(self.path())
            self.variables |= path.variables
            return path.evaluate
        if self.text.startswith("States.", self.at):
            return self.call(level + 1)
        value: JSONValue
        if self.text.startswith("'", self.at):
            value = self.string(raw=raw)
        elif (match := _SCALAR.match(self.text, self.at)) is not None:
            self.at = match.end()
            value = self.scalar(match[0])
        else:
            raise self.wrong("expected a string in single quotes, a number, true, false, null, a path or a call")
        return lambda _: value

    def string(self, *, raw: bool) -> str:
        match = _STRING.match(self.text, self.at)
        if match is None:
            raise self.wrong("unclosed string")
        inner: str = match[1]
        for escape in _ESCAPE.finditer(inner):
            if escape[1] not in "'{}\\":
                raise self.wrong(f"illegal escape {escape[0]!r} in a string")
        self.at = match.end()
        return inner if raw else _ESCAPE.sub(r"\1", inner)

    def scalar(self, text: str) -> JSONValue:
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if text.lstrip("-").isdigit():
            return int(text)
        number = float(text)
        if number in {float("inf"), float("-inf")}:
            raise self.wrong("number out of range")
        return number

    def path(self) -> str:
        """The text of a path: up to a comma, space or closing parenthesis that is not inside brackets or quotes."""
        start, level = self.at, 0
        while self.at < len(self.text):
            character = self.text[self.at]
            if character in "'\"" and level:
                match = _QUOTED.match(self.text, self.at)
                if match is None:
                    raise self.wrong("unclosed string in a path")
                self.at = match.end()
                continue
            if character in "[(":
                level += 1
            elif character in "])":
                if level == 0:
                    break
                level -= 1
            elif level == 0 and (character == "," or character.isspace()):
                break
            self.at += 1
        return self.text[start : self.at]

    def space(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def take(self, character: str) -> bool:
        if not self.text.startswith(character, self.at):
            return False
        self.at += 1
        return True


def _called(function: Function, arguments: list[JSONValue], environment: Environment) -> JSONValue:
    """The result of a function. It is paid for before the call, for one call alone may take minutes; then the result is."""
    _pay(environment, function.price(arguments))
    result = function.call(arguments, environment.entropy)
    _pay(environment, function.price_of(result))
    return result


def _pay(environment: Environment, steps: int) -> None:
    environment.meter.take(steps)
    if environment.meter.left < 0:
        raise BudgetExceeded(f"The functions of the state took more than {STEPS_PER_STATE} steps.")


def _count(least: int, most: int) -> str:
    if most == MANY:
        return f"at least {least} argument{'s' * (least != 1)}"
    return f"{least} argument{'s' * (least != 1)}" if least == most else f"{least} to {most} arguments"
