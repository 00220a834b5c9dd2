"""Which steps wait for which: the needs of every step of one level, and the circles among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from flowrunner.jsonvalue import JSONObject
from flowrunner.reading.findings import Findings, Place
from flowrunner.reading.wording import meant
from flowrunner.workflow.fields import INVALID_VALUE

MISSING_DEPENDENCY = "MISSING_DEPENDENCY"
CIRCLE = "CYCLIC_DEPENDENCY"


def needs_of(found: Findings, steps: Mapping[str, tuple[JSONObject, Place]]) -> dict[str, list[str]]:
    """The ids that each step depends on, those that are there and none twice."""
    needs: dict[str, list[str]] = {}
    for name, (step, place) in steps.items():
        needs[name] = []
        for index, other in enumerate(step.get("dependsOn", ())):
            at = (*place, "dependsOn", index)
            if not isinstance(other, str):
                found.error(at, "A step depends on others by their ids, which are texts.", INVALID_VALUE)
            elif other not in steps:
                found.error(at, f"Step '{name}' depends on '{other}', which is no step of its level.", MISSING_DEPENDENCY, hint=meant(other, steps))
            elif other not in needs[name]:
                needs[name].append(other)
    return needs


def circle(needs: Mapping[str, Sequence[str]]) -> list[str] | None:
    """A circle of steps that wait for one another, its first step again at the end; None if there is none."""
    done: set[str] = set()
    for start in needs:
        if start in done:
            continue
        path: list[str] = [start]
        on_path = {start}
        ways = [iter(needs[start])]
        while ways:
            step = next(ways[-1], None)
            if step is None:
                ways.pop()
                done.add(path[-1])
                on_path.discard(path.pop())
            elif step in on_path:
                return [*path[path.index(step) :], step]
            elif step not in done:
                path.append(step)
                on_path.add(step)
                ways.append(iter(needs[step]))
    return None


def check_order(found: Findings, needs: Mapping[str, Sequence[str]], place: Place) -> None:
    """Say which steps wait for one another."""
    steps = circle(needs)
    if steps is not None:
        way = " -> ".join(reversed(steps))
        found.error(place, f"The workflow contains a cyclic dependency involving step '{steps[0]}': {way}.", CIRCLE)


class Ended:
    """Which steps have ended when another begins. `ids` are the steps of all levels with their places, `needs` those that each depends on."""

    def __init__(self, ids: Mapping[str, Place], needs: Mapping[str, Sequence[str]]) -> None:
        self._ids = ids
        self._at = {place: name for name, place in ids.items() if place}
        self._bits = {name: 1 << index for index, name in enumerate(ids)}
        self._before = self._closed(needs)

    def before(self, step: str, place: Place) -> bool:
        """Whether `step`, or what it stands in, is among those that what stands at `place`, or around it, depends on; a hook is before all steps."""
        wanted = sum(self._bits[name] for name in self._line(self._ids[step]))
        return self._ids[step][:1] != place[:1] or any(self._before.get(name, -1) & wanted for name in self._line(place))

    def _line(self, place: Place) -> Iterator[str]:
        """The step at a place and those around it."""
        return (self._at[place[:length]] for length in range(1, len(place) + 1) if place[:length] in self._at)

    def _closed(self, needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """For each step all that it depends on, as bits; none for steps of a circle, and after one."""
        waiting = {name: len(others) for name, others in needs.items()}
        followers: dict[str, list[str]] = {}
        for name, others in needs.items():
            for other in others:
                followers.setdefault(other, []).append(name)
        closed: dict[str, int] = {}
        ready = [name for name, number in waiting.items() if not number]
        while ready:
            name = ready.pop()
            closed[name] = 0
            for other in needs[name]:
                closed[name] |= closed[other] | self._bits[other]
            for follower in followers.get(name, ()):
                waiting[follower] -= 1
                if not waiting[follower]:
                    ready.append(follower)
        return closed
