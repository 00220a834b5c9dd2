"""What a bad value fails with: an error of flows, in the words of their nodes and parameters."""

import json

import pytest
from flowplay import JavaScript, play

from flowrunner.kinds import BUILT_IN


def failed(kind, params, given):
    """What the error edge of a node finds."""
    nodes = {"n": {"type": kind, "params": params, "next": {"error": "e"}}, "e": {"type": "transform"}}
    played = play(json.dumps({"metadata": {"name": "t"}, "nodes": nodes}), given, {"e": lambda call: call["input"]["error"]}, default=JavaScript())
    assert played.path == ["n", "e"]
    [ended] = [note for note in played.notes("StepCompleted") if note["stepId"] == "n"]
    error = played.called("e")[0]["input"]["error"]
    assert (ended["error"], ended["cause"]) == (error["error"], error["cause"])
    assert not [record for record in played.records if "event id #" in json.dumps(record)]
    return error


BAD = [
    ("delay", {"duration": "${input.x}"}, "soon", "'duration' must be a number of seconds from 0 to a year, or a text with units such as 500ms or 1m30s; 'soon' stands there."),
    ("delay", {"duration": "1s", "jitter": "${input.x}"}, 7, "'jitter' must be a number from 0 to 1; 7 stands there."),
    ("delay", {"duration": "${'-' + input.x + 's'}"}, 1, "'duration' must be a number of seconds from 0 to a year, or a text with units such as 500ms or 1m30s; '-1s' stands there."),
    ("delay", {"duration": "${input.nothing}"}, 1, "'duration': ${input.nothing} leads to nothing: there is no 'nothing'."),
    ("wait", {"until_time": "${input.x}"}, "tomorrow", "'until_time' must be a moment such as 2026-01-31T08:00:00Z; 'tomorrow' stands there."),
    ("wait", {"condition": "return false", "max_attempts": "${input.x}"}, 0, "'max_attempts' must be a whole number from 1 on; 0 stands there."),
    ("parallel_batch", {"items": "${input.x}", "processor_script": "return items"}, 5, "'items' must be a list, as the parameter or in the input; 5 stands there."),
    ("worker_pool", {"items": "${input.x.y}", "item_script": "return item"}, {}, "'items': ${input.x.y} leads to nothing: there is no 'y'."),
    ("flow", {"flow_id": "${input.x}"}, 5, "'flow_id' must be a text; 5 stands there."),
    ("workflow", {"workflowId": "${input.x}"}, None, "'workflowId' must be a text; nothing stands there."),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "params", "value", "said"), BAD)
def test_a_bad_value_is_named_with_its_node_and_parameter(kind, params, value, said):
    """It is an error that the kind's table lists, and the same in the log."""
    error = failed(kind, params, {"x": value})
    assert error["error"] == "FlowRunner.InvalidParameters"
    assert error["message"] == error["cause"] == f"In 'n': {said}"
    assert "FlowRunner.InvalidParameters" in dict(BUILT_IN[kind].errors)
