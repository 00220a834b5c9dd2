"""The hooks of a node that takes several states: once, on the node's result."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flowrunner.core.program import State, TaskWork
from flowrunner.flow.lower import RESOURCE, inner_name
from flowrunner.flow.node import FlowNode
from flowrunner.flow.templates import SHARED, Called, accumulated, states_of
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.lang.environment import Environment

EXEC, POST = "exec", "post"
GIVEN = "given"  # the node's input, beside what its states have made of it


def without(node: FlowNode, *hooks: str) -> FlowNode:
    """The node as its inner tasks see it: `hooks` run on its result."""
    return replace(node, hooks={name: source for name, source in node.hooks.items() if name not in hooks})


def result_state(node: FlowNode, *hooks: str) -> State | None:
    """The state that runs these hooks; its input is ``{"output", "action", "given"}``. None for a node without them."""
    own: JSONObject = {name: node.hooks[name] for name in hooks if name in node.hooks}
    if not own:
        return None
    return State(
        name=inner_name(node, next(reversed(own))),
        kind="Task",
        work=TaskWork(resource=f"{RESOURCE}transform", timeout_milliseconds=node.timeout),
        language="JSONata",
        arguments=_Call(node, own),
        output=_Judged(),
        retriers=node.retriers,
    )


@dataclass(frozen=True, slots=True)
class _Call:
    """What the task is called with: the node's input, and what was made."""

    node: FlowNode
    hooks: JSONObject

    def evaluate(self, environment: Environment) -> JSONValue:
        states = states_of(environment)
        made: JSONObject = states["input"]
        environment.states = {**states, "input": accumulated(made.get(GIVEN))}
        try:
            called: JSONObject = Called(self.node, {}, hooks=False).evaluate(environment)
        finally:
            environment.states = states
        return {**called, "made": {"output": made["output"], "action": made["action"]}, "hooks": self.hooks}


@dataclass(frozen=True, slots=True)
class _Judged:
    """The result as the hooks have left it."""

    def evaluate(self, environment: Environment) -> JSONValue:
        states = states_of(environment)
        made: JSONObject = states["input"]
        return {**({SHARED: made[SHARED]} if SHARED in made else {}), **states["result"]}
