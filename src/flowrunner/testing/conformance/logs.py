"""The log: pages of whole chunks in both directions."""

from __future__ import annotations

import json
from itertools import accumulate, cycle, islice
from typing import TYPE_CHECKING, Any

import pytest

from flowrunner.testing.conformance.examples import created, records, stepped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowrunner.ports.executions import Chunk
    from flowrunner.ports.store import Store

COUNTS = tuple(islice(cycle((1, 2, 1, 7, 30, 1, 3)), 360))  # 2,315 records
ENDS = tuple(accumulate(COUNTS))
CHUNKS = tuple(records(end - count + 1, count) for end, count in zip(ENDS, COUNTS, strict=True))
LAST = ENDS[-1]


def holding(first: int, last: int) -> list[Chunk]:
    """The chunks with records from `first` to `last`."""
    return [chunk for chunk in CHUNKS if chunk.first_seq <= last and chunk.first_seq + chunk.count > first]


def numbers(chunks: Sequence[Chunk]) -> list[int]:
    """The records' numbers, chunk by chunk."""
    found: list[int] = []
    for chunk in chunks:
        body: list[dict[str, Any]] = json.loads(chunk.body)
        found += (record["id"] for record in body)
    return found


async def long_log(store: Store) -> str:
    """An execution with a log of many chunks, between two others."""
    before, at, after = [await created(store, number, last_seq=1, write={"chunk": CHUNKS[0]}) for number in (1, 2, 3)]
    for end, chunk in zip(ENDS[1:], CHUNKS[1:], strict=True):
        at = await stepped(store, at, last_seq=end, write={"chunk": chunk})
    await stepped(store, before, last_seq=5, write={"chunk": records(2, 4)})
    await stepped(store, after, last_seq=5, write={"chunk": records(2, 4)})
    return at.id


@pytest.mark.asyncio
class LogConformance:
    """`log`."""

    async def test_an_execution_without_records(self, store: Store) -> None:
        """An empty log is an empty page, between logs that are not."""
        for number in (1, 2, 3):
            await created(store, number, write={"chunk": None if number == 2 else records(1, 1)})
        assert await store.executions.log(f"{2:032x}") == []
        assert await store.executions.log(f"{2:032x}", reverse=True) == []

    async def test_pages_of_every_size(self, store: Store) -> None:
        """At page sizes 1, 2, 999 and 1000 the pages together are the log, in both directions, and no chunk comes needlessly."""
        execution = await long_log(store)
        for size in (1, 2, 999, 1000):
            seen: list[int] = []
            while page := await store.executions.log(execution, after=seen[-1] if seen else 0, limit=size):
                after = seen[-1] if seen else 0
                assert page == holding(after + 1, after + size)
                seen += [number for number in numbers(page) if number > after][:size]
            assert seen == list(range(1, LAST + 1))
            back: list[int] = []
            while (not back or back[-1] > 1) and (page := await store.executions.log(execution, after=back[-1] if back else 0, limit=size, reverse=True)):
                below = back[-1] if back else LAST + 1
                assert page == holding(below - size, below - 1)[::-1]
                back += [number for number in reversed(numbers(page[::-1])) if number < below][:size]
            assert back == list(range(LAST, 0, -1))

    async def test_the_default_page(self, store: Store) -> None:
        """Without arguments the first 1000 records come, reversed the last 1000."""
        execution = await long_log(store)
        assert await store.executions.log(execution) == holding(1, 1000)
        assert await store.executions.log(execution, reverse=True) == holding(LAST - 999, LAST)[::-1]

    async def test_beyond_the_ends(self, store: Store) -> None:
        """Above the last record and below the first there is nothing; a place beyond the end means the end when reversed."""
        execution = await long_log(store)
        for after in (LAST, LAST + 1, LAST + 100_000):
            assert await store.executions.log(execution, after=after) == []
        assert await store.executions.log(execution, after=1, reverse=True) == []
        assert await store.executions.log(execution, after=LAST - 1, limit=5) == holding(LAST, LAST)
        assert await store.executions.log(execution, after=2, limit=5, reverse=True) == holding(1, 1)
