"""How many requests an account may make: token buckets, one for each account and operation.

A bucket holds so many requests and gets so many back a second, as AWS describes its quotas. The state of a bucket is how long
it would take to be full again, and since when (the generic cell rate algorithm of ATM, ITU-T I.371).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from flowrunner.limits import Rate

KEPT_BUCKETS = 100_000  # about 20 MB
_EVERYTHING = ""  # the operation under which all requests of an account are counted
_ROUNDING_SECONDS = 1e-9  # sums of fractions of a second are not exact


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """One bucket as its caller may know it: how many it holds, in how many seconds an empty one fills, how many are left.

    `reset` is the seconds until it is full again; of an empty one until the next request is let pass.
    """

    limit: int
    window: int
    remaining: int
    reset: int


class RateLimiter(Protocol):
    """Decides whether an account may make another request now."""

    def take(self, account: str, operation: str) -> float | None:
        """Count a request; None: go on. Otherwise it is not counted, and the seconds until one would be taken are returned."""
        ...

    def quotas(self, account: str, operation: str) -> Sequence[Quota]:
        """The buckets that such a request counts against, as they are now; the one with the least left first."""
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
        wanted = self._wanted(account, operation)
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

    def quotas(self, account: str, operation: str) -> Sequence[Quota]:
        """Of several servers each tells its share."""
        now, nodes = self._monotonic(), self._nodes()
        found = [_quota(rate, self._seconds_to_fill(key, now), nodes) for key, rate in self._wanted(account, operation)]
        return sorted(found, key=lambda quota: (quota.remaining, -quota.reset))

    def _wanted(self, account: str, operation: str) -> Sequence[tuple[tuple[str, str], Rate]]:
        both = (((account, operation), self._rates.get(operation)), ((account, _EVERYTHING), self._every))
        return [(key, rate) for key, rate in both if rate]

    def _seconds_to_fill(self, key: tuple[str, str], now: float) -> float:
        seconds, since = self._emptied.get(key, (0.0, now))
        return max(0.0, seconds - (now - since))

    def __len__(self) -> int:
        """How many buckets are remembered."""
        return len(self._emptied)


def _quota(rate: Rate, seconds: float, nodes: int) -> Quota:
    one = nodes / rate.per_second  # seconds that a request takes to come back
    room = rate.bucket / rate.per_second - seconds
    remaining = max(0, math.floor((room + _ROUNDING_SECONDS) / one))
    reset = seconds if remaining else one - room
    return Quota(limit=max(1, rate.bucket // nodes), window=math.ceil(rate.bucket / rate.per_second), remaining=remaining, reset=math.ceil(reset))


def headers_of(quotas: Sequence[Quota]) -> list[tuple[bytes, bytes]]:
    """The quotas as headers (draft-ietf-httpapi-ratelimit-headers-06): the policies of all, and how it stands with the tightest."""
    if not quotas:
        return []
    first = quotas[0]
    told = {
        "ratelimit-limit": first.limit,
        "ratelimit-remaining": first.remaining,
        "ratelimit-reset": first.reset,
        "ratelimit-policy": ", ".join(f"{one.limit};w={one.window}" for one in quotas),
    }
    return [(name.encode(), str(value).encode()) for name, value in told.items()]


def retry_after(seconds: float) -> int:
    """Seconds to wait as the header Retry-After tells them: whole, at least one."""
    return max(1, math.ceil(seconds))
