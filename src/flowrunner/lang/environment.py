"""What an expression may see while it is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from flowrunner.entropy import Entropy
from flowrunner.jsonvalue import JSONValue

_EMPTY: Mapping[str, JSONValue] = {}


@dataclass(slots=True, kw_only=True)
class Environment:
    """The names an expression can reach; nothing else exists for it.

    `document` is what ``$`` names in JSONPath, `context` what ``$$`` names, `variables` what ``$name`` names in both
    languages, `states` the value of JSONata's ``$states``. `now` is milliseconds since 1970 UTC.
    """

    document: JSONValue = None
    context: JSONValue = None
    variables: Mapping[str, JSONValue] = field(default_factory=lambda: _EMPTY)
    states: JSONValue = None
    entropy: Entropy = field(default_factory=lambda: Entropy(bytes(16)))
    now: int = 0


class Expression(Protocol):
    """Compiled once per definition revision, evaluated many times."""

    text: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """The value in this environment; raises ExpressionError and nothing else."""
        ...
