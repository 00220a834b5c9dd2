"""A node becomes a state with the node's name. Most are tasks; what takes several states is a branch inside the node's own state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flowrunner.core.program import Branch, Catcher, Kind, Label, ParallelWork, PassWork, Retrier, Route, State, TaskWork, Template, Work
from flowrunner.flow.node import FlowNode
from flowrunner.flow.templates import Accumulated, Action, AfterFailure, Called, Constant, Given, Kept, KeptInput
from flowrunner.flow.values import Computed, Followed, Keep, KeepFollowed, is_followed
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.reading.findings import Findings

RESOURCE = "arn:aws:states:::flowrunner:"
EVERYTHING = ("States.ALL", "States.DataLimitExceeded")  # which States.ALL does not match
TIMED_OUT = ("States.Timeout", "FlowRunner.ScriptTimeout")
EFFECTLESS = "HAS_NO_EFFECT"


@dataclass(frozen=True, slots=True)
class Lowering:
    """What every node is compiled with: the length of the way that is left from each."""

    found: Findings
    remaining: Mapping[str, int]


Lower = Callable[[Lowering, FlowNode], State]


def node_state(
    lowering: Lowering,
    node: FlowNode,
    kind: Kind,
    work: Work,
    *,
    arguments: Template | None = None,
    output: Template | None = None,
    assign: Template | None = None,
    action: Template | None = None,
    retriers: tuple[Retrier, ...] | None = None,
) -> State:
    """The state of a node: its edges, its retries, its label."""
    return State(
        name=node.name,
        kind=kind,
        work=work,
        language="JSONata",
        arguments=arguments,
        output=output,
        assign=assign,
        retriers=node.retriers if retriers is None else retriers,
        catchers=catchers(node),
        route=Route(action=action or Constant("success"), edges=node.edges),
        label=Label(id=node.name, name=node.name, type=node.kind.name, progress=node.progress, remaining=lowering.remaining[node.name]),
    )


def catchers(node: FlowNode) -> tuple[Catcher, ...]:
    """The edges of a failed node: ``timeout`` if it timed out, else ``error``."""
    output = AfterFailure(node.name)
    edges = (("timeout", TIMED_OUT), ("error", EVERYTHING))
    return tuple(Catcher(error_equals=names, next=node.edges[edge], output=output) for edge, names in edges if edge in node.edges)


def task_of(node: FlowNode) -> Work:
    """The work of a node's own kind."""
    return TaskWork(resource=f"{RESOURCE}{node.kind.name}", timeout_milliseconds=node.timeout)


def lower_task(lowering: Lowering, node: FlowNode) -> State:
    """A kind that a handler carries out."""
    return node_state(
        lowering,
        node,
        "Task",
        task_of(node),
        arguments=Called(node, node.params, again=True),
        output=Accumulated(node.name),
        assign=Kept(node.name),
        action=Action(decides=not node.kind.actions),
    )


def lower_merge(lowering: Lowering, node: FlowNode) -> State:
    """A place where ways meet: in a flow one of them comes, and there is nothing to wait for."""
    warn_unused(lowering, node, hooks=node.hooks, timeout=node.timeout)
    return node_state(lowering, node, "Pass", PassWork(), output=Given(), assign=KeptInput(node.name), retriers=())


# --- states within a node's own


def inner_name(node: FlowNode, part: str) -> str:
    """The name of a state within a node's."""
    return f"{node.name} ({part})"


def inner_branch(*states: State) -> ParallelWork:
    """One branch of these states; it begins with the first."""
    return ParallelWork(branches=(Branch(start_at=states[0].name, states={state.name: state for state in states}),))


@dataclass(frozen=True, slots=True)
class Source:
    """Where the values of parameters come from: `template` gives an object of them, after the state `task` if there is one."""

    template: Template
    task: State | None = None


def source_of(node: FlowNode, params: JSONObject, then: str, *, keeps: bool = False) -> Source:
    """The parameters; a task of kind ``script`` before the state `then` if they hold JavaScript.

    With `keeps` they are found once, before that state: what they are made of changes while it works.
    """
    if is_followed(params):
        followed = Followed(params)
        if not keeps:
            return Source(followed)
        keeping = State(name=inner_name(node, "parameters"), kind="Pass", work=PassWork(), language="JSONata", assign=KeepFollowed(followed), next=then)
        return Source(Computed(), keeping)
    computing = State(
        name=inner_name(node, "parameters"),
        kind="Task",
        work=TaskWork(resource=f"{RESOURCE}script", timeout_milliseconds=node.timeout),
        language="JSONata",
        arguments=Called(node, {"script": "return args", "args": params}, hooks=False, openly=True),
        output=Given(),
        assign=Keep(),
        next=then,
    )
    return Source(Computed(), computing)


def only(params: JSONObject, *names: str) -> JSONObject:
    """Some of the parameters."""
    return {name: params[name] for name in names if name in params}


def warn_unused(lowering: Lowering, node: FlowNode, **members: JSONValue) -> None:
    """Say which members of a node do nothing for its kind."""
    for name, value in members.items():
        if value:
            lowering.found.warning((*node.place, name), f"'{name}' has no effect on a node of the kind '{node.kind.name}'.", EFFECTLESS)
