"""What an expression may see while it is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from flowrunner.entropy import Entropy
from flowrunner.jsonvalue import JSONValue

_EMPTY: Mapping[str, JSONValue] = {}


MOST_BYTES = 64 * 1024 * 1024  # of JSON text that a template may stand for
STEPS_PER_STATE = 250_000  # of all expressions that one state evaluates; 0.5 to 2 µs each: hostile ones end in about half a second (measured)


class Meter:
    """How much evaluating has cost, in the expression languages' own steps: a count, so replay comes to the same.

    `left` is what the state at hand may still spend, `spent` what the machine's step has spent so far.
    """

    __slots__ = ("left", "spent")

    def __init__(self) -> None:
        self.left = STEPS_PER_STATE
        self.spent = 0

    def refill(self) -> None:
        """Another state: it has the whole budget."""
        self.left = STEPS_PER_STATE

    def take(self, steps: int) -> None:
        """An expression has cost this much."""
        self.left -= steps
        self.spent += steps


@dataclass(slots=True, kw_only=True)
class Environment:
    """The names an expression can reach; nothing else exists for it.

    `document` is what ``$`` names in JSONPath, `context` what ``$$`` names, `variables` what ``$name`` names in both
    languages, `states` the value of JSONata's ``$states``. `execution` is the id that the execution has in the store and over REST.
    `now` is milliseconds since 1970 UTC. A template whose value would have more than `most_bytes` of JSON text is refused before
    anything writes it out. A state gives at most `payload_bytes` on (0: no limit).
    """

    document: JSONValue = None
    context: JSONValue = None
    variables: Mapping[str, JSONValue] = field(default_factory=lambda: _EMPTY)
    states: JSONValue = None
    execution: str = ""
    entropy: Entropy = field(default_factory=lambda: Entropy(bytes(16)))
    now: int = 0
    meter: Meter = field(default_factory=Meter)
    most_bytes: int = MOST_BYTES
    payload_bytes: int = 0


class Expression(Protocol):
    """Compiled once per definition revision, evaluated many times."""

    text: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """The value in this environment; raises ExpressionError and nothing else."""
        ...
