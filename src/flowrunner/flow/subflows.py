"""Nodes that start another flow, or a stored workflow, as an execution of its own."""

from __future__ import annotations

from dataclasses import dataclass

from flowrunner.core.program import State, TaskWork, Template
from flowrunner.core.variables import given_variables, is_variable, wrong_name
from flowrunner.errors import ExpressionError
from flowrunner.flow.lower import Lowering, inner_branch, inner_name, node_state, only, source_of, warn_unused
from flowrunner.flow.node import INVALID_PARAMETER, FlowNode
from flowrunner.flow.templates import Accumulated, Action, Kept, accumulated, states_of
from flowrunner.flow.values import is_open
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.lang.environment import Environment
from flowrunner.reading.wording import shown

START = "arn:aws:states:::states:startExecution"
_MACHINE = ":stateMachine:"


@dataclass(frozen=True, slots=True)
class _Target:
    """What a kind starts: the parameter with its id, and the parameter with its input."""

    prefix: str
    id: str
    input: str


TARGETS = {"flow": _Target("flow/", "flow_id", "input"), "workflow": _Target("workflow/", "workflowId", "variables")}


def lower_subflow(lowering: Lowering, node: FlowNode) -> State:
    """Starts it, and waits for its end unless `wait` is false."""
    target = TARGETS[node.kind.name]
    waits = node.params.get("wait", True)
    if is_open(waits):
        lowering.found.refuse((*node.place, "params", "wait"), "'wait' must be a constant: it is part of how the flow is built.", INVALID_PARAMETER)
    warn_unused(lowering, node, hooks=node.hooks)
    given = node.params.get("variables") if target.input == "variables" else None
    for name in given if isinstance(given, dict) else ():
        if not is_variable(name):
            lowering.found.refuse((*node.place, "params", "variables", name), wrong_name(name), INVALID_PARAMETER)
    start = inner_name(node, "start")
    source = source_of(node, only(node.params, target.id, target.input), start)
    work = TaskWork(resource=f"{START}.sync:2" if waits else START, timeout_milliseconds=node.timeout)
    arguments, output, assign = _Start(target, source.template), Accumulated(node.name), Kept(node.name)
    if source.task is None:
        return node_state(
            lowering, node, "Task", work, arguments=arguments, output=_Ended(output, target, waits=waits), assign=_Ended(assign, target, waits=waits)
        )
    inner = State(name=start, kind="Task", work=work, language="JSONata", arguments=arguments, output=_Ended(None, target, waits=waits))
    return node_state(lowering, node, "Parallel", inner_branch(source.task, inner), output=output, assign=assign, action=Action())


@dataclass(frozen=True, slots=True)
class _Start:
    """The parameters of StartExecution: a machine of the execution's own account."""

    target: _Target
    params: Template

    def evaluate(self, environment: Environment) -> JSONValue:
        params: JSONObject = self.params.evaluate(environment)
        states, name = states_of(environment), params.get(self.target.id)
        if not isinstance(name, str) or not name:
            raise ExpressionError(f"'{self.target.id}' must be a text; {shown(name)} stands there.")
        account, _, _ = str(states["context"]["StateMachine"]["Id"]).partition(_MACHINE)
        given = params.get(self.target.input)
        if self.target.input == "variables":
            given = {"variables": given_variables(given)}
        elif given is None:
            given = accumulated(states["input"])
        return {"StateMachineArn": f"{account}{_MACHINE}{self.target.prefix}{name}", "Input": given}


@dataclass(frozen=True, slots=True)
class _Ended:
    """A template that sees what the other execution gave as the node's result; alone it gives that result."""

    inner: Template | None
    target: _Target
    waits: bool

    def evaluate(self, environment: Environment) -> JSONValue:
        states = states_of(environment)
        result = states.get("result")
        returned = result if isinstance(result, dict) else {}
        made = returned.get("Output") if self.waits else {"runId" if self.target.input == "variables" else "execution_id": returned.get("ExecutionId")}
        told = {"output": made}
        if self.inner is None:
            return told
        environment.states = {**states, "result": told}
        try:
            return self.inner.evaluate(environment)
        finally:
            environment.states = states
