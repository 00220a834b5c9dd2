"""What a step gives that is made from an action template: its own output, with the outputs that the template names."""

import json

import pytest
from workflowplay import Player

from flowrunner.kinds import BUILT_IN
from flowrunner.workflow.parse import parse_workflow

SAY = {
    "type": "command",
    "config": {"command": "echo", "args": ["{{who}}"]},
    "outputs": {"said": "stdout", "loud": "{{result.exitCode + 1}}", "none": "nowhere"},
}
TEMPLATES = {"say": SAY, "sum": {"type": "transform", "config": {"script": "return 1"}, "outputs": {"again": "{{result}}"}}}


def say(who, **more):
    return {"actionTemplateId": "say", "inputs": {"who": who}, **more}


@pytest.fixture(params=[False, True], ids=["warm", "restored"])
def play(request):
    return lambda steps, **more: Player({"steps": steps}, restored=request.param, templates=TEMPLATES, **more)


def test_they_are_members_of_the_steps_output(play):
    """Two steps of one template do not meet; the steps after them name each, and so does the step's own output."""
    after = {
        "type": "command",
        "dependsOn": ["a", "b"],
        "config": {"command": "echo", "args": ["{{a.said}}", "{{nodes.b.output.said}}", "{{$prev.loud}}", "{{said}}"]},
    }
    played = play({"a": say("Ada", output={"first": "said", "second": "{{result.loud}}"}), "b": say("Bob"), "c": after}, environment={"said": "around"})
    played.answer("a", {"exitCode": 0, "stdout": "A"})
    played.answer("b", {"exitCode": 1, "stdout": "B"})
    assert played.params("c")["args"] == ["A", "B", 2, "around"]
    played.answer("c", {})
    assert played.output["variables"] == {"said": "around", "first": "A", "second": 1}
    assert played.output["outputs"]["a"] == {"exitCode": 0, "stdout": "A", "said": "A", "loud": 1}


def test_an_output_that_is_no_object(play):
    """It stands beside what is named."""
    played = play({"a": {"actionTemplateId": "sum"}})
    played.answer("a", 5)
    assert played.output["outputs"]["a"] == {"result": 5, "again": 5}


def test_in_a_loop(play):
    """Each iteration gives its own."""
    played = play({"a": say("{{it}}", loop={"type": "forEach", "source": ["x", "y"], "itemVar": "it"})})
    for said in "XY":
        played.answer("a", {"exitCode": 0, "stdout": said})
    assert [one["said"] for one in played.output["outputs"]["a"]["results"]] == ["X", "Y"]


def test_the_type_of_a_step():
    """``action-template`` is what such a step may call itself; without a template its hint names the member."""
    kept = parse_workflow(json.dumps({"steps": {"a": {"type": "action-template", **say("Ada")}}}), BUILT_IN, TEMPLATES)
    assert (kept.program is not None, kept.diagnostics) == (True, ())
    refused = parse_workflow(json.dumps({"steps": {"a": {"type": "action-template", "config": {"templateId": "say"}}}}), BUILT_IN, TEMPLATES)
    assert [(one.pointer, "actionTemplateId" in one.hint) for one in refused.diagnostics] == [("/steps/a/type", True)]


def test_outputs_that_cannot_be_read():
    """They are told where the template is named."""
    wrong = {"say": {**SAY, "outputs": {"a": "x..y", "b.c": "stdout", "d": "{{"}}}
    parsed = parse_workflow(json.dumps({"steps": {"a": say("Ada")}}), BUILT_IN, wrong)
    assert parsed.program is None
    assert [(one.pointer, "template 'say'" in one.message) for one in parsed.diagnostics] == [("/steps/a/actionTemplateId", True)] * 3
