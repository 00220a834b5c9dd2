"""How many requests an account may make: token buckets, one for each account and operation.

A bucket holds so many requests and gets so many back a second, as AWS describes its quotas. The state of a bucket is how long
it would take to be full again, and since when (the generic cell rate algorithm of ATM, ITU-T I.371).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Protocol

from flowrunner.limits import Rate

KEPT_BUCKETS = 100_000  # about 20 MB
_EVERYTHING = ""  # the operation under which all requests of an account are counted
_ROUNDING_SECONDS = 1e-9  # sums of fractions of a second are not exact


class RateLimiter(Protocol):
    """Decides whether an account may make another request now."""

    def take(self, account: str, operation: str) -> float | None:
        """Count a request; None: go on. Otherwise it is not counted, and the seconds until one would be taken are returned."""
        ...


class Buckets:
    """Token buckets in memory, for one server; each of several `nodes` on one store lets its share pass.

    `rates` are those of operations; what is not in there is limited by `every` only, the rate of all requests of an account
    together, if that is given. At most `kept` buckets are remembered: the one that was not used for longest is full again.
    """

    def __init__(
        self,
        rates: Mapping[str, Rate],
        *,
        monotonic: Callable[[], float],
        every: Rate | None = None,
        nodes: Callable[[], int] = lambda: 1,
        kept: int = KEPT_BUCKETS,
    ) -> None:
        self._rates = rates
        self._every = every
        self._monotonic = monotonic
        self._nodes = nodes
        self._kept = kept
        self._emptied: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()  # seconds until full, as of this moment

    def take(self, account: str, operation: str) -> float | None:
        """Count a request against the operation's bucket and the account's; a request that either refuses takes from neither."""
        now, nodes = self._monotonic(), self._nodes()
        wanted = [(key, rate) for key, rate in (((account, operation), self._rates.get(operation)), ((account, _EVERYTHING), self._every)) if rate]
        filled = [self._seconds_to_fill(key, now) + nodes / rate.per_second for key, rate in wanted]  # after this request
        wait = max((seconds - rate.bucket / rate.per_second for seconds, (_, rate) in zip(filled, wanted, strict=True)), default=0.0)
        if wait > _ROUNDING_SECONDS:
            return wait
        for seconds, (key, _) in zip(filled, wanted, strict=True):
            self._emptied[key] = (seconds, now)
            self._emptied.move_to_end(key)
            if len(self._emptied) > self._kept:
                self._emptied.popitem(last=False)
        return None

    def _seconds_to_fill(self, key: tuple[str, str], now: float) -> float:
        seconds, since = self._emptied.get(key, (0.0, now))
        return max(0.0, seconds - (now - since))

    def __len__(self) -> int:
        """How many buckets are remembered."""
        return len(self._emptied)


def retry_after(seconds: float) -> int:
    """Seconds to wait as the header Retry-After tells them: whole, at least one."""
    return max(1, math.ceil(seconds))
