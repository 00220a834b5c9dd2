"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush

from flowrunner.clock import SECOND

START = 1_700_000_000_000  # 2023-11-14T22:13:20Z, milliseconds since 1970


class ManualClock:
    """Keeps the Clock contract; `jump` and `jump_to_next` move time and wake whoever sleeps till then."""

    def __init__(self, now: int = START) -> None:
        self._now = now
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = 0

    def now(self) -> int:
        """The time it shows, milliseconds since 1970 UTC."""
        return self._now

    def monotonic(self) -> float:
        """The same time in seconds."""
        return self._now / SECOND

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was moved that far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        heappush(self._sleepers, (self._now + round(seconds * SECOND), self._order, waiter))
        await waiter

    def jump(self, seconds: float) -> None:
        """Move time on."""
        self._move(self._now + round(seconds * SECOND))

    def jump_to_next(self) -> bool:
        """Move time to the earliest sleeper's moment; False if nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heappop(self._sleepers)
        if not self._sleepers:
            return False
        self._move(self._sleepers[0][0])
        return True

    def _move(self, until: int) -> None:
        self._now = max(self._now, until)
        while self._sleepers and self._sleepers[0][0] <= self._now:
            waiter = heappop(self._sleepers)[2]
            if not waiter.done():
                waiter.set_result(None)
