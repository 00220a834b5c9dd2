"""Whose script is next: places that accounts share fairly, so that none that has much to do keeps the others waiting."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator

MOST_WAITING = 1000  # scripts of one account


class TooManyWaiting(Exception):
    """As many scripts of the account wait already as may."""


class Turns:
    """`size` places. One that becomes free goes to the waiting account that has the fewest, of several to the one that has waited longest since its last turn.

    With one script at a time that is round robin; with more, an account that comes to a pool full of another's scripts has the next place that
    becomes free, and from then on its share. Within an account the first to come is the first.
    """

    def __init__(self, size: int, most_waiting: int = MOST_WAITING) -> None:
        self._free = size
        self._most_waiting = most_waiting
        self._taken: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @contextlib.asynccontextmanager
    async def turn(self, account: str) -> AsyncIterator[None]:
        """Wait for a place, and hold it in the block. Raises TooManyWaiting at once when the account has too many that wait."""
        await self._take(account)
        try:
            yield
        finally:
            self._leave(account)

    async def _take(self, account: str) -> None:
        if self._free:
            self._free -= 1
            self._taken[account] += 1
            return
        queue = self._waiting.setdefault(account, deque())
        if len(queue) >= self._most_waiting:
            raise TooManyWaiting
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(given)
        try:
            await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self._leave(account)  # it was its turn at the same moment
            else:
                self._give_up(account, given)
            raise

    def _give_up(self, account: str, given: asyncio.Future[None]) -> None:
        queue = self._waiting.get(account)
        if queue is not None:
            with contextlib.suppress(ValueError):
                queue.remove(given)
            if not queue:
                del self._waiting[account]

    def _leave(self, account: str) -> None:
        self._taken[account] -= 1
        if not self._taken[account]:
            del self._taken[account]
        while self._waiting:
            following = min(self._waiting, key=lambda one: self._taken.get(one, 0))
            queue = self._waiting.pop(following)
            given = queue.popleft()
            if queue:
                self._waiting[following] = queue  # behind the others
            if not given.done():  # else it was cancelled
                self._taken[following] += 1
                given.set_result(None)
                return
        self._free += 1
