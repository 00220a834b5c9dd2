"""Batches: isolated, in order, with the retries and times of each; what is lost decides the edge."""

import json

import pytest
from flowplay import Fails, Hangs, JavaScript, play

from flowrunner.flow.parse import parse_flow
from flowrunner.kinds import BUILT_IN


def flow(node):
    nodes = {"b": {**node, "next": {"success": "s", "error": "e", "timeout": "t"}}, **{name: {"type": "transform"} for name in "set"}}
    return json.dumps({"metadata": {"name": "test"}, "nodes": nodes})


def batch(kind="parallel_batch", **params):
    return {"type": kind, "params": {"processor_script": "return items.map((x) => x * 10)", **params}}


def losing(*indexes, error=None):
    """Fails these batches; the others give their items times ten."""

    def task(call):
        if call["input"]["batch_index"] in indexes:
            raise error or Fails("FlowRunner.ScriptError", "lost")
        return {"output": [item * 10 for item in call["input"]["items"]], "action": "success"}

    return {"b (batch)": task}


def test_items_go_through_in_batches():
    """Ten items in batches of three; each batch sees the input with its own items, and the results keep the order."""
    played = play(flow(batch(batch_size=3)), {"items": list(range(10)), "k": 1}, default=JavaScript())
    calls = played.called("b (batch)")
    assert [call["input"] for call in calls] == [
        {"items": part, "k": 1, "batch": part, "batch_index": index} for index, part in enumerate([[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]])
    ]
    assert calls[0]["names"] == ["batch", "items", "batch_index"]
    result = {note["stepId"]: json.loads(note["output"]) for note in played.notes("StepCompleted")}["b"]
    assert result == {
        "batch_results": [10 * item for item in range(10)],
        "failed_items": [],
        "failed_batches": [],
        "success_count": 10,
        "failed_count": 0,
        "batch_size": 3,
        "success_rate": 100.0,
        "total_count": 10,
    }
    assert played.path == ["b", "s"]


@pytest.mark.parametrize(
    ("lost", "rate", "path"), [((), 100.0, "s"), ((1,), 70.0, "s"), ((1, 2), 40.0, "s"), ((0, 1, 2), 10.0, "s"), ((0, 1, 2, 3), None, "e")]
)
def test_batches_are_isolated(lost, rate, path):
    """The node succeeds as long as one batch does; the rate is that of the items in percent."""
    played = play(flow(batch(batch_size=3)), {"items": list(range(10)), "total_count": 10}, losing(*lost))
    assert played.path == ["b", path]
    if rate is not None:
        assert played.output["success_rate"] == rate
        assert [one["batch_index"] for one in played.output["failed_batches"]] == list(lost)
        assert all(item["error"] == "lost" for item in played.output["failed_items"])


def test_when_all_failed_the_error_edge_knows_the_items():
    """The failure says why; nothing succeeded."""
    played = play(flow(batch(batch_size=2)), {"items": [{"id": 1}, 2, 3]}, losing(0, 1))
    given = played.called("e")[0]["input"]
    assert given["error"] == {
        "error": "FlowRunner.BatchFailed",
        "cause": "All 2 batches failed; the last: lost",
        "node": "b",
        "message": "All 2 batches failed; the last: lost",
    }
    assert [item.get("id") or item["item"] for item in given["failed_items"]] == [1, 2, 3]
    assert (given["batch_results"], given["success_count"], given["success_rate"]) == ([], 0, 0.0)
    assert played.ended[0] == ("b", "failed", None)


def test_when_all_timed_out_the_timeout_edge_is_taken():
    """Each after its own time; one other failure among them, and it is error."""
    played = play(flow(batch(batch_size=2, timeout="5s")), {"items": [1, 2, 3]}, losing(0, 1, error=Hangs()))
    assert (played.path, played.milliseconds) == (["b", "t"], 5_000)

    def mixed(call):
        raise Hangs if call["input"]["batch_index"] else Fails("X", "x")

    assert play(flow(batch(batch_size=2, timeout="5s")), {"items": [1, 2, 3]}, {"b (batch)": mixed}).path == ["b", "e"]


