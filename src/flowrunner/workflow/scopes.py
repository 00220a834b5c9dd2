"""Where a step of a workflow stands in a state machine: what its variables are called there, and what it shares with steps beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flowrunner.errors import ExpressionSyntaxError
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.lang.braces.nodes import Binary, Call, Member, Name, Negative, Node
from flowrunner.lang.braces.parse import parse
from flowrunner.lang.braces.template import has_braces, parts_of
from flowrunner.reading.findings import Place
from flowrunner.workflow.jsonata import Names, nodes_in
from flowrunner.workflow.steps import RETURNS

CONDITIONS = frozenset({"when", "condition", "loopCondition", "breakCondition", "continueCondition"})
NAMED = frozenset({"source", "items", "loopOver", "count"})  # a text there that is no expression is the name of a variable
SCRIPTS = frozenset({"script", "condition_script", "item_script", "processor_script"})
_MENTION = re.compile(r"\b(?:results|variables)\b(?:\s*\.\s*([A-Za-z_$][\w$]*))?")  # in JavaScript, with the member if one is named


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A place for steps. `depth` counts the Parallel and Map states around it: each has variables of its own, whose names may not meet.

    `previous` is what ``$prev`` means; `given` are names with a value of their own, as JSONata. `loops` are the objects of variables of the loops
    around, `failed` where a step goes on that fails within a loop that goes on: the state, and the variable for the error.
    """

    certain: frozenset[str]
    steps: frozenset[str]
    depth: int = 0
    previous: str | None = None
    given: Mapping[str, str] = field(default_factory=dict)
    loops: tuple[str, ...] = ()
    failed: tuple[str, str] | None = None

    @property
    def variables(self) -> str:
        """The name of the variable that holds the workflow's variables."""
        return f"variables{self.depth or ''}"

    @property
    def nodes(self) -> str:
        """The name of the variable that holds what steps have left behind."""
        return f"nodes{self.depth or ''}"

    @property
    def all_variables(self) -> str:
        """The variables with those of the loops around, as JSONata."""
        return f"$merge([${self.variables}, {', '.join(self.loops)}])" if self.loops else f"${self.variables}"

    def names(self, *, given: Mapping[str, str] | None = None, result: str | None = None) -> Names:
        """What names mean here; `given` stand over those of the place."""
        return Names(
            variables=f"${self.variables}",
            nodes=f"${self.nodes}",
            certain=self.certain,
            steps=self.steps,
            given={**self.given, **(given or {})},
            result=result,
        )


@dataclass(frozen=True, slots=True)
class Touched:
    """What steps read and set: names of variables and ids of steps. `everything` where one may read all that there is."""

    reads: frozenset[str]
    sets: frozenset[str]
    everything: bool

    def meets(self, other: Touched) -> str | None:
        """A name that both touch and one of them sets: side by side the order would decide. None if there is none."""
        common = (self.sets & (other.reads | other.sets)) | (other.sets & self.reads)
        if common:
            return min(common)
        return "results" if self.everything or other.everything else None


def touched(given: JSONObject, ids: frozenset[str]) -> Touched:
    """What a step with these members reads and sets; `ids` are those of the step and of the steps within."""
    reads: set[str] = set()
    sets, everything = set(ids), False
    for key, value in _members("", given):
        if key in ("output", "outputs") and isinstance(value, dict):
            sets.update(value)
        if not isinstance(value, str):
            continue
        if key == RETURNS:
            sets.add(value)
        mentions = _MENTION.findall(value) if key in SCRIPTS else []
        everything = everything or "" in mentions
        reads.update(mentions)
        if key == "path":
            reads.add("baseUrl")
        if key in NAMED and not has_braces(value):
            reads.add(value.partition(".")[0].partition("[")[0])
        for tree in _trees(key, value):
            names = [node.name.removeprefix("$") for node in nodes_in(tree) if isinstance(node, Name)]
            steps = [node.name for node in nodes_in(tree) if isinstance(node, Member) and isinstance(node.of, Name) and node.of.name == "nodes"]
            everything = everything or names.count("nodes") > len(steps)
            reads.update(names, steps)
    return Touched(frozenset(reads - {"nodes", ""}), frozenset(sets), everything)


def mixed_text(value: JSONValue, place: Place) -> Place | None:
    """The place of the first text that values of expressions are put into; None if there is none."""
    if isinstance(value, str):
        name = place[-1]
        reads = has_braces(value) and name not in CONDITIONS and name not in SCRIPTS
        return place if reads and _is_mixed(value) else None
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((found for name, part in parts if (found := mixed_text(part, (*place, name))) is not None), None)


def _is_mixed(value: str) -> bool:
    try:
        parts = list(parts_of(value, ""))
    except ExpressionSyntaxError:
        return False
    return len(parts) > 1 and any(isinstance(part, tuple) for part in parts)


def may_fail(given: JSONValue) -> bool:
    """Whether evaluating the expressions of these members may fail: those that calculate."""
    trees = (tree for key, value in _members("", given) if isinstance(value, str) for tree in _trees(key, value))
    return any(_calculates(node) for tree in trees for node in nodes_in(tree))


def _trees(key: str, value: str) -> Iterator[Node]:
    """The expressions of a text that stands under this name. A text that cannot be read is none: it was checked where it counts."""
    try:
        if key in CONDITIONS and value != "default":
            yield parse(value, braces=True, previous="")
        elif has_braces(value):
            yield from (part[1] for part in parts_of(value, "") if isinstance(part, tuple))
    except ExpressionSyntaxError:
        return


def _calculates(node: Node) -> bool:
    return isinstance(node, Negative) or (isinstance(node, Binary) and node.operator in "+-*/%") or (isinstance(node, Call) and node.name == "$length")


def _members(key: str, value: JSONValue) -> Iterator[tuple[str, JSONValue]]:
    """(name, value) of everything in a value; items of lists have the name of their list."""
    yield key, value
    parts = value.items() if isinstance(value, dict) else ((key, item) for item in value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from _members(name, part)
