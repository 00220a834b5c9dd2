"""The bounds of batches: which of several counts, and what is said of those that do nothing."""

import json

import pytest
from flowplay import JavaScript, play

from flowrunner.flow.parse import parse_flow
from flowrunner.kinds import BUILT_IN

PER_BATCH, PER_ITEM = {"processor_script": "return [items.length]"}, {"item_script": "return items.length"}


def flow(kind, params, **more):
    return json.dumps({"metadata": {"name": "t"}, "nodes": {"b": {"type": kind, "params": {"items": [1, 2, 3, 4], **params}, **more}}})


def sizes(kind, params, **more):
    return play(flow(kind, params, **more), {}, default=JavaScript()).output["batch_results"]


def test_the_smaller_size_counts():
    """Of the parameter and the member of the node, whichever it is; the member alone counts, too."""
    assert sizes("parallel_batch", {**PER_BATCH, "batch_size": 4}, batch={"batch_size": 1}) == [1, 1, 1, 1]
    assert sizes("parallel_batch", {**PER_BATCH, "batch_size": 2}, batch={"batch_size": 3}) == [2, 2]
    assert sizes("batch", PER_BATCH, batch={"batch_size": 2}) == [2, 2]
    assert sizes("batch", PER_BATCH, batch={}) == [4]
    assert sizes("worker_pool", {**PER_BATCH, "batch_size": 2}) == [1, 1, 1, 1]


IDLE = [
    ("worker_pool", {**PER_BATCH, "batch_size": 2}, {}, "WARNING HAS_NO_EFFECT /nodes/b/params/batch_size"),
    ("batch", {**PER_ITEM, "batch_size": 3}, {}, "WARNING HAS_NO_EFFECT /nodes/b/params/batch_size"),
    ("batch", PER_ITEM, {"batch": {"batch_size": 3}}, "WARNING HAS_NO_EFFECT /nodes/b/batch/batch_size"),
    ("transform", {"script": "return 1"}, {"batch": {"strategy": "worker_pool", "batch_size": 3}}, "WARNING HAS_NO_EFFECT /nodes/b/batch/batch_size"),
    ("batch", {**PER_BATCH, "item_timeout": "1s"}, {}, "WARNING HAS_NO_EFFECT /nodes/b/params/item_timeout"),
    ("batch", {**PER_BATCH, **PER_ITEM}, {}, "ERROR INVALID_PARAMETER /nodes/b/params/item_script"),
    ("batch", {**PER_ITEM, "item_timeout": "1s", "timeout": "2s", "batch_size": 1}, {}, None),
    ("worker_pool", {**PER_BATCH, "item_timeout": "1s"}, {}, None),
    ("parallel_batch", {**PER_BATCH, "batch_size": 3}, {"batch": {"batch_size": 2, "max_parallel": 1}}, None),
]


@pytest.mark.parametrize(("kind", "params", "more", "finding"), IDLE)
def test_what_does_nothing_is_told(kind, params, more, finding):
    """A size where a batch is one item, a time of items where there are none, a script beside another; nothing of what counts."""
    node = {"type": kind, "params": params, **more}
    parsed = parse_flow(json.dumps({"metadata": {"name": "t"}, "nodes": {"b": node}}), BUILT_IN)
    assert [f"{one.severity} {one.code} {one.pointer}" for one in parsed.diagnostics] == ([] if finding is None else [finding])


@pytest.mark.parametrize(
    ("params", "milliseconds"), [({"item_timeout": "2s"}, 2000), ({"timeout": "3s"}, 3000), ({"item_timeout": "2s", "timeout": "1s"}, 1000)]
)
def test_the_shorter_time_counts_where_a_batch_is_one_item(params, milliseconds):
    """That of an item and that of a batch are both bounds."""
    parsed = parse_flow(flow("worker_pool", {**PER_ITEM, **params}), BUILT_IN)
    [branch] = parsed.program.root.states["b"].work.branches
    assert branch.states["b (batches)"].work.processor.states["b (batch)"].work.timeout_milliseconds == milliseconds
