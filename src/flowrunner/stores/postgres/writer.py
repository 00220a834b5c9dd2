"""Group commit: whatever waits is one transaction, and while it is on its way the next gathers.

A write that comes alone is sent at once; so the group grows with the load and nobody waits for a timer. Two connections write: one
works while the other one waits for the disk. A write of an execution that is just being written waits for its turn.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowrunner.errors import StoreRefused, StoreUnavailable
from flowrunner.stores.postgres.batch import answers, check_ids, size_of, store
from flowrunner.stores.postgres.faults import DRIVER, RACES, WRONG, refused_write, unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowrunner.ports.executions import Head, NameTaken, StepWrite
    from flowrunner.stores.postgres.batch import Answer
    from flowrunner.stores.postgres.gate import Gate
    from flowrunner.stores.postgres.link import Link
    from flowrunner.stores.postgres.url import Address

MOST_WRITES = 512  # in one transaction
MOST_BYTES = 8 * 1024 * 1024  # in one transaction, unless one write alone is larger
MOST_RACES = 8  # deadlocks or serialization failures of one batch before it is given up
FIRST_PAUSE_SECONDS = 0.005  # at most, after the first of them; twice as long after each more
STOP_SECONDS = 10.0  # for what waits when the store stops


@dataclass(slots=True, eq=False)
class _Waiting:
    write: StepWrite
    size: int
    answer: asyncio.Future[Head | NameTaken]


class Writer:
    """The only one who writes steps. `transactions` and `writes` count what was committed."""

    def __init__(self, links: Sequence[Link], address: Address, gate: Gate) -> None:
        self._links = links
        self._address = address
        self._gate = gate
        self._queue: deque[_Waiting] = deque()
        self._busy: set[str] = set()  # executions that are just being written
        self._resting: list[asyncio.Future[None]] = []  # connections without work
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.transactions = 0
        self.writes = 0

    def start(self) -> None:
        """Begin to take writes."""
        self._tasks = [asyncio.create_task(self._work(link), name="postgres-writer") for link in self._links]

    async def submit(self, write: StepWrite) -> Head | NameTaken:
        """Queue a write and wait until it is durable."""
        if self._stopping:
            raise self._stopped()
        check_ids(write)
        waiting = _Waiting(write, size_of(write), asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._wake()
        return await waiting.answer

    async def stop(self) -> None:
        """Commit what waits; what cannot be committed in time is told so."""
        self._stopping = True
        for _ in self._links:
            self._wake()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        _answer(list(self._queue), [self._stopped()] * len(self._queue))
        self._queue.clear()

    def _wake(self) -> None:
        while self._resting:
            resting = self._resting.pop()
            if not resting.done():
                resting.set_result(None)
                return

    async def _work(self, link: Link) -> None:
        while True:
            group = self._take()
            if group:
                await self._serve(link, group)
            elif self._stopping and not self._queue:
                return
            else:
                resting = asyncio.get_running_loop().create_future()
                self._resting.append(resting)
                await resting  # what is submitted in the turn that wakes us is in the same transaction

    def _take(self) -> list[_Waiting]:
        """What waits, within bounds, and no execution twice."""
        group: list[_Waiting] = []
        held: list[_Waiting] = []
        size = 0
        while self._queue and len(group) < MOST_WRITES:
            waiting = self._queue.popleft()
            if waiting.write.head.id in self._busy:
                held.append(waiting)
                continue
            if group and size + waiting.size > MOST_BYTES:
                held.append(waiting)
                break
            size += waiting.size
            self._busy.add(waiting.write.head.id)
            group.append(waiting)
        self._queue.extendleft(reversed(held))
        return group

    async def _serve(self, link: Link, group: list[_Waiting]) -> None:
        outcome: Sequence[Answer] = [StoreUnavailable(f"The commit to {self._address} was broken off.")] * len(group)
        try:
            outcome = await self._commit(link, [waiting.write for waiting in group])
        finally:
            self._busy.difference_update([waiting.write.head.id for waiting in group])
            _answer(group, outcome)
            if self._queue:
                self._wake()

    async def _commit(self, link: Link, writes: list[StepWrite]) -> Sequence[Answer]:
        """The answer to each write: a value, or the exception to raise."""
        try:
            if not self._stopping and not link.is_open:
                await asyncio.sleep(self._gate.wait_seconds)
            outcome = await self._race(link, writes)
        except StoreRefused as error:
            return [StoreUnavailable(error.message, remedy=error.remedy)] * len(writes)
        except (*DRIVER, StoreUnavailable) as error:
            return [unavailable(error, self._address)] * len(writes)
        except Exception as error:  # noqa: BLE001  # a writer that ended would leave every caller waiting
            link.drop()
            return [StoreUnavailable(f"The writer of {self._address} met {error!r}.")] * len(writes)
        self.transactions += 1
        self.writes += len(writes)
        return outcome

    async def _race(self, link: Link, writes: list[StepWrite]) -> Sequence[Answer]:
        """Commit the writes: again after a lost race, in halves if one of them is wrong."""
        for races in range(MOST_RACES):
            try:
                won = await store(link, writes)
                break
            except WRONG as error:
                if len(writes) == 1:
                    return [refused_write(error)]
                half = len(writes) // 2
                return [*await self._race(link, writes[:half]), *await self._race(link, writes[half:])]
            except RACES:
                await asyncio.sleep(FIRST_PAUSE_SECONDS * 2**races * random.random())  # noqa: S311  # jitter
        else:
            won = await store(link, writes)
        return await answers(link, writes, won)

    def _stopped(self) -> StoreUnavailable:
        return StoreUnavailable(f"The store ({self._address}) is stopped.")


def _answer(group: list[_Waiting], answers: Sequence[Answer]) -> None:
    """Hand out the answers; who has gone away in between needs none."""
    for waiting, answer in zip(group, answers, strict=True):
        if waiting.answer.done():
            continue
        if isinstance(answer, Exception):
            waiting.answer.set_exception(answer)
        else:
            waiting.answer.set_result(answer)
