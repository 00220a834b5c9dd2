"""How a state machine stands, after each event of every machine case: beside the tree of states that the command line draws."""

import json
from pathlib import Path

import pytest
from play import play

from flowrunner.ports.executions import Head
from standings import messages_of, running_states, snapshot_of

HEAD = Head(id="0" * 32, account="0", machine="m", name="n", revision="r", status="RUNNING", input="{}", seed=b"s" * 16, started_at=1_700_000_000_000)
CASES = [
    pytest.param(case, id=f"{file.stem}/{case['name']}")
    for file in sorted((Path(__file__).parent.parent / "cases" / "machine").glob("*.json"))
    for case in json.loads(file.read_text())
]


@pytest.mark.parametrize("case", CASES)
def test_what_runs_and_what_is_over(case):
    """The states that run are the same ones after every event; at the end none runs, and each was entered as often as its events say."""
    records = play(case["definition"], case.get("input"), case.get("answers")).records
    messages = messages_of(HEAD, records, "history")
    for count in range(1, len(records)):
        nodes = {node["id"] for node in snapshot_of(HEAD, records[:count], "history")["payload"]["nodes"]}
        assert nodes == running_states(messages[:count]), (count, [message["type"] for message in messages[:count]])
    payload = snapshot_of(HEAD, records, "history")["payload"]
    assert payload["nodes"] == []
    entered = [message["payload"]["name"] for message in messages if message["type"] == "state_entered"]
    assert {step["stepId"]: step["entered"] for step in payload["steps"]} == {name: entered.count(name) for name in entered}
    assert all(step["duration"] >= 0 for step in payload["steps"])
    assert payload["executionStatus"] == case["expect"]["status"]
    assert payload["lastSeq"] == len(records)


ASSIGNS = {"QueryLanguage": "JSONata", "StartAt": "One"}
INNER = {"StartAt": "Inner", "States": {"Inner": {"Type": "Pass", "Assign": {"inner": 1}, "End": True}}}


def test_variables_of_a_state_machine():
    """As assigned last; those of a branch or iteration end with it."""
    states = {
        "One": {"Type": "Pass", "Assign": {"x": 1, "kept": "a"}, "Next": "Both"},
        "Both": {"Type": "Parallel", "Branches": [INNER], "Assign": {"x": {"big": 12345678901234567890123}}, "Next": "Last"},
        "Last": {"Type": "Pass", "Assign": {"y": "{% $x %}"}, "End": True},
    }
    records = play({**ASSIGNS, "States": states}).records
    payload = snapshot_of(HEAD, records, "history")["payload"]
    assert payload["variables"] == {"x": {"big": 12345678901234567890123}, "kept": "a", "y": {"big": 12345678901234567890123}}


def test_what_failed_and_what_was_caught_is_failed():
    """Also what began and failed within; what it has ended is cancelled."""
    wait = {"StartAt": "Rest", "States": {"Rest": {"Type": "Wait", "Seconds": 9, "End": True}}}
    fails = {"StartAt": "Breaks", "States": {"Breaks": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:f", "End": True}}}
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Bad"}]
    states = {"Both": {"Type": "Parallel", "Branches": [fails, wait], "Catch": catch, "End": True}, "Bad": {"Type": "Fail"}}
    records = play({"StartAt": "Both", "States": states}, answers={"f": [{"fail": {"error": "E", "cause": "why"}, "after": 2}]}).records
    steps = snapshot_of(HEAD, records, "history")["payload"]["steps"]
    assert {step["stepId"]: (step["status"], step["duration"]) for step in steps} == {
        "Both": ("failed", 2000),
        "Breaks": ("failed", 2000),
        "Rest": ("cancelled", 2000),
        "Bad": ("failed", 0),
    }
