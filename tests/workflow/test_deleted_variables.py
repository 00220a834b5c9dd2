"""A step deletes a variable: it is gone for all that follows, and the change is told."""

import pytest
from workflowplay import Player

from flowrunner.kinds import BUILT_IN
from flowrunner.views.stream import note_message
from flowrunner.workflow.parse import parse_workflow


@pytest.fixture(params=[False, True], ids=["warm", "restored"])
def play(request):
    return lambda definition, **more: Player(definition, restored=request.param, **more)


def command(**more):
    return {"type": "command", "config": {"cmd": "{{x}}"}, **more}


def changes(played):
    told = [message.payload for record in played.records if (message := note_message(record)) is not None and message.kind == "variable_change"]
    return [(change["stepId"], change["varName"], change["oldValue"], change["newValue"], change["changeType"]) for change in told]


@pytest.mark.parametrize("member", ["output", "outputs"])
def test_a_variable_is_deleted(play, member):
    """Null deletes it; an expression for null sets it to null."""
    played = play({"variables": {"x": 1, "y": 2}, "steps": {"a": command(**{member: {"x": None, "y": "{{null}}"}}), "b": command(dependsOn=["a"])}})
    assert played.params("a")["cmd"] == 1
    played.answer("a")
    assert changes(played) == [("a", "y", 2, None, "update"), ("a", "x", 1, None, "delete")]
    assert played.params("b")["cmd"] == "{{x}}"
    played.answer("b")
    assert played.output["variables"] == {"y": None}


def test_one_that_is_not_there(play):
    """Is no change."""
    played = play({"steps": {"a": command(output={"x": None})}})
    played.answer("a")
    assert (changes(played), played.output["variables"]) == ([], {})


def test_output_stands_over_outputs(play):
    """Whichever of them deletes."""
    steps = {"a": command(outputs={"x": None, "y": "v"}, output={"x": "v", "y": None})}
    played = play({"variables": {"x": 1, "y": 2}, "steps": steps})
    played.answer("a", {"v": 3})
    assert played.output["variables"] == {"x": 3}


def test_a_step_that_is_skipped_deletes_nothing(play):
    """As it sets nothing."""
    played = play({"variables": {"x": 1}, "steps": {"a": command(when="false", output={"x": None})}})
    assert played.output["variables"] == {"x": 1}


def test_in_iterations_that_run_at_once(play):
    """What an iteration has set itself is gone in it, too."""
    children = {"a": command(output={"x": "v"}), "b": command(dependsOn=["a"], output={"x": None}), "c": command(dependsOn=["b"])}
    played = play({"steps": {"l": {"type": "loop", "loop": {"type": "count", "count": 1, "parallel": True}, "children": children}}})
    played.answer("a", {"v": 5})
    assert played.params("b")["cmd"] == 5
    played.answer("b")
    assert played.params("c")["cmd"] == "{{x}}"
    assert [change[1:] for change in changes(played)] == [("x", None, 5, "create"), ("x", 5, None, "delete")]


def test_names_of_the_machine_are_refused():
    """But a definition that is stored keeps working."""
    text = '{"steps": {"a": {"type": "command", "config": {"cmd": "x"}, "output": {"$unset": "names"}}}}'
    assert parse_workflow(text, BUILT_IN).program is None
    played = Player(text, parse=lambda *given: parse_workflow(*given, kept=True))
    played.answer("a", {"names": ["x"]})
    assert played.outcome.status == "SUCCEEDED"
