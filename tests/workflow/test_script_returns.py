"""``returns`` of a script: variables from the fields of its result that have their names."""

import json

import pytest
from workflowplay import Player

from flowrunner.kinds import BUILT_IN
from flowrunner.workflow.parse import parse_workflow


def script(returns, **more):
    return {"type": "script", "config": {"script": "return {q: 5, r: 6}", "returns": returns}, **more}


@pytest.fixture(params=[False, True], ids=["warm", "restored"])
def play(request):
    return lambda steps, **more: Player({"steps": steps, **more}, restored=request.param)


def test_fields_become_variables(play):
    """Those that are there; `output` stands over them."""
    played = play({"a": script(["q", "r", "s", "t"], output={"r": "q", "t": None})}, variables={"t": 1})
    played.answer("a", {"q": 5, "r": 6, "t": 7})
    assert played.output["variables"] == {"q": 5, "r": 5}
    assert [(note["name"], note["changeType"]) for note in played.notes("VariableChanged")] == [("q", "create"), ("r", "create"), ("t", "delete")]


def test_a_step_that_is_repeated(play):
    """Each iteration sets them; the loop's own result is not looked at."""
    played = play({"a": script(["q", "results"], loop={"type": "count", "count": 2})})
    played.answer("a", {"q": 1, "results": 0})
    played.answer("a", {"q": 2, "results": 0})
    assert played.output["variables"] == {"q": 2, "results": 0}


def test_other_kinds():
    """Know no such parameter."""
    [found] = parse_workflow(json.dumps({"steps": {"a": {"type": "transform", "config": {"script": "1", "returns": ["q"]}}}}), BUILT_IN).diagnostics
    assert (found.severity, found.code, found.pointer) == ("ERROR", "UNKNOWN_FIELD", "/steps/a/config/returns")


@pytest.mark.parametrize("returns", ["q", ["{{q}}"], ["a.b"], ["a[0]"], [""], "{{names}}"])
def test_what_names_nothing_is_refused(returns):
    """With its place; a definition that is stored keeps working."""
    text = json.dumps({"steps": {"a": script(returns)}})
    found = parse_workflow(text, BUILT_IN)
    assert found.program is None
    assert {one.pointer for one in found.diagnostics} == {"/steps/a/config/returns"}
    assert parse_workflow(text, BUILT_IN, kept=True).program is not None


def test_python_needs_a_function():
    """It would fail whenever it ran; a definition that is stored keeps being started."""
    text = json.dumps({"steps": {"a": {"type": "script", "config": {"language": "python", "script": "print(1)"}}}})
    [found] = parse_workflow(text, BUILT_IN).diagnostics
    assert (found.severity, found.pointer, "function is missing" in found.message) == ("ERROR", "/steps/a/config", True)
    assert parse_workflow(text, BUILT_IN, kept=True).program is not None
    assert parse_workflow(text.replace('"script": "print', '"function": "print'), BUILT_IN).program is not None
