"""When somebody must look at an execution: wake-ups, owners, leases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flowrunner.testing.conformance.examples import created, stepped

if TYPE_CHECKING:
    from flowrunner.ports.store import Store


def ids(*numbers: int) -> list[str]:
    """The ids of executions."""
    return [f"{number:032x}" for number in numbers]


@pytest.mark.asyncio
class WakeConformance:
    """`due`, `next_wake`, `orphans` and `renew`."""

    async def test_due(self, store: Store) -> None:
        """Due is what wakes at or before now, earliest first, at most `limit`; asking takes nothing."""
        for number, wake_at in ((1, 300), (2, 100), (3, 200), (4, None), (5, 301)):
            await created(store, number, wake_at=wake_at)
        assert await store.executions.due(99, 10) == []
        assert await store.executions.due(100, 10) == ids(2)
        assert await store.executions.due(300, 10) == ids(2, 3, 1)
        assert await store.executions.due(300, 2) == ids(2, 3)
        assert await store.executions.due(1 << 62, 10) == ids(2, 3, 1, 5)
        assert await store.executions.next_wake() == 100

    async def test_due_are_running_executions_without_an_owner(self, store: Store) -> None:
        """Owned, ended and pending executions are not due and do not count for the next wake-up."""
        assert await store.executions.next_wake() is None
        await created(store, 1, wake_at=1, owner="node")
        for number, status in enumerate(("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "PENDING_REDRIVE"), start=2):
            await created(store, number, wake_at=1, status=status)
        assert await store.executions.due(10, 10) == []
        assert await store.executions.next_wake() is None
        at = await created(store, 9, wake_at=5)
        assert await store.executions.next_wake() == 5
        at = await stepped(store, at, wake_at=7)
        assert await store.executions.next_wake() == 7
        at = await stepped(store, at, owner="node")
        assert await store.executions.next_wake() is None
        at = await stepped(store, at, owner=None)
        assert await store.executions.due(7, 10) == ids(9)
        await stepped(store, at, status="SUCCEEDED")
        assert await store.executions.next_wake() is None

    async def test_equal_wake_times(self, store: Store) -> None:
        """Many executions that wake at the same time are all due."""
        for number in range(1, 31):
            await created(store, number, wake_at=5)
        assert sorted(await store.executions.due(5, 100)) == ids(*range(1, 31))
        assert len(await store.executions.due(5, 7)) == 7

    async def test_orphans(self, store: Store) -> None:
        """Orphans are running executions whose owner has no lease that is valid now."""
        for number, owner in ((1, "a"), (2, "a"), (3, "b"), (4, None), (5, "c")):
            await created(store, number, owner=owner)
        await created(store, 6, owner="a", status="FAILED")
        assert sorted(await store.executions.orphans(100, 10)) == ids(1, 2, 3, 5)
        assert len(await store.executions.orphans(100, 3)) == 3
        await store.executions.renew("a", 200)
        await store.executions.renew("b", 150)
        await store.executions.renew("nobody", 500)
        assert await store.executions.orphans(149, 10) == ids(5)
        assert sorted(await store.executions.orphans(150, 10)) == ids(3, 5)  # a lease ends at its time, not after it
        assert sorted(await store.executions.orphans(201, 10)) == ids(1, 2, 3, 5)

    async def test_renewing(self, store: Store) -> None:
        """A lease can be extended, shortened and given up; giving up none is no error."""
        at = await created(store, 1, owner="a")
        await store.executions.renew("a", 100)
        await store.executions.renew("a", 200)
        assert await store.executions.orphans(150, 10) == []
        await store.executions.renew("a", 100)
        assert await store.executions.orphans(150, 10) == ids(1)
        await store.executions.renew("a", 200)
        await store.executions.renew("a", None)
        await store.executions.renew("a", None)
        assert await store.executions.orphans(0, 10) == ids(1)
        await stepped(store, at, owner=None)
        assert await store.executions.orphans(0, 10) == []
