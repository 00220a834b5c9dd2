"""How much may go from node to node, and how long a history may be: flows have limits of their own, which say what to do."""

import json
from dataclasses import replace

import pytest
from flowplay import Fails, Hangs, play

from flowrunner.limits import AWS, MIB, OPEN

SMALL = replace(AWS, history_events=100)
REMEDY = 'Return less, keep large values in a store and hand on their keys, or have the operator set limits = "open" (16,777,216).'


def flow(node):
    nodes = {"n": {**node, "next": {"success": "s", "error": "e"}}, "s": {"type": "transform"}, "e": {"type": "transform"}}
    return json.dumps({"metadata": {"name": "t"}, "nodes": nodes})


def pool(count, **more):
    return flow({"type": "worker_pool", "params": {"items": list(range(count)), "item_script": "return item", **more}})


def worked(call):
    return {"output": [call["input"]["item"]], "action": "success"}


def short(call):
    return "done"


TASKS = {"s": short, "e": short}


def test_a_history_has_no_end():
    """AWS counts its events; here a flow goes on, in either profile."""
    played = play(pool(50), {}, TASKS, default=worked, limits=SMALL)
    assert played.path == ["n", "s"]
    assert sum("id" in record for record in played.records) > 200


def test_a_worker_pool_has_all_its_workers():
    """64 unless it says otherwise, which is more than an inline Map of AWS runs."""

    def hangs(call):
        raise Hangs

    assert len(play(pool(70), {}, TASKS, default=hangs, limits=AWS).called("n (batch)")) == 64


@pytest.mark.parametrize(("megabytes", "at_once"), [(1, 31), (3, 10)])
def test_fewer_run_at_once_that_are_given_much(megabytes, at_once):
    """Each has the node's input: 32 MiB of it are in memory, and in each snapshot, at most."""

    def hangs(call):
        raise Hangs

    played = play(pool(70, workers=500), {"k": "x" * (megabytes * MIB)}, TASKS, default=hangs, limits=AWS, restoring=False)
    assert len(played.called("n (batch)")) == at_once


@pytest.mark.parametrize(("limits", "most", "remedy"), [(AWS, 4 * MIB, REMEDY), (OPEN, 16 * MIB, "hand on their keys.")])
def test_a_node_that_gives_too_much_takes_its_error_edge(limits, most, remedy):
    """Half of the limit twice is too much, for the input adds up; the message names node, size, limit and remedy."""
    half = "x" * (most // 2)
    text = json.dumps({"metadata": {"name": "t"}, "nodes": {
        "a": {"type": "transform", "next": "b"},
        "b": {"type": "transform", "next": {"error": "e"}},
        "e": {"type": "transform"},
    }})  # fmt: skip
    played = play(text, {}, {"a": lambda _: {"a": half}, "b": lambda _: {"b": half}, "e": short}, limits=limits, restoring=False)
    assert played.path == ["a", "b", "e"]
    error = played.called("e")[0]["input"]["error"]
    assert error["error"] == "States.DataLimitExceeded"
    size = 2 * len(half) + len('{"a":"","b":""}')
    assert error["message"].startswith(
        f"In 'b': What it gives, in a flow with its input, has {size:,} bytes of JSON, and at most {most:,} go from one to the next."
    )
    assert error["message"].endswith(remedy)


def test_a_task_that_gives_too_much_is_told_the_same():
    """Its result is refused before anything is made of it."""
    played = play(flow({"type": "transform"}), {}, {**TASKS, "n": lambda _: "x" * (4 * MIB)}, limits=AWS, restoring=False)
    assert played.path == ["n", "e"]
    assert "In 'n': What it gives" in played.called("e")[0]["input"]["error"]["message"]


def test_a_batch_of_long_causes_keeps_what_it_lost():
    """100 batches fail with 8 KB each: there is room for all of it."""

    def fails(call):
        raise Fails("Bad", "y" * 8_000)

    given = play(pool(100), {}, TASKS, default=fails, limits=AWS, restoring=False).called("e")[0]["input"]
    assert (given["error"]["error"], len(given["failed_items"]), given["failed_count"]) == ("FlowRunner.BatchFailed", 100, 100)
    assert "left_out" not in given
    assert given["failed_items"][7] == {"item": 7, "error": "y" * 8_000}


def test_what_has_no_room_is_left_out_of_what_was_lost():
    """400 batches fail with 8 KB each: the edge has the numbers, the items and the beginnings of their causes."""

    def fails(call):
        raise Fails("Bad", "y" * 8_000)

    given = play(pool(400), {}, TASKS, default=fails, limits=AWS, restoring=False).called("e")[0]["input"]
    assert (given["error"]["error"], given["failed_count"], given["total_count"]) == ("FlowRunner.BatchFailed", 400, 400)
    assert given["failed_items"][7] == {"item": 7, "error": "y" * 200}
    assert len(given["failed_items"]) == 400
    assert len(json.dumps(given)) < 400_000


def test_results_of_batches_that_have_no_room_fail_the_node():
    """By its size, with what was lost; the results are left out."""

    def large(call):
        if call["input"]["index"] == 3:
            raise Fails("Bad", "because")
        return {"output": ["z" * 900_000], "action": "success"}

    items = [0, 1, 2, {"cause": 7, "id": 3}, 4, 5]
    played = play(pool(6, items=items), {}, TASKS, default=large, limits=AWS, restoring=False)
    assert played.path == ["n", "e"]
    given = played.called("e")[0]["input"]
    assert given["error"]["error"] == "States.DataLimitExceeded"
    assert given["error"]["message"].startswith("In 'n': What it gives, in a flow with its input, has 4,5")
    assert given["error"]["message"].endswith(REMEDY)
    assert (given["failed_items"], given["success_count"], given["left_out"]) == ([{"cause": 7, "id": 3, "error": "because"}], 5, {"batch_results": 5})
    assert given["batch_results"] == []


def test_a_failure_has_room_beside_a_large_input():
    """What was lost is told as long as there is room for it; the error always."""

    def fails(call):
        raise Fails("Bad", "y" * 1_000)

    large = {"k": "x" * (4 * MIB - 10_000)}
    played = play(pool(30), large, TASKS, default=fails, limits=AWS, restoring=False)
    assert played.path == ["n", "e"]
    given = played.called("e")[0]["input"]
    assert (given["error"]["error"], "failed_items" in given) == ("FlowRunner.BatchFailed", False)
