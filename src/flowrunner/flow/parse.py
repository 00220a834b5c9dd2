"""YAML text to Program: reads, checks and compiles a flow, and says everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from flowrunner.core.program import Branch, Program, State
from flowrunner.errors import InvalidDocument
from flowrunner.flow.batches import STRATEGY, lower_batch
from flowrunner.flow.edges import check_edges
from flowrunner.flow.fields import FLOW, METADATA
from flowrunner.flow.graph import check_targets, remaining, start_of, warn_unreachable
from flowrunner.flow.lower import Lower, Lowering, lower_merge, lower_task, warn_unused
from flowrunner.flow.node import FlowNode, read_node
from flowrunner.flow.reader import INVALID_VALUE, MISSING_FIELD, read_members
from flowrunner.flow.subflows import TARGETS, lower_subflow
from flowrunner.flow.templates import SHARED
from flowrunner.flow.waits import lower_delay, lower_wait
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.durations import limit_of_execution
from flowrunner.kinds.info import KindInfo
from flowrunner.reading.document import Document, read_document
from flowrunner.reading.findings import Findings
from flowrunner.reading.metadata import beyond_bounds
from flowrunner.reading.parsed import Parsed
from flowrunner.reading.scripts import Scripts

# Kinds that become states in their own way; all others are tasks.
LOWER: Mapping[str, Lower] = {
    "delay": lower_delay,
    "wait": lower_wait,
    "merge": lower_merge,
    **dict.fromkeys(STRATEGY, lower_batch),
    **dict.fromkeys(TARGETS, lower_subflow),
}


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow that was read; `timeout` is milliseconds."""

    nodes: Mapping[str, FlowNode]
    start: str
    variables: Mapping[str, JSONValue]
    timeout: int | None = None
    description: str | None = None


class Reading(NamedTuple):
    """What was read of a text: `flow` is None when it is not sound enough to be compiled."""

    flow: Flow | None
    found: Findings
    metadata: JSONObject
    document: Document | None = None


def parse_flow(text: str, kinds: Mapping[str, KindInfo], *, kept: bool = False) -> Parsed:
    """Read a whole flow. Never raises for what the text holds. `kinds` are those a node may have, by every name of theirs.

    `kept`: it was accepted before, and what can be compiled runs on.
    """
    flow, found, metadata, document = read_flow(text, kinds, kept=kept)
    program = None if flow is None else _program(found, flow)
    version = metadata.get("version")
    return Parsed(
        None if found.failed else program,
        found.diagnostics(None if document is None else document.locate, authored=True),
        metadata.get("name"),
        metadata.get("description"),
        None if version is None else str(version),
        Scripts(tuple(found.scripts), document),
        tuple(metadata["tags"]) if "tags" in metadata else None,
        metadata.get("category"),
        metadata.get("custom"),
    )


def read_flow(text: str, kinds: Mapping[str, KindInfo], *, kept: bool = False) -> Reading:
    """Read a flow without compiling it; what a kind's own compiler would find is not found."""
    found = Findings(kept=kept)
    try:
        document = read_document(text, "yaml")
    except InvalidDocument as error:
        found.unreadable(error, as_aws=False)
        return Reading(None, found, {})
    if document.value is None:
        found.error((), "The text is empty: a flow has 'metadata' with a name, and 'nodes'.", MISSING_FIELD)
        return Reading(None, found, {}, document)
    members = read_members(found, document.value, (), FLOW, extensible=True)
    metadata = read_members(found, members["metadata"], ("metadata",), METADATA) if "metadata" in members else {}
    for name in ("start", "timeout"):
        if name in members and metadata.get(name, members[name]) != members[name]:
            found.refuse(("metadata", name), f"'{name}' stands at the top of the flow with another value.", INVALID_VALUE, hint="Keep one of the two.")
    for name, wrong in beyond_bounds(metadata):
        found.refuse(("metadata", name), wrong, INVALID_VALUE, hint="Shorten it.")
    return Reading(_flow(found, members, metadata, kinds), found, metadata, document)


def _flow(found: Findings, members: JSONObject, metadata: JSONObject, kinds: Mapping[str, KindInfo]) -> Flow | None:
    variables = _variables(found, members)
    given = members.get("nodes")
    if not given:
        if given is not None:
            found.error(("nodes",), "A flow has at least one node.", MISSING_FIELD)
        return None
    nodes = {name: read_node(found, name, value, ("nodes", name), kinds) for name, value in given.items()}
    start = _graph(found, nodes, members, metadata)
    good = {name: node for name, node in nodes.items() if node is not None}
    if start is None or len(good) < len(nodes):
        _states(found, good)  # for what is found there
        return None
    return Flow(good, start, variables, members.get("timeout", metadata.get("timeout")), metadata.get("description"))


def _program(found: Findings, flow: Flow) -> Program:
    return Program(
        root=Branch(start_at=flow.start, states=_states(found, flow.nodes)),
        notes=True,
        variables=flow.variables,
        language="JSONata",
        timeout_milliseconds=limit_of_execution(flow.timeout),
        comment=flow.description,
    )


def _graph(found: Findings, nodes: Mapping[str, FlowNode | None], members: JSONObject, metadata: JSONObject) -> str | None:
    edges = {name: {} if node is None else node.edges for name, node in nodes.items()}
    check_targets(found, edges, nodes)
    if None in nodes.values():
        return None  # the edges of what cannot be read are not known
    at_top = "start" in members
    start = start_of(found, edges, members.get("start", metadata.get("start")), ("start",) if at_top else ("metadata", "start"))
    if start is not None:
        warn_unreachable(found, edges, start)
    return start


def _states(found: Findings, nodes: Mapping[str, FlowNode]) -> dict[str, State]:
    lowering = Lowering(found, remaining({name: node.edges for name, node in nodes.items()}))
    return {name: _lower(lowering, node) for name, node in nodes.items()}


def _lower(lowering: Lowering, node: FlowNode) -> State:
    own = LOWER.get(node.kind.name)
    if own is not lower_batch and (own is not None or node.batch is None):
        check_edges(lowering, node)
    if own is None:
        own = lower_task if node.batch is None else lower_batch
    elif own is not lower_batch:
        warn_unused(lowering, node, batch=node.batch)
    return own(lowering, node)


def _variables(found: Findings, members: JSONObject) -> Mapping[str, JSONValue]:
    variables: JSONObject = members.get("variables", {})
    for name in variables:
        if "." in name or name == SHARED:
            found.error(("variables", name), f"A variable cannot be called '{name}': such names are FlowRunner's own.", INVALID_VALUE)
    return {**variables, SHARED: members.get("shared", {})}
