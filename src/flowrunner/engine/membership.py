"""Which nodes live. No two clocks are ever compared: each node watches whether the others' counters move (reliability R13, R16)."""

from __future__ import annotations

from dataclasses import dataclass

from flowrunner.clock import Clock
from flowrunner.ports.executions import ExecutionStore

LEASE_SECONDS = 10.0  # a node whose counter stood still this long is dead for those who watched it
BEATS_PER_LEASE = 5  # so the death of a node is seen within 1.4 leases


@dataclass(slots=True)
class _Seen:
    """A counter, and since when (monotonic, here) it has this value."""

    beats: int
    since: float


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
        self._looked = -lease_seconds  # when the counters were last read
        self._renewed = -lease_seconds  # when the last beat that reached the store was sent
        self._unbroken = 0.0  # since when no two beats were further apart than a lease

    @property
    def nodes(self) -> int:
        """How many nodes share the store, as far as this one has seen; itself included."""
        now = self._clock.monotonic()
        return 1 + sum(now - one.since < self.lease_seconds for one in self._seen.values()) if self.shared else 1

    def held_since(self, moment: float) -> bool:
        """Whether nobody can have declared this node dead between that moment (monotonic) and now: what it had then is still its own."""
        return not self.shared or (moment >= self._unbroken and self._clock.monotonic() - self._renewed < self.lease_seconds)

    async def beat(self) -> set[str]:
        """Show that this node lives; return the nodes that are gone and own executions. Raises StoreUnavailable."""
        # Owners are read first: whoever owns something has beaten before, so a node that has just come is not taken for dead.
        owners = set(await self._executions.owners())
        sent = self._clock.monotonic()
        counters = await self._executions.beat(self.node)
        if sent - self._renewed >= self.lease_seconds:
            self._unbroken = sent
        self._renewed = sent
        silent = self._watch({node: beats for node, beats in counters.items() if node != self.node})
        for node in silent - owners:  # nothing of it is left to take over
            await self._executions.leave(node)
        return owners - (counters.keys() - silent) - {self.node}

    def _watch(self, counters: dict[str, int]) -> set[str]:
        """The nodes whose counters have stood still for a lease while this node looked on."""
        now = self._clock.monotonic()
        looked_away = now - self._looked > self.lease_seconds / 2  # paused, or the store was away: they could not beat either
        self._looked = now
        seen = {}
        for node, beats in counters.items():
            before = self._seen.get(node)
            seen[node] = before if before is not None and before.beats == beats and not looked_away else _Seen(beats, now)
        self._seen = seen
        return set(counters) if not self.shared else {node for node, one in seen.items() if now - one.since >= self.lease_seconds}

    async def leave(self) -> None:
        """Give up at once whatever this node still owns. Raises StoreUnavailable."""
        await self._executions.leave(self.node)
