"""AWS's dynamic references in the texts of a definition: ``{{resolve:secretsmanager:NAME:SecretString:FIELD}}``.

Only what stands in the definition is a reference. The places are found when the definition is compiled; a text that comes with data and
looks like one stays text. Syntax: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references-secretsmanager.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flowrunner.jsonvalue import JSONValue
from flowrunner.lang.jsonata.template import is_expression

OPENING = "{{resolve:"
# Of the two parts after the field (version stage and id) only the current stage can be meant.
_REFERENCE = re.compile(
    r"\{\{resolve:secretsmanager:(?P<name>(?:(?!:SecretString\b)[^{}])+)(?::SecretString(?::(?P<path>[^{}:]*)(?::(?:AWSCURRENT)?:?)?)?)?\}\}"
)

Place = tuple[str | int, ...]
SecretPlace = tuple[Place, str]  # where in the parameters, and the text that stands there


@dataclass(frozen=True, slots=True)
class SecretReference:
    """A secret by name, and a field of it (names with dots between); None for the whole value."""

    name: str
    path: str | None = None


def references_in(text: str) -> list[SecretReference]:
    """The references in a text, in order."""
    return [_reference(match) for match in _REFERENCE.finditer(text)]


def whole_reference(text: str) -> SecretReference | None:
    """The reference that is all of the text."""
    match = _REFERENCE.fullmatch(text)
    return None if match is None else _reference(match)


def filled(text: str, value: Callable[[SecretReference], str]) -> str:
    """The text with a value in place of every reference, in one pass: what a value holds is not looked at again."""
    return _REFERENCE.sub(lambda match: value(_reference(match)), text)


def is_whole(text: str) -> bool:
    """Whether every opening of a dynamic reference in the text begins one that can be resolved."""
    return text.count(OPENING) == len(references_in(text))


def secret_places(value: JSONValue) -> tuple[SecretPlace, ...]:
    """The places of a template's literal texts that hold references: members named ``key.$`` and JSONata expressions hold none."""
    return tuple((place, text) for place, text, literal in texts_of(value) if literal and references_in(text))


def texts_of(value: JSONValue) -> Iterator[tuple[Place, str, bool]]:
    """Every text of a template that opens a dynamic reference: its place, the text, whether it is literal."""
    stack: list[tuple[Place, JSONValue, bool]] = [((), value, True)]
    while stack:
        place, part, literal = stack.pop()
        if isinstance(part, str):
            if OPENING in part:
                yield place, part, literal and not is_expression(part)
        elif isinstance(part, dict):
            stack.extend(((*place, key), child, literal and not key.endswith(".$")) for key, child in reversed(part.items()))
        elif isinstance(part, list):
            stack.extend(((*place, index), part[index], literal) for index in range(len(part) - 1, -1, -1))


def _reference(match: re.Match[str]) -> SecretReference:
    return SecretReference(match["name"], match["path"] or None)
