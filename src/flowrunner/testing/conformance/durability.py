"""What a store that calls itself durable must show: all is there after closing and opening again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from flowrunner.errors import StoreUnavailable
from flowrunner.ports.executions import ActivityTask, Delivery, ExecutionQuery, StepWrite
from flowrunner.ports.store import Store
from flowrunner.testing.conformance.definitions import example_activity, example_machine
from flowrunner.testing.conformance.examples import ACCOUNT, created, head, records

Opened = Callable[[], AbstractAsyncContextManager[Store]]


@pytest.mark.asyncio
class DurableStoreConformance:
    """The life cycle of a store on a database that outlives it."""

    async def test_everything_is_there_after_opening_again(self, opened: Opened) -> None:
        """Whatever was answered before the end of one process is answered the same by the next."""
        async with opened() as store:
            assert store.capabilities.durable
            task = ActivityTask(activity="a", execution=head().id, attempt=1, input="{}", scheduled_at=1)
            parts = {"snapshot": b"s", "chunk": records(1, 3), "opened": (task,), "deliveries": (Delivery("d", head().id, b"f"),)}
            await created(store, 1, write=parts, wake_at=5, last_seq=3, input="x" * 100_000)
            await created(store, 2, status="SUCCEEDED", owner="n")
            await store.executions.beat("n")
            await store.definitions.create_machine(example_machine())
            await store.definitions.create_activity(example_activity())
            before = await _answers(store)
        async with opened() as store:
            assert await _answers(store) == before

    async def test_a_stopped_store_says_so(self, opened: Opened) -> None:
        """After the stop every call raises StoreUnavailable."""
        async with opened() as store:
            await store.check()
            await created(store)
        for call in (
            store.executions.commit(StepWrite(head=head(), create=True)),
            store.executions.load(head().id),
            store.executions.head(head().id),
            store.executions.list(ExecutionQuery(account=ACCOUNT)),
            store.executions.due(1, 1),
            store.definitions.machine(ACCOUNT, "m"),
            store.check(),
        ):
            with pytest.raises(StoreUnavailable):
                await call


async def _answers(store: Store) -> list[object]:
    of = store.executions
    one_by_one = [(await of.load(f"{number:032x}"), await of.log(f"{number:032x}")) for number in (1, 2)]
    crowd = await of.list(ExecutionQuery(account=ACCOUNT)), await of.activity_tasks("a"), await of.undelivered(9), await of.next_wake()
    return [one_by_one, crowd, await store.definitions.machines(ACCOUNT), await store.definitions.activities(ACCOUNT)]
