"""The service that fires schedules when their time comes, as long as a server runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

from flowrunner.clock import SECOND, Clock
from flowrunner.definitions.schedules import Schedules
from flowrunner.errors import FlowRunnerError

LONGEST_SECONDS = 15.0  # between two looks: what another server was told is seen after this long


class Scheduler:
    """Looks at what is due, and sleeps till the next. `report` is told what went wrong: an event's name and its detail."""

    def __init__(self, schedules: Schedules, clock: Clock, report: Callable[[str, dict[str, Any]], None]) -> None:
        self._schedules = schedules
        self._clock = clock
        self._report = report
        self._changed = asyncio.Event()

    async def start(self, stack: AsyncExitStack) -> None:
        """Begin; the end is on `stack`."""
        self._schedules.changed = self._changed.set
        task = asyncio.create_task(self._run())
        stack.push_async_callback(_ended, task)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            try:
                following = await self._schedules.fire_due()
            except FlowRunnerError as error:
                self._report("schedules_not_fired", {"error": error.message})
                following = None
            left = LONGEST_SECONDS if following is None else (following - self._clock.now()) / SECOND
            if left > 0:  # else its time came while the last ones were started
                await self._sleep(left)

    async def _sleep(self, seconds: float) -> None:
        """Wait this long, or until a schedule was changed here."""
        sleeping = asyncio.ensure_future(self._clock.sleep(min(seconds, LONGEST_SECONDS)))
        told = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait((sleeping, told), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (sleeping, told):
                one.cancel()


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
