"""Live records of executions: whoever follows one gets its past first, then what is committed, in order, without hole or duplicate.

The engine only notes what it committed; followers read at their own pace, from the last chunks kept here or from the
store. So a slow follower costs nobody anything, and memory is bounded by the number of executions that are followed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson

from flowrunner.clock import Clock
from flowrunner.errors import NotFound, StoreError
from flowrunner.ports.executions import Chunk, ExecutionStore, Head

Entry = tuple[int, dict[str, Any]]
Tap = Callable[[Head, Chunk | None], None]
KEPT_CHUNKS = 64
PAGE = 500
WATCH_SECONDS = 0.1
WATCHED_AT_ONCE = 1000
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

    def keep(self, first: int, records: list[dict[str, Any]]) -> None:
        """Keep the newest chunk; those before it only if nothing is missing between, for another node may have written there."""
        if self.chunks and self.chunks[-1][0] + len(self.chunks[-1][1]) != first:
            self.chunks.clear()
        self.chunks.append((first, records))

    def recent(self, after: int) -> list[Entry] | None:
        """The records after this sequence number, or None when they are not kept here: no longer, or never were."""
        if not self.chunks or self.chunks[0][0] > after + 1 or self.chunks[-1][0] + len(self.chunks[-1][1]) <= after + 1:
            return None
        return [
            (first + place, record)
            for first, records in self.chunks
            if first + len(records) > after + 1  # most followers lack the newest chunk only
            for place, record in enumerate(records)
            if first + place > after
        ]

    def move(self, last_seq: int, status: str) -> None:
        """The log is this long: if that is news, followers look."""
        if last_seq < self.last_seq or (last_seq == self.last_seq and status not in ENDED):
            return
        self.last_seq = last_seq
        self.ended = status in ENDED
        self.changed.set()
        self.changed = asyncio.Event()


class Feed:
    """Follows executions of one store."""

    def __init__(self, executions: ExecutionStore, clock: Clock, *, look_seconds: float = WATCH_SECONDS) -> None:
        self._executions = executions
        self._clock = clock
        self._look_seconds = look_seconds
        self._followed = asyncio.Event()
        self._topics: dict[str, _Topic] = {}
        self._taps: set[Tap] = set()

    def tap(self, told: Tap) -> None:
        """Call this after each commit of this node, with the head and what was added to the log; it must be quick and not raise."""
        self._taps.add(told)

    def untap(self, told: Tap) -> None:
        """Call it no more."""
        self._taps.discard(told)

    def publish(self, head: Head, chunk: Chunk | None) -> None:
        """Note a commit; costs one lookup when nobody follows."""
        for told in self._taps:
            told(head, chunk)
        topic = self._topics.get(head.id)
        if topic is None:
            return
        if chunk is not None and head.last_seq >= topic.last_seq:
            topic.keep(chunk.first_seq, orjson.loads(chunk.body))
        topic.move(head.last_seq, head.status)

    async def watch(self) -> None:
        """Notice what other nodes committed to the executions that are followed here; runs until cancelled.

        One request for all of them, and none while nobody follows.
        """
        while True:
            await self._followed.wait()
            self._followed.clear()
            while self._topics:
                await self._clock.sleep(self._look_seconds)
                with contextlib.suppress(StoreError):  # looked at again next time
                    await self._look()

    async def _look(self) -> None:
        open_topics = [execution for execution, topic in self._topics.items() if not topic.ended]
        for first in range(0, len(open_topics), WATCHED_AT_ONCE):
            positions = await self._executions.positions(open_topics[first : first + WATCHED_AT_ONCE])
            for execution, position in positions.items():
                topic = self._topics.get(execution)
                if topic is not None:
                    topic.move(position.last_seq, position.status)

    async def follow(self, execution: str, *, after: int = 0) -> AsyncIterator[list[Entry]]:
        """Batches of (sequence number, record) after `after`; ends after the last record of an ended execution.

        Raises NotFound. A batch has at least one record and at most about a page.
        """
        topic = self._topic(execution)
        try:
            head = await self._executions.head(execution)
            if head is None:
                raise NotFound("execution", execution)
            topic.move(head.last_seq, head.status)  # others who follow it may not have heard of that yet
            cursor = after
            while True:
                changed = topic.changed
                batch = topic.recent(cursor) if topic.last_seq > cursor else []
                if batch is None:
                    batch = await self._read(execution, cursor)
                if batch:
                    cursor = batch[-1][0]
                    yield batch
                elif topic.ended:
                    return
                else:
                    await changed.wait()
        finally:
            topic.followers -= 1
            if topic.followers == 0:
                self._topics.pop(execution, None)

    def _topic(self, execution: str) -> _Topic:
        topic = self._topics.setdefault(execution, _Topic())
        topic.followers += 1
        self._followed.set()
        return topic

    async def _read(self, execution: str, after: int) -> list[Entry]:
        chunks = await self._executions.log(execution, after=after, limit=PAGE)
        return [
            (chunk.first_seq + place, record) for chunk in chunks for place, record in enumerate(orjson.loads(chunk.body)) if chunk.first_seq + place > after
        ]

    async def ended(self, execution: str) -> Head:
        """Wait for the end of an execution and return its head; raises NotFound."""
        topic = self._topic(execution)
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
