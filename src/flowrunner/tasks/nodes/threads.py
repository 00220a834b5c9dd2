"""Blocking libraries in threads of their own, stopped with the attempt that they work for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")
MOST_THREADS = 32  # of one kind; the default pool of the event loop has few, and others need them


class Threads:
    """A pool that is made when it is first needed."""

    def __init__(self, name: str, most: int = MOST_THREADS) -> None:
        self._name = name
        self._most = most
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, work: Callable[[], T], stop: Callable[[], object]) -> T:
        """What `work` returns. When the attempt is cancelled, `stop` makes it end, and only then the cancellation goes on."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._most, thread_name_prefix=self._name)
        future = self._pool.submit(copy_context().run, work)
        waiting = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            if not future.cancel():
                stop()
                await asyncio.wait([waiting])
                if not waiting.cancelled():
                    waiting.exception()  # what a stopped thread says is of no interest
            raise
