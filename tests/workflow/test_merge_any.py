"""A merge of any: the first of its steps that succeeds is enough; a skipped or failed one is not, unless all are."""

import pytest
from workflowplay import Player

NOT_IT = {
    "skipped": {"when": "false"},
    "disabled": {"disabled": True},
    "failed": {"onError": "continue"},
}


@pytest.fixture(params=[False, True], ids=["warm", "restored"])
def play(request):
    return lambda steps, variables=None, **more: Player({"steps": steps, **more}, variables, restored=request.param)


def command(**more):
    return {"type": "command", "config": {"cmd": "x"}, **more}


def merge(*needs):
    return {"type": "merge", "config": {"mode": "any"}, "dependsOn": list(needs)}


@pytest.mark.parametrize("why", NOT_IT)
def test_one_that_did_not_succeed_is_not_enough(play, why):
    """The merge waits for the other, and has both in its output."""
    played = play({"a": command(**NOT_IT[why]), "b": command(), "m": merge("a", "b"), "z": command(dependsOn=["m"])})
    if why == "failed":
        played.answer("a", error="X")
    assert played.running() == ["b"]
    played.answer("b", 2)
    assert played.running() == ["z"]
    played.answer("z")
    assert played.output["outputs"]["m"] == {"a": None, "b": 2}


def test_the_first_that_succeeds(play):
    """Is enough, after one that did not."""
    played = play({"a": command(), "b": command(when="false"), "c": command(), "m": merge("a", "b", "c"), "z": command(dependsOn=["m"])})
    played.answer("c", 3)
    assert played.running() == ["a", "z"]


def test_none_that_succeeds(play):
    """Then the merge goes on when all have ended."""
    played = play({"a": command(onError="continue"), "b": command(onError="continue"), "m": merge("a", "b"), "z": command(dependsOn=["m"])})
    played.answer("a", error="X")
    assert played.running() == ["b"]
    played.answer("b", error="X")
    assert played.running() == ["z"]


@pytest.mark.parametrize("parallel", [False, True])
def test_each_iteration_of_a_loop_by_itself(play, parallel):
    """What an iteration before it left behind is not what this one did."""
    children = {"a": command(when="{{$loopIndex}} == 0"), "b": command(), "m": merge("a", "b"), "z": command(dependsOn=["m"])}
    played = play({"l": {"type": "loop", "loop": {"type": "count", "count": 2, "parallel": parallel}, "children": children}})
    if parallel:
        assert played.running() == ["a", "b", "b"]
        played.answer("a", 1)
        assert played.running() == ["b", "b", "z"]
        return
    for state in ("a", "z", "b"):
        played.answer(state, 1)
    assert played.running() == ["b"]
    played.answer("b", 2)
    assert played.running() == ["z"]
