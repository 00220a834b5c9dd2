"""Failed log-ins are answered later and later, to the one who fails: never so that a stranger locks somebody out.

Waiting is counted for (user name, address), so the owner of the name is let in from elsewhere; and each address has a
budget over all names (F: 100 failures a minute), so that trying one password on many names ends too. OWASP ASVS 5.0, 6.3.1.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from flowrunner.clock import Clock
from flowrunner.errors import Overloaded

FREE = 5  # failures that cost nothing: people mistype
LONGEST_SECONDS = 900.0
FORGET_SECONDS = 3600.0
ADDRESS_BUDGET = 100.0  # failures a minute
KEPT = 10_000


@dataclass(slots=True)
class _Failures:
    count: float
    at: float  # monotonic seconds
    until: float = 0.0


class Backoff:
    """Who must wait; in memory, bounded, per process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pairs: OrderedDict[tuple[str, str], _Failures] = OrderedDict()
        self._addresses: OrderedDict[str, _Failures] = OrderedDict()

    def admit(self, username: str, address: str) -> None:
        """Let an attempt through; raises Overloaded, with how long to wait."""
        now = self._clock.monotonic()
        pair = self._pairs.get((username.casefold(), address))
        if pair is not None and pair.until > now:
            raise Overloaded("Too many failed log-ins.", retry_after=pair.until - now)
        spent = self._addresses.get(address)
        if spent is not None and (left := _refilled(spent, now)) >= ADDRESS_BUDGET:
            raise Overloaded("Too many failed log-ins.", retry_after=(left - ADDRESS_BUDGET + 1) * 60 / ADDRESS_BUDGET)

    def failed(self, username: str, address: str) -> None:
        """Count a failure: from the sixth on in a row, each doubles the wait."""
        now = self._clock.monotonic()
        key = (username.casefold(), address)
        pair = self._pairs.pop(key, None)
        if pair is None or now - pair.at > FORGET_SECONDS:
            pair = _Failures(0, now)
        pair.count, pair.at = pair.count + 1, now
        if pair.count > FREE:
            pair.until = now + min(LONGEST_SECONDS, 2.0 ** min(pair.count - FREE - 1, 20))
        self._pairs[key] = pair
        spent = self._addresses.pop(address, None) or _Failures(0, now)
        spent.count, spent.at = _refilled(spent, now) + 1, now
        self._addresses[address] = spent
        while len(self._pairs) > KEPT:
            self._pairs.popitem(last=False)
        while len(self._addresses) > KEPT:
            self._addresses.popitem(last=False)

    def succeeded(self, username: str, address: str) -> None:
        """Forget the failures of this name from this address."""
        self._pairs.pop((username.casefold(), address), None)


def _refilled(spent: _Failures, now: float) -> float:
    return max(0.0, spent.count - (now - spent.at) * ADDRESS_BUDGET / 60)
