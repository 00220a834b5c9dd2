"""Every loop that has begun is told to have ended, however it came to that: whoever follows it is not left waiting."""

import pytest
from workflowplay import Player

from flowrunner.core import facts

BODY = [{"id": "work", "type": "command", "config": {"command": "echo"}}]


def looped(**loop):
    return {"variables": {"names": ["x", "y"], "text": "abc"}, "steps": {"l": {"loop": {"children": BODY, **loop}}}}


def ends(played):
    return [(note["stepId"], note["totalIterations"], note["exitReason"]) for note in played.notes("LoopCompleted")]


@pytest.mark.parametrize(
    ("loop", "iterations"),
    [
        ({"type": "forEach", "source": "{{text}}"}, 0),
        ({"type": "forEach", "source": "nothing"}, 0),
        ({"type": "count", "count": "{{text}}"}, 0),
        ({"type": "count", "count": "{{0 - 1}}"}, 0),
        ({"type": "while", "condition": "{{text - 1}}"}, 0),
        ({"type": "forEach", "source": "names", "continueCondition": "{{text - 1}}"}, 1),
        ({"type": "forEach", "source": "names", "breakCondition": "{{text - 1}}"}, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("restored", [False, True])
def test_an_expression_of_the_loop_fails(loop, iterations, restored):
    """Of its source, its count, its conditions."""
    played = Player(looped(**loop), restored=restored)
    if played.open:
        played.answer("work")
    assert played.machine.outcome.status == "FAILED", played.records
    assert len(played.notes("LoopStarted")) == 1
    assert ends(played) == [("l", iterations, "error")]


def test_an_iteration_fails_or_the_run_is_stopped():
    """Once each, with what had been begun."""
    failed = Player(looped(type="forEach", source="names"))
    failed.answer("work", error="Boom")
    assert ends(failed) == [("l", 1, "error")]
    nested = {
        "steps": {"outer": {"loop": {"type": "count", "count": 2, "children": [{"id": "inner", "loop": {"type": "count", "count": 3, "children": BODY}}]}}}
    }
    stopped = Player(nested)
    stopped.take(facts.Stopped(at=stopped.now))
    assert ends(stopped) == [("inner", 1, "error"), ("outer", 1, "error")]


def test_a_loop_that_is_through_is_told_once():
    """As before."""
    played = Player(looped(type="forEach", source="names"))
    for _ in range(2):
        played.answer("work")
    assert ends(played) == [("l", 2, "completed")]
