"""State machines that become flows, and those that do not: a flow does exactly what the machine does, or it is said where it would not."""

import pytest
from twice import Answer, converted, refusals, same

GIVEN = "($i := $states.input; $type($i) = 'object' ? $i : $i = null ? {} : {'input': $i})"
MERGED = f"{{% ($o := $states.result.output; $merge([{GIVEN}, $type($o) = 'object' ? $o : {{\"Ask\": $o}}])) %}}"
EXECUTION = {
    "flow_id": "{% $states.context.StateMachine.Name %}",
    "name": "{% $states.context.Execution.Name %}",
    "started_at": "{% $states.context.Execution.StartTime %}",
}
ASK = {
    "Type": "Task",
    "Resource": "arn:aws:states:::flowrunner:transform",
    "Arguments": {"params": {"script": "return 1"}, "input": f"{{% {GIVEN} %}}", "execution": EXECUTION, "language": "flow"},
    "Output": MERGED,
}


def machine(**states):
    return {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states}


WRITTEN = machine(
    Pause={"Type": "Wait", "Seconds": 5, "Comment": "A while.", "Output": f"{{% {GIVEN} %}}", "Next": "Ask"},
    Ask={**ASK, "TimeoutSeconds": 9, "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 2, "MaxAttempts": 1, "BackoffRate": 1}], "Next": "Done"},
    Done={"Type": "Succeed"},
)


@pytest.mark.parametrize("given", [{"a": 1}, None, 5])
@pytest.mark.parametrize("fails", [0, 1, 2])
def test_a_machine_written_by_hand(given, fails):
    """It need not come from a flow: names, comments and the way it ends are the author's."""
    same(WRITTEN, "asl", "flow", given, lambda state, called, attempt: Answer([1], error="X" if attempt <= fails else None))


def test_what_becomes_of_it():
    """A flow as an author would write it."""
    flow = converted({**WRITTEN, "Comment": "Asks.", "TimeoutSeconds": 60}, "asl", "flow")
    assert flow["metadata"] == {"name": "converted", "description": "Asks."}
    assert (flow["start"], flow["timeout"]) == ("Pause", "60s")
    assert flow["nodes"]["Pause"] == {"type": "delay", "params": {"duration": 5}, "next": {"success": "Ask"}}
    assert flow["nodes"]["Ask"]["retry"] == {"max_retries": 1, "wait": "2s", "backoff": "fixed"}


END = {"End": True}


@pytest.mark.parametrize(
    ("states", "place", "why"),
    [
        ({"A": {"Type": "Parallel", "Branches": [{"StartAt": "B", "States": {"B": {"Type": "Succeed"}}}], **END}}, "/States/A", "one node at a time"),
        ({"A": {"Type": "Map", "ItemProcessor": {"StartAt": "B", "States": {"B": {"Type": "Succeed"}}}, **END}}, "/States/A", "loses the items"),
        ({"A": {"Type": "Fail", "Error": "X"}}, "/States/A", "an error of its own name"),
        ({"A": {"Type": "Pass", "Output": 1, **END}}, "/States/A", "joins its input"),
        ({"A": {"Type": "Succeed"}}, "/States", "at least one node"),
        ({"A": {"Type": "Succeed", "Output": 1}}, "/States/A", "what came in"),
        ({"A": {"Type": "Wait", "Seconds": "{% 1 %}", **END}}, "/States/A", "constant time"),
        ({"A": {"Type": "Wait", "Seconds": 1, **END}}, "/States/A/Output", "gives its input"),
        ({"A": {"Type": "Choice", "Choices": [{"Condition": "{% true %}", "Next": "B"}]}, "B": {"Type": "Succeed"}}, "/States/A", "action of a task"),
        ({"A": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", **END}}, "/States/A/Resource", "no kind of node calls"),
        ({"A": {"Type": "Task", "Resource": "arn:aws:states:::flowrunner:transform", **END}}, "/States/A", "parameters and its input"),
        ({"Ask": {**ASK, "Arguments": {"params": {"script": "{% 1 + 1 %}"}}, **END}}, "/States/Ask/Arguments/params/script", "JSONata"),
        ({"Ask": {**ASK, "Arguments": {"params": {}}, **END}}, "/States/Ask/Arguments", "parameters and its input"),
        ({"Ask": {**ASK, "Output": "{% $states.result %}", **END}}, "/States/Ask/Output", "with what it has returned"),
        ({"Ask": {**ASK, "Assign": {"x": 1}, **END}}, "/States/Ask/Assign", "no variables"),
        ({"Ask": {**ASK, "HeartbeatSeconds": 5, **END}}, "/States/Ask/HeartbeatSeconds", "no node"),
        ({"Ask": {**ASK, "Retry": [{"ErrorEquals": ["X"]}], **END}}, "/States/Ask/Retry", "any error"),
        ({"Ask": {**ASK, "Retry": [{"ErrorEquals": ["States.ALL"], "BackoffRate": 1.5}], **END}}, "/States/Ask/Retry", "any error"),
        ({"Ask": {**ASK, "Catch": [{"ErrorEquals": ["X"], "Next": "Ask"}], **END}}, "/States/Ask/Catch", "'timeout' or 'error'"),
        ({"Ask": {**ASK, "Catch": [{"ErrorEquals": ["X"], "Next": "B"}], **END}, "B": {"Type": "Succeed"}}, "/States/Ask/Catch/0/Next", "edge to its end"),
        ({"Ask": {**ASK, "Assign": {"action": "{% 1 %}"}, "Next": "B"}, "B": {"Type": "Choice", "Choices": [{"Condition": "{% $a %}", "Next": "C"}]}, "C": {"Type": "Succeed"}}, "/States/B/Choices/0", "action of a task"),
        ({"A": {"Type": "Task", "Resource": "arn:aws:states:::flowrunner:http", "Arguments": {"params": {"url": 5}}, **END}}, "/States", "would not be sound"),
    ],
)  # fmt: skip
def test_what_has_no_counterpart_is_told(states, place, why):
    """With its place, why, and mostly what would help."""
    [(at, message)] = refusals(machine(**states), "asl", "flow")
    assert (at, why in message) == (place, True), message


def test_a_machine_of_paths_is_no_flow():
    """JSONPath says things in another way."""
    paths = {"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": 1, "End": True}}}
    assert {place for place, _ in refusals(paths, "asl", "flow")} == {"/QueryLanguage", "/States/A/Output"}
