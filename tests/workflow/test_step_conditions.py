"""Conditions that cannot be evaluated fail their step, and how far a workflow with groups has come."""

import pytest
from workflowplay import Player


def broken(**more):
    return {
        "name": "w",
        "variables": {"word": "x"},
        "steps": [{"id": "a", "type": "script", "config": {"script": "return 1"}, "when": "{{word - 1 > 2}}", **more}],
    }


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize(
    ("more", "status", "retried"),
    [
        ({}, "FAILED", 0),
        ({"onError": "continue"}, "SUCCEEDED", 0),
        ({"retryCount": 1}, "FAILED", 1),
        ({"retryCount": 2, "onError": "continue"}, "SUCCEEDED", 2),
    ],
)
def test_a_condition_that_cannot_be_evaluated(more, status, retried, restored):
    """The step fails where everybody sees it; a retry asks for the condition again and never does the work without it."""
    played = Player(broken(**more), restored=restored)
    for _ in range(retried):
        assert not played.running()
        played.wake()
    assert not played.running()
    assert played.outcome.status == status
    assert [note["is"] for note in played.notes("StepStarted", "StepRetried", "StepCompleted")] == ["StepStarted", *["StepRetried"] * retried, "StepCompleted"]
    [completed] = played.notes("StepCompleted")
    assert (completed["status"], completed["error"]) == ("failed", "FlowRunner.InvalidParameters")


@pytest.mark.parametrize("restored", [False, True])
def test_a_condition_is_looked_at_once(restored):
    """A step that is tried again goes on with its work, whatever its condition would say by now."""
    steps = [
        {"id": "a", "type": "script", "config": {"script": "return 1"}, "when": "{{go}}", "retryCount": 1},
        {"id": "b", "type": "script", "config": {"script": "return 1"}, "output": {"go": "value"}},
    ]
    played = Player({"name": "w", "variables": {"go": True}, "steps": steps}, restored=restored)
    played.answer("a", error="Bad")
    played.answer("b", {"value": False})
    played.wake()
    assert played.running() == ["a"]


def test_progress_counts_the_steps_within_a_group():
    """Each moves it by its part of the group, which is one step of those around."""
    children = [{"id": f"c{number}", "type": "script", "config": {"script": "return 1"}} for number in range(3)]
    steps = [
        {"id": "g", "type": "group", "children": children},
        {"id": "b", "type": "merge", "dependsOn": ["g"]},
        {"id": "c", "type": "merge", "dependsOn": ["b"]},
        {"id": "d", "type": "merge", "dependsOn": ["c"]},
    ]
    played = Player({"name": "w", "steps": steps})
    for number in range(3):
        played.answer(f"c{number}", 1)
    assert {note["stepId"]: note["progress"] for note in played.notes("StepStarted")} == {"g": 0, "c0": 0, "c1": 8.33, "c2": 16.67, "b": 25, "c": 50, "d": 75}
