"""What to do about a failed state: a pure decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flowrunner.core.faults import Failure, matches
from flowrunner.core.program import Catcher, Retrier

LONGEST_DELAY_SECONDS = 31_622_400  # AWS: MaxDelaySeconds and IntervalSeconds stay below 31622400


@dataclass(frozen=True, slots=True)
class Again:
    """Try the state again after `delay` milliseconds, at the expense of this retrier."""

    retrier: int
    delay: int


@dataclass(frozen=True, slots=True)
class Caught:
    """Go on at the catcher's state."""

    catcher: Catcher


@dataclass(frozen=True, slots=True)
class Raised:
    """The scope fails."""


Decision = Again | Caught | Raised


def decide(retriers: Sequence[Retrier], catchers: Sequence[Catcher], failure: Failure, counts: Sequence[int], draw: Callable[[], float]) -> Decision:
    """Retry if the first retrier that matches has attempts left, else the first catcher that matches, else raise.

    `counts` is how often each retrier was used; `draw` gives a number in [0, 1) for full jitter. Delay in seconds:
    interval x backoff^used (linear: interval x number of the retry), at most MaxDelaySeconds; times the draw with JitterStrategy FULL.
    """
    for index, retrier in enumerate(retriers):
        if not matches(failure, retrier.error_equals):
            continue
        if counts[index] < retrier.max_attempts:
            return Again(index, _delay(retrier, counts[index], draw))
        break
    for catcher in catchers:
        if matches(failure, catcher.error_equals):
            return Caught(catcher)
    return Raised()


def _delay(retrier: Retrier, used: int, draw: Callable[[], float]) -> int:
    ceiling = min(retrier.max_delay_seconds or LONGEST_DELAY_SECONDS, LONGEST_DELAY_SECONDS)
    try:
        factor = used + 1 if retrier.linear else retrier.backoff_rate**used
        seconds = min(retrier.interval_seconds * factor, ceiling)
    except OverflowError:
        seconds = ceiling
    return round(seconds * 1000 * (draw() if retrier.full_jitter else 1))
