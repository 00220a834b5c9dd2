"""Which nodes live. No two clocks are ever compared: each node watches whether the others' counters move (reliability R13, R16).

A counter that stood still for a lease says little by itself: the one who watched may have been paused, or the store so slow that nobody could move its
counter in that time. So a node is dead once its counter stood still for a lease and, in that time, the watcher itself has moved its own five times, each
time soon after the last: what it could do, the other could. A look after a pause or while the store comes and goes counts a quarter. So it ends, after
twenty looks at most, however long each takes: with a store that answers at once within 1.4 leases of the death, with one that takes T for a look
within 7 (T + a fifth of a lease) and a lease.

Who is taken for dead and is not (its own way to the store is much slower than that of others) loses what it had in hand: it knows that it may have
(`held_since`), asks the store before an attempt begins, and the fence refuses what it writes.
"""

from __future__ import annotations

from dataclasses import dataclass

from flowrunner.clock import Clock
from flowrunner.ports.executions import ExecutionStore

LEASE_SECONDS = 10.0  # a node whose counter stood still this long is dead for those who watched it
BEATS_PER_LEASE = 5
BRISK = 4  # what a look counts that comes soon after the last one; any other counts 1
ENOUGH = BRISK * BEATS_PER_LEASE


@dataclass(slots=True)
class _Seen:
    """A counter, since when (monotonic, here) it has this value, and how much the looks count that found it unmoved."""

    beats: int
    since: float
    looks: int = 0


class Membership:
    """One node among those that share the store.

    With a store that only one server may open (`shared` false) whatever other owner a row names is dead.
    """

    def __init__(self, executions: ExecutionStore, clock: Clock, node: str, *, shared: bool, lease_seconds: float = LEASE_SECONDS) -> None:
        self.node = node
        self.shared = shared
        self.period = lease_seconds / BEATS_PER_LEASE
        self.lease_seconds = lease_seconds
        self._executions = executions
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._looked = -lease_seconds  # when the last look ended that counts
        self._renewed = -lease_seconds  # when the last beat that reached the store was sent
        self._unbroken = 0.0  # since when no two beats were further apart than a lease

    @property
    def nodes(self) -> int:
        """How many nodes share the store, as far as this one has seen; itself included."""
        now = self._clock.monotonic()
        return 1 + sum(not self._is_dead(one, now) for one in self._seen.values()) if self.shared else 1

    def held_since(self, moment: float) -> bool:
        """Whether nobody can have declared this node dead between that moment (monotonic) and now: what it had then is still its own."""
        return not self.shared or (moment >= self._unbroken and self._clock.monotonic() - self._renewed < self.lease_seconds)

    async def beat(self) -> set[str]:
        """Show that this node lives; return the nodes that are gone and own executions. Raises StoreUnavailable."""
        # Owners are read first: whoever owns something has beaten before, so a node that has just come is not taken for dead.
        began = self._clock.monotonic()
        owners = set(await self._executions.owners())
        sent = self._clock.monotonic()
        counters = await self._executions.beat(self.node)
        answered = self._clock.monotonic()
        if answered - self._renewed >= self.lease_seconds:  # others may have seen the old counter until a moment ago
            self._unbroken = answered
        self._renewed = sent
        silent = self._watch({node: beats for node, beats in counters.items() if node != self.node}, began)
        for node in silent - owners:  # nothing of it is left to take over
            await self._executions.leave(node)
        return owners - (counters.keys() - silent) - {self.node}

    def _watch(self, counters: dict[str, int], began: float) -> set[str]:
        """The nodes whose counters have stood still for a lease while this node looked on; this look began at that moment."""
        now, away = self._clock.monotonic(), began - self._looked
        counts = 0 if away < self.period / 2 else BRISK if away <= self.lease_seconds / 2 else 1  # 0: many may ask at once
        self._looked = now if counts else self._looked
        seen = {}
        for node, beats in counters.items():
            before = self._seen.get(node)
            seen[node] = _Seen(beats, before.since, before.looks + counts) if before is not None and before.beats == beats else _Seen(beats, now)
        self._seen = seen
        return set(counters) if not self.shared else {node for node, one in seen.items() if self._is_dead(one, now)}

    def _is_dead(self, one: _Seen, now: float) -> bool:
        return one.looks >= ENOUGH and now - one.since >= self.lease_seconds

    async def leave(self) -> None:
        """Give up at once whatever this node still owns. Raises StoreUnavailable."""
        await self._executions.leave(self.node)
