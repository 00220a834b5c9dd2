"""Batches whose items stand in `shared`, which the batches change: what was there at the beginning is worked on."""

import json

import pytest
from flowplay import Fails, play


def flow(items, **params):
    node = {"type": "batch", "params": {"items": items, "batch_size": 1, "processor_script": "shared.queue = []; return items", **params}}
    nodes = {"b": {**node, "next": {"success": "s", "error": "e"}}, **{name: {"type": "transform", "params": {"script": "return shared"}} for name in "se"}}
    return json.dumps({"metadata": {"name": "test"}, "shared": {"queue": [1, 2, 3]}, "nodes": nodes})


@pytest.mark.parametrize("left", [[], [1, 2, 3, 4, 5]])
def test_a_queue_that_is_worked_off(left):
    """Such a run never ended: the results were compared with the items that were left."""

    def task(call):
        return {"output": call["input"]["items"], "action": "success", "shared": {"queue": left}}

    played = play(flow("${shared.queue}"), {"k": 1}, {"b (batch)": task, "s": lambda call: call["shared"]})
    assert played.path == ["b", "s"]
    [result] = [json.loads(note["output"]) for note in played.notes("StepCompleted") if note["stepId"] == "b"]
    assert (result["batch_results"], result["total_count"], result["success_rate"]) == ([1, 2, 3], 3, 100.0)
    assert [call["shared"]["queue"] for call in played.called("b (batch)")] == [[1, 2, 3], left, left]
    assert (played.output["queue"], played.output["k"]) == (left, 1)


def test_items_that_are_lost_are_those_of_the_beginning():
    """Each failed item is told as it was."""

    def task(call):
        if call["input"]["items"] == [2]:
            raise Fails("FlowRunner.ScriptError", "no")
        return {"output": call["input"]["items"], "action": "success", "shared": {"queue": []}}

    played = play(flow("${shared.queue}"), {}, {"b (batch)": task, "s": lambda call: {}})
    assert played.output["failed_items"] == [{"item": 2, "error": "no"}]


def test_items_that_are_none():
    """The failure names the parameter, as elsewhere."""
    played = play(flow("${shared.none}"), {}, {"e": lambda call: {}})
    assert played.path == ["b", "e"]
    assert played.called("e")[0]["input"]["error"]["message"] == "In 'b': 'items': ${shared.none} leads to nothing: there is no 'none'."