def test_without_an_edge_the_flow_fails():
    """By the name of what happened to all of them."""
    text = json.dumps({"metadata": {"name": "t"}, "nodes": {"b": batch()}})
    assert play(text, {"items": [1]}, losing(0)).outcome.error == "FlowRunner.BatchFailed"
    assert play(text, {"items": [1]}, losing(0, error=Fails("States.Timeout"))).outcome.error == "States.Timeout"


@pytest.mark.parametrize(
    ("node", "begun"),
    [
        (batch("batch", batch_size=1), [0, 1000, 2000, 3000, 4000, 5000]),
        (batch("async_batch", batch_size=1), [0, 1000, 2000, 3000, 4000, 5000]),
        (batch("parallel_batch", batch_size=1), [0, 0, 0, 0, 1000, 1000]),
        (batch("parallel_batch", batch_size=1, max_parallel=3), [0, 0, 0, 1000, 1000, 1000]),
        ({**batch("parallel_batch", batch_size=1, max_parallel=3), "batch": {"max_parallel": 2}}, [0, 0, 1000, 1000, 2000, 2000]),
        ({**batch("batch", batch_size=1), "batch": {"strategy": "parallel", "max_parallel": 6}}, [0] * 6),
        (batch("worker_pool", workers=5), [0, 0, 0, 0, 0, 1000]),
        (batch("worker_pool"), [0] * 6),
        ({"type": "transform", "batch": {"strategy": "parallel", "max_parallel": 3}, "timeout": 1}, [0, 0, 0, 1000, 1000, 1000]),
    ],
)
def test_how_many_run_at_once(node, begun):
    """One after another, so many at once, or a pool of workers; the smaller of two bounds."""
    node = {**node, "timeout": "1s"}
    played = play(flow(node), {"items": list(range(6))}, losing(*range(6), error=Hangs()))
    assert played.times("b (batch)") == begun


def test_any_kind_can_work_on_items():
    """One item each, seen as `item`; the parameters are the node's."""
    node = {"type": "http.request", "params": {"url": "${ item.url }"}, "batch": {"items": "${ input.pages }"}}
    played = play(
        flow(node), {"pages": [{"url": "a"}, {"url": "b"}]}, {"b (batch)": lambda call: {"output": call["input"]["item"]["url"], "action": "success"}}
    )
    call = played.called("b (batch)")[1]
    assert (call["params"], call["input"]["item"], call["input"]["index"]) == ({"url": "${ item.url }"}, {"url": "b"}, 1)
    assert call["names"] == ["batch", "items", "batch_index", "item", "index"]
    assert played.output["batch_results"] == ["a", "b"]


def test_items_may_be_computed():
    """By a script, before the first batch."""
    played = play(flow(batch(items="${ input.n.map((x) => x + 1) }", batch_size=2)), {"n": [1, 2, 3]}, default=JavaScript())
    assert played.output["batch_results"] == [20, 30, 40]
    played = play(flow({"type": "worker_pool", "params": {"items": [1, 2], "item_script": "return item + index"}}), {}, default=JavaScript())
    assert played.output["batch_results"] == [1, 3]


def test_each_batch_node_counts_its_own_items():
    """A count that an author states stays in the input; that of an earlier batch node does not, behind a success or a failure."""

    def worked(call):
        if call["input"]["item"] == 0:
            raise Fails("X", "zero")
        return {"output": [call["input"]["item"]], "action": "success"}

    def counted(given, *lists):
        names = [*(f"n{place}" for place in range(len(lists))), "end"]
        nodes = {
            name: {"type": "worker_pool", "params": {"items": items, "item_script": "return item"}, "next": {"success": after, "error": after}}
            for name, after, items in zip(names, names[1:], lists, strict=False)
        }
        text = json.dumps({"metadata": {"name": "t"}, "nodes": {**nodes, "end": {"type": "transform"}}})
        played = play(text, given, {"end": lambda _: "done"}, default=worked)
        ended = [(note["stepId"], json.loads(note["output"])) for note in played.notes("StepCompleted") if "output" in note]
        return played.called("end")[0]["input"]["total_count"], {name: output["total_count"] for name, output in ended if name != "end"}

    assert counted({}, [1], [1, 2, 3]) == (3, {"n0": 1, "n1": 3})
    assert counted({"total_count": 7}, [1], [1, 2, 3]) == (7, {"n0": 1, "n1": 3})
    assert counted({"total_count": None}, [1]) == (None, {"n0": 1})
    assert counted({}, [1, 2], [0]) == (1, {"n0": 2})
    assert counted({}, [0], [1, 2]) == (2, {"n1": 2})
    assert counted({"total_count": 7}, [0]) == (7, {})


