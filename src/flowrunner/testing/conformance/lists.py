"""Lists of executions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import pytest

from flowrunner.ports.executions import ExecutionQuery, Status
from flowrunner.testing.conformance.examples import ACCOUNT, START, created, stepped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowrunner.ports.executions import Head
    from flowrunner.ports.store import Store

STATUSES: tuple[Status, ...] = get_args(Status)


def shown(heads: Sequence[Head]) -> list[Head]:
    """What a list must show of each head."""
    return [replace(head, input="", output=None) for head in heads]


async def crowd(store: Store) -> list[Head]:
    """Sixty executions of two machines and two accounts, five to a start time, created out of order; newest first."""
    heads = [
        await created(
            store,
            number * 37 % 61,
            started_at=START + number * 37 % 61 // 5,
            machine="orders" if number % 3 else "returns",
            account=ACCOUNT if number % 7 else "999999999999",
            status=STATUSES[number // 3 % len(STATUSES)],
            error="E" * number,
        )
        for number in range(1, 61)
    ]
    return sorted(heads, key=lambda head: (head.started_at, head.id), reverse=True)


@pytest.mark.asyncio
class ListConformance:
    """`list`."""

    async def test_filters_of_lists(self, store: Store) -> None:
        """A list has its account's executions, of one machine or all, of one status or all, newest first, ties by id descending."""
        heads = await crowd(store)
        for account in (ACCOUNT, "999999999999", "nobody"):
            for machine in (None, "orders", "returns", "nothing"):
                for status in (None, *STATUSES):
                    expected = [head for head in heads if head.account == account and machine in (None, head.machine) and status in (None, head.status)]
                    found = await store.executions.list(ExecutionQuery(account=account, machine=machine, status=status))
                    assert shown(found) == shown(expected)

    async def test_pages_of_lists(self, store: Store) -> None:
        """Pages of every size that begin after the last row of the page before are the list, though start times are equal."""
        await crowd(store)
        for query in (
            ExecutionQuery(account=ACCOUNT),
            ExecutionQuery(account=ACCOUNT, machine="orders"),
            ExecutionQuery(account=ACCOUNT, status="FAILED"),
            ExecutionQuery(account=ACCOUNT, machine="orders", status="RUNNING"),
            ExecutionQuery(account=ACCOUNT, machine="orders", status="SUCCEEDED"),
        ):
            whole = shown(await store.executions.list(query))
            assert whole
            for size in (1, 2, 7, 1000):
                after: tuple[int, str] | None = None
                seen: list[Head] = []
                while page := await store.executions.list(replace(query, limit=size, after=after)):
                    assert len(page) <= size
                    seen += shown(page)
                    after = (page[-1].started_at, page[-1].id)
                assert seen == whole

    async def test_a_page_is_stable_while_others_start(self, store: Store) -> None:
        """Executions that start between two pages do not shift the second one."""
        for number in range(1, 11):
            await created(store, number)
        first = await store.executions.list(ExecutionQuery(account=ACCOUNT, limit=4))
        for number in range(11, 15):
            await created(store, number)
        second = await store.executions.list(ExecutionQuery(account=ACCOUNT, limit=100, after=(first[-1].started_at, first[-1].id)))
        assert [head.id for head in (*first, *second)] == [f"{number:032x}" for number in range(10, 0, -1)]

    async def test_lists_follow_the_status(self, store: Store) -> None:
        """An execution that ends leaves the list of its old status and enters that of its new one."""
        at = await created(store)
        for status in (*STATUSES[1:], STATUSES[0]):
            at = await stepped(store, at, status=status)
            for machine in (None, at.machine):
                found = {one: shown(await store.executions.list(ExecutionQuery(account=ACCOUNT, machine=machine, status=one))) for one in STATUSES}
                assert found == {one: shown([at]) if one == status else [] for one in STATUSES}
