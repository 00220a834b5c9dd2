"""Before each new connection: keeps callers away from a server that just gave none, and from one that has fallen silent."""

from __future__ import annotations

import asyncio
import random

from flowrunner.errors import StoreUnavailable


class Gate:
    """Keeps many callers from connecting all at once to a server that is away: after a failure all wait a moment, longer each time.

    While it is shut nobody tries at all: whoever shut it finds out by itself when the server is back.
    """

    FIRST_SECONDS = 0.05
    MOST_SECONDS = 1.0

    def __init__(self) -> None:
        self._failure: StoreUnavailable | None = None
        self._cause: BaseException | None = None
        self._failures = 0
        self._until = 0.0
        self._is_shut = False

    @property
    def wait_seconds(self) -> float:
        """How long nobody should try; 0 when the way is free, and when nobody knows how long."""
        return 0.0 if self._is_shut else max(0.0, self._until - asyncio.get_running_loop().time())

    @property
    def is_shut(self) -> bool:
        """Whether nobody should try until it is known that somebody answers."""
        return self._is_shut

    @property
    def is_open(self) -> bool:
        """Whether it makes sense to try at once."""
        return not self._is_shut and self.wait_seconds == 0

    def check(self) -> None:
        """Raise the last failure if it was just now, or lasts."""
        if self._failure is not None and not self.is_open:
            raise StoreUnavailable(self._failure.message, remedy=self._failure.remedy) from self._cause

    def failed(self, failure: StoreUnavailable, cause: BaseException) -> None:
        """An attempt has failed."""
        self._failure, self._cause = failure, cause
        seconds = min(self.MOST_SECONDS, self.FIRST_SECONDS * 2 ** min(self._failures, 10)) * random.uniform(0.5, 1.0)  # noqa: S311  # jitter
        self._failures += 1
        self._until = asyncio.get_running_loop().time() + seconds

    def shut(self, failure: StoreUnavailable, cause: BaseException) -> None:
        """Let nobody try until `passed`."""
        self._failure, self._cause, self._is_shut = failure, cause, True

    def passed(self) -> None:
        """An attempt has gone well."""
        self._failure, self._cause, self._failures, self._until, self._is_shut = None, None, 0, 0.0, False