@pytest.mark.parametrize(("returned", "flat"), [([1, 2], [1, 2]), ({"batch_results": [1], "success_count": 1}, [1]), ({"a": 1}, [{"a": 1}]), (None, [None])])
def test_results_are_one_list(returned, flat):
    """What a script gives for a batch: a list, an object with a list, or one result."""
    played = play(flow(batch(batch_size=10)), {"items": [1]}, {"b (batch)": lambda call: {"output": returned, "action": "success"}})
    assert played.output["batch_results"] == flat


def test_no_items_are_a_success():
    """Nothing is begun."""
    played = play(flow(batch()), {"items": []})
    assert (played.path, played.output["success_rate"], played.output["total_count"]) == (["b", "s"], 100.0, 0)


@pytest.mark.parametrize("given", [{}, {"items": "many"}])
def test_without_a_list_of_items_the_node_fails(given):
    """The error edge is told where the list was looked for."""
    played = play(flow(batch()), given)
    assert played.path == ["b", "e"]
    error = played.called("e")[0]["input"]["error"]
    stands = "'many'" if given else "nothing"
    assert (error["error"], error["message"]) == (
        "FlowRunner.InvalidParameters",
        f"In 'b': 'items' must be a list, as the parameter or in the input; {stands} stands there.",
    )


def test_a_failed_node_tells_what_happened_to_each_batch():
    """Each has its own reason, also where the items were computed."""

    def task(call):
        raise Fails("X", f"lost {call['input']['batch_index']}")

    for params in ({}, {"items": "${ input.items.map((x) => x + 0) }"}):
        given = play(flow(batch(batch_size=2, **params)), {"items": [1, 2, 3]}, {"b (batch)": task}, default=JavaScript()).called("e")[0]["input"]
        assert [(one["item"], one["error"]) for one in given["failed_items"]] == [(1, "lost 0"), (2, "lost 0"), (3, "lost 1")]
        assert [one["cause"] for one in given["failed_batches"]] == ["lost 0", "lost 1"]
        assert (given["batch_results"], given["success_rate"], given["failed_count"], given["total_count"]) == ([], 0.0, 3, 3)


def test_the_first_failure_may_end_the_rest():
    """With `fail_fast` the others are given up; the edge is told which is which."""
    played = play(flow(batch("batch", batch_size=1, fail_fast=True)), {"items": [1, 2, 3]}, losing(1))
    assert (played.path, len(played.called("b (batch)"))) == (["b", "e"], 2)
    given = played.called("e")[0]["input"]
    assert given["error"] == {"error": "FlowRunner.ScriptError", "cause": "lost", "node": "b", "message": "lost"}
    assert (given["batch_results"], given["failed_items"], given["skipped_items"]) == ([10], [{"item": 2, "error": "lost"}], [3])
    assert (given["success_count"], given["failed_count"], given["total_count"]) == (1, 1, 3)


def test_the_first_failure_gives_up_what_runs_beside_it():
    """What had ended counts, what was running or waiting is skipped."""

    def task(call):
        if (index := call["input"]["batch_index"]) == 1:
            raise Fails("States.Timeout", "late")
        if index == 2:
            raise Hangs
        return {"output": [index], "action": "success"}

    played = play(flow(batch("parallel_batch", batch_size=1, max_parallel=3, fail_fast=True)), {"items": [1, 2, 3, 4, 5]}, {"b (batch)": task})
    assert (played.path, played.milliseconds) == (["b", "t"], 0)
    given = played.called("t")[0]["input"]
    assert (given["success_count"], given["failed_count"]) == (1, 1)
    assert 3 in given["skipped_items"]
    played = play(flow(batch("batch", batch_size=1, fail_fast=True)), {"items": [1, 2, 3]}, losing())
    assert (played.path, played.output["success_rate"]) == (["b", "s"], 100.0)


