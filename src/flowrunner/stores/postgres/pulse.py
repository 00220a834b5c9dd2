"""Notices within seconds that a database has fallen silent: a network that loses packets, a machine that hangs (reliability R14).

A statement may take long, and a connection that nobody answers on looks the same. So when no connection has brought an answer
for a while although somebody waits for one, a new connection is asked for. A server that gives one is only slow, and is waited
for. Of one that does not all connections are hung up, so that every caller is told at once, and nobody else tries: a new
connection is asked for again and again, and the first that comes about opens the way.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncpg

from flowrunner.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

    from flowrunner.stores.postgres.gate import Gate
    from flowrunner.stores.postgres.url import Address


class Pulse:
    """Watches the answers on all connections to one server. `ask` makes a new connection and closes it; raises the driver's errors."""

    QUIET_SECONDS = 2.0  # without an answer, while somebody waits for one
    ASK_SECONDS = 2.5  # for a new connection then
    AGAIN_SECONDS = 0.25  # between two looks whether a silent server is back

    def __init__(self, address: Address, gate: Gate, *, ask: Callable[[], Awaitable[None]], hang_up: Callable[[], None]) -> None:
        self._address = address
        self._gate = gate
        self._ask = ask
        self._hang_up = hang_up
        self._waiting = 0
        self._since = 0.0  # when there was an answer last, or somebody began to wait
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around each wait for the server; one that ends well was an answer."""
        if self._waiting == 0:
            self._since = asyncio.get_running_loop().time()
            self._set_timer(self.QUIET_SECONDS)
        self._waiting += 1
        try:
            yield
            self._since = asyncio.get_running_loop().time()
        except asyncpg.PostgresError as error:  # an answer as well
            if not isinstance(error, asyncpg.PostgresConnectionError):
                self._since = asyncio.get_running_loop().time()
            raise
        finally:
            self._waiting -= 1

    def unanswered(self, failure: StoreUnavailable, cause: TimeoutError) -> None:
        """A new connection was not answered: what is open will not be either."""
        if self._task is None and not self._is_stopped:
            self._begin(self._away(failure, cause))

    async def stop(self) -> None:
        """Watch no more."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _set_timer(self, seconds: float) -> None:
        if self._timer is None and self._task is None and not self._is_stopped:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._waiting == 0:  # whoever begins to wait sets it again
            return
        quiet = asyncio.get_running_loop().time() - self._since
        if quiet < self.QUIET_SECONDS:
            self._set_timer(self.QUIET_SECONDS - quiet)
        else:
            self._begin(self._examine())

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        self._task = asyncio.create_task(work, name="postgres-pulse")
        self._task.add_done_callback(self._go_on)

    def _go_on(self, _: asyncio.Task[None]) -> None:
        self._task = None
        if self._waiting:
            self._since = asyncio.get_running_loop().time()
            self._set_timer(self.QUIET_SECONDS)

    async def _examine(self) -> None:
        """Ask whether the server is only slow."""
        try:
            async with asyncio.timeout(self.ASK_SECONDS):
                await self._ask()
        except TimeoutError as error:
            seconds = self.QUIET_SECONDS + self.ASK_SECONDS
            remedy = "FlowRunner connects again by itself. Is the host up? Does a firewall or a broken line drop the packets?"
            await self._away(StoreUnavailable(f"{self._address} has fallen silent: no answer for {seconds:g} s.", remedy=remedy), error)
        except OSError:  # nobody is there: who connects anew is told so at once
            self._hang_up()
        except (asyncpg.PostgresError, asyncpg.InterfaceError):  # it declines, so it is there
            pass

    async def _away(self, failure: StoreUnavailable, cause: TimeoutError) -> None:
        """Tell everybody, and wait until the server says something."""
        self._gate.shut(failure, cause)
        self._hang_up()
        silent = True
        while silent:
            await asyncio.sleep(self.AGAIN_SECONDS)
            try:
                await self._ask()
            except TimeoutError:
                continue
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):  # who connects next is told why
                pass
            silent = False
        self._gate.passed()
