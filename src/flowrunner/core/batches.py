"""ItemBatcher: several items of a distributed Map as one input, ``{"BatchInput": ..., "Items": [...]}``.

Source: Step Functions Developer Guide, "ItemBatcher (Map)". Batches are made when they are opened, one per transition.
"""

from __future__ import annotations

from collections.abc import Callable

from flowrunner.core.dataflow import field_value, fill, no_number
from flowrunner.core.program import Field, MapWork
from flowrunner.core.run import Run
from flowrunner.core.scope import Batching, Group, Scope
from flowrunner.jsonvalue import JSONValue, Payload, dumps


def batching_of(run: Run, scope: Scope, work: MapWork, given: Payload) -> Batching | None:
    """The limits of the Map's batches and what they share; None without ItemBatcher."""
    batcher = work.batcher
    if batcher is None or not work.distributed:
        return None
    shared = None
    if batcher["BatchInput"] is not None:
        shared = Payload(value=fill(scope, batcher["BatchInput"], run.environment(scope, given.value), "ItemBatcher/BatchInput"))
    most, largest = (_limit(run, scope, batcher[name], given) for name in ("MaxItemsPerBatch", "MaxInputBytesPerBatch"))
    if run.limits.payload_bytes:  # what a child is given is an input like any other
        largest = min(largest or run.limits.payload_bytes, run.limits.payload_bytes)
    return Batching(most, largest, shared)


def _limit(run: Run, scope: Scope, field: Field | None, given: Payload) -> int | None:
    if field is None:
        return None
    value = field_value(run, scope, field, given.value)
    number = value
    if isinstance(number, str) and number.isascii() and number.isdigit() and len(number) < 10:  # recorded: AWS takes "2" from a variable
        number = int(number)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, int) and not isinstance(number, bool) and number > 0:
        return number
    raise no_number(scope, field, "positive integer", value)


def next_batch(group: Group, batching: Batching, select: Callable[[int], JSONValue]) -> JSONValue:
    """Take the items of one more batch: as many as fit, one at least. `select` gives what an item of the Map is passed on as."""
    batch: dict[str, JSONValue] = {} if batching.shared is None else {"BatchInput": batching.shared.value}
    size = len(dumps({**batch, "Items": []}).encode())
    items: list[JSONValue] = []
    while group.next_item < group.total and (batching.most is None or len(items) < batching.most):
        item = select(group.next_item)
        if batching.largest is not None:
            size += len(dumps(item).encode()) + (1 if items else 0)  # with its comma
            if items and size > batching.largest:
                break  # it begins the next one
        items.append(item)
        group.next_item += 1
    return {**batch, "Items": items}
