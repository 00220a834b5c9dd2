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
    `linear` waits the interval times the number of the retry, whatever `backoff_rate` says (flows: ``backoff: linear``).
    """

    error_equals: tuple[str, ...]
    interval_seconds: float = 1.0
    max_attempts: int = 3
    backoff_rate: float = 2.0
    max_delay_seconds: float | None = None
    full_jitter: bool = False
    linear: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Catcher:
    """Where to go on when a state has failed for good; `result_path` None discards the error (JSONPath).

    What is `lost` by the failure is said in a line of the log (``Batch``: with the number of the iteration); flows only.
    """

    error_equals: tuple[str, ...]
    next: str
    result_path: Path | None = None
    keeps_input: bool = False
    output: Template | None = None
    assign: Template | None = None
    lost: str | None = None


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
    """What a Task does. `resource` is the ARN as written; times are seconds. `secrets` are the places of secret references in its parameters.

    `timeout_milliseconds` is for front ends whose timeouts are finer than seconds; it wins over `timeout`.
    """

    resource: str
    timeout: Field | None = None
    timeout_milliseconds: int | None = None
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
    """Exactly one: Seconds[Path] or Timestamp[Path]; `until.name` tells which. Flows and workflows wait for ``Milliseconds`` too."""

    until: Field


@dataclass(frozen=True, slots=True, kw_only=True)
class FailWork:
    """Error and Cause, constants or expressions. What catches it in a flow finds `detail` as ``$states.errorOutput.Detail``."""

    error: Field | None = None
    cause: Field | None = None
    detail: Field | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelWork:
    """Branches that all get the state's input (JSONPath: Parameters; JSONata: Arguments)."""

    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapWork:
    """One run of `processor` per item.

    `items` None means the effective input itself. `reader`, `batcher` and `writer` belong to the distributed mode and
    keep their compiled Parameters/Arguments beside the plain fields. `stop_when` is looked at when an iteration has succeeded, with its output as
    ``$states.result``: true ends the Map, which then has null in place of what was not begun or given up. The variables `hands_on` that an iteration
    has assigned when it succeeds are those of the state's own branch from then on.
    """

    processor: Branch
    items: Field | None = None
    selector: Template | None = None
    selector_name: str = "ItemSelector"
    max_concurrency: Field | None = None
    tolerated_failure_count: Field | None = None
    tolerated_failure_percentage: Field | None = None
    stop_when: Template | None = None
    hands_on: tuple[str, ...] = ()
    distributed: bool = False
    execution_type: Literal["STANDARD", "EXPRESS"] = "STANDARD"
    label: str | None = None
    reader: Mapping[str, JSONValue] | None = None
    batcher: Mapping[str, JSONValue] | None = None
    writer: Mapping[str, JSONValue] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphNode:
    """One node of a graph: its branch is opened as soon as those of `needs` (places in the graph) have ended.

    With `any` the first of them that counts is enough (a merge of the first that comes), and all when none does. `counts` tells of a node that has
    ended whether it does; without it every node does.
    """

    branch: Branch
    needs: tuple[int, ...] = ()
    any: bool = False
    counts: Template | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphWork:
    """Branches that wait for one another. The state's result is the list of their outputs; the failure of one ends the others.

    At most `max_concurrency` run at once; those that are ready start in the order of `nodes`.
    """

    nodes: tuple[GraphNode, ...]
    max_concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way of a switch; `condition` None always holds."""

    branch: Branch
    label: str
    condition: Template | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchWork:
    """Runs the branch of the first case whose condition is true. The result is its output, null when no case holds."""

    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopWork:
    """Runs `body` again and again: once per item, `count` times, or while `condition` is true.

    Each iteration has variables of its own: `item_variable`, `index_variable` and ``loopIndex, loopCount, loopTotal, loopFirst, loopLast,
    loopItem``. `skip_when` is looked at before the body (true: the iteration is skipped), `break_when` after it. No more than
    `max_iterations` begin. With `concurrency` above 1 (items and counts only) that many iterations run at once.
    The result is ``{"iterations": [outputs], "total": n, "completed": n, "failed": n, "exitReason": text}``; with `keeps_going`
    an iteration that fails is counted and its output is ``{"error": ..., "cause": ...}``, otherwise it fails the loop.
    """

    kind: Literal["forEach", "while", "count"]
    body: Branch
    items: Field | None = None
    count: Field | None = None
    condition: Template | None = None
    skip_when: Template | None = None
    break_when: Template | None = None
    max_iterations: int = 100
    concurrency: int = 1
    item_variable: str | None = None
    index_variable: str | None = None
    keeps_going: bool = False
    source: str | None = None


@dataclass(frozen=True, slots=True)
class PassWork:
    """`result` when `has_result`."""

    result: JSONValue = None
    has_result: bool = False


@dataclass(frozen=True, slots=True)
class SucceedWork:
    """Nothing to do."""


Work = PassWork | TaskWork | ChoiceWork | WaitWork | SucceedWork | FailWork | ParallelWork | MapWork | GraphWork | SwitchWork | LoopWork


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What a state is to its author: a node of a flow, a step of a workflow. States without one are the compiler's own and not shown.

    `progress` is what the author says the execution has reached when it enters the node (percent); `remaining` is the number of nodes on
    the longest way from here to an end, this one included.
    """

    id: str
    name: str
    type: str
    progress: float | None = None
    remaining: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a state goes on by its action (mission: the edges of YAML flows).

    `action` sees what Output sees and gives a text. An action without an edge takes ``default``; without that the branch ends here.
    """

    action: Template
    edges: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One state.

    `next` None ends its branch. JSONPath states use `input_path` .. `output_path` (a path of None with its `discards_*`
    flag set is JSON null: the empty object, or no result), JSONata states `arguments` and `output`. `assign` belongs to
    both. `arguments` is also JSONPath's Parameters. `when`, `route` and `label` are those of flows and workflows, whose states have the
    language JSONata and templates of their own: a state whose `when` is false is skipped (its output is its input), `route` wins over `next`.
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
    when: Template | None = None
    route: Route | None = None
    label: Label | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A graph of states with one start: a whole program, a parallel branch or an item processor."""

    start_at: str
    states: Mapping[str, State]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A whole definition, compiled.

    With `notes` the log also tells what authors of flows and workflows follow (core/notes.py): nodes, variables, loops. `variables` are those
    that an execution begins with. With `shares_variables` every state assigns to the execution, not to its own branch, and the members of the
    input's ``variables`` come first. `steps` is the number of labelled nodes of a graph: with it, progress is the share of them that has ended. `timeout_milliseconds` is the longest an execution may take.
    `verdict` is the member of its output that tells how it came out where success does not (test cases): lists, which have no outputs, show that.
    """

    root: Branch
    notes: bool = False
    shares_variables: bool = False
    variables: Mapping[str, JSONValue] = field(default_factory=dict)
    steps: int = 0
    language: Language = "JSONPath"
    timeout_milliseconds: int | None = None
    verdict: str | None = None
    comment: str | None = None
    version: str = "1.0"
    variable_references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
