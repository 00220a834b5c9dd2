"""Deliveries between executions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flowrunner.ports.executions import Delivery
from flowrunner.testing.conformance.examples import created, stepped

if TYPE_CHECKING:
    from flowrunner.ports.store import Store

PARENT, CHILD = f"{1:032x}", f"{2:032x}"


async def inbox(store: Store, execution: str) -> tuple[Delivery, ...]:
    """What lies in an execution's inbox."""
    stored = await store.executions.load(execution)
    assert stored is not None
    return stored.inbox


@pytest.mark.asyncio
class InboxConformance:
    """`deliveries`, `consumed` and `undelivered`."""

    async def test_deliveries_arrive_in_order(self, store: Store) -> None:
        """Deliveries lie in the inbox and among the undelivered, oldest first; the sender's inbox stays empty."""
        await created(store, 1)
        child = await created(store, 2)
        sent = tuple(Delivery(f"id-{9 - number}", PARENT, b"%d" % number) for number in range(5))
        child = await stepped(store, child, write={"deliveries": sent[:2]})
        child = await stepped(store, child, write={"deliveries": sent[2:]})
        assert await inbox(store, PARENT) == sent
        assert await inbox(store, CHILD) == ()
        assert await store.executions.undelivered(100) == list(sent)
        assert await store.executions.undelivered(2) == list(sent[:2])

    async def test_a_second_delivery_changes_nothing(self, store: Store) -> None:
        """A delivery whose id lies in an inbox changes nothing, whatever it holds and in whichever write it comes."""
        await created(store, 1)
        child = await created(store, 2, write={"deliveries": (Delivery("a", PARENT, b"first"), Delivery("a", PARENT, b"second"))})
        child = await stepped(store, child, write={"deliveries": (Delivery("b", PARENT, b"b"), Delivery("a", CHILD, b"third"))})
        assert await inbox(store, PARENT) == (Delivery("a", PARENT, b"first"), Delivery("b", PARENT, b"b"))
        assert await inbox(store, CHILD) == ()

    async def test_consumed(self, store: Store) -> None:
        """A step takes deliveries out of its own inbox; unknown ids and those of others are left alone."""
        parent = await created(store, 1)
        child = await created(store, 2, write={"deliveries": tuple(Delivery(name, PARENT, b"f") for name in "abc")})
        child = await stepped(store, child, write={"consumed": ("a", "b", "c", "x")})
        assert len(await inbox(store, PARENT)) == 3
        parent = await stepped(store, parent, write={"consumed": ("b", "a", "x")})
        assert await inbox(store, PARENT) == (Delivery("c", PARENT, b"f"),)
        assert await store.executions.undelivered(10) == [Delivery("c", PARENT, b"f")]
        await stepped(store, parent, write={"consumed": ("c",)})
        assert await store.executions.undelivered(10) == []

    async def test_an_execution_can_write_to_itself(self, store: Store) -> None:
        """A step that consumes and delivers to its own inbox keeps what it delivers."""
        at = await created(store, 1, write={"deliveries": (Delivery("a", PARENT, b"1"),)})
        await stepped(store, at, write={"consumed": ("a",), "deliveries": (Delivery("b", PARENT, b"2"),)})
        assert await inbox(store, PARENT) == (Delivery("b", PARENT, b"2"),)

    async def test_delivery_before_creation(self, store: Store) -> None:
        """A delivery to an execution that is not there yet waits for it."""
        await created(store, 2, write={"deliveries": (Delivery("a", PARENT, b"f"),)})
        assert await store.executions.undelivered(10) == [Delivery("a", PARENT, b"f")]
        await created(store, 1)
        assert await inbox(store, PARENT) == (Delivery("a", PARENT, b"f"),)

    async def test_delivery_before_a_redrive(self, store: Store) -> None:
        """An execution that waits for its redrive takes deliveries."""
        await created(store, 1, status="PENDING_REDRIVE")
        await created(store, 2, write={"deliveries": (Delivery("a", PARENT, b"f"),)})
        assert await inbox(store, PARENT) == (Delivery("a", PARENT, b"f"),)

    async def test_delivery_after_the_end(self, store: Store) -> None:
        """A delivery to an execution that is over goes nowhere, so nobody looks at it for ever."""
        await created(store, 1, status="ABORTED")
        await created(store, 2, write={"deliveries": (Delivery("a", PARENT, b"f"),)})
        assert await inbox(store, PARENT) == ()
        assert await store.executions.undelivered(10) == []
