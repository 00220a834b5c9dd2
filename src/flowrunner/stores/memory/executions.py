"""Executions in dictionaries.

No method awaits anything, so each is atomic on its event loop. `commit` checks all that can go wrong before it changes
anything: that is its transaction.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from itertools import count, islice
from typing import TYPE_CHECKING

from flowrunner.errors import Fenced, StoreError
from flowrunner.ports.archive import ArchivedExecution
from flowrunner.ports.executions import (
    ActivityTask,
    Chunk,
    Delivery,
    ExecutionQuery,
    ExecutionStore,
    Head,
    NameTaken,
    Position,
    StepWrite,
    Stored,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OPEN = ("RUNNING", "PENDING_REDRIVE")


@dataclass(slots=True)
class _Execution:
    """All that belongs to one execution."""

    head: Head
    chunks: list[Chunk] = field(default_factory=list)
    snapshot: bytes | None = None
    facts: dict[int, bytes] = field(default_factory=dict)
    tasks: dict[int, tuple[int, ActivityTask]] = field(default_factory=dict)  # attempt -> (order of opening, task)


class MemoryExecutions(ExecutionStore):
    """The executions of one process."""

    def __init__(self) -> None:
        self._executions: dict[str, _Execution] = {}
        self._names: dict[tuple[str, str, str], str] = {}
        self._starts: defaultdict[tuple[str, str | None], list[tuple[int, str]]] = defaultdict(list)  # sorted; machine None: all of them
        self._wakes: list[tuple[int, str]] = []  # sorted: running, without an owner
        self._owned: set[str] = set()  # running, with an owner
        self._inboxes: defaultdict[str, dict[str, Delivery]] = defaultdict(dict)
        self._deliveries: dict[str, Delivery] = {}  # oldest first
        self._activities: defaultdict[str, dict[tuple[str, int], tuple[int, ActivityTask]]] = defaultdict(dict)
        self._beats: dict[str, int] = {}
        self._order = count()

    async def commit(self, write: StepWrite) -> Head | NameTaken:
        """See the contract."""
        head = replace(write.head, epoch=write.head.epoch + 1)
        stored = self._executions.get(head.id)
        if write.create:
            named = self._names.get((head.account, head.machine, head.name))
            if named is not None:
                return NameTaken(self._executions[named].head)
            if stored is not None:
                raise Fenced(f"Execution {head.id} exists already.")
            stored = _Execution(head)
        elif stored is None or stored.head.epoch != write.head.epoch:
            raise Fenced(f"Execution {head.id} is no longer at epoch {write.head.epoch}.")
        self._check(stored, write)
        self._place(stored, head, create=write.create)
        self._append(stored, write)
        for consumed in write.consumed:
            if self._inboxes[head.id].pop(consumed, None) is not None:
                del self._deliveries[consumed]
        for delivery in write.deliveries:
            self._deliver(delivery)
        if head.status not in OPEN:
            self._end(stored)
        if not self._inboxes[head.id]:
            del self._inboxes[head.id]
        return head

    def _check(self, stored: _Execution, write: StepWrite) -> None:
        """Refuse what an SQL store's unique keys would refuse."""
        if write.head.status not in OPEN:
            return
        if write.facts is not None and write.snapshot is None and write.fact_number in stored.facts:
            raise StoreError(f"Facts {write.fact_number} of execution {write.head.id} are stored already.")
        attempts = [task.attempt for task in write.opened]
        if len(set(attempts)) < len(attempts) or stored.tasks.keys() & set(attempts):
            raise StoreError(f"An activity task of execution {write.head.id} is open already.")

    def _place(self, stored: _Execution, head: Head, *, create: bool) -> None:
        """Put the head in place, with every index."""
        if create:
            self._executions[head.id] = stored
            self._names[head.account, head.machine, head.name] = head.id
            for machine in (None, head.machine):
                insort(self._starts[head.account, machine], (head.started_at, head.id))
        else:
            self._unindex(stored.head)
        stored.head = head
        if head.status != "RUNNING":
            return
        if head.owner is not None:
            self._owned.add(head.id)
        elif head.wake_at is not None:
            insort(self._wakes, (head.wake_at, head.id))

    def _unindex(self, head: Head) -> None:
        self._owned.discard(head.id)
        if head.status == "RUNNING" and head.owner is None and head.wake_at is not None:
            del self._wakes[bisect_left(self._wakes, (head.wake_at, head.id))]

    def _append(self, stored: _Execution, write: StepWrite) -> None:
        """The log, the facts, the snapshot and the activity tasks of one step."""
        if write.chunk is not None:
            stored.chunks.append(write.chunk)
        if write.snapshot is not None:
            stored.snapshot = write.snapshot
            stored.facts.clear()
        elif write.facts is not None:
            stored.facts[write.fact_number] = write.facts
        for task in write.opened:
            entry = (next(self._order), task)
            stored.tasks[task.attempt] = entry
            self._activities[task.activity][task.execution, task.attempt] = entry
        for attempt in write.closed:
            self._close(stored, attempt)

    def _close(self, stored: _Execution, attempt: int) -> None:
        _, task = stored.tasks.pop(attempt, (0, None))
        if task is not None:
            waiting = self._activities[task.activity]
            del waiting[task.execution, task.attempt]
            if not waiting:
                del self._activities[task.activity]

    def _deliver(self, delivery: Delivery) -> None:
        target = self._executions.get(delivery.execution)
        if delivery.id in self._deliveries or (target is not None and target.head.status not in OPEN):
            return
        self._deliveries[delivery.id] = self._inboxes[delivery.execution][delivery.id] = delivery

    def _end(self, stored: _Execution) -> None:
        """An execution that is over keeps its head and its log."""
        stored.snapshot = None
        stored.facts.clear()
        for attempt in tuple(stored.tasks):
            self._close(stored, attempt)
        for delivery in self._inboxes.pop(stored.head.id, {}):
            del self._deliveries[delivery]
        self._inboxes[stored.head.id] = {}

    async def forget(self, execution: str) -> None:
        """See the contract."""
        stored = self._executions.get(execution)
        if stored is None or stored.head.status in OPEN:
            return
        head = stored.head
        del self._executions[execution]
        del self._names[head.account, head.machine, head.name]
        for machine in (None, head.machine):
            starts = self._starts[head.account, machine]
            del starts[bisect_left(starts, (head.started_at, execution))]

    async def load(self, execution: str) -> Stored | None:
        """See the contract."""
        stored = self._executions.get(execution)
        if stored is None:
            return None
        facts = tuple(stored.facts[number] for number in sorted(stored.facts))
        return Stored(stored.head, stored.snapshot, facts, tuple(self._inboxes.get(execution, {}).values()))

    async def head(self, execution: str) -> Head | None:
        """See the contract."""
        stored = self._executions.get(execution)
        return stored.head if stored else None

    async def positions(self, executions: Sequence[str]) -> Mapping[str, Position]:
        """See the contract."""
        heads = [self._executions[execution].head for execution in executions if execution in self._executions]
        return {head.id: Position(head.epoch, head.last_seq, head.status) for head in heads}

    async def find(self, account: str, machine: str, name: str) -> Head | None:
        """See the contract."""
        named = self._names.get((account, machine, name))
        return self._executions[named].head if named else None

    async def log(self, execution: str, *, after: int = 0, limit: int = 1000, reverse: bool = False) -> Sequence[Chunk]:
        """See the contract."""
        stored = self._executions.get(execution)
        if stored is None or not stored.chunks:
            return []
        end = stored.chunks[-1].first_seq + stored.chunks[-1].count
        first, stop = (max(1, (after or end) - limit), min(after or end, end)) if reverse else (after + 1, min(after + 1 + limit, end))
        if first >= stop:
            return []
        low = bisect_right(stored.chunks, first, key=lambda chunk: chunk.first_seq) - 1
        high = bisect_left(stored.chunks, stop, key=lambda chunk: chunk.first_seq)
        chunks = stored.chunks[low:high]
        return chunks[::-1] if reverse else chunks

    async def list(self, query: ExecutionQuery) -> Sequence[Head]:
        """See the contract."""
        return list(islice(self._newest(query), query.limit))

    def _newest(self, query: ExecutionQuery) -> Iterator[Head]:
        starts = self._starts.get((query.account, query.machine), [])
        below = len(starts) if query.after is None else bisect_left(starts, query.after)
        for index in range(below - 1, -1, -1):
            head = self._executions[starts[index][1]].head
            if query.status in (None, head.status):
                yield replace(head, input="", output=None)

    async def due(self, now: int, limit: int, *, hide_seconds: float = 0.0) -> Sequence[str]:
        """See the contract; nobody else is there to be kept from them."""
        del hide_seconds
        return [execution for wake_at, execution in self._wakes[:limit] if wake_at <= now]

    async def next_wake(self) -> int | None:
        """See the contract."""
        return self._wakes[0][0] if self._wakes else None

    async def undelivered(self, limit: int) -> Sequence[Delivery]:
        """See the contract."""
        return list(islice(self._deliveries.values(), limit))

    async def activity_tasks(self, activity: str, *, limit: int = 100) -> Sequence[ActivityTask]:
        """See the contract."""
        waiting = self._activities.get(activity, {}).values()
        return [task for _, task in nsmallest(limit, waiting, key=lambda entry: (entry[1].scheduled_at, entry[0]))]

    # --- the archive's

    def archived(self, after: str | None, limit: int) -> Sequence[ArchivedExecution]:
        """A page of executions with all that belongs to them."""
        ids = nsmallest(limit, (execution for execution in self._executions if after is None or execution > after))
        return [self._archived(self._executions[execution]) for execution in ids]

    def _archived(self, stored: _Execution) -> ArchivedExecution:
        return ArchivedExecution(
            head=stored.head,
            chunks=tuple(stored.chunks),
            snapshot=stored.snapshot,
            facts=tuple(sorted(stored.facts.items())),
            inbox=tuple(self._inboxes.get(stored.head.id, {}).values()),
            tasks=tuple(task for _, task in sorted(stored.tasks.values(), key=lambda entry: entry[0])),
        )

    def put(self, execution: ArchivedExecution) -> bool:
        """Take an execution as it is, if its id and name are free."""
        head = execution.head
        if head.id in self._executions or (head.account, head.machine, head.name) in self._names:
            return False
        stored = _Execution(head, list(execution.chunks), execution.snapshot, dict(execution.facts))
        self._place(stored, head, create=True)
        self._append(stored, StepWrite(head=head, opened=execution.tasks))
        for delivery in execution.inbox:
            self._deliver(delivery)
        return True

    def ended(self, before: int, after: str | None, limit: int) -> Sequence[str]:
        """Ids of executions that ended before this time."""
        heads = (stored.head for stored in self._executions.values())
        old = (head.id for head in heads if head.status not in OPEN and head.stopped_at is not None and head.stopped_at < before)
        return nsmallest(limit, (execution for execution in old if after is None or execution > after))

    def count(self) -> int:
        """How many executions there are."""
        return len(self._executions)

    # --- the nodes that share the store

    async def beat(self, node: str) -> Mapping[str, int]:
        """See the contract."""
        self._beats[node] = self._beats.get(node, -1) + 1
        return dict(self._beats)

    async def leave(self, node: str) -> None:
        """See the contract."""
        self._beats.pop(node, None)

    async def owners(self) -> Sequence[str]:
        """See the contract."""
        return sorted({node for execution in self._owned for node in self._owners_of(execution)})

    async def owned(self, node: str, limit: int) -> Sequence[str]:
        """See the contract."""
        return nsmallest(limit, (execution for execution in self._owned if node in self._owners_of(execution)))

    def _owners_of(self, execution: str) -> Sequence[str]:
        return (self._executions[execution].head.owner or "").split(",")
