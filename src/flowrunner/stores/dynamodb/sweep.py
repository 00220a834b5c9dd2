"""Removing what counts no longer: facts that a snapshot replaced, and what an execution that is over needed to go on.

Readers never take it into account, so it may lie as long as it likes; it is removed to save room, in the background.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flowrunner.stores.dynamodb.actions import Action, check, delete
from flowrunner.stores.dynamodb.faults import Cancelled
from flowrunner.stores.dynamodb.heads import OPEN, statuses
from flowrunner.stores.dynamodb.keys import GOING_ON, HEAD, epoch_of, head_key, partition
from flowrunner.stores.dynamodb.session import MOST_PUTS
from flowrunner.stores.dynamodb.values import part_keys

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from flowrunner.stores.dynamodb.keys import Key, Shards
    from flowrunner.stores.dynamodb.session import Session
    from flowrunner.stores.dynamodb.values import Plain

WORKERS = 4
MOST_WAITING = 100_000  # executions; more are left as they are
LAST_SECONDS = 2.0  # at a stop, for what waits
NAMES = ("pk", "sk", "epoch", "status", "base", "snapshot", "id", "arrived", "queue", "place", "body@", "fact@", "input@")


class Sweeper:
    """Sweeps executions one by one, deletes many items in one request. `failure` is why it last left something lying."""

    def __init__(self, session: Session, shards: Shards) -> None:
        self._session = session
        self._shards = shards
        self._waiting: dict[str, None] = {}
        self._deletes: list[Key] = []
        self._news = asyncio.Event()
        self._busy = 0
        self.failure: Exception | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    async def start(self, stack: AsyncExitStack) -> None:
        """Begin to sweep in the background."""
        workers = [asyncio.get_running_loop().create_task(self._run()) for _ in range(WORKERS)]
        stack.push_async_callback(self._stop, workers)

    async def _stop(self, workers: list[asyncio.Task[None]]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await self._idle.wait()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    def later(self, execution: str) -> None:
        """Sweep this execution when there is time."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting[execution] = None
            self._wake()

    def drop(self, keys: Iterable[Key]) -> None:
        """Delete these items, which nothing refers to, when there is time."""
        self._deletes += keys
        self._wake()

    def _wake(self) -> None:
        self._idle.clear()
        self._news.set()

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._busy += 1
            try:
                await self._sweep_next()
            except Exception as error:  # noqa: BLE001 - it lies until somebody comes by again, and the next one is not to wait for that
                self.failure = error
            finally:
                self._busy -= 1
            if not self._waiting and not self._deletes:
                self._news.clear()
                if not self._busy:
                    self._idle.set()

    async def _sweep_next(self) -> None:
        if self._waiting:
            execution = next(iter(self._waiting))
            del self._waiting[execution]
            await self.sweep(execution, later=True)
        elif self._deletes:
            keys, self._deletes = self._deletes[:MOST_PUTS], self._deletes[MOST_PUTS:]
            await self._session.write_all(deletes=keys)

    async def is_over(self, execution: str) -> bool:
        """Whether an execution has ended."""
        status = (await statuses(self._session, [execution])).get(execution)
        return status is not None and status not in OPEN

    async def sweep(self, execution: str, *, later: bool = False) -> bool:
        """Remove what counts no longer for this execution, with `later` at leisure; False if somebody else moved it on meanwhile."""
        found = await self._session.query(partition(execution), "sk >= :low", {"low": GOING_ON}, names=NAMES)
        head = next((item for item in found if item["sk"] == HEAD), None)
        if head is None:
            return False
        stale = [item for item in found if self._is_stale(item, head)]
        keys = [key for item in stale for key in ((item["pk"], item["sk"]), *part_keys(item, ("body",)))]
        if later:
            self.drop(keys)
        else:
            await self._session.write_all(deletes=keys)
        return head["status"] in OPEN or await self._empty(execution, head["epoch"], [item for item in found if item["sk"][0] in "ik"])

    def _is_stale(self, item: Plain, head: Plain) -> bool:
        """Whether facts or a snapshot count no longer. Their keys have the epoch that wrote them and are never used again."""
        sk = item["sk"]
        if sk[0] not in "fs" or epoch_of(sk) > head.get("base", 0):
            return False
        return sk[0] == "f" or epoch_of(sk) != head.get("snapshot")

    async def _empty(self, execution: str, epoch: int, items: list[Plain]) -> bool:
        """Remove inbox and tasks of an execution that is over, unless it is begun anew: their keys may come back."""
        for start in range(0, len(items), 30):
            actions = [check(head_key(execution), "epoch = :epoch", {"epoch": epoch})]
            for item in items[start : start + 30]:
                actions += self._pair(item)
            try:
                await self._session.transact([action.wire for action in actions])
            except Cancelled:
                return False
            self.drop(key for item in items[start : start + 30] for key in part_keys(item, ("fact", "input")))
        return True

    def _pair(self, item: Plain) -> list[Action]:
        """An item and the one that finds it for others. A delivery's id may be in use again, for somebody else."""
        if "id" not in item:
            return [delete((item["pk"], item["sk"])), delete((item["queue"], item["place"]))]
        mark = delete(self._shards.delivery_key(item["id"]), condition="arrived = :arrived", values={"arrived": item["arrived"]})
        return [delete((item["pk"], item["sk"])), mark]
