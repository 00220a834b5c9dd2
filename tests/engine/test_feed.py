"""What followers get of an execution that several nodes write: everything, once, in order."""

import asyncio
import json
from dataclasses import replace

import pytest

from flowrunner.engine.feed import Feed
from flowrunner.ports.executions import Chunk, Head, StepWrite
from flowrunner.stores.memory.store import MemoryStore
from flowrunner.testing.clock import ManualClock

HEAD = Head(id="0" * 32, account="0", machine="m", name="n", revision="r", status="RUNNING", input="{}", seed=b"s" * 16, started_at=1)
TURNS = 20  # of the event loop, in which every follower has read what there is


class Log:
    """One execution, its feed on one node, and followers."""

    def __init__(self):
        self.executions = MemoryStore().executions
        self.feed = Feed(self.executions, ManualClock())
        self.head = HEAD
        self.written = None

    async def write(self, count, *, here, status="RUNNING", tells=True):
        """Add records; one of this node's own commits is told to the feed, unless that comes later (`tell`)."""
        first = self.head.last_seq + 1
        chunk = Chunk(first, count, json.dumps([{"n": first + place} for place in range(count)]).encode())
        head = replace(self.head, last_seq=self.head.last_seq + count, status=status)
        self.head = await self.executions.commit(StepWrite(head=head, create=self.head.epoch == 0, chunk=chunk))
        self.written = (self.head, chunk)
        if here and tells:
            self.tell()
        await self.turns()

    def tell(self):
        self.feed.publish(*self.written)

    async def turns(self):
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def follow(self):
        """A new follower: what it has got, and its task."""
        got = []

        async def read():
            async for batch in self.feed.follow(HEAD.id):
                got.extend(seq for seq, _ in batch)

        task = asyncio.create_task(read())
        await self.turns()
        return got, task


async def test_a_newcomer_makes_no_hole_for_others():
    """Another node wrote, and somebody who comes here is the first to see that: those who followed before get it too, before what follows."""
    log = Log()
    await log.write(3, here=True)
    first, following = await log.follow()
    await log.write(2, here=True)
    await log.write(2, here=False)
    second, following_too = await log.follow()
    assert first == second == list(range(1, 8))
    await log.write(2, here=True, status="SUCCEEDED")
    await asyncio.wait_for(asyncio.gather(following, following_too), 10)
    assert first == second == list(range(1, 10))


async def test_a_commit_that_is_told_late():
    """A node hears of its own commit when another has written already: nothing is left out after it."""
    log = Log()
    await log.write(3, here=True)
    first, following = await log.follow()
    await log.write(2, here=True, tells=False)
    late = log.written
    await log.write(2, here=False)
    await log.feed._look()
    log.feed.publish(*late)
    await log.turns()
    await log.write(2, here=True, status="SUCCEEDED")
    await asyncio.wait_for(following, 10)
    assert first == list(range(1, 10))


@pytest.mark.parametrize("looks", [True, False], ids=["looked", "told"])
async def test_who_is_behind_when_the_execution_is_forgotten(looks):
    """Whoever was behind when an ended execution was removed is not kept waiting for records that nobody has any more."""
    log = Log()
    await log.write(3, here=True)
    stalled = log.feed.follow(HEAD.id)
    await anext(stalled)
    await log.write(2, here=False)
    await log.write(2, here=not looks, status="SUCCEEDED")
    if looks:
        await log.feed._look()
    await log.executions.forget(HEAD.id)
    async with asyncio.timeout(10):
        assert [batch async for batch in stalled] == []
