"""Where places are in their ranks: an order in which few routes cross, then coordinates at which they are nearly straight."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from itertools import pairwise

from flowrunner.core.places import Place

GAP_BETWEEN_STATES = 32.0
GAP_BESIDE_WAYS = 18.0  # pixels, as above
SWEEPS = 12  # of sorting the layers; more changes little on graphs of this size
STRAIGHTENINGS = 40  # of moving places to the middle of their neighbours, the last third of them of those on both sides


def arrange(ranks: list[list[Place]]) -> None:
    """Sort each rank, and set the middle of each place in it."""
    _order(ranks)
    _spread(ranks)


def _order(ranks: list[list[Place]]) -> None:
    """Sort every rank, again and again by the middle of what is above or below, and keep the order in which the fewest ways cross."""
    _number(ranks)
    best, least = [list(rank) for rank in ranks], _crossings(ranks)
    for sweep in range(SWEEPS):
        if least == 0:
            break
        downwards = sweep % 2 == 0
        for rank in ranks[1:] if downwards else ranks[-2::-1]:
            wanted = {place: _mean([other.index for other in (place.above if downwards else place.below)], place.index) for place in rank}
            rank.sort(key=wanted.__getitem__)
            _index(rank)
        crossings = _crossings(ranks)
        if crossings < least:
            best, least = [list(rank) for rank in ranks], crossings
    for rank, sorted_rank in zip(ranks, best, strict=True):
        rank[:] = sorted_rank
        _index(rank)


def _number(ranks: Sequence[list[Place]]) -> None:
    """The first order: as states are met when each way is followed to its end."""
    met: dict[Place, int] = {}
    waiting = [place for rank in reversed(ranks) for place in reversed(rank)]
    while waiting:
        place = waiting.pop()
        if place not in met:
            met[place] = len(met)
            waiting.extend(reversed(place.below))
    for rank in ranks:
        rank.sort(key=met.__getitem__)
        _index(rank)


def _index(rank: Sequence[Place]) -> None:
    for index, place in enumerate(rank):
        place.index = index


def _crossings(ranks: Sequence[Sequence[Place]]) -> int:
    total = 0
    for rank in ranks:
        seen: list[int] = []
        for place in rank:
            for index in sorted(other.index for other in place.below):
                total += len(seen) - bisect_right(seen, index)
            for other in place.below:
                insort(seen, other.index)
    return total


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _spread(ranks: Sequence[Sequence[Place]]) -> None:
    """Move every place as near to the middle of its neighbours as the others in its rank let it."""
    for rank in ranks:
        _settle(rank, [{} for _ in rank])
    for turn in range(STRAIGHTENINGS):
        downwards, last = turn % 2 == 0, 3 * turn >= 2 * STRAIGHTENINGS
        for rank in ranks if downwards else reversed(ranks):
            _settle(rank, [place.above | place.below if last else place.above if downwards else place.below for place in rank])


def _settle(rank: Sequence[Place], neighbours: Sequence[dict[Place, float]]) -> None:
    distances = [
        (one.width + other.width) / 2 + (GAP_BETWEEN_STATES if one.node is not None and other.node is not None else GAP_BESIDE_WAYS)
        for one, other in pairwise(rank)
    ]
    weights = [sum(others.values()) or 0.1 for others in neighbours]
    wanted = [
        sum(other.middle * weight for other, weight in others.items()) / total if others else place.middle
        for place, others, total in zip(rank, neighbours, weights, strict=True)
    ]
    for place, at in zip(rank, nearest(wanted, distances, weights), strict=True):
        place.middle = at


def nearest(wanted: Sequence[float], distances: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Positions in the given order and at least at these distances, as near to the wanted ones as can be (least squares, by pooling neighbours)."""
    offsets = [0.0]
    for distance in distances:
        offsets.append(offsets[-1] + distance)
    pools: list[tuple[float, float, int]] = []  # of positions that move together: weighted sum, weight, number
    for want, offset, weight in zip(wanted, offsets, weights, strict=True):
        pool = ((want - offset) * weight, weight, 1)
        while pools and pools[-1][0] / pools[-1][1] >= pool[0] / pool[1]:
            total, heavy, number = pools.pop()
            pool = (total + pool[0], heavy + pool[1], number + pool[2])
        pools.append(pool)
    means = [total / heavy for total, heavy, number in pools for _ in range(number)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