def test_a_bound_that_is_computed_is_refused():
    """How a flow is built cannot wait for its input."""
    parsed = parse_flow(flow(batch(batch_size="${ input.size }")), BUILT_IN)
    assert parsed.program is None
    assert "must be a constant" in parsed.diagnostics[0].message


def test_what_scripts_log_in_a_batch_belongs_to_the_node():
    """Retries of a batch are not those of the node."""
    played = play(flow({**batch(batch_size=1), "retry": {"max_retries": 2, "wait": "1s"}}), {"items": [1, 2]}, losing(0))
    assert played.path == ["b", "s"]
    assert sorted(played.times("b (batch)")) == [0, 0, 1000, 2000]


def test_an_answer_that_is_an_error_loses_its_item():
    """It is tried again like any other failure, and takes its part in the rate."""
    node = {"type": "http.request", "params": {"url": "${ item }"}, "batch": {"items": ["a", "b"]}, "retry": {"max_retries": 2, "wait": "1s"}}

    def answer(call):
        if call["input"]["item"] == "a" and "server_error" in call["failing"]:
            raise Fails("FlowRunner.NodeFailed", "status 500")
        return {"output": {"status_code": 200}, "action": "success"}

    played = play(flow(node), {}, {"b (batch)": answer})
    assert (played.path, len(played.called("b (batch)"))) == (["b", "s"], 4)
    assert (played.output["success_rate"], played.output["failed_items"]) == (50.0, [{"item": "a", "error": "status 500"}])
    assert played.called("b (batch)")[0]["failing"] == ["client_error", "server_error", "not_found", "error"]
    assert "failing" not in play(flow({"type": "transform"}), {}).called("b")[0]


def test_an_edge_that_no_batch_takes_is_told():
    """A batch node takes success, error or timeout."""
    node = {"type": "http.request", "params": {"url": "${ item }"}, "batch": {"items": []}, "next": {"server_error": "s", "default": "s"}}
    text = json.dumps({"metadata": {"name": "test"}, "nodes": {"b": node, "s": {"type": "transform"}}})
    [told] = parse_flow(text, BUILT_IN).diagnostics
    assert (told.code, told.severity, told.pointer) == ("HAS_NO_EFFECT", "WARNING", "/nodes/b/next/server_error")
    assert "success, error or timeout" in told.message


def counting(call):
    """What the script ``shared.n += 1; return items`` gives; the batch of the item 13 fails."""
    if call["input"]["items"] == [13]:
        raise Fails("X", "no")
    return {"output": call["input"]["items"], "action": "success", "shared": {"n": call["shared"]["n"] + 1}}


def sharing(node):
    nodes = {
        "b": {**node, "next": {"success": "s", "error": "e"}},
        "s": {"type": "transform", "params": {"script": "return shared.n"}},
        "e": {"type": "transform"},
    }
    return json.dumps({"metadata": {"name": "test"}, "shared": {"n": 0}, "nodes": nodes})


@pytest.mark.parametrize("kind", ["batch", "async_batch", "transform"])
def test_batches_one_after_another_write_what_is_shared(kind):
    """Each sees what the ones before it wrote, and the next node what all have; what a lost one wrote is lost with it."""
    script = "shared.n += 1; return items"
    node = {"type": "transform", "params": {"script": script}, "batch": {}} if kind == "transform" else batch(kind, batch_size=1, processor_script=script)
    played = play(sharing(node), {"items": [1, 13, 2, 3]}, {"b (batch)": counting})
    assert [call["shared"]["n"] for call in played.called("b (batch)")] == [0, 1, 1, 2]
    assert played.called("s")[0]["shared"] == {"n": 3}
    assert "reads_shared" not in played.called("b (batch)")[0]


def test_batches_at_once_can_only_read_what_is_shared():
    """Who wrote last would be chance: writing fails the batch."""
    node = batch("parallel_batch", batch_size=1, processor_script="shared.n += 1; return items")
    assert play(sharing(node), {"items": [1]}, {"b (batch)": counting}).called("b (batch)")[0]["reads_shared"] is True
