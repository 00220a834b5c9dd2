"""Kinds that work on many items: batch, async_batch, parallel_batch, worker_pool. The front ends make states of them."""

from __future__ import annotations

from flowrunner.jsonvalue import JSONObject
from flowrunner.kinds.http import BAD_PARAMETERS
from flowrunner.kinds.info import KindInfo, boolean, duration, fields, integer, listed, number, script
from flowrunner.kinds.scripting import SCRIPT_ERRORS

_PARAMETERS: dict[str, JSONObject] = {
    "items": {"type": ["array", "string"], "description": "The items. Default: `input.items`."},
    "batch_size": integer("Items of one batch.", minimum=1, default=10),
    "processor_script": script(
        "JavaScript for each batch: it sees the batch as `batch`, `items` and `input.items`, its number as `batch_index`, and returns the results."
    ),
    "script": script("The same, by its older name."),
    "item_script": script("JavaScript for each item instead: it sees `item` and `index`."),
    "timeout": duration("The longest one batch may take.", limit=True),
    "item_timeout": duration("The longest one item may take, where a batch is one item.", limit=True),
    "max_parallel": integer("The most batches at once. Default: what the kind is for.", minimum=1),
    "fail_fast": boolean("Whether the first batch that fails ends the rest.", default=False),
}
_OUTPUTS = fields(
    {
        "batch_results": listed("What the items gave, in their order; failed batches are left out."),
        "failed_items": listed("The items of failed batches, each with `error`."),
        "failed_batches": listed("The failed batches: `{batch_index, items, error, cause}`."),
        "skipped_items": listed("With `fail_fast`: items of batches that were not begun or were given up."),
        "success_count": integer("Items that succeeded."),
        "total_count": integer("Items there were."),
        "success_rate": number("Their share in percent."),
        "batch_size": integer("Items of one batch."),
    },
    closed=False,
)
_AT_ONCE = integer("Batches at once.", minimum=1, default=4)


def _kind(name: str, title: str, how: str, **more: JSONObject) -> KindInfo:
    return KindInfo(
        name=name,
        title=title,
        description=(
            f"Works on items in batches, {how}. Batches are isolated: the node succeeds when at least one batch did. "
            "It takes `error` when all failed, `timeout` when all that failed timed out. The node's `retry` is that of each batch."
        ),
        parameters=fields({**_PARAMETERS, **more}),
        outputs=_OUTPUTS,
        actions=("success", "error", "timeout"),
        errors=(
            BAD_PARAMETERS,
            ("FlowRunner.SecretNotAllowed", "an item holds a secret, which the history would keep"),
            *SCRIPT_ERRORS,
            ("FlowRunner.BatchFailed", "all batches are lost; the cause tells of the last"),
        ),
        pure=True,
        structural=True,
    )


BATCH = _kind("batch", "Batch", "one after another")
ASYNC_BATCH = _kind("async_batch", "Asynchronous batch", "one after another, without holding a worker between them")
PARALLEL_BATCH = _kind("parallel_batch", "Parallel batch", "several at once", max_parallel=_AT_ONCE)
WORKER_POOL = _kind(
    "worker_pool",
    "Worker pool",
    "one item each, by a number of workers",
    batch_size=integer("Without effect: a worker takes one item at a time.", minimum=1, default=1),
    max_parallel=integer("Items at once, where that is fewer than `workers`.", minimum=1),
    workers=integer("How many workers.", minimum=1, default=64),
)  # fmt: skip
KINDS = (BATCH, ASYNC_BATCH, PARALLEL_BATCH, WORKER_POOL)
