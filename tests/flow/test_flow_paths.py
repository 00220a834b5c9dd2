"""Parameters that the machine needs itself: what it follows, what JavaScript has to say, and what it refuses."""

import json

import pytest
from flowplay import JavaScript, play


def flow(kind, **params):
    nodes = {
        "a": {"type": kind, "params": params, "next": {"success": "s", "timeout": "s", "error": "e"}},
        "s": {"type": "transform"},
        "e": {"type": "transform"},
    }
    return json.dumps({"metadata": {"name": "test"}, "nodes": nodes})


@pytest.mark.parametrize("path", ["${input.list.length}", '${input.list["length"]}', "${input.text.length}"])
def test_the_length_of_a_list_or_a_text(path):
    """It is no member that could be followed; JavaScript counts it."""
    played = play(flow("delay", duration=path, unit="m"), {"list": [1, 2, 3], "text": "abc"}, default=JavaScript())
    assert (played.path, played.milliseconds) == (["a", "s"], 180_000)


def test_a_member_that_is_called_length():
    """It is read like any other."""
    played = play(flow("delay", duration="${input.stay.length}"), {"stay": {"length": "2s"}}, default=JavaScript())
    assert played.milliseconds == 2_000


@pytest.mark.parametrize("unit", [["s"], {"s": 1}, "weeks", 5])
def test_a_unit_that_is_none(unit):
    """Whatever an expression gives there, the node fails; a list stopped the run for good."""
    played = play(flow("delay", duration=1, unit="${input.unit}"), {"unit": unit})
    assert played.path == ["a", "e"]
    assert played.called("e")[0]["input"]["error"]["message"].startswith("In 'a': 'unit' must be one of ms, s, m, h;")


@pytest.mark.parametrize(
    ("kind", "params"), [("flow", {"flow_id": "f", "input": {"a": "${secrets.K}"}}), ("batch", {"items": "${[secrets.K]}", "item_script": "1"})]
)
def test_what_is_computed_for_the_machine_is_kept_openly(kind, params):
    """So the task that computes it refuses secrets, which would come out of it as stars."""
    played = play(flow(kind, **params), {}, default=lambda call: {"input": {}, "flow_id": "f", "items": []})
    assert played.called("a (parameters)")[0]["openly"] is True


@pytest.mark.parametrize("beside", ["${input.n}", "${input.n + 0}"])
def test_what_is_not_there_within_another_flows_input(beside):
    """It is null, whether all expressions are paths or one of them is JavaScript; what has no members at all is a failure."""
    given = {"maybe": "${input.maybe}", "list": ["${results.none}", "${input.n.none}"], "n": beside}
    played = play(
        flow("flow", flow_id="f", input=given), {"n": 1}, {"a": lambda call: {"Output": {}}, "a (start)": lambda call: {"Output": {}}}, default=JavaScript()
    )
    [started] = played.called("a") or played.called("a (start)")
    assert started["Input"] == {"maybe": None, "list": [None, None], "n": 1}
    assert play(flow("flow", flow_id="f", input={"a": "${input.no.such}", "n": beside}), {"n": 1}, default=JavaScript()).path == ["a", "e"]
