"""Which steps come one after the other and which run side by side, where the order of a level can be said so (a series-parallel order)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class One:
    """A single step."""

    step: str


@dataclass(frozen=True, slots=True)
class Chain:
    """Parts of which each begins when the one before has ended."""

    parts: tuple[Arrangement, ...]


@dataclass(frozen=True, slots=True)
class Fork:
    """Parts that begin at once; what follows begins when all have ended."""

    parts: tuple[Arrangement, ...]


Arrangement = One | Chain | Fork


class Tangled(ValueError):
    """The order cannot be said by chains and forks: of `steps`, the first two are waited for by the third, only the second by the fourth."""

    def __init__(self, steps: tuple[str, str, str, str]) -> None:
        self.steps = steps
        super().__init__(steps)


class TooDeep(ValueError):
    """Forks stand within forks more than `DEEPEST` levels deep."""


DEEPEST = 20  # a state machine nests its states 25 levels deep at most


def arranged(needs: Mapping[str, Sequence[str]]) -> Arrangement:
    """The steps of a level, by the steps that each waits for (no circles); raises Tangled and TooDeep.

    Every step begins and ends at the same moments as with `needs`: what waits for a part waits for all of it.
    """
    before: dict[str, frozenset[str]] = {}
    for step in in_turn(needs):
        before[step] = frozenset(needs[step]).union(*(before[need] for need in needs[step]))
    return _arranged(list(needs), before, 0)


def in_turn(needs: Mapping[str, Sequence[str]], *, first: Collection[str] = ()) -> list[str]:
    """The steps as they run when only one runs at a time: always the first that waits for nothing any more; one of `first` for none but its first need."""
    waiting, done = list(needs), dict[str, None]()
    while waiting:
        step = next(step for step in waiting if _is_ready(needs[step], done, any_of=step in first))
        waiting.remove(step)
        done[step] = None
    return list(done)


def _is_ready(needs: Sequence[str], done: Collection[str], *, any_of: bool) -> bool:
    through = [need in done for need in needs]
    return all(through) or (any_of and any(through))


def width(of: Arrangement) -> int:
    """How many steps run at once at most."""
    match of:
        case One():
            return 1
        case Chain(parts=parts):
            return max(map(width, parts))
        case Fork(parts=parts):
            return sum(map(width, parts))


def steps_in(of: Arrangement) -> list[str]:
    """Its steps."""
    return [of.step] if isinstance(of, One) else [step for part in of.parts for step in steps_in(part)]


def _arranged(steps: list[str], before: Mapping[str, frozenset[str]], depth: int) -> Arrangement:
    if len(steps) == 1:
        return One(steps[0])
    if depth > DEEPEST:
        raise TooDeep

    def ordered(one: str, other: str) -> bool:
        return one in before[other] or other in before[one]

    apart = _components(steps, ordered)
    if len(apart) > 1:
        return Fork(tuple(_arranged(part, before, depth + 1) for part in apart))
    in_order = _components(steps, lambda one, other: not ordered(one, other))
    if len(in_order) > 1:
        in_order.sort(key=lambda part: len(before[part[0]]))
        return Chain(tuple(_arranged(part, before, depth) for part in in_order))
    raise Tangled(_tangle(steps, before))


def _components(steps: list[str], joined: Callable[[str, str], bool]) -> list[list[str]]:
    """The steps in groups that nothing joins, each in the order of `steps`, as is the first of each."""
    left, groups = list(steps), []
    while left:
        group, waiting = {left[0]}, [left[0]]
        while waiting:
            step = waiting.pop()
            more = [other for other in left if other not in group and joined(step, other)]
            group.update(more)
            waiting += more
        groups.append([step for step in left if step in group])
        left = [step for step in left if step not in group]
    return groups


def _tangle(steps: list[str], before: Mapping[str, frozenset[str]]) -> tuple[str, str, str, str]:
    """Four steps: the third waits for the first and the second, the fourth for the second only, and neither for the other."""
    for third in steps:
        for fourth in steps:
            if third == fourth or third in before[fourth] or fourth in before[third]:
                continue
            for second in before[third] & before[fourth]:
                for first in before[third] - before[fourth]:
                    if first not in before[second] and second not in before[first] and first in steps and second in steps:
                        return first, second, third, fourth
    raise AssertionError("an order without such four steps is made of chains and forks")
