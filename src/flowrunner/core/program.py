"""The compiled form of every definition: frozen data that the machine walks.

Front ends (``asl``, later YAML flows and step workflows) build it once per definition revision; everything an
expression language needs is compiled into it, so running costs no parsing. Field names are those of the Amazon States
Language (https://states-language.net/), in snake case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from flowrunner.jsonvalue import JSONValue
from flowrunner.lang.dynamic import SecretPlace
from flowrunner.lang.environment import Environment
from flowrunner.lang.jsonpath import Path

Language = Literal["JSONPath", "JSONata"]
Kind = Literal["Pass", "Task", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map"]


class Template(Protocol):
    """A JSON value with expressions in it, compiled: a payload template, an intrinsic, a path or JSONata."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """The filled-in value; raises ExpressionError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field's value and the name that failures call it by.

    `name` is the field as written ("SecondsPath", "TimeoutSeconds", "Items"). Exactly one of `constant` and
    `template` counts: the template when there is one.
    """

    name: str
    constant: JSONValue = None
    template: Template | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrier:
    """When and how often to try a failed state again.

    Intervals are seconds. `max_attempts` counts retries after the first attempt; `full_jitter` is JitterStrategy FULL.
    """

    error_equals: tuple[str, ...]
    interval_seconds: float = 1.0
    max_attempts: int = 3
    backoff_rate: float = 2.0
    max_delay_seconds: float | None = None
    full_jitter: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Catcher:
    """Where to go on when a state has failed for good; `result_path` None discards the error (JSONPath)."""

    error_equals: tuple[str, ...]
    next: str
    result_path: Path | None = None
    keeps_input: bool = False
    output: Template | None = None
    assign: Template | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One choice: `test` (JSONPath, see core/choice.py) or `condition` (JSONata) decides."""

    next: str
    test: Test | None = None
    condition: Template | None = None
    output: Template | None = None
    assign: Template | None = None


@dataclass(frozen=True, slots=True)
class All:
    """``And``: every test holds."""

    tests: tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """``Or``: at least one test holds."""

    tests: tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class Negated:
    """``Not``."""

    test: Test


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`variable` `operator` `operand`; for the ``...Path`` operators the operand is a path."""

    variable: Path
    operator: str
    operand: JSONValue | Path


Test = All | Some | Negated | Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskWork:
    """What a Task does. `resource` is the ARN as written; times are seconds. `secrets` are the places of secret references in its parameters."""

    resource: str
    timeout: Field | None = None
    heartbeat: Field | None = None
    credentials: Template | None = None
    secrets: tuple[SecretPlace, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceWork:
    """Rules in order, then the default."""

    rules: tuple[Rule, ...]
    default: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitWork:
    """Exactly one: Seconds[Path] or Timestamp[Path]; `until.name` tells which."""

    until: Field


@dataclass(frozen=True, slots=True, kw_only=True)
class FailWork:
    """Error and Cause, constants or expressions."""

    error: Field | None = None
    cause: Field | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelWork:
    """Branches that all get the state's input (JSONPath: Parameters; JSONata: Arguments)."""

    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapWork:
    """One run of `processor` per item.

    `items` None means the effective input itself. `reader`, `batcher` and `writer` belong to the distributed mode and
    keep their compiled Parameters/Arguments beside the plain fields.
    """

    processor: Branch
    items: Field | None = None
    selector: Template | None = None
    selector_name: str = "ItemSelector"
    max_concurrency: Field | None = None
    tolerated_failure_count: Field | None = None
    tolerated_failure_percentage: Field | None = None
    distributed: bool = False
    execution_type: Literal["STANDARD", "EXPRESS"] = "STANDARD"
    label: str | None = None
    reader: Mapping[str, JSONValue] | None = None
    batcher: Mapping[str, JSONValue] | None = None
    writer: Mapping[str, JSONValue] | None = None


@dataclass(frozen=True, slots=True)
class PassWork:
    """`result` when `has_result`."""

    result: JSONValue = None
    has_result: bool = False


@dataclass(frozen=True, slots=True)
class SucceedWork:
    """Nothing to do."""


Work = PassWork | TaskWork | ChoiceWork | WaitWork | SucceedWork | FailWork | ParallelWork | MapWork


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One state.

    `next` None ends its branch. JSONPath states use `input_path` .. `output_path` (a path of None with its `discards_*`
    flag set is JSON null: the empty object, or no result), JSONata states `arguments` and `output`. `assign` belongs to
    both. `arguments` is also JSONPath's Parameters.
    """

    name: str
    kind: Kind
    work: Work
    language: Language = "JSONPath"
    next: str | None = None
    input_path: Path | None = None
    discards_input: bool = False
    arguments: Template | None = None
    result_selector: Template | None = None
    result_path: Path | None = None
    discards_result: bool = False
    output_path: Path | None = None
    discards_output: bool = False
    output: Template | None = None
    assign: Template | None = None
    retriers: tuple[Retrier, ...] = ()
    catchers: tuple[Catcher, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A graph of states with one start: a whole program, a parallel branch or an item processor."""

    start_at: str
    states: Mapping[str, State]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A whole definition, compiled."""

    root: Branch
    language: Language = "JSONPath"
    timeout_seconds: int | None = None
    comment: str | None = None
    version: str = "1.0"
    variable_references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
