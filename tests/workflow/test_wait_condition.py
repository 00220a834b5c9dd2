"""A step that waits for a condition really asks it, again and again, within its bounds."""

import json

import pytest
from workflowplay import Player

from flowrunner.kinds import BUILT_IN
from flowrunner.workflow.parse import parse_workflow


def waiting(**config):
    steps = {
        "set": {"type": "command", "config": {"command": "echo"}, "output": {"status": "stdout"}},
        "wait": {"type": "wait", "config": {"condition": "{{status}} == 'ready'", **config}},
        "then": {"type": "command", "config": {"command": "echo"}, "dependsOn": ["wait"]},
    }
    return {"variables": {"status": "new", "pause": "2s"}, "steps": steps}


@pytest.mark.parametrize("restored", [False, True])
def test_it_goes_on_when_another_step_makes_it_true(restored):
    """It is asked at once, and then after each interval; between two times nothing runs."""
    played = Player(waiting(interval="{{pause}}"), restored=restored)
    began = played.now
    assert played.running() == ["set"]
    for _ in range(3):
        played.wake()
    assert (played.now - began, played.running()) == (6000, ["set"])
    played.answer("set", {"stdout": "ready"})
    assert played.running() == []
    played.wake()
    assert (played.now - began, played.running()) == (8000, ["then"])
    played.answer("then", {})
    assert played.output["outputs"]["wait"] == {"met": True, "attempts": 5}
    assert "poll.wait" not in played.output["variables"]
    assert not [note for note in played.notes("VariableChanged") if note["name"] != "status"]


@pytest.mark.parametrize(
    ("config", "member", "milliseconds", "attempts"),
    [
        ({"max_attempts": 3}, {}, 2000, "3 times"),
        ({"maxAttempts": 1}, {}, 0, "once"),
        ({"interval": "10s", "timeout": "25s"}, {}, 25_000, "4 times"),
        ({"interval": "{{pause}}", "timeout": "{{2 + 1}}"}, {}, 3000, "3 times"),
        ({"interval": "10s"}, {"timeout": 15}, 15_000, "3 times"),
        ({}, {}, 59_000, "60 times"),
    ],
)
def test_it_fails_when_attempts_or_time_are_used_up(config, member, milliseconds, attempts):
    """With a last look at the end of its time; the run fails as any other that is too late."""
    definition = waiting(**config)
    definition["steps"] = {"wait": {**definition["steps"]["wait"], **member}}
    assert not parse_workflow(json.dumps(definition), BUILT_IN).diagnostics
    played = Player(definition)
    began = played.now
    while played.outcome is None:
        played.wake()
    assert (played.outcome.status, played.outcome.error, played.now - began) == ("FAILED", "States.Timeout", milliseconds)
    assert f"it was asked {attempts}" in played.outcome.cause


def test_it_may_be_tried_again_or_passed_by():
    """Each retry begins with all of its attempts; with onError continue the run goes on."""
    definition = waiting(max_attempts=2)
    definition["steps"]["wait"] |= {"retry": {"maxAttempts": 2, "interval": 500}, "onError": "continue"}
    played = Player(definition)
    began = played.now
    while "then" not in played.running():
        played.wake()
    assert played.now - began == 1000 + 500 + 1000
    played.answer("then", {})
    played.answer("set", {"stdout": "late"})
    assert played.outcome.status == "SUCCEEDED"


def test_in_iterations_that_run_at_once():
    """Each has its own attempts."""
    children = [{"id": "w", "type": "wait", "config": {"condition": "{{n}} < 0", "max_attempts": "{{n}}"}, "onError": "continue"}]
    played = Player({"steps": {"l": {"loop": {"type": "forEach", "source": [1, 3], "itemVar": "n", "parallel": True, "children": children}}}})
    began = played.now
    while played.outcome is None:
        played.wake()
    assert (played.outcome.status, played.now - began) == ("SUCCEEDED", 2000)


@pytest.mark.parametrize(
    ("config", "place", "said"),
    [
        ({"condition": "{{x"}, "condition", "'}}' is missing"), ({"type": "condition"}, "condition", "'condition' is missing"), ({"condition": 3}, "condition", "'condition' is missing"), ({"condition": "{{x}}", "interval": 0}, "interval", "more than 0"),
        ({"condition": "{{x}}", "timeout": "soon"}, "timeout", "units such as"), ({"condition": "{{x}}", "max_attempts": 0}, "max_attempts", "from 1 on"), ({"condition": "{{x}}", "maxAttempts": "many"}, "maxAttempts", "from 1 on"),
        ({"type": "event"}, "type", "duration, until or condition"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(config, place, said):
    """Before it is kept."""
    parsed = parse_workflow(json.dumps({"steps": {"a": {"type": "wait", "config": config}}}), BUILT_IN)
    assert parsed.program is None
    assert [one.pointer for one in parsed.diagnostics if said in one.message] == [f"/steps/a/config/{place}"]
