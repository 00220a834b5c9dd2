"""Open activity tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flowrunner.ports.executions import ActivityTask
from flowrunner.testing.conformance.examples import created, stepped

if TYPE_CHECKING:
    from flowrunner.ports.store import Store


def task(number: int, attempt: int, scheduled_at: int = 1, activity: str = "activity") -> ActivityTask:
    """An open task of execution `number`."""
    return ActivityTask(activity=activity, execution=f"{number:032x}", attempt=attempt, input=f'"{attempt}"', scheduled_at=scheduled_at)


@pytest.mark.asyncio
class ActivityTaskConformance:
    """`opened`, `closed` and `activity_tasks`."""

    async def test_oldest_first(self, store: Store) -> None:
        """Tasks come by the time they were scheduled, then in the order of opening; `limit` takes the oldest."""
        await created(store, 1, write={"opened": (task(1, 7, 30), task(1, 5, 20), task(1, 6, 20))})
        await created(store, 2, write={"opened": (task(2, 1, 10), task(2, 2, 30))})
        expected = [task(2, 1, 10), task(1, 5, 20), task(1, 6, 20), task(1, 7, 30), task(2, 2, 30)]
        assert await store.executions.activity_tasks("activity") == expected
        assert await store.executions.activity_tasks("activity", limit=2) == expected[:2]
        assert await store.executions.activity_tasks("activity") == expected  # asking takes nothing

    async def test_activities_are_apart(self, store: Store) -> None:
        """Each activity has its own tasks; an unknown one has none."""
        await created(store, 1, write={"opened": (task(1, 1, activity="a"), task(1, 2, activity="b"))})
        assert await store.executions.activity_tasks("a") == [task(1, 1, activity="a")]
        assert await store.executions.activity_tasks("b") == [task(1, 2, activity="b")]
        assert await store.executions.activity_tasks("c") == []

    async def test_closing(self, store: Store) -> None:
        """A step closes attempts of its own execution; unknown ones are no error; one opened and closed in a step is closed."""
        first = await created(store, 1, write={"opened": (task(1, 1), task(1, 2), task(1, 3))})
        await created(store, 2, write={"opened": (task(2, 1),)})
        first = await stepped(store, first, write={"closed": (1, 3, 99)})
        assert await store.executions.activity_tasks("activity") == [task(1, 2), task(2, 1)]
        first = await stepped(store, first, write={"opened": (task(1, 4), task(1, 5)), "closed": (2, 4)})
        assert await store.executions.activity_tasks("activity") == [task(2, 1), task(1, 5)]
        await stepped(store, first, write={"opened": (task(1, 1),)})
        assert await store.executions.activity_tasks("activity") == [task(2, 1), task(1, 5), task(1, 1)]
