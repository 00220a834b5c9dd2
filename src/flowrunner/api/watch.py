"""Whoever has a stream open is looked at again and again: a revoked credential closes it within seconds, an expired one at once.

ASVS 5.0, 7.4.1 and 8.3.2: letting somebody in is not for ever. All streams of one caller share one watch.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from flowrunner.api.identify import Authenticator
from flowrunner.clock import SECOND, Clock
from flowrunner.errors import StoreError
from flowrunner.identity.principal import Principal

RECHECK_SECONDS = 2.0  # between two looks, where no change in this process asks for one earlier


@dataclass(slots=True)
class _Watched:
    task: asyncio.Task[None]
    streams: int = 0


class Watch:
    """Tells streams when their caller is no longer let in."""

    def __init__(self, authenticator: Authenticator, clock: Clock) -> None:
        self._authenticator = authenticator
        self._clock = clock
        self._watched: dict[Principal, _Watched] = {}

    async def until_out(self, principal: Principal) -> None:
        """Return once the caller is no longer let in: its credential was revoked, or has expired."""
        if not principal.credential and principal.expires_at is None:
            await asyncio.Event().wait()  # a caller without a credential (development) stays
        with self._entered(principal) as watched:
            await asyncio.shield(watched.task)

    @contextlib.contextmanager
    def watching(self, principal: Principal, out: Callable[[], None]) -> Iterator[None]:
        """Call `out` if the caller is no longer let in while the block runs; needs no task of its own."""
        if not principal.credential and principal.expires_at is None:
            yield
            return

        def over(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                out()

        with self._entered(principal) as watched:
            watched.task.add_done_callback(over)
            try:
                yield
            finally:
                watched.task.remove_done_callback(over)

    @contextlib.contextmanager
    def _entered(self, principal: Principal) -> Iterator[_Watched]:
        watched = self._watched.get(principal)
        if watched is None:
            watched = self._watched[principal] = _Watched(asyncio.create_task(self._look(principal)))
        watched.streams += 1
        try:
            yield watched
        finally:
            watched.streams -= 1
            if watched.streams == 0:
                watched.task.cancel()
                if self._watched.get(principal) is watched:
                    del self._watched[principal]

    async def _look(self, principal: Principal) -> None:
        while True:
            changed = self._authenticator.changed()
            pause = RECHECK_SECONDS
            if principal.expires_at is not None:
                left = (principal.expires_at - self._clock.now()) / SECOND
                if left <= 0:
                    return
                pause = min(pause, left)
            # A store that does not answer ends no stream: a time that has passed needs no store, the rest is asked again.
            with contextlib.suppress(StoreError):
                if not await self._authenticator.still(principal):
                    return
            await _first(self._clock.sleep(pause), changed.wait())


async def _first(*works: Coroutine[Any, Any, object]) -> None:
    """Return when one of them is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
