"""When somebody must look at an execution: wake-ups, owners, nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flowrunner.ports.executions import Position
from flowrunner.testing.conformance.examples import created, stepped

if TYPE_CHECKING:
    from flowrunner.ports.store import Store


def ids(*numbers: int) -> list[str]:
    """The ids of executions."""
    return [f"{number:032x}" for number in numbers]


@pytest.mark.asyncio
class WakeConformance:
    """`due`, `next_wake`, `positions`, and the nodes."""

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

    async def test_owners(self, store: Store) -> None:
        """Owners are the nodes of running executions; an execution may have several, and is then owned by each."""
        assert [node for node in await store.executions.owners() if await store.executions.owned(node, 10)] == []
        for number, owner in ((1, "a"), (2, "a,c"), (3, "b"), (4, None), (5, "a")):
            await created(store, number, owner=owner)
        await created(store, 6, owner="d", status="FAILED")
        assert {node for node in await store.executions.owners() if await store.executions.owned(node, 10)} == {"a", "b", "c"}
        assert sorted(await store.executions.owned("a", 10)) == ids(1, 2, 5)
        assert len(await store.executions.owned("a", 2)) == 2
        assert list(await store.executions.owned("c", 10)) == ids(2)
        assert list(await store.executions.owned("d", 10)) == []
        assert list(await store.executions.owned("nobody", 10)) == []

    async def test_owners_change_with_steps(self, store: Store) -> None:
        """Every step sets the owners anew; the end of an execution leaves none."""
        at = await created(store, 1, owner="a")
        for owner, owned in (("a,b", {"a", "b"}), ("b", {"b"}), (None, set()), ("c", {"c"}), ("a,c", {"a", "c"})):
            at = await stepped(store, at, owner=owner)
            assert {node for node in "abc" if await store.executions.owned(node, 10) == ids(1)} == owned
        await stepped(store, at, status="SUCCEEDED", owner=None)
        assert [await store.executions.owned(node, 10) for node in "abc"] == [[], [], []]

    async def test_beats(self, store: Store) -> None:
        """A node's counter goes up by one with each of its beats and with nobody else's."""
        first = await store.executions.beat("a")
        assert set(first) == {"a"}
        second = await store.executions.beat("b")
        assert second["a"] == first["a"]
        third = await store.executions.beat("a")
        assert third == {"a": first["a"] + 1, "b": second["b"]}

    async def test_leaving(self, store: Store) -> None:
        """A node that has left is not counted, whatever it owns; leaving twice or unknown is no error; a beat brings it back."""
        await created(store, 1, owner="a")
        await store.executions.beat("a")
        await store.executions.beat("b")
        await store.executions.leave("a")
        await store.executions.leave("a")
        await store.executions.leave("nobody")
        assert set(await store.executions.beat("b")) == {"b"}
        assert "a" in await store.executions.owners()
        assert list(await store.executions.owned("a", 10)) == ids(1)
        assert set(await store.executions.beat("a")) == {"a", "b"}

    async def test_hidden_due(self, store: Store) -> None:
        """What was asked for with `hide_seconds` may be hidden from others, but its next commit shows it again."""
        at = await created(store, 1, wake_at=5)
        assert await store.executions.due(5, 10, hide_seconds=3600) == ids(1)
        assert await store.executions.next_wake() == 5
        at = await stepped(store, at, wake_at=7)
        assert await store.executions.due(7, 10) == ids(1)

    async def test_positions(self, store: Store) -> None:
        """Positions are told of all that are there, by id."""
        at = await created(store, 1, last_seq=3)
        await stepped(store, at, last_seq=9)
        await created(store, 2, status="FAILED")
        found = await store.executions.positions([*ids(1, 2, 3), *ids(1)])
        assert found == {ids(1)[0]: Position(2, 9, "RUNNING"), ids(2)[0]: Position(1, 0, "FAILED")}
        assert await store.executions.positions([]) == {}
