"""The order of arrival among nodes: a logical clock that keeps close to the wall's (Kulkarni et al., Logical Physical Clocks, 2014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowrunner.clock import Clock

PER_MILLISECOND = 1 << 20


class Order:
    """Numbers that rise. Whoever has seen a number gives larger ones, whatever its clock says."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def next(self) -> int:
        """A number above all that were given or seen here."""
        self._last = max(self._last + 1, self._clock.now() * PER_MILLISECOND)
        return self._last

    def seen(self, number: int) -> None:
        """Somebody else gave this number."""
        self._last = max(self._last, number)
