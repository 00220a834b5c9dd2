"""What a node does for the others: shows that it lives, continues what dead ones left, notices what living ones did."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from flowrunner.clock import Clock
from flowrunner.core import facts
from flowrunner.core.facts import Fact
from flowrunner.core.machine import Machine
from flowrunner.engine.live import Live, Message
from flowrunner.engine.membership import Membership
from flowrunner.errors import FlowRunnerError, StoreError, StoreUnavailable
from flowrunner.ports.executions import Delivery, ExecutionStore, Head
from flowrunner.ports.tasks import TaskCall

RECOVERED_AT_ONCE = 200  # executions of a node that is gone
MOST_DELIVERIES = 1_000_000  # looked at in one go
POSITIONS_AT_ONCE = 1000
MOST_ROUNDS = 3  # of asking the store whether something is still ours: with one whose answers take a lease nobody ever knows for certain
AGAIN_SECONDS = 60.0  # after which an execution is looked at again that an error has stopped
BEATS_PER_LOOK = 15  # for deliveries whose sender died between two steps; those of a node seen to die are looked for at once


class Send(Protocol):
    """Engine.send."""

    def __call__(self, execution: str, make: Callable[[Machine, int], Fact | None], *, heir_of: frozenset[str] = ...) -> Awaitable[Head]:
        """Post a message and wait until it is stored."""
        ...


class Recovery:
    """`live` is the engine's table of the executions in memory; `send`, `post` and `deliver` are the engine's."""

    def __init__(
        self,
        *,
        executions: ExecutionStore,
        members: Membership,
        clock: Clock,
        live: Mapping[str, Live],
        send: Send,
        post: Callable[[str, Message], None],
        deliver: Callable[[Delivery], None],
        report: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._executions = executions
        self._members = members
        self._clock = clock
        self._live = live
        self._send = send
        self._post = post
        self._deliver = deliver
        self._report = report
        self._gone: set[str] = set()
        self._beats = 0
        self._beaten = asyncio.Event()
        self._returning: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Beat, take over from those that do not, look after what is at work here; until cancelled.

        The beats do not wait for the rest: who has much to take over, from a store that is slow, would be taken for dead itself.
        """
        async with asyncio.TaskGroup() as both:
            both.create_task(self._beat())
            both.create_task(self._help())

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(self._members.period)
            try:
                self._gone = await self._members.beat()
            except StoreError as error:
                self._report("lease_not_renewed", {"error": str(error)})
            else:
                self._beats += 1
                self._beaten.set()

    async def _help(self) -> None:
        """After each beat, or after several that came while the last ones were seen to."""
        looks = 0
        while True:
            await self._beaten.wait()
            self._beaten.clear()
            before, looks = looks, self._beats // BEATS_PER_LOOK
            try:
                await self.recover(self._gone, deliveries=looks > before)
                await self._look_after()
                if looks > before:
                    await self._look_for_lost()
            except StoreError as error:
                looks = before  # it is made up for after the next beat
                self._report("others_not_looked_after", {"error": str(error)})

    async def recover(self, gone: set[str], *, deliveries: bool) -> None:
        """Continue what nodes that are gone left; each execution is tried once. Raises StoreUnavailable."""
        seen: set[str] = set()
        for node in gone:
            while fresh := [one for one in await self._executions.owned(node, RECOVERED_AT_ONCE + len(seen)) if one not in seen]:
                seen.update(fresh)
                results = await asyncio.gather(*(self._send(one, tick, heir_of=frozenset(gone)) for one in fresh), return_exceptions=True)
                for execution, result in zip(fresh, results, strict=True):
                    if isinstance(result, Exception):
                        self._report("execution_not_recovered", {"execution": execution, "error": str(result)})
                    if isinstance(result, StoreUnavailable) and not self._members.shared:  # no later beat comes by again
                        self._post(execution, Message(make=tick))
        if gone or deliveries:
            for delivery in await self._executions.undelivered(MOST_DELIVERIES):
                self._deliver(delivery)

    def come_back(self, execution: str, error: Exception) -> None:
        """An error has stopped it here, and what it was told meanwhile is gone: after a while see how it stands, and go on from there.

        Not where it would be the same the next time: the definition, or a log that this release cannot replay.
        """
        if execution not in self._returning and (isinstance(error, StoreError) or not isinstance(error, FlowRunnerError)):
            task = self._returning[execution] = asyncio.get_running_loop().create_task(self._look_again(execution))
            task.add_done_callback(lambda _: self._returning.pop(execution, None))

    async def _look_again(self, execution: str) -> None:
        stored = None
        while stored is None:
            await self._clock.sleep(AGAIN_SECONDS)
            try:
                stored = await self._executions.load(execution)
            except Exception as error:  # noqa: BLE001 - whatever it is, it may be over the next time
                self._report("execution_not_recovered", {"execution": execution, "error": str(error)})
            else:
                if stored is None:
                    return
        for delivery in stored.inbox:
            self._deliver(delivery)
        self._post(execution, Message(make=tick))

    def stop(self) -> None:
        """Come back to nothing more."""
        for task in self._returning.values():
            task.cancel()

    async def _look_for_lost(self) -> None:
        """Executions that this node owns and does not know: a start whose commit seemed to have failed."""
        for execution in await self._executions.owned(self._members.node, POSITIONS_AT_ONCE + len(self._live)):
            if execution not in self._live:
                self._post(execution, Message(make=tick))

    async def _look_after(self) -> None:
        """Executions at work here that another node has moved on: attempts given up there must stop here."""
        ids = [live.id for live in self._live.values() if live.local and not live.driving]
        for first in range(0, len(ids), POSITIONS_AT_ONCE):
            for execution, position in (await self._executions.positions(ids[first : first + POSITIONS_AT_ONCE])).items():
                live = self._live.get(execution)
                if live is not None and position.epoch > live.head.epoch and not live.driving:
                    self._post(execution, Message(make=tick))

    async def is_ours(self, call: TaskCall, since: float) -> bool:
        """Whether an attempt may begin whose start was committed after `since` (monotonic).

        After a pause longer than the lease only the store can tell (reliability R13): the node shows that it lives, and looks whether it has
        the attempt still. Who took it for dead before that may still be about to take over, so with answers that take long it does so several times.
        """
        if self._members.held_since(since):
            return True
        rounds = 0
        while rounds < MOST_ROUNDS and not self._members.held_since(since):
            try:
                await self._members.beat()
            except StoreUnavailable:
                await self._clock.sleep(self._members.period)
                continue
            since = self._clock.monotonic()
            await self._send(call.execution, tick)  # an old state is read anew, and what is no longer ours is cancelled
            rounds += 1
        live = self._live.get(call.execution)
        return live is not None and call.attempt in live.local  # what has attempts here is kept in memory


def tick(machine: Machine, now: int) -> Fact | None:
    """Make the fact that time has come, if it has."""
    due = machine.wake_at
    return facts.TimerFired(at=now) if due is not None and due <= now else None
