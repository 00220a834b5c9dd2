"""Every loop that has begun is told to have ended, however it came to that: whoever follows it is not left waiting."""

import json

import pytest
from workflowplay import Player

from flowrunner.core import facts
from flowrunner.kinds import BUILT_IN
from flowrunner.workflow.parse import parse_workflow

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


def test_what_loops_count():
    """Those that began, those that came through (a skipped one too), those that failed."""
    task = {"id": "b", "type": "command", "config": {"command": "true"}}

    def counted(config, fails=(), **more):
        played = Player({"name": "w", "steps": {"a": {"type": "loop", **more, "config": {**config, "children": [task]}}}})
        turn = 0
        while played.outcome is None:
            played.answer("b", {}, error="E" if turn in fails else None)
            turn += 1
        output = played.output["outputs"]["a"]
        return [output[name] for name in ("totalIterations", "completedIterations", "failedIterations", "exitReason")]

    assert counted({"count": 9, "breakCondition": "{{loopIndex}} == 2"}) == [3, 3, 0, "break"]
    assert counted({"count": 3}, fails={1}, onError="continue") == [3, 2, 1, "completed"]
    assert counted({"count": 3, "continueCondition": "{{loopIndex}} == 1"}) == [3, 3, 0, "completed"]


@pytest.mark.parametrize(("count", "times"), [("2", 2), (" 3 ", 3), ("2.0", 2), (2.0, 2), ("0", 0)])
def test_a_count_may_be_a_text_with_a_number(count, times):
    """As where it is compared; what holds no whole number fails the loop."""
    loop = {"type": "loop", "config": {"count": "{{x}}", "children": [{"id": "b", "type": "merge"}]}}
    assert Player({"name": "w", "steps": {"a": loop}}, {"x": count}).output["outputs"]["a"]["totalIterations"] == times
    for wrong in ("two", "", "2.5", "-1", True, None, [2]):
        assert Player({"name": "w", "steps": {"a": loop}}, {"x": wrong}).outcome.error == "FlowRunner.InvalidParameters"


@pytest.mark.parametrize(
    ("loop", "outputs", "told"),
    [
        ({"itemVar": "it"}, {"it": "k", "other": "k"}, ["it"]),
        ({}, {"item": "k", "index": "k", "loopIndex": "{{1}}", "it": "k"}, ["item", "index", "loopIndex"]),
        ({"itemVar": "it", "indexVar": "at"}, {"item": "k", "index": "k"}, []),
    ],
)
def test_a_variable_that_the_loop_hides_is_told(loop, outputs, told):
    """Whatever the step that sets it is within; the loop itself may set it when it has ended."""

    def findings(step):
        found = parse_workflow(json.dumps({"name": "w", "steps": {"l": step}}), BUILT_IN).diagnostics
        return [(one.severity, one.code, one.pointer) for one in found]

    setting = {"id": "s", "type": "command", "config": {"command": "true"}, "output": outputs}
    inner = {"id": "g", "type": "group", "children": [setting]}
    whole = {"type": "loop", "config": {"source": [1], **loop, "children": [inner]}}
    place = "/steps/l/config/children/0/children/0/output"
    assert findings(whole) == [("WARNING", "HIDDEN_VARIABLE", f"{place}/{name}") for name in told]
    assert findings({**whole, "config": {**whole["config"], "children": []}, "output": {"item": "exitReason"}}) == []
    itself = {"type": "command", "config": {"command": "true"}, "loop": {"source": [1], **loop}, "output": outputs}
    assert {pointer for _, _, pointer in findings(itself)} == {f"/steps/l/output/{name}" for name in told}
