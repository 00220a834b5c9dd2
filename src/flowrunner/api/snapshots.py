"""Streams that begin with how the run stands, in one message instead of all those before (``?snapshot=1``); the same for every transport."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from flowrunner.api.fanout import Follower
from flowrunner.api.messages import Renderer, Text
from flowrunner.ports.executions import Head
from flowrunner.views.standing import Standing

AT_ONCE = 100  # records that are taken before others have their turn


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a stream begins with: these messages, then the log behind the sequence number `after`."""

    after: int
    messages: tuple[Text, ...] = ()


async def beginning(feed: Follower, head: Head, renderer: Renderer, *, after: int, snapshot: bool) -> Beginning:
    """The beginning of a stream behind `after`; with `snapshot` one message stands for all that were stored.

    There is none where nothing was stored behind `after`: it would stand for nothing. Raises NotFound, StoreUnavailable.
    """
    if not snapshot or after >= head.last_seq:
        return Beginning(after)
    standing = Standing(head)
    async with contextlib.aclosing(feed.follow(head.id)) as batches:  # type: ignore[type-var]  # an async generator
        async for batch in batches:
            for first in range(0, len(batch), AT_ONCE):
                for seq, record in batch[first : first + AT_ONCE]:
                    standing.take(seq, record)
                await asyncio.sleep(0)
            if standing.seq >= head.last_seq:
                break
    pieces = []
    for piece in standing.pieces():
        pieces.append(piece)
        await asyncio.sleep(0)
    return Beginning(standing.seq, (renderer.standing(standing, pieces),))
