"""Activities: handing open tasks to workers that ask for them, each to one worker only."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from flowrunner.clock import Clock
from flowrunner.core import facts
from flowrunner.core.facts import Fact
from flowrunner.core.machine import Machine
from flowrunner.errors import Conflict, InvalidDefinition, NotFound, ReplayMismatch
from flowrunner.ports.executions import ActivityTask, ExecutionStore, Head

ASK_SECONDS = 1.0  # how often to look for tasks that other nodes opened
ASIDE_SECONDS = 60.0  # for a task whose execution cannot be loaded


class Send(Protocol):
    """Engine.send."""

    def __call__(self, execution: str, make: Callable[[Machine, int], Fact | None], *, then: Callable[[float], None] | None = ...) -> Awaitable[Head]:
        """Post a message and wait until it is stored; `then` is called when it is, also when nobody waits any more."""
        ...


class _Gone(Conflict):
    """The task is no longer to be had: another worker was faster, or it timed out."""


class Activities:
    """Waiting workers of this node, by activity."""

    def __init__(self, executions: ExecutionStore, clock: Clock, send: Send, *, shared: bool) -> None:
        self._executions = executions
        self._clock = clock
        self._send = send
        self._longest_wait = ASK_SECONDS if shared else float("inf")
        self._aside: dict[str, dict[tuple[str, int], float]] = {}  # by activity: tasks of executions that cannot be loaded; until when, monotonic
        self._news: dict[str, asyncio.Event] = {}
        self._waiting: dict[str, int] = {}
        self._offered: set[tuple[str, int]] = set()
        self._given_back: dict[str, deque[tuple[ActivityTask, str]]] = {}  # taken for workers that had gone by then, with their tokens

    def opened(self, activity: str) -> None:
        """A task of this activity was committed: wake those who wait for it."""
        event = self._news.get(activity)
        if event is not None:
            event.set()

    async def next(self, activity: str, *, worker: str | None, wait_seconds: float) -> tuple[str, str] | None:
        """See Engine.next_activity_task."""
        deadline = self._clock.monotonic() + wait_seconds
        self._waiting[activity] = self._waiting.get(activity, 0) + 1
        try:
            while True:
                news = self._news.setdefault(activity, asyncio.Event())
                news.clear()
                taken = await self._take(activity, worker)
                if taken is not None:
                    return taken
                left = deadline - self._clock.monotonic()
                if left <= 0:
                    return None
                await self._wait(news, min(left, self._longest_wait))
        finally:
            self._waiting[activity] -= 1
            if not self._waiting[activity]:
                self._waiting.pop(activity)
                self._news.pop(activity, None)

    async def _take(self, activity: str, worker: str | None) -> tuple[str, str] | None:
        if (taken := await self._take_again(activity)) is not None:
            return taken
        while True:
            # One more than others are taking right now: a free one is among them, and no more inputs are read than needed.
            aside = self._set_aside(activity)
            limit = len(self._offered) + len(aside) + 1
            tasks = await self._executions.activity_tasks(activity, limit=limit)
            free = next((task for task in tasks if (task.execution, task.attempt) not in self._offered | aside.keys()), None)
            if free is None and len(tasks) < limit:
                return None
            if free is None:  # others took them while the store was asked
                continue
            key = (free.execution, free.attempt)
            self._offered.add(key)
            try:
                return await self._start(free, worker), free.input
            except _Gone:
                continue
            except (NotFound, ReplayMismatch, InvalidDefinition):  # it keeps nobody else waiting
                self._aside.setdefault(activity, {})[key] = self._clock.monotonic() + ASIDE_SECONDS
            finally:
                self._offered.discard(key)

    def _set_aside(self, activity: str) -> dict[tuple[str, int], float]:
        """What is left alone still."""
        now = self._clock.monotonic()
        left = {key: until for key, until in self._aside.pop(activity, {}).items() if until > now}
        if left:
            self._aside[activity] = left
        return left

    async def _start(self, task: ActivityTask, worker: str | None) -> str:
        token = ""
        is_stored = has_gone = False

        def make(machine: Machine, now: int) -> Fact:
            nonlocal token
            attempt = machine.open_attempt(task.attempt)
            if has_gone or attempt is None or attempt.status != "scheduled":
                raise _Gone
            token = machine.token_of(task.attempt)
            return facts.AttemptStarted(at=now, attempt=task.attempt, worker=worker)

        def stored(_since: float) -> None:
            nonlocal is_stored
            is_stored = True
            if has_gone:
                self._give_back(task, token)

        try:
            await self._send(task.execution, make, then=stored)
        except BaseException:  # the worker has gone, or was told that the store does not answer
            has_gone = True
            if is_stored:
                self._give_back(task, token)
            raise
        return token

    def _give_back(self, task: ActivityTask, token: str) -> None:
        """The task has begun, but who asked for it never heard: the next one gets it."""
        self._given_back.setdefault(task.activity, deque()).append((task, token))
        self.opened(task.activity)

    async def _take_again(self, activity: str) -> tuple[str, str] | None:
        while given_back := self._given_back.get(activity):
            task, token = given_back.popleft()
            if not given_back:
                del self._given_back[activity]
            try:
                await self._send(task.execution, _alive(task.attempt))
            except (_Gone, NotFound):
                continue
            except BaseException:
                self._give_back(task, token)
                raise
            return token, task.input
        return None

    async def _wait(self, news: asyncio.Event, seconds: float) -> None:
        waiters = (asyncio.ensure_future(news.wait()), asyncio.ensure_future(self._clock.sleep(seconds)))
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
            await asyncio.gather(*waiters, return_exceptions=True)


def _alive(attempt: int) -> Callable[[Machine, int], Fact]:
    """Somebody has the task in hand from now on."""

    def make(machine: Machine, now: int) -> Fact:
        if machine.open_attempt(attempt) is None:
            raise _Gone
        return facts.AttemptHeartbeat(at=now, attempt=attempt)

    return make
