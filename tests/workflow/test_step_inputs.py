"""What a step is given: its inputs and data mappers, in every kind of step that has a use for them."""

import json

import pytest
from workflowplay import Player

from flowrunner.kinds import BUILT_IN
from flowrunner.workflow.parse import parse_workflow

FIRST = {"type": "command", "config": {"command": "true"}}


def workflow(**steps):
    return {"name": "w", "steps": steps}


def findings(definition):
    return parse_workflow(json.dumps(definition), BUILT_IN).diagnostics


def started(played, state):
    called = played.called(state)
    return called["StateMachineArn"].rpartition(":")[2], called["Input"]["variables"]


@pytest.mark.parametrize(("kind", "state", "name", "form"), [("workflow", "a", "workflowId", "workflow"), ("test-case", "a (test)", "testId", "test")])
@pytest.mark.parametrize("restored", [False, True])
class TestStepsThatStartRuns:
    def test_inputs_are_seen_by_the_config(self, kind, state, name, form, restored):
        """As variables of the step; without ``variables`` they are the variables."""
        step = {"type": kind, "input": {"q": "{{n}}", "id": "other"}, "config": {name: "{{id}}", "variables": {"z": "{{q}}"}}}
        assert started(Player(workflow(a=step), {"n": 5}, restored=restored), state) == (f"{form}/other", {"z": 5})
        without = {**step, "config": {name: "{{id}}"}}
        assert started(Player(workflow(a=without), {"n": 5}, restored=restored), state) == (f"{form}/other", {"q": 5, "id": "other"})

    def test_inputs_alone_are_the_config(self, kind, state, name, form, restored):
        """As of every other step."""
        step = {"type": kind, "input": {name: "other", "variables": {"z": "{{n}}"}}}
        assert started(Player(workflow(a=step), {"n": 5}, restored=restored), state) == (f"{form}/other", {"z": 5})

    def test_data_mappers_fill_the_config(self, kind, state, name, form, restored):
        """A variable, and which definition is meant."""
        mappers = [{"sourceStep": "first", "sourcePath": "stdout", "targetParam": "variables.k", "transform": "trim"}]
        mappers += [{"sourceStep": "first", "sourcePath": "id", "targetParam": name}]
        played = Player(workflow(first=FIRST, a={"type": kind, "input": {"q": 1}, "dataMappers": mappers, "dependsOn": ["first"]}), restored=restored)
        played.answer("first", {"stdout": " v\n", "id": "other"})
        assert started(played, state) == (f"{form}/other", {"q": 1, "k": "v"})

    def test_what_is_not_named_is_missing(self, kind, state, name, form, restored):
        """Neither in the config nor by a data mapper."""
        del state, form, restored
        [found] = findings(workflow(a={"type": kind, "input": {"q": 1}}))
        assert (found.severity, f"'{name}' is missing" in found.message) == ("ERROR", True)


def test_a_test_case_that_did_not_pass_is_named_by_its_input():
    """The message is filled in as the config was."""
    played = Player(workflow(a={"type": "test-case", "input": {"id": "t1"}, "config": {"testId": "{{id}}"}}))
    played.answer("a (test)", error="States.TaskFailed", cause="FlowRunner.AssertionFailed: no\n{}")
    assert (played.outcome.error, played.outcome.cause) == ("FlowRunner.AssertionFailed", "The test case 't1' ended as failed: no")


# --- steps that wait, branch and repeat


def ended(played, step):
    [note] = [note for note in played.notes("StepCompleted") if note["stepId"] == step]
    return note["status"], json.loads(note["output"])


def test_waits_see_their_inputs():
    """A delay, a moment, a condition and how often it is asked."""
    played = Player(workflow(a={"type": "delay", "input": {"q": 250}, "config": {"duration": "{{q}}", "unit": "ms"}}))
    before = played.now
    played.wake()
    assert played.now - before == 250
    played = Player(workflow(a={"type": "wait", "input": {"q": "2023-11-14T22:13:25Z"}, "config": {"until": "{{q}}"}}))
    played.wake()
    assert played.now - before == 5000
    asked = {"type": "wait", "input": {"q": "{{n}}"}, "config": {"condition": "{{q}} == 5", "interval": "1s", "max_attempts": "{{q}}"}}
    assert ended(Player(workflow(a=asked), {"n": 5}), "a") == ("success", {"met": True, "attempts": 1})
    late = Player(workflow(a=asked), {"n": 2})
    late.wake()
    assert late.outcome.error == "States.Timeout"


def test_branches_see_their_inputs():
    """Those with a condition, and those of a list; the steps within do not."""
    inner = {"type": "command", "config": {"command": "echo", "args": ["{{q}}"]}}
    either = {"type": "branch", "input": {"q": 5}, "condition": "{{q}} == 5", "children": {"y": inner}, "elseChildren": {"n": inner}}
    assert Player(workflow(a=either)).running() == ["y"]
    listed = {
        "type": "branch",
        "inputs": {"q": 5},
        "branches": [{"condition": "{{q}} > 5", "children": {"n": inner}}, {"condition": "{{q}} == 5", "children": {"y": inner}}],
    }
    played = Player(workflow(a=listed))
    assert (played.running(), played.params("y")["args"]) == (["y"], ["{{q}}"])
    [decided] = played.notes("BranchDecided")
    assert decided["condition"] == "{{q}} == 5"


