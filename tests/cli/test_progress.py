"""The tree that is shown of a run as it goes."""

from __future__ import annotations

import json
import re

import pytest
from processes import flowrunner

from flowrunner.cli.progress import lasted

FUNCTIONS = """
class Busy(Exception): pass
def busy(event, context):
    if event["retry"] == 0: raise Busy("later")
def never(event, context): raise Busy("never")
"""
RETRY = {"Retry": [{"ErrorEquals": ["Busy"], "IntervalSeconds": 1, "MaxAttempts": 1}]}


def task(function, **more):
    parameters = {"FunctionName": function, "Payload": {"retry.$": "$$.State.RetryCount"}}
    return {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": parameters, "ResultPath": None, **more}


def machine(first, **states):
    return {"StartAt": first, "States": states}


@pytest.fixture
def tree(tmp_path):
    """The last picture of a run: its lines, with N for every duration."""
    (tmp_path / "fn.py").write_text(FUNCTIONS)
    (tmp_path / "flowrunner.toml").write_text('[functions]\nbusy = "fn.py:busy"\nnever = "fn.py:never"\n')

    def run(definition):
        (tmp_path / "m.asl.json").write_text(json.dumps(definition))
        shown = flowrunner("run", "m.asl.json", "--input", "[7, 8]", "--progress", "tree", folder=tmp_path).stderr
        return [re.sub(r"\d+(\.\d)? (ms|s)\b", "N", line) for line in shown.splitlines()]

    return run


def test_iterations_stand_under_their_map(tree):
    """Each iteration has its index and its own states, each with how long it took; an error that a retry made good is not shown."""
    each = machine("Try", Try=task("busy", Next="Last", **RETRY), Last={"Type": "Pass", "End": True})
    lines = tree(machine("Each", Each={"Type": "Map", "MaxConcurrency": 1, "ItemProcessor": each, "Next": "End"}, End={"Type": "Succeed"}))
    assert lines == [
        "run SUCCEEDED",
        "├── ✔ Each  Map  N",
        "│   ├── ✔ [0]  N",
        "│   │   ├── ✔ Try  Task  N  retry 1",
        "│   │   └── ✔ Last  Pass  N",
        "│   └── ✔ [1]  N",
        "│       ├── ✔ Try  Task  N  retry 1",
        "│       └── ✔ Last  Pass  N",
        "└── ✔ End  Succeed  N",
        "The run succeeded in N.",
    ]


def test_what_failed_is_marked_and_what_was_given_up_too(tree):
    """A caught state keeps its error, a Map that is tried again begins anew, and iterations that were given up say so."""
    seconds = "{% $states.input = 7 ? 1 : 60 %}"  # the second iteration still waits when the first fails
    each = machine("Wait", Wait={"Type": "Wait", "QueryLanguage": "JSONata", "Seconds": seconds, "Next": "Bad"}, Bad={"Type": "Fail", "Error": "Busy"})
    catch = {"Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "Each"}]}
    lines = tree(machine("First", First=task("never", Next="Each", **catch), Each={"Type": "Map", "ItemProcessor": each, "End": True, **RETRY}))
    assert lines == [
        "run FAILED",
        "├── ✗ First  Task  N  Busy",
        "└── ✗ Each  Map  N  retry 1  Busy",
        "    ├── ✗ [0]  N",
        "    │   ├── ✔ Wait  Wait  N",
        "    │   └── ✗ Bad  Fail  N",
        "    └── ■ [1]  N",
        "        └── ■ Wait  Wait  N",
        "flowrunner: The run failed: Busy",
    ]


@pytest.mark.parametrize(("ended", "text"), [("00:00:00.007", "7 ms"), ("00:00:59.94", "59.9 s"), ("00:02:05.5", "2 min 5 s"), ("03:04:05.000", "3 h 4 min")])
def test_durations_are_for_people(ended, text):
    """Two units at most."""
    assert lasted("2026-01-01T00:00:00.000Z", f"2026-01-01T{ended}Z") == text
