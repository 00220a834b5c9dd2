"""Waking executions when their time has come: two sleepers for all of them, however many wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush

from flowrunner.clock import SECOND, Clock
from flowrunner.engine.membership import Membership
from flowrunner.errors import StoreError
from flowrunner.ports.executions import ExecutionStore

Fire = Callable[[str], None]
BATCH = 500
RETRY_SECONDS = 1.0
LONGEST_SLEEP_SECONDS = 60.0  # wall clocks are set now and then: look at least this often
ASIDE_SECONDS = 60.0
CLAIMED_SECONDS = 0.2  # how soon to look again when all that is due is in the hands of other nodes


class Timers:
    """Fires executions whose `wake_at` has come.

    Executions at work here (with attempts on this node) are kept in a heap; the many that only wait are rows of the store,
    of which just the earliest moment is remembered. A fired row is fired again only after its step (`settled`).
    """

    def __init__(self, executions: ExecutionStore, clock: Clock, fire: Fire, lag: Callable[[float], None], *, members: Membership) -> None:
        self._longest_sleep = members.lease_seconds / 2 if members.shared else LONGEST_SLEEP_SECONDS
        self._hide_seconds = members.lease_seconds if members.shared else 0.0
        self._executions = executions
        self._clock = clock
        self._fire = fire
        self._lag = lag
        self._heap: list[tuple[int, str]] = []
        self._heap_changed = asyncio.Event()
        self._due: dict[str, int] = {}  # what of the heap still counts
        self._next_row: int | None = None
        self._rows_changed = asyncio.Event()
        self._fired: set[str] = set()
        self._aside: dict[str, float] = {}  # until when, monotonic
        self._all_settled = asyncio.Event()

    def watch(self, execution: str, wake_at: int, *, is_row: bool) -> None:
        """Fire this execution at that moment; `is_row` when the store will name it as due."""
        if not is_row:
            self._push(execution, wake_at)
        elif self._next_row is None or wake_at < self._next_row:
            self._next_row = wake_at
            self._rows_changed.set()

    def _push(self, execution: str, wake_at: int) -> None:
        if self._due.get(execution) == wake_at:
            return
        self._due[execution] = wake_at
        heappush(self._heap, (wake_at, execution))
        if len(self._heap) > 2 * len(self._due) + 1000:
            self._heap = [(due, execution) for execution, due in self._due.items()]
            heapify(self._heap)
        if self._heap[0][0] >= wake_at:
            self._heap_changed.set()

    def forget(self, execution: str) -> None:
        """The execution is no longer at work here."""
        self._due.pop(execution, None)

    def settled(self, execution: str) -> None:
        """The execution has taken its step: it may be fired again."""
        if self._fired:
            self._fired.discard(execution)
            if not self._fired:
                self._all_settled.set()

    def set_aside(self, execution: str) -> None:
        """The execution cannot be loaded: leave it alone for a while, so that it keeps nobody else waiting."""
        self._aside[execution] = self._clock.monotonic() + ASIDE_SECONDS
        self.settled(execution)

    async def run(self) -> None:
        """Fire until cancelled; a store that is away delays timers, it never loses one."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_heap())
            group.create_task(self._run_rows())

    async def _run_heap(self) -> None:
        while True:
            self._heap_changed.clear()
            now = self._clock.now()
            while self._heap and self._heap[0][0] <= now:
                due, execution = heappop(self._heap)
                if self._due.get(execution) != due:
                    continue
                del self._due[execution]
                self._lag((now - due) / SECOND)
                self._fire(execution)
            await self._sleep(self._heap[0][0] if self._heap else None, self._heap_changed)

    async def _run_rows(self) -> None:
        while True:
            try:
                await self._fire_rows()
            except StoreError:
                await self._clock.sleep(RETRY_SECONDS)

    async def _fire_rows(self) -> None:
        await self._read_next()
        while True:
            self._rows_changed.clear()
            now = self._clock.now()
            if self._next_row is None or self._next_row > now:
                if not await self._sleep(self._next_row, self._rows_changed):
                    await self._read_next()
                continue
            self._lag((now - self._next_row) / SECOND)
            self._aside = {execution: until for execution, until in self._aside.items() if until > self._clock.monotonic()}
            ids = await self._executions.due(now, BATCH + len(self._aside), hide_seconds=self._hide_seconds)
            ids = [execution for execution in ids if execution not in self._aside]
            fresh = [execution for execution in ids if execution not in self._fired]
            self._fired.update(fresh)
            self._all_settled.clear()
            for execution in fresh:
                self._fire(execution)
            if self._fired:
                await self._sleep(now + SECOND, self._all_settled)
            elif not ids:
                await self._clock.sleep(CLAIMED_SECONDS)
            await self._read_next()

    async def _read_next(self) -> None:
        """The earliest row, or an earlier one that was committed while the store was asked."""
        self._next_row = None
        found = await self._executions.next_wake()
        self._next_row = _earliest(self._next_row, found)

    async def _sleep(self, until: int | None, changed: asyncio.Event) -> bool:
        """Wait until the moment comes or the event is set; tell whether it was the event."""
        seconds = self._longest_sleep if until is None else min(max(0.0, (until - self._clock.now()) / SECOND), self._longest_sleep)
        waiters = (asyncio.ensure_future(changed.wait()), asyncio.ensure_future(self._clock.sleep(seconds)))
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
            await asyncio.gather(*waiters, return_exceptions=True)
        return changed.is_set()


def _earliest(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)
