"""Pages of a log. A chunk's key has its first sequence number, so the chunk that holds a number is the last one at or before it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flowrunner.errors import StoreError
from flowrunner.ports.executions import Chunk
from flowrunner.stores.dynamodb.heads import read_head
from flowrunner.stores.dynamodb.keys import chunk_key, partition
from flowrunner.stores.dynamodb.values import is_whole, joined, part_keys

if TYPE_CHECKING:
    from flowrunner.stores.dynamodb.session import Session
    from flowrunner.stores.dynamodb.values import Plain

FEW = 10  # records: as many chunks at most, read backwards from the end of the range in one request; more would be read in vain


async def read_log(session: Session, execution: str, after: int, limit: int, *, reverse: bool) -> list[Chunk]:
    """See ExecutionStore.log."""
    last: Plain | None = None
    if reverse:
        last = await _holding(session, execution, after - 1 if after else 1 << 62)
        if last is None:
            return []
        end = _first(last) + last["count"]
        first, stop = max(1, (after or end) - limit), min(after or end, end)
    else:
        first, stop = after + 1, after + 1 + limit
    if first >= stop:
        return []
    if last is not None and _first(last) <= first:
        items = [last]
    elif stop - first <= FEW:
        items = (await _before(session, execution, stop, stop - first))[::-1]
    elif first == 1:
        items = await _between(session, execution, 1, stop)
    else:
        before, items = await asyncio.gather(_holding(session, execution, first), _between(session, execution, first + 1, stop))
        items = ([before] if before is not None else []) + items
    items = [item for item in items if _first(item) < stop and _first(item) + item["count"] > first]
    parts = await session.get_all(key for item in items for key in part_keys(item, ("body",)))
    if not all(is_whole(item, ("body",), parts) for item in items):
        if await read_head(session, execution) is not None:
            raise StoreError(f"A part of the log of execution {execution} is missing: the table was changed from outside.")
        return []  # it has just been forgotten
    chunks = [Chunk(_first(item), item["count"], joined(item, "body", parts, text=False)) for item in items]
    return chunks[::-1] if reverse else chunks


def _first(item: Plain) -> int:
    return int(item["sk"][2:])


async def _holding(session: Session, execution: str, number: int) -> Plain | None:
    """The chunk that holds a sequence number, or the last one before it."""
    found = await _before(session, execution, number + 1, 1)
    return found[0] if found else None


async def _before(session: Session, execution: str, stop: int, limit: int) -> list[Plain]:
    """The last chunks that begin before `stop`, newest first."""
    bounds = {"low": chunk_key(execution, 0)[1], "high": chunk_key(execution, stop - 1)[1]}
    return await session.query(partition(execution), "sk BETWEEN :low AND :high", bounds, limit=limit, reverse=True)


async def _between(session: Session, execution: str, first: int, stop: int) -> list[Plain]:
    """The chunks that begin from `first` to before `stop`."""
    if first >= stop:
        return []
    bounds = {"low": chunk_key(execution, first)[1], "high": chunk_key(execution, stop - 1)[1]}
    return await session.query(partition(execution), "sk BETWEEN :low AND :high", bounds)
