"""Function signatures: ``<s-nn?:s>`` compiled to a check that also supplies the context value and wraps single values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from flowrunner.lang.jsonata.messages import failure
from flowrunner.lang.jsonata.values import UNDEFINED, Array, Function, Run, Wrapper

_PLURALS = {"a": "arrays", "b": "booleans", "f": "functions", "n": "numbers", "o": "objects", "s": "strings"}
_CACHED_CALLS = 64  # shapes of arguments remembered per signature


@dataclass(slots=True)
class Parameter:
    """One parameter: the letters it takes, as a regular expression over the letters of the arguments."""

    kind: str
    pattern: str
    context: str = ""  # the pattern the context value must match to stand in; "" when it may not
    subtype: str = ""


class Signature:
    """A compiled signature."""

    __slots__ = ("_pattern", "_seen", "least", "parameters")

    def __init__(self, signature: str | list[Parameter]) -> None:
        self.parameters = _parse(signature) if isinstance(signature, str) else signature
        self.least = sum("?" not in parameter.pattern for parameter in self.parameters)
        self._pattern = re.compile("".join(f"({parameter.pattern})" for parameter in self.parameters))
        self._seen: dict[str, tuple[str, ...] | None] = {}

    def arguments(self, arguments: list[Any], focus: Any, name: str, run: Run) -> list[Any]:
        """The arguments to call with; raises T0410, T0411 or T0412."""
        shape = "".join([letter(argument) for argument in arguments])
        groups = self._seen.get(shape, ())
        if groups == ():
            match = self._pattern.fullmatch(shape)
            groups = match.groups() if match else None
            if len(self._seen) < _CACHED_CALLS:
                self._seen[shape] = groups
        if groups is None:
            raise self._mismatch(shape, name)
        made: list[Any] = []
        index = 0
        for parameter, letters in zip(self.parameters, groups, strict=True):
            if not letters:
                if parameter.context:
                    value = focus[0] if type(focus) is Wrapper else focus
                    if not re.fullmatch(parameter.context, letter(value)):
                        raise failure("T0411", index=index + 1, token=name)
                    made.append(value)
                else:
                    made.append(arguments[index] if index < len(arguments) else UNDEFINED)
                    index += 1
                continue
            for single in letters:
                argument = arguments[index]
                if single == "n" and parameter.kind == "n" and argument - argument != 0:
                    raise failure("D1001", value=str(argument))
                if parameter.kind == "a" and single != "m":
                    argument = _array(argument, parameter, letters, single, index, name, run)
                made.append(argument)
                index += 1
        return made

    def _mismatch(self, shape: str, name: str) -> Exception:
        good, pattern = 0, ""
        for parameter in self.parameters:
            pattern += parameter.pattern
            match = re.match(pattern, shape)
            if match is None:
                break
            good = match.end()
        return failure("T0410", index=good + 1, token=name)


def _array(argument: Any, parameter: Parameter, letters: str, single: str, index: int, name: str, run: Run) -> Any:
    """The argument of an array parameter: checked, and wrapped when it is not an array."""
    if parameter.subtype:
        if single != "a":
            right = letters == parameter.subtype
        elif argument:
            run.spend(len(argument))
            first = parameter.subtype[0]
            right = all(letter(item) == first for item in argument)
        else:
            right = True
        if not right:
            raise failure("T0412", index=index + 1, token=name, type=_PLURALS.get(parameter.subtype, parameter.subtype))
    return argument if single == "a" else Array([argument])


def letter(value: Any) -> str:
    """The type of a value in the language of signatures."""
    kind = type(value)
    if kind is str:
        return "s"
    if kind is bool:
        return "b"
    if kind is int or kind is float:
        return "n"
    if isinstance(value, list):
        return "a"
    if isinstance(value, dict):
        return "o"
    if value is None:
        return "l"
    return "f" if isinstance(value, Function) else "m"


def _parse(text: str) -> list[Parameter]:
    parameters: list[Parameter] = []
    position = 1
    while position < len(text):
        symbol = text[position]
        if symbol == ":":  # the type of the result is not checked
            break
        if symbol in "snblo":
            parameters.append(Parameter(symbol, f"[{symbol}m]"))
        elif symbol in "ax":
            parameters.append(Parameter(symbol, "[asnblfom]"))
        elif symbol == "f":
            parameters.append(Parameter(symbol, "f"))
        elif symbol == "j":
            parameters.append(Parameter(symbol, "[asnblom]"))
        elif symbol == "-" and parameters:
            parameters[-1].context = parameters[-1].pattern
            parameters[-1].pattern += "?"
        elif symbol in "?+" and parameters:
            parameters[-1].pattern += symbol
        elif symbol == "(":
            end = _closing(text, position, "(", ")")
            choice = text[position + 1 : end]
            if "<" in choice:
                raise failure("S0402", value=choice)
            parameters.append(Parameter(f"({choice})", f"[{re.escape(choice)}m]"))
            position = end
        elif symbol == "<":
            if not parameters or parameters[-1].kind not in "af":
                raise failure("S0401", value=parameters[-1].kind if parameters else "")
            end = _closing(text, position, "<", ">")
            parameters[-1].subtype = text[position + 1 : end]
            position = end
        position += 1
    return parameters


def _closing(text: str, start: int, opening: str, closing: str) -> int:
    depth = 0
    for position in range(start, len(text)):
        if text[position] == opening:
            depth += 1
        elif text[position] == closing:
            depth -= 1
            if depth == 0:
                return position
    return len(text)
