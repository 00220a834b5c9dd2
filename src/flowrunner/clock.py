"""Time, passed to whoever needs it: nothing else in FlowRunner reads a clock (reliability: one seam for nondeterminism)."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

MILLISECOND = 1
SECOND = 1000 * MILLISECOND
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE


class Clock(Protocol):
    """Wall time in milliseconds since 1970 UTC, monotonic seconds, and waiting."""

    def now(self) -> int:
        """The wall time, in milliseconds since 1970-01-01T00:00:00Z."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for this many seconds of this clock's time."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """The wall time in milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """The process's monotonic seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(seconds)
