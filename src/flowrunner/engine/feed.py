"""Live records of executions: whoever follows one gets its past first, then what is committed, in order, without hole or duplicate.

The engine only notes what it committed; followers read at their own pace, from the last chunks kept here or from the
store. So a slow follower costs nobody anything, and memory is bounded by the number of executions that are followed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import orjson

from flowrunner.errors import NotFound
from flowrunner.ports.executions import Chunk, ExecutionStore, Head

Entry = tuple[int, dict[str, Any]]
KEPT_CHUNKS = 64
PAGE = 500
ENDED = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"})


class _Topic:
    """What is known of one followed execution: its newest chunks, decoded once for all followers."""

    __slots__ = ("changed", "chunks", "ended", "followers", "last_seq")

    def __init__(self) -> None:
        self.followers = 0
        self.last_seq = 0
        self.ended = False
        self.chunks: deque[tuple[int, list[dict[str, Any]]]] = deque(maxlen=KEPT_CHUNKS)
        self.changed = asyncio.Event()

    def recent(self, after: int) -> list[Entry] | None:
        """The records after this sequence number, or None when they are no longer kept."""
        if not self.chunks or self.chunks[0][0] > after + 1:
            return None
        return [(first + place, record) for first, records in self.chunks for place, record in enumerate(records) if first + place > after]


class Feed:
    """Follows executions of one store."""

    def __init__(self, executions: ExecutionStore) -> None:
        self._executions = executions
        self._topics: dict[str, _Topic] = {}

    def publish(self, head: Head, chunk: Chunk | None) -> None:
        """Note a commit; costs one lookup when nobody follows."""
        topic = self._topics.get(head.id)
        if topic is None:
            return
        if chunk is not None and chunk.first_seq <= topic.last_seq + 1:
            topic.chunks.append((chunk.first_seq, orjson.loads(chunk.body)))
        elif head.last_seq > topic.last_seq:
            topic.chunks.clear()  # something was stored that this node has not seen: followers read the store
        topic.last_seq = head.last_seq
        topic.ended = head.status in ENDED
        topic.changed.set()
        topic.changed = asyncio.Event()

    async def follow(self, execution: str, *, after: int = 0) -> AsyncIterator[list[Entry]]:
        """Batches of (sequence number, record) after `after`; ends after the last record of an ended execution.

        Raises NotFound. A batch has at least one record and at most about a page.
        """
        topic = self._topics.setdefault(execution, _Topic())
        topic.followers += 1
        try:
            head = await self._executions.head(execution)
            if head is None:
                raise NotFound("execution", execution)
            topic.last_seq = max(topic.last_seq, head.last_seq)
            topic.ended = topic.ended or head.status in ENDED
            cursor = after
            while True:
                changed = topic.changed
                batch = topic.recent(cursor) if topic.last_seq > cursor else []
                if batch is None:
                    batch = await self._read(execution, cursor)
                if batch:
                    cursor = batch[-1][0]
                    yield batch
                elif topic.ended and cursor >= topic.last_seq:
                    return
                else:
                    await changed.wait()
        finally:
            topic.followers -= 1
            if topic.followers == 0:
                self._topics.pop(execution, None)

    async def _read(self, execution: str, after: int) -> list[Entry]:
        chunks = await self._executions.log(execution, after=after, limit=PAGE)
        return [
            (chunk.first_seq + place, record) for chunk in chunks for place, record in enumerate(orjson.loads(chunk.body)) if chunk.first_seq + place > after
        ]

    async def ended(self, execution: str) -> Head:
        """Wait for the end of an execution and return its head; raises NotFound."""
        topic = self._topics.setdefault(execution, _Topic())
        topic.followers += 1
        try:
            while True:
                changed = topic.changed
                head = await self._executions.head(execution)
                if head is None:
                    raise NotFound("execution", execution)
                if head.status in ENDED:
                    return head
                await changed.wait()
        finally:
            topic.followers -= 1
            if topic.followers == 0:
                self._topics.pop(execution, None)
