"""How far a run has come, on every step that begins: what stands within a step divides the step's share."""

import pytest
from workflowplay import Player

from flowrunner.workflow.testcase import parse_testcase

TASK = {"type": "command", "config": {"command": "true"}}
DELAY = {"type": "delay", "config": {"duration": "1s"}}


def progress(definition, variables=None, *, fails=(), restored=False, parse=None):
    """Where the run stands when each step begins; steps of the type command whose ids are in `fails` fail."""
    played = Player(definition, variables, restored=restored, **({} if parse is None else {"parse": parse}))
    while played.outcome is None:
        if played.open:
            state = played.running()[0]
            if state in fails:
                played.answer(state, error="No")
            else:
                played.answer(state, {"exitCode": 0, "stdout": "", "assertions": []})
        else:
            played.wake()
    return [note["progress"] for note in played.notes("StepStarted")]


def rising(told):
    return told == sorted(told) and told[-1] <= 99


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize(
    ("step", "told"),
    [
        ({"type": "group", "children": [{"id": name, **TASK} for name in "bcde"]}, [0, 0, 25, 50, 75]),
        ({"type": "loop", "config": {"count": 4, "children": [{"id": "b", **TASK}]}}, [0, 0, 25, 50, 75]),
        ({"type": "loop", "config": {"count": 2, "children": [{"id": "b", **TASK}, {"id": "c", **TASK}]}}, [0, 0, 25, 50, 75]),
        ({**TASK, "loopOver": [1, 2, 3, 4]}, [0, 0, 25, 50, 75]),
        ({"type": "loop", "config": {"count": 4, "continueCondition": "{{loopIndex}} < 2", "children": [{"id": "b", **TASK}]}}, [0, 50, 75]),
        ({"type": "loop", "config": {"condition": "{{loopIndex}} < 3", "maxIterations": 10, "children": [{"id": "b", **TASK}]}}, [0, 0, 10, 20]),
        ({"type": "branch", "condition": "true", "children": [{"id": "b", **TASK}, {"id": "c", **TASK}]}, [0, 0, 50]),
        ({"type": "group", "children": [{"id": "g", "type": "group", "children": [{"id": "b", **TASK}, {"id": "c", **TASK}]}, {"id": "d", **TASK}]}, [0, 0, 0, 25, 50]),
        ({"type": "group", "children": [{"id": "b", **TASK, "disabled": True}, {"id": "c", **TASK}]}, [0, 50]),
    ],
)  # fmt: skip
def test_steps_within_one(step, told, restored):
    """The only step of the first level tells how far it has come; beside another one it is half of that."""
    assert progress({"name": "w", "steps": {"a": step}}, restored=restored) == told
    both = progress({"name": "w", "steps": {"a": step, "z": {**TASK, "dependsOn": ["a"]}}}, restored=restored)
    assert both == [value / 2 for value in told] + [50]


@pytest.mark.parametrize("restored", [False, True])
def test_it_never_falls_and_counts_once(restored):
    """A group that is tried again, a loop that breaks off or goes on after failures, steps side by side."""
    again = {"type": "group", "retryCount": 1, "children": [{"id": "b", **TASK}, {"id": "c", **TASK}]}
    told = progress({"name": "w", "steps": {"a": {**again, "onError": "continue"}, "z": {**TASK, "dependsOn": ["a"]}}}, fails={"c"}, restored=restored)
    assert told == [0, 0, 25, 25, 25, 50]
    broken = {"type": "loop", "config": {"count": 10, "breakCondition": "{{loopIndex}} == 1", "children": [{"id": "b", **TASK}]}}
    assert progress({"name": "w", "steps": {"a": broken, "z": {**TASK, "dependsOn": ["a"]}}}, restored=restored) == [0, 0, 5, 50]
    failing = {"type": "loop", "onError": "continue", "config": {"count": 4, "children": [{"id": "b", **TASK}]}}
    assert progress({"name": "w", "steps": {"a": failing}}, fails={"b"}, restored=restored) == [0, 0, 25, 50, 75]
    side = {name: {"type": "loop", "config": {"count": 3, "parallel": True, "children": [{"id": f"{name}{n}", **TASK} for n in "12"]}} for name in "abc"}
    assert rising(progress({"name": "w", "steps": side}, restored=restored))


def test_test_cases_count_all_their_stages():
    """Hooks, steps and what stands within these."""
    hook = {"type": "command", "command": {"command": "true"}}
    case = {
        "testId": "t",
        "name": "t",
        "setupHooks": [hook],
        "steps": [{"id": "g", "type": "group", "children": [{"id": "b", **TASK}, {"id": "c", **TASK}]}],
        "teardownHooks": [hook, hook],
    }
    assert progress(case, parse=parse_testcase) == [0, 25, 25, 37.5, 50, 75]


def test_waiting_steps_count_too():
    """A step that is no task."""
    assert progress({"name": "w", "steps": {"a": {"type": "group", "children": [{"id": "b", **DELAY}, {"id": "c", **DELAY}]}}}) == [0, 0, 50]