def test_loops_see_their_inputs():
    """In what they repeat over and in their conditions; a step that is repeated itself has them as ever."""
    body = {"b": {"type": "delay", "config": {"duration": 0}}}
    counted = Player(
        workflow(
            a={"type": "loop", "input": {"q": 3, "last": 1}, "config": {"count": "{{q}}", "breakCondition": "{{loopIndex}} == {{last}}", "children": body}}
        )
    )
    while counted.outcome is None:
        counted.wake()
    assert counted.output["outputs"]["a"]["exitReason"] == "break"
    assert len(counted.notes("IterationStarted")) == 2
    each = Player(workflow(a={"type": "loop", "input": {"q": [7, 8]}, "config": {"source": "{{q}}", "children": body}}))
    assert [note["item"] for note in each.notes("IterationStarted")] == [7, 8]
    itself = Player(workflow(a={"type": "command", "loopOver": [1], "input": {"q": "{{item}}"}, "config": {"command": "echo", "args": ["{{q}}"]}}))
    assert itself.params("a")["args"] == [1]


@pytest.mark.parametrize(
    ("step", "members"),
    [
        ({"type": "group", "children": {"b": FIRST}}, ["input", "inputs", "dataMappers"]),
        ({"type": "merge"}, ["input", "inputs", "dataMappers"]),
        ({"type": "delay", "config": {"duration": 1}}, ["dataMappers"]),
        ({"type": "wait", "config": {"until": "2030-01-01T00:00:00Z"}}, ["dataMappers"]),
        ({"type": "wait", "config": {"condition": "true"}}, ["dataMappers"]),
        ({"type": "branch", "condition": "true", "children": {"b": FIRST}}, ["dataMappers"]),
        ({"type": "branch", "branches": [{"condition": "true", "children": {"b": FIRST}}]}, ["dataMappers"]),
        ({"type": "loop", "config": {"count": 1, "children": {"b": FIRST}}}, ["dataMappers"]),
        ({"type": "command", "config": {"command": "true"}}, []),
        ({"type": "workflow", "config": {"workflowId": "w"}}, []),
    ],
)
def test_what_has_no_effect_is_told(step, members):
    """With the member and what to do instead."""
    given = {"input": {"q": 1}, "inputs": {"p": 1}, "dataMappers": [{"sourceStep": "first", "sourcePath": "x", "targetParam": "variables.y"}]}
    target = {"command": "args", "workflow": "variables.y"}.get(step["type"], "y")
    given["dataMappers"][0]["targetParam"] = target
    found = findings(workflow(first=FIRST, a={**step, **given, "dependsOn": ["first"]}))
    assert [(one.code, one.severity, one.pointer) for one in found] == [("IGNORED_FIELD", "WARNING", f"/steps/a/{member}") for member in members]


# --- data mappers


def mapped(value, *, target="args", transform=None, config=None):
    """The parameters of a step that gets a part of an output of the step before."""
    mapper = {"sourceStep": "first", "sourcePath": "v", "targetParam": target, **({} if transform is None else {"transform": transform})}
    step = {"type": "command", "config": {"command": "echo", **(config or {})}, "dataMappers": [mapper], "dependsOn": ["first"]}
    played = Player(workflow(first=FIRST, a=step))
    played.answer("first", {"v": value})
    return played


@pytest.mark.parametrize("transform", ["uppercase", "lowercase", "trim"])
@pytest.mark.parametrize("value", [None, True, 7, 1.5, [" a "], {"A": 1}])
def test_what_is_no_text_stays_as_it_is(transform, value):
    """Nothing is made a text in passing."""
    assert mapped(value, transform=transform).params("a")["args"] == value


def test_texts_are_changed_and_numbers_read():
    """Each transform; what holds no number fails the step."""
    made = {transform: mapped(" Ab ", transform=transform).params("a")["args"] for transform in ("uppercase", "lowercase", "trim")}
    assert made == {"uppercase": " AB ", "lowercase": " ab ", "trim": "Ab"}
    assert [mapped("7.5", transform=one).params("a")["args"] for one in ("parseInt", "parseFloat")] == [7, 7.5]
    assert mapped(None, transform="parseInt").outcome.cause.endswith("A data mapper cannot read a number from nothing.")


def test_a_target_may_be_an_item_of_a_list():
    """One that is there; the config of the definition is as it was."""
    config = {"args": ["-n", "?", {"of": 1}]}
    assert mapped("x", target="args[1]", config=config).params("a")["args"] == ["-n", "x", {"of": 1}]
    assert mapped("x", target="args[-1].of", config=config).params("a")["args"] == ["-n", "?", {"of": "x"}]
    assert config == {"args": ["-n", "?", {"of": 1}]}
    failed = mapped("x", target="args[3]", config=config).outcome
    assert (failed.error, "sets item 3 of a list, but there are 3" in failed.cause) == ("FlowRunner.InvalidParameters", True)
    assert "but there is no list" in mapped("x", target="env[0]").outcome.cause
    found = findings(
        workflow(first=FIRST, a={**FIRST, "dependsOn": ["first"], "dataMappers": [{"sourceStep": "first", "sourcePath": "v", "targetParam": "[0]"}]})
    )
    assert "/steps/a/dataMappers/0/targetParam" in [one.pointer for one in found]


def test_data_never_become_a_script():
    """Not by a data mapper, and not where the inputs are the config."""
    mapper = {"sourceStep": "first", "sourcePath": "v", "targetParam": "script"}
    [found] = findings(workflow(first=FIRST, a={"type": "script", "config": {"args": 1}, "dependsOn": ["first"], "dataMappers": [mapper]}))
    assert (found.severity, found.pointer) == ("ERROR", "/steps/a/dataMappers/0/targetParam")
    step = {"type": "script", "input": {"script": "return '{{code}}'", "args": "{{code}}"}}
    assert [(one.code, one.pointer) for one in findings(workflow(a=step))] == [("SCRIPT_IS_NOT_FILLED", "/steps/a/input/script")]
    played = Player(workflow(a=step), {"code": "secrets.key"})
    assert played.params("a") == {"script": "return '{{code}}'", "args": "secrets.key"}
