"""A flow as a state machine of the Amazon States Language, where the meaning is the same: tasks, conditions, waits and their edges.

Expressions are JSONata. What the language cannot say (waits of less than a second, batches, what other nodes returned) is refused with its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from flowrunner.flow.batches import STRATEGY
from flowrunner.flow.lower import RESOURCE, TIMED_OUT, only
from flowrunner.flow.node import FlowNode
from flowrunner.flow.parse import Flow
from flowrunner.flow.subflows import TARGETS
from flowrunner.flow.templates import tried_again
from flowrunner.flow.values import is_open
from flowrunner.jsonvalue import JSONObject, texts_of
from flowrunner.kinds.durations import read_milliseconds
from flowrunner.lang.embedded import expressions_of
from flowrunner.lang.jsonata.writing import as_it_is
from flowrunner.reading.findings import Findings, Place

CANNOT_CONVERT = "CANNOT_CONVERT"
END, CHOSEN = "(end)", " (action)"  # of states that are no nodes
ENDINGS = (END, CHOSEN)
NAME_CHARACTERS = 80 - len(CHOSEN)
_EXECUTION_ID = re.compile(r"\bexecution\b(?!\s*\.\s*(?:flow_id|name|started_at)\b)")
GIVEN = "($i := $states.input; $type($i) = 'object' ? $i : $i = null ? {} : {'input': $i})"
_DECIDED = (
    "($a := $states.result.action; $o := $states.result.output; $says := function($v) { $type($v) in ['boolean', 'string'] };"
    " $b := $type($o) = 'object' ? ($says($o.branch) ? $o.branch : $o.branch_decision) : $o;"
    " $a != 'success' ? $a : $says($b) ? $string($b) : 'success')"
)
_EXECUTION = {
    "flow_id": "{% $states.context.StateMachine.Name %}",
    "name": "{% $states.context.Execution.Name %}",
    "started_at": "{% $states.context.Execution.StartTime %}",
}


def asl_of(found: Findings, flow: Flow) -> JSONObject:
    """The definition as a JSON value; it counts only when nothing was found. Nodes that no execution comes to are left out."""
    made_of: dict[str, JSONObject] = {}
    waiting = [flow.start]
    while waiting:
        name = waiting.pop(0)
        if name not in made_of and name in flow.nodes:
            before = found.errors
            made_of[name] = _states(found, flow.nodes[name])
            waiting += [target for state in made_of[name].values() for target in targets_of(state)]
            waiting += flow.nodes[name].edges.values() if found.errors > before else ()  # to find all that has no counterpart
    states: JSONObject = {name: state for node in flow.nodes for name, state in made_of.get(node, {}).items()}
    if any(END in targets_of(state) for state in states.values()):
        states[END] = {"Type": "Succeed"}
    if not found.failed and not any(state.get("End") or state["Type"] == "Succeed" for state in states.values()):
        _refuse(found, flow.nodes[flow.start].place, "it has no end, and a state machine must have one", "Let an action of some node have no edge.")
    made: JSONObject = {"QueryLanguage": "JSONata", "StartAt": flow.start, "States": states}
    if flow.timeout is not None:
        made["TimeoutSeconds"] = _seconds(found, flow.timeout, ("timeout",))
    return {"Comment": flow.description, **made} if flow.description else made


def _states(found: Findings, node: FlowNode) -> JSONObject:
    """The state of a node, and a choice after it where its action picks the way."""
    if len(node.name) > NAME_CHARACTERS or node.name.endswith(ENDINGS):
        why = f"the name of a state has at most {NAME_CHARACTERS} characters, and those that end in {' or '.join(ENDINGS)} are taken"
        _refuse(found, node.place, why, "Give the node another name.")
    scripts = [value for name, value in node.params.items() if name in node.kind.scripts()]
    read = [scripts, node.hooks, [text for _, text in expressions_of(node.params)]]
    if any(_EXECUTION_ID.search(text) for text in texts_of(read)):
        _refuse(found, (*node.place, "params"), "the id of an execution is an ARN there", "Read 'execution.name'.")
    if node.batch is not None or node.kind.name in STRATEGY:
        _refuse(found, node.place, "a batch loses what fails and goes on, which a Map state does not")
        return {node.name: {"Type": "Succeed"}}
    if node.kind.name in TARGETS:
        _refuse(found, node.place, "the account of the other flow is not known here")
        return {node.name: {"Type": "Succeed"}}
    if node.kind.name in ("delay", "wait"):
        return {node.name: _wait(found, node)}
    if node.kind.name == "merge":
        return {node.name: {"Type": "Pass", "Output": f"{{% {GIVEN} %}}", **_then(node.edges.get("success", node.edges.get("default")))}}
    for name in sorted(node.mentions):
        _refuse(found, (*node.place, "params"), f"it speaks of '{name}', which only flows have")
    return _task(found, node)


def _task(found: Findings, node: FlowNode) -> JSONObject:
    name, again = json.dumps(node.name), tried_again(node)
    state: JSONObject = {
        "Type": "Task",
        "Resource": f"{RESOURCE}{node.kind.name}",
        "Arguments": {
            "params": as_it_is(node.params),
            "input": f"{{% {GIVEN} %}}",
            "execution": _EXECUTION,
            **({"hooks": as_it_is(node.hooks)} if node.hooks else {}),
            **({"again": again} if again else {}),
            "language": "flow",
        },
        "Output": f"{{% ($o := $states.result.output; $merge([{GIVEN}, $type($o) = 'object' ? $o : {{{name}: $o}}])) %}}",
    }
    if node.timeout is not None:
        state["TimeoutSeconds"] = _seconds(found, node.timeout, (*node.place, "timeout"))
    if retry := list(_retry(found, node)):
        state["Retry"] = retry
    if catch := list(_catch(node, name)):
        state["Catch"] = catch
    decides = not node.kind.actions
    actions = {action: target for action, target in node.edges.items() if decides or action in node.kind.actions or node.hooks}
    if set(node.kind.actions) == {"success"} and not node.hooks:
        return {node.name: {**state, **_then(actions.get("success", node.edges.get("default")))}}
    chosen = f"{node.name}{CHOSEN}"
    action = _DECIDED if decides else "$states.result.action"
    choices = [
        {"Condition": f"{{% $action = {json.dumps(action_name)} %}}", "Next": target} for action_name, target in actions.items() if action_name != "default"
    ]
    if not choices:
        return {node.name: {**state, **_then(node.edges.get("default"))}}
    return {
        node.name: {**state, "Assign": {"action": f"{{% {action} %}}"}, "Next": chosen},
        chosen: {"Type": "Choice", "Choices": choices, "Default": node.edges.get("default", END)},
    }


def _wait(found: Findings, node: FlowNode) -> JSONObject:
    params, place = node.params, (*node.place, "params")
    then = {"Output": f"{{% {GIVEN} %}}", **_then(node.edges.get("success", node.edges.get("default")))}
    if node.kind.name == "wait":  # which looks at one parameter only
        kind = params.get("type") or next((name for name in ("condition", "until_time") if name in params), "duration")
        params = only(params, {"until": "until_time"}.get(kind, kind))
    if is_open(params) or "condition" in params or params.get("jitter"):
        _refuse(found, place, "only a constant time can be waited for")
    elif "until_time" in params:
        return {"Type": "Wait", "Timestamp": params["until_time"], **then}
    else:
        try:
            length = read_milliseconds(params.get("duration"), unit=params.get("unit", "s"))
        except ValueError as error:
            _refuse(found, place, f"'duration' {error}")
        else:
            return {"Type": "Wait", "Seconds": _seconds(found, length, (*place, "duration")), **then}
    return {"Type": "Wait", "Seconds": 0, **then}


def _retry(found: Findings, node: FlowNode) -> Iterator[JSONObject]:
    for retrier in node.retriers:
        place = (*node.place, "retry")
        if retrier.linear:
            _refuse(found, (*place, "backoff"), "the language knows no wait that grows by the same each time")
        made: JSONObject = {
            "ErrorEquals": list(retrier.error_equals),
            "IntervalSeconds": _seconds(found, round(retrier.interval_seconds * 1000), (*place, "wait")),
            "MaxAttempts": retrier.max_attempts,
            "BackoffRate": retrier.backoff_rate,
        }
        if retrier.max_delay_seconds is not None:
            made["MaxDelaySeconds"] = _seconds(found, round(retrier.max_delay_seconds * 1000), (*place, "max_wait"))
        yield {**made, "JitterStrategy": "FULL"} if retrier.full_jitter else made


def _catch(node: FlowNode, name: str) -> Iterator[JSONObject]:
    said = f"{{'error': $e.Error, 'cause': $exists($e.Cause) ? $e.Cause : null, 'node': {name}, 'message': $exists($e.Cause) ? $e.Cause : $e.Error}}"
    output = f"{{% ($e := $states.errorOutput; $merge([{GIVEN}, {{'error': {said}}}])) %}}"
    edges: Mapping[str, tuple[tuple[str, ...], ...]] = {"timeout": (TIMED_OUT,), "error": (("States.DataLimitExceeded",), ("States.ALL",))}
    for edge, errors in edges.items():
        for names in errors:
            if edge in node.edges:
                yield {"ErrorEquals": list(names), "Next": node.edges[edge], "Output": output}


def targets_of(state: JSONObject) -> list[str]:
    """The states that may follow one."""
    parts = [state, *state.get("Choices", ()), *state.get("Catch", ())]
    return [part[name] for part in parts for name in ("Next", "Default") if name in part]


def _then(target: str | None) -> JSONObject:
    return {"End": True} if target is None else {"Next": target}


def _seconds(found: Findings, milliseconds: int, place: Place) -> int:
    if milliseconds % 1000 or not milliseconds:
        _refuse(found, place, "the language counts whole seconds, from 1 on")
    return max(1, milliseconds // 1000)


def _refuse(found: Findings, place: Place, why: str, remedy: str = "") -> None:
    found.error(place, f"This has no counterpart in the Amazon States Language: {why}. {remedy}".rstrip(), CANNOT_CONVERT)
