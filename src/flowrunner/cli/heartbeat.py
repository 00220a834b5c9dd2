"""Pings for all sockets of a server: one task and two queues, no timer per socket.

The source documents: a ping each 54 s; a client whose pong has not come 60 s after the last one (or after it connected) is gone.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

from flowrunner.clock import Clock, SystemClock
from flowrunner.config import Settings
from flowrunner.errors import ConfigurationError

PING_SECONDS = 54.0
PONG_SECONDS = 60.0


class Beating(Protocol):
    """A socket, as far as pings go."""

    def ping(self) -> None:
        """Send a ping."""
        ...

    def lapse(self) -> None:
        """Close: no pong has come in time."""
        ...


class Heartbeat:
    """Pings sockets and tells those that do not answer. Times are in seconds; each pong puts off the end by `pong_seconds`."""

    def __init__(self, clock: Clock | None = None, *, ping_seconds: float = PING_SECONDS, pong_seconds: float = PONG_SECONDS) -> None:
        self._clock = clock or SystemClock()
        self._ping_seconds = ping_seconds
        self._pong_seconds = pong_seconds
        self._pings: OrderedDict[Beating, float] = OrderedDict()  # when the next ping is due, soonest first: all wait equally long
        self._ends: OrderedDict[Beating, float] = OrderedDict()  # when it is over without a pong, soonest first
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, settings: Settings) -> Heartbeat:
        """The heartbeat of these settings. Raises ConfigurationError when no pong could come in time."""
        ping, pong = settings.socket_ping_seconds, settings.socket_pong_seconds
        if pong <= ping:
            raise ConfigurationError(
                f"socket_pong_seconds is {pong:g} and socket_ping_seconds {ping:g}: every client would be cut off.",
                remedy="Give clients longer than a ping takes to come.",
            )
        return cls(ping_seconds=ping, pong_seconds=pong)

    @property
    def sockets(self) -> int:
        """How many are open."""
        return len(self._ends)

    def enter(self, socket: Beating) -> None:
        """A socket has opened."""
        now = self._clock.monotonic()
        self._pings[socket] = now + self._ping_seconds
        self._ends[socket] = now + self._pong_seconds
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._beat())

    def pong(self, socket: Beating) -> None:
        """Its client is there."""
        if socket in self._ends:
            self._ends[socket] = self._clock.monotonic() + self._pong_seconds
            self._ends.move_to_end(socket)

    def leave(self, socket: Beating) -> None:
        """A socket is no longer open; not an error for one that has left before."""
        self._pings.pop(socket, None)
        self._ends.pop(socket, None)
        if not self._ends and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _beat(self) -> None:
        while self._ends:
            due = min(next(iter(self._pings.values())), next(iter(self._ends.values())))
            wait = due - self._clock.monotonic()
            if wait > 0:
                await self._clock.sleep(wait)
            now = self._clock.monotonic()
            while self._ends and next(iter(self._ends.values())) <= now:
                socket, _ = self._ends.popitem(last=False)
                self._pings.pop(socket, None)
                socket.lapse()
            while self._pings and next(iter(self._pings.values())) <= now:
                socket = next(iter(self._pings))
                self._pings[socket] = now + self._ping_seconds
                self._pings.move_to_end(socket)
                socket.ping()
        self._task = None
