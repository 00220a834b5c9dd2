"""Asking a store that may be away until it answers."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from flowrunner.clock import Clock
from flowrunner.errors import StoreUnavailable

FIRST_RETRY_SECONDS = 0.05
LONGEST_RETRY_SECONDS = 5.0
Answer = TypeVar("Answer")


async def surely(ask: Callable[[], Awaitable[Answer]], clock: Clock, report: Callable[[str, dict[str, Any]], None]) -> Answer:
    """Ask the store until it answers."""
    delay = FIRST_RETRY_SECONDS
    while True:
        try:
            return await ask()
        except StoreUnavailable as error:
            report("store_unavailable", {"error": str(error)})
            await clock.sleep(delay * (0.5 + random.random() / 2))  # noqa: S311 - spreads retries, guards nothing
            delay = min(delay * 2, LONGEST_RETRY_SECONDS)


async def for_ever(run: Callable[[], Awaitable[None]], clock: Clock, report: Callable[[str, dict[str, Any]], None]) -> None:
    """Run what a node cannot do without, until cancelled: whatever it fails with is told, and it begins anew."""
    while True:
        try:
            await run()
        except Exception as error:  # noqa: BLE001 - without its timers or its beats a node would only seem to live
            report("service_failed", {"error": repr(error)})
        await clock.sleep(LONGEST_RETRY_SECONDS)
