"""A state machine as a flow: for machines whose states do what nodes of flows do.

Each state is read as the node it could be; then the flow is made a state machine again (toasl.py), and where that is not the given one, it is refused.
So a flow that comes out does exactly what the machine does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from flowrunner.flow.lower import RESOURCE, TIMED_OUT
from flowrunner.flow.parse import parse_flow, read_flow
from flowrunner.flow.toasl import CANNOT_CONVERT, GIVEN, asl_of
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps
from flowrunner.kinds.info import KindInfo
from flowrunner.lang.jsonata.template import expression_text, is_expression
from flowrunner.reading.document import read_document
from flowrunner.reading.findings import Findings, Locate, Place
from flowrunner.reading.machines import differences, is_end

_CHOSEN, _CLOSED = '{% $action = "', '" %}'
_NO_NODE = {
    "Parallel": ("a flow stands in one node at a time", "Make the branches flows of their own, or a batch of a list of items."),
    "Map": ("a batch of a flow loses the items that fail and goes on, a Map state does not", "Use a node of the kind 'batch' if that is meant."),
    "Fail": ("no node ends a flow with an error of its own name", "Let a node of the kind 'transform' throw: the error is FlowRunner.ScriptError."),
    "Choice": ("only the action of a task picks the way", "Use a node of the kind 'condition', in JavaScript."),
    "Succeed": ("a flow ends with what came in along its way", "Leave out its InputPath and Output."),
    "Pass": ("what a node returns joins its input, it does not replace it", "Use a node of the kind 'transform', in JavaScript."),
}
_DIFFERS = {
    "Output": ("a node gives its input with what it has returned", f"The flow's way to say it is {{% {GIVEN} %}}, with the task's result merged over it."),
    "Assign": ("a flow has no variables that change", "Return what later nodes need: it joins their input."),
    "Retry": ("a node is tried again after any error, by one rule", "Keep one rule for States.ALL with a BackoffRate of 1 or 2."),
    "Catch": ("a failed node takes its edge 'timeout' or 'error' with the input and 'error'", "Catch States.ALL, with the error as a member of the input."),
    "again": ("a node with 'retry' is tried again for actions that tell of a failure, too", "Give {'actions', 'retries'} as the kind has them."),
    "Arguments": ("a node's task is called with its parameters and its input", "Give {'params', 'input', 'execution', 'language': 'flow'}."),
}


class _Refused(Exception):
    """A state that is no node."""


def flow_of(text: str, kinds: Mapping[str, KindInfo], name: str) -> tuple[JSONObject, Findings, Locate]:
    """The flow of a sound state machine (JSON or YAML) as a JSON value; it counts only when nothing was found."""
    document = read_document(text, "json" if text.lstrip().startswith("{") else "yaml")
    found = Findings()
    machine: JSONObject = document.value
    flow = _Reader(found, kinds, machine).flow(name)
    if not found.failed:
        _verify(found, kinds, machine, flow)
    return flow, found, document.locate


def _verify(found: Findings, kinds: Mapping[str, KindInfo], machine: JSONObject, flow: JSONObject) -> None:
    """Say where the flow would not do what the machine does."""
    written = dumps(flow)
    errors = [one for one in parse_flow(written, kinds).diagnostics if one.severity == "ERROR"]
    for one in errors:
        _refuse(found, ("States",), f"the flow would not be sound: {one.message} ({one.pointer})")
    again = Findings()
    read = read_flow(written, kinds).flow
    if errors or read is None:
        return
    remade = asl_of(again, read)
    for one in again.diagnostics():
        _refuse(found, ("States",), f"{one.message} ({one.pointer})")
    for place in [] if again.failed else differences({"QueryLanguage": "JSONPath", **machine}, remade):
        why, remedy = _DIFFERS.get(str(place[-1]), ("no node of a flow does this", ""))
        _refuse(found, place, why, remedy)


class _Reader:
    def __init__(self, found: Findings, kinds: Mapping[str, KindInfo], machine: JSONObject) -> None:
        self._found = found
        self._kinds = kinds
        self._machine = machine
        self._states: Mapping[str, JSONObject] = machine["States"]

    def flow(self, name: str) -> JSONObject:
        """The flow that the machine could be."""
        nodes: JSONObject = {}
        chosen = {state.get("Next") for state in self._states.values() if state["Type"] == "Task" and _says_action(state)}
        for state_name, state in self._states.items():
            if is_end(state) or (state["Type"] == "Choice" and state_name in chosen):
                continue
            try:
                nodes[state_name] = self._node(state, ("States", state_name))
            except _Refused:
                nodes[state_name] = {"type": "merge"}
        if not nodes:
            _refuse(self._found, ("States",), "a flow has at least one node", "There is nothing to do in it.")
        comment = {"description": self._machine["Comment"]} if self._machine.get("Comment") else {}
        timeout = {"timeout": f"{self._machine['TimeoutSeconds']}s"} if "TimeoutSeconds" in self._machine else {}
        return {"metadata": {"name": name, **comment}, "start": self._machine["StartAt"], **timeout, "nodes": nodes}

    def _node(self, state: JSONObject, place: Place) -> JSONObject:
        kind = state["Type"]
        if kind == "Task":
            return self._task(state, place)
        if kind == "Wait" and isinstance(state.get("Seconds"), int):
            return {"type": "delay", "params": {"duration": state["Seconds"]}, **self._next(self._then(state, "success"))}
        if kind == "Wait" and isinstance(state.get("Timestamp"), str) and not is_expression(state["Timestamp"]):
            return {"type": "wait", "params": {"until_time": state["Timestamp"]}, **self._next(self._then(state, "success"))}
        if kind == "Pass" and state.get("Output") == f"{{% {GIVEN} %}}":
            return {"type": "merge", **self._next(self._then(state, "success"))}
        raise self._refused(place, *_NO_NODE.get(kind, ("a node waits for a constant time", "Write the time itself.")))

    def _task(self, state: JSONObject, place: Place) -> JSONObject:
        resource: str = state["Resource"]
        kind = self._kinds.get(resource.removeprefix(RESOURCE)) if resource.startswith(RESOURCE) else None
        if kind is None or kind.structural:
            raise self._refused((*place, "Resource"), f"no kind of node calls {resource}", f"Nodes are tasks of the resources {RESOURCE}KIND.")
        given = state.get("Arguments")
        if not isinstance(given, dict) or not isinstance(given.get("params"), dict):
            raise self._refused((*place, "Arguments") if given is not None else place, *_DIFFERS["Arguments"])
        node: JSONObject = {"type": kind.name}
        for member, name in (("params", "params"), ("hooks", "hooks")):
            if given.get(member):
                node[name] = self._plain(given[member], (*place, "Arguments", member))
        if "TimeoutSeconds" in state:
            node["timeout"] = f"{state['TimeoutSeconds']}s"
        if state.get("Retry"):
            node["retry"] = self._retry(state["Retry"], (*place, "Retry"))
        return {**node, **self._next({**self._ways(state, kind), **self._caught(state, (*place, "Catch"))})}

    def _plain(self, value: JSONValue, place: Place) -> JSONValue:
        """A value of a template without expressions."""
        if isinstance(value, dict):
            return {name: self._plain(part, (*place, name)) for name, part in value.items()}
        if isinstance(value, list):
            return [self._plain(part, (*place, index)) for index, part in enumerate(value)]
        if not isinstance(value, str) or not is_expression(value):
            return value
        try:
            text = json.loads(expression_text(value))
        except ValueError:
            raise self._refused(place, "an expression in JSONata stands where a flow has JavaScript", "Write it as ${ javascript } in a text.") from None
        if not isinstance(text, str):
            raise self._refused(place, "only a text is written so", "Write the value without {% %}.")
        return text

    def _retry(self, retry: list[JSONObject], place: Place) -> JSONObject:
        if len(retry) > 1 or retry[0]["ErrorEquals"] != ["States.ALL"]:
            raise self._refused(place, *_DIFFERS["Retry"])
        [rule] = retry
        made: JSONObject = {
            "max_retries": rule.get("MaxAttempts", 3),
            "wait": f"{rule.get('IntervalSeconds', 1)}s",
            "backoff": "fixed" if rule.get("BackoffRate", 2) == 1 else "exponential",
        }
        if rule.get("JitterStrategy") == "FULL":
            made["jitter"] = True
        return {**made, "max_wait": f"{rule['MaxDelaySeconds']}s"} if "MaxDelaySeconds" in rule else made

    def _ways(self, state: JSONObject, kind: KindInfo) -> dict[str, str]:
        """The edges of the actions."""
        choice = self._states.get(state.get("Next", ""), {})
        if not _says_action(state) or choice.get("Type") != "Choice":
            return self._then(state, "success" if kind.actions == ("success",) else "default")
        edges: dict[str, str] = {}
        for index, rule in enumerate(choice["Choices"]):
            asked, place = str(rule.get("Condition")), ("States", state["Next"], "Choices", index)
            if not asked.startswith(_CHOSEN) or not asked.endswith(_CLOSED):
                raise self._refused(place, *_NO_NODE["Choice"])
            edges[asked.removeprefix(_CHOSEN).removesuffix(_CLOSED)] = self._onward(rule["Next"], place)
        default = choice.get("Default")
        return edges if default is None or self._is_end(default) else {**edges, "default": default}

    def _caught(self, state: JSONObject, place: Place) -> dict[str, str]:
        """The edges of failures."""
        edges: dict[str, str] = {}
        for index, rule in enumerate(state.get("Catch", ())):
            edges["timeout" if tuple(rule["ErrorEquals"]) == TIMED_OUT else "error"] = self._onward(rule["Next"], (*place, index))
        return edges

    def _then(self, state: JSONObject, action: str) -> dict[str, str]:
        target = state.get("Next")
        return {} if target is None or self._is_end(target) else {action: target}

    def _onward(self, target: str, place: Place) -> str:
        if self._is_end(target):
            raise self._refused((*place, "Next"), "a flow has no edge to its end", "Lead it to a node of the kind 'merge'.")
        return target

    def _next(self, edges: dict[str, str]) -> JSONObject:
        return {"next": edges} if edges else {}

    def _is_end(self, name: str) -> bool:
        return is_end(self._states[name])

    def _refused(self, place: Place, why: str, remedy: str = "") -> _Refused:
        _refuse(self._found, place, why, remedy)
        return _Refused()


def _says_action(state: JSONObject) -> bool:
    """Whether a state keeps the action of its task."""
    assigned = state.get("Assign")
    return isinstance(assigned, dict) and "action" in assigned


def _refuse(found: Findings, place: Place, why: str, remedy: str = "") -> None:
    found.error(place, f"This has no counterpart in a flow: {why}. {remedy}".rstrip(), CANNOT_CONVERT)
