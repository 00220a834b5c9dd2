"""Branches of which none is taken, and the steps of those that are not."""

import json

import pytest
from workflowplay import Player

TASK = {"type": "command", "config": {"command": "true"}}
NONE = {"selectedBranch": None, "branchIndex": -1, "isDefault": False, "condition": None}
LOOK = {"type": "command", "config": {"command": "echo", "args": ["{{nodes.y.status}}", "{{nodes.n.status}}", "{{nodes.deep.status}}"]}, "dependsOn": ["a"]}
YES = {"y": TASK}
NO = {"n": {"type": "group", "children": {"deep": TASK}}}


def decided(played):
    return [{name: note[name] for name in NONE} for note in played.notes("BranchDecided")]


def seen(step, variables, *, restored=False):
    """What a step after the branch reads of the steps within it, and the branch's own notes."""
    played = Player({"name": "w", "steps": {"a": step, "look": LOOK}}, variables, restored=restored)
    while played.running() != ["look"]:
        played.answer(played.running()[0], {})
    return played.params("look")["args"], decided(played), played


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize(
    "step",
    [
        {"type": "branch", "condition": "{{x}} == 1", "children": YES},
        {"type": "branch", "branches": [{"condition": "{{x}} == 1", "children": YES}]},
    ],
)  # fmt: skip
def test_none_is_taken(step, restored):
    """Whichever way the branch is written, it says that none was; its steps are skipped."""
    args, told, played = seen(step, {"x": 2}, restored=restored)
    assert (args[0], told) == ("skipped", [NONE])
    [note] = [note for note in played.notes("StepCompleted") if note["stepId"] == "a"]
    assert (note["status"], json.loads(note["output"])) == ("success", {"selectedBranch": None})
    args, told, _ = seen(step, {"x": 1}, restored=restored)
    assert (args[0], told[0]["branchIndex"], told[0]["isDefault"]) == ("success", 0, False)


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize(
    "step",
    [
        {"type": "branch", "condition": "{{x}} == 1", "children": YES, "elseChildren": NO},
        {"type": "branch", "branches": [{"condition": "{{x}} == 1", "children": YES}, {"condition": "default", "children": NO}]},
    ],
)  # fmt: skip
def test_the_other_one_is_skipped(step, restored):
    """With all that stands within it; so are all when the step itself is."""
    assert seen(step, {"x": 1}, restored=restored)[0] == ["success", "skipped", "skipped"]
    assert seen(step, {"x": 2}, restored=restored)[0] == ["skipped", "success", "success"]
    assert seen({**step, "when": "false"}, {"x": 2}, restored=restored)[0] == ["skipped"] * 3


def test_each_iteration_has_its_own_way():
    """What an earlier one has done does not count in a later one."""
    branch = {"id": "b", "type": "branch", "condition": "{{loopIndex}} == 0", "children": YES, "elseChildren": NO}
    step = {"type": "loop", "config": {"count": 2, "children": [branch]}}
    assert seen(step, {})[0] == ["skipped", "success", "success"]
    for kind in ({"type": "loop", "config": {"count": 2, "children": [{"id": "y", **TASK}]}}, {"type": "group", "children": YES}):
        assert seen({**kind, "disabled": True}, {})[0][0] == "skipped"
