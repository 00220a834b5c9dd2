"""What the states of a flow compute: a node's parameters, the input that accumulates, the action, the input of an error edge.

Each class is a `Template` of ``core.program``: it sees ``$states`` (``input``, ``result``, ``errorOutput``, ``context``) and the variables.
Variables with a dot in their names are the compiler's own: ``results.NODE`` is what NODE has returned.
"""

from __future__ import annotations

from dataclasses import dataclass

from flowrunner.core.program import Template
from flowrunner.errors import ExpressionError
from flowrunner.flow.node import FlowNode
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.lang.environment import Environment

RESULTS = "results."
SHARED = "shared"
SUCCESS = "success"
MACHINE_PREFIX = "flow/"  # of the machine that a flow is in the store of definitions


def accumulated(value: JSONValue) -> JSONObject:
    """The input as an object: nothing becomes the empty one, any other value its member ``input``."""
    if isinstance(value, dict):
        return value
    return {} if value is None else {"input": value}


def joined(name: str, given: JSONObject, returned: JSONValue) -> JSONObject:
    """The input of the next node: an object's members over what there is; any other value by the name of its node."""
    return {**given, **returned} if isinstance(returned, dict) else {**given, name: returned}


def result_of(states: JSONObject) -> JSONObject:
    """The result of a node's state as a task gives it: ``{"output", "action"}``. A state with one branch has a list of one."""
    result = states.get("result")
    if isinstance(result, list) and len(result) == 1:
        [result] = result
    return result if isinstance(result, dict) and "output" in result else {"output": result}


def states_of(environment: Environment) -> JSONObject:
    """``$states``."""
    states: JSONObject = environment.states
    return states


@dataclass(frozen=True, slots=True)
class Constant:
    """Always this value."""

    value: JSONValue

    def evaluate(self, environment: Environment) -> JSONValue:
        """The value."""
        del environment
        return self.value


@dataclass(frozen=True, slots=True)
class Given:
    """The input, as an object."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """The accumulated input."""
        return accumulated(states_of(environment)["input"])


@dataclass(frozen=True, slots=True)
class Called:
    """What a node's task is called with. `params` still have their expressions; `more` is added to the input.

    The actions `failing` fail the task, those of its kind that `retry` tries again until all is tried, `again`. With `reads_shared` a script must not write to ``shared``,
    with `openly` there must be no secret in what it gives.
    """

    node: FlowNode
    params: JSONObject
    hooks: bool = True
    more: Template | None = None
    names: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    again: bool = False
    reads_shared: bool = False
    openly: bool = False

    def evaluate(self, environment: Environment) -> JSONValue:
        """The parameters of the task."""
        states, known = states_of(environment), environment.variables
        given = accumulated(states["input"])
        called: JSONObject = {"params": self.params, "input": given if self.more is None else {**given, **self.more.evaluate(environment)}}
        if "results" in self.node.mentions:
            called["results"] = {name.removeprefix(RESULTS): value for name, value in known.items() if name.startswith(RESULTS)}
        if "shared" in self.node.mentions:
            called["shared"] = known.get(SHARED, {})
        if "variables" in self.node.mentions:
            called["variables"] = {name: value for name, value in known.items() if "." not in name and name != SHARED}
        called["execution"] = execution_of(environment)
        if self.hooks and self.node.hooks:
            called["hooks"] = self.node.hooks
        if self.names:
            called["names"] = list(self.names)
        if self.failing:
            called["failing"] = list(self.failing)
        if self.again and (again := tried_again(self.node)):
            called["again"] = again
        if self.reads_shared:
            called["reads_shared"] = True
        if self.openly:
            called["openly"] = True
        called["language"] = "flow"
        return called


def tried_again(node: FlowNode) -> JSONObject | None:
    """Which actions fail a node's task, and up to how many retries: the last attempt's action is the node's. None without ``retry``."""
    if not node.retriers or not node.kind.retried:
        return None
    return {"actions": list(node.kind.retried), "retries": sum(retrier.max_attempts for retrier in node.retriers)}


def execution_of(environment: Environment) -> JSONObject:
    """What scripts know of their execution; its id is the one that REST and sockets take."""
    context: JSONObject = states_of(environment)["context"]
    execution, machine = context["Execution"], context["StateMachine"]
    return {
        "id": environment.execution,
        "flow_id": machine["Name"].removeprefix(MACHINE_PREFIX),
        "name": execution["Name"],
        "started_at": execution["StartTime"],
    }


@dataclass(frozen=True, slots=True)
class Accumulated:
    """The output of a node's state: the input of the next one."""

    name: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """The input with what the node has returned."""
        states = states_of(environment)
        return joined(self.name, accumulated(states["input"]), result_of(states)["output"])


@dataclass(frozen=True, slots=True)
class Kept:
    """What a node's state assigns: its result for later nodes, and ``shared`` if the task gave a new one."""

    name: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """The variables by name."""
        result = result_of(states_of(environment))
        kept: JSONObject = {f"{RESULTS}{self.name}": result["output"]}
        if isinstance(result.get(SHARED), dict):
            kept[SHARED] = result[SHARED]
        return kept


@dataclass(frozen=True, slots=True)
class KeptInput:
    """What a node assigns that only waits: its input is its result."""

    name: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """The variable and its value."""
        return {f"{RESULTS}{self.name}": accumulated(states_of(environment)["input"])}


@dataclass(frozen=True, slots=True)
class Action:
    """The action of a node: what its task says; a condition's is in what it returned."""

    decides: bool = False

    def evaluate(self, environment: Environment) -> JSONValue:
        """The name of an edge."""
        result = result_of(states_of(environment))
        action = result.get("action", SUCCESS)
        if not isinstance(action, str):
            raise ExpressionError(f"The action of a node must be a text, but was: {action!r}")
        return decided(result["output"]) if self.decides and action == SUCCESS and not result.get("named") else action


def decided(value: JSONValue) -> str:
    """The action that a condition's value means."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        for name in ("branch", "branch_decision"):
            if name in value and isinstance(value[name], str | bool):
                return decided(value[name])
    return SUCCESS


@dataclass(frozen=True, slots=True)
class AfterFailure:
    """The input of the node that an error or timeout edge leads to. A batch node that failed tells more of it."""

    name: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """The input with ``error``."""
        states = states_of(environment)
        failed: JSONObject = states["errorOutput"]
        error, cause, more = failed.get("Error", ""), failed.get("Cause"), failed.get("Detail", {})
        told = {"error": error, "cause": cause, "node": self.name, "message": cause or error}
        return {**accumulated(states["input"]), **more, "error": told}
