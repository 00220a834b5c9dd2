"""Hooks of nodes that take several states: each runs where it belongs, `post` once on the node's result."""

import json

import pytest
from flowplay import Fails, found_in, play

SOURCE = "return 'custom'"


def flow(node, **edges):
    nodes = {"n": {**node, "next": {"success": "s", "custom": "c", "error": "e", **edges}}, **{name: {"type": "transform"} for name in "sce"}}
    return json.dumps({"metadata": {"name": "test"}, "shared": {"n": 0}, "nodes": nodes})


def answered(call):
    """What the task makes of it: the hook gives ``custom``, and writes what is shared."""
    assert call["hooks"] == {"post": SOURCE}
    return {"output": call["made"]["output"], "action": "custom", "shared": {"n": 9}}


def batch(**hooks):
    return {"type": "batch", "params": {"processor_script": "shared.n; return items", "batch_size": 1}, "hooks": hooks}


def test_post_runs_once_on_what_all_batches_gave():
    """It sees the node's input; the other hooks run around each batch."""
    played = play(flow(batch(post=SOURCE, prep="return input")), {"items": [1, 2]}, {"n (post)": answered, "n (batch)": lambda call: call["input"]["items"]})
    assert played.path == ["n", "c"]
    [call] = played.called("n (post)")
    assert (call["input"], call["made"]["action"], call["made"]["output"]["batch_results"]) == ({"items": [1, 2]}, "success", [1, 2])
    assert [call["hooks"] for call in played.called("n (batch)")] == [{"prep": "return input"}] * 2
    assert played.output["batch_results"] == [1, 2]


def test_post_of_a_failed_batch_node_does_not_run():
    """There is no result to look at; a hook that fails is a failure of the node."""

    def fails(call):
        raise Fails("FlowRunner.ScriptError", "no")

    played = play(flow(batch(post=SOURCE)), {"items": [1]}, {"n (batch)": fails})
    assert (played.path, played.called("n (post)")) == (["n", "e"], [])
    assert play(flow(batch(post=SOURCE)), {"items": [1]}, {"n (batch)": lambda call: [1], "n (post)": fails}).path == ["n", "e"]


@pytest.mark.parametrize(("met", "action"), [(True, "success"), (False, "timeout")])
def test_post_of_a_wait_sees_how_it_ended(met, action):
    """It runs when the condition holds, or is given up."""
    node = {"type": "wait", "params": {"condition": "return input.ready", "max_attempts": 2}, "hooks": {"post": SOURCE}}
    played = play(flow(node), {"k": 1}, {"n (post)": answered, "n (condition)": lambda call: met})
    assert played.path == ["n", "c"]
    [call] = played.called("n (post)")
    assert (call["input"], call["made"]) == ({"k": 1}, {"output": {"met": met, "attempts": 1 if met else 2}, "action": action})
    assert all("hooks" not in call for call in played.called("n (condition)"))


def test_hooks_of_a_merge_have_no_effect_and_that_is_told():
    """As for other kinds that only wait."""
    assert found_in("metadata: {name: x}\nnodes: {a: {type: merge, hooks: {post: return 1}, timeout: 5s}}\n") == [
        "2:26 warning HAS_NO_EFFECT /nodes/a/hooks",
        "2:51 warning HAS_NO_EFFECT /nodes/a/timeout",
    ]
