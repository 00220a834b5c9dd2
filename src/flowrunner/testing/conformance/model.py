"""Random writes against a model in plain lists, the naive reading of the contract; after each, every answer must be equal."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from flowrunner.errors import Fenced
from flowrunner.ports.executions import ActivityTask, Chunk, Delivery, ExecutionQuery, Head, NameTaken, Position, Status, StepWrite, Stored
from flowrunner.testing.conformance.examples import ACCOUNT, head

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from flowrunner.ports.store import Store

OPEN = ("RUNNING", "PENDING_REDRIVE")
EXECUTIONS = range(1, 7)
MACHINES = ("orders", "returns")
NODES = ("a", "b")
OWNERS = (None, None, *NODES, "a,b")
TIMES = range(5)
STATUSES: tuple[Status | None, ...] = (None, "RUNNING", "SUCCEEDED", "FAILED")


@dataclass
class Model:
    """Everything as lists, searched from the front."""

    heads: dict[str, Head] = field(default_factory=dict)
    logs: dict[str, list[Chunk]] = field(default_factory=dict)
    snapshots: dict[str, bytes] = field(default_factory=dict)
    facts: dict[str, list[bytes]] = field(default_factory=dict)
    inbox: list[Delivery] = field(default_factory=list)
    tasks: list[ActivityTask] = field(default_factory=list)
    beats: dict[str, int] = field(default_factory=dict)

    def commit(self, write: StepWrite) -> Head | NameTaken | type[Fenced]:
        """What the store must answer."""
        now = write.head
        if write.create:
            for other in self.heads.values():
                if (other.account, other.machine, other.name) == (now.account, now.machine, now.name):
                    return NameTaken(other)
            if now.id in self.heads:
                return Fenced
        elif now.id not in self.heads or self.heads[now.id].epoch != now.epoch:
            return Fenced
        stored = self.heads[now.id] = replace(now, epoch=now.epoch + 1)
        self._append(write)
        self.inbox = [one for one in self.inbox if one.execution != now.id or one.id not in write.consumed]
        for delivery in write.deliveries:
            target = self.heads.get(delivery.execution)
            if delivery.id not in [one.id for one in self.inbox] and (target is None or target.status in OPEN):
                self.inbox.append(delivery)
        if now.status not in OPEN:
            self.snapshots.pop(now.id, None)
            self.facts.pop(now.id, None)
            self.inbox = [one for one in self.inbox if one.execution != now.id]
            self.tasks = [task for task in self.tasks if task.execution != now.id]
        return stored

    def _append(self, write: StepWrite) -> None:
        execution = write.head.id
        if write.chunk:
            self.logs.setdefault(execution, []).append(write.chunk)
        if write.facts is not None:
            self.facts.setdefault(execution, []).append(write.facts)
        if write.snapshot is not None:
            self.snapshots[execution] = write.snapshot
            self.facts.pop(execution, None)
        self.tasks += write.opened
        self.tasks = [task for task in self.tasks if task.execution != execution or task.attempt not in write.closed]

    def load(self, execution: str) -> Stored | None:
        """What the store must load."""
        if execution not in self.heads:
            return None
        inbox = tuple(one for one in self.inbox if one.execution == execution)
        return Stored(self.heads[execution], self.snapshots.get(execution), tuple(self.facts.get(execution, ())), inbox)

    def waiting(self) -> list[Head]:
        """Running executions without an owner that wake, earliest first."""
        found = [one for one in self.heads.values() if one.status == "RUNNING" and one.owner is None and one.wake_at is not None]
        return sorted(found, key=lambda one: one.wake_at or 0)

    def owned(self, node: str) -> set[str]:
        """Running executions that this node owns."""
        return {one.id for one in self.heads.values() if one.status == "RUNNING" and node in (one.owner or "").split(",")}

    def listed(self, machine: str | None, status: str | None) -> list[Head]:
        """What a list must show, newest first."""
        found = [one for one in self.heads.values() if machine in (None, one.machine) and status in (None, one.status)]
        return [replace(one, input="", output=None) for one in sorted(found, key=lambda one: (one.started_at, one.id), reverse=True)]


STEPS = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["RUNNING"] * 6 + ["PENDING_REDRIVE", "SUCCEEDED", "FAILED"]),
        "owner": st.sampled_from(OWNERS),
        "wake_at": st.none() | st.sampled_from(TIMES),
        "output": st.none() | st.text(max_size=3),
        "cause": st.none() | st.text(max_size=3),
    }
)
PARTS = st.fixed_dictionaries(
    {
        "records": st.integers(0, 3),
        "facts": st.none() | st.binary(max_size=3),
        "snapshot": st.none() | st.none() | st.binary(max_size=3),
        "deliveries": st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(EXECUTIONS), st.binary(max_size=2)), max_size=2),
        "consumed": st.lists(st.sampled_from("abcdef"), max_size=3),
        "opened": st.lists(st.sampled_from(TIMES), max_size=2),
        "closed": st.lists(st.integers(0, 9), max_size=2),
    }
)


class _Comparison(RuleBasedStateMachine):
    """The rules; `store_machine` gives it a store."""

    factory: Callable[[], AbstractAsyncContextManager[Store]]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.runner = asyncio.Runner()
        self.numbers = 0  # of facts and attempts: each once
        self.context = type(self).factory()
        self.store: Store = self.runner.run(self.context.__aenter__())

    def teardown(self) -> None:
        """Close the store and the loop."""
        self.runner.run(self.context.__aexit__(None, None, None))
        self.runner.close()

    @initialize()
    def begin(self) -> None:
        """An empty store is an empty model."""

    @rule(number=st.sampled_from(EXECUTIONS), name=st.sampled_from("xyz"), machine=st.sampled_from(MACHINES), step=STEPS, parts=PARTS)
    def create(self, number: int, name: str, machine: str, step: dict[str, Any], parts: dict[str, Any]) -> None:
        """Create an execution, perhaps under a name or an id that exists; ids 1 and 2, 3 and 4, ... start together."""
        begun = head(number, name=name, machine=machine, started_at=number // 2, input="i" * (number * 1000), **step)
        self._commit(begun, parts, before=None)

    @rule(number=st.sampled_from(EXECUTIONS), stale=st.sampled_from([0, 0, 0, 0, 0, 1, -1]), step=STEPS, parts=PARTS)
    def step(self, number: int, stale: int, step: dict[str, Any], parts: dict[str, Any]) -> None:
        """Commit a step, perhaps with another epoch, perhaps of an execution that is not there."""
        before = self.model.heads.get(f"{number:032x}", head(number))
        self._commit(replace(before, epoch=before.epoch + stale, **step), parts, before=before)

    @rule(steps=st.lists(st.tuples(st.sampled_from(EXECUTIONS), STEPS), min_size=2, max_size=6))
    def crowd(self, steps: list[tuple[int, dict[str, Any]]]) -> None:
        """Commit concurrently; of those that read the same epoch one wins, whichever, and the model follows."""
        known = [(self.model.heads[f"{number:032x}"], step) for number, step in steps if f"{number:032x}" in self.model.heads]
        writes = [StepWrite(head=replace(before, **step), before=before) for before, step in known]

        async def commit_all() -> list[Any]:
            return await asyncio.gather(*map(self.store.executions.commit, writes), return_exceptions=True)

        winners = [(write, answer) for write, answer in zip(writes, self.runner.run(commit_all()), strict=True) if not isinstance(answer, Fenced)]
        assert sorted(write.head.id for write, _ in winners) == sorted({write.head.id for write in writes})
        for write, answer in winners:
            assert self.model.commit(write) == answer

    @rule(node=st.sampled_from(NODES))
    def beat(self, node: str) -> None:
        """A node lives."""
        self.model.beats[node] = self.model.beats.get(node, -1) + 1
        assert self.runner.run(self.store.executions.beat(node)) == self.model.beats

    @rule(node=st.sampled_from(NODES))
    def leave(self, node: str) -> None:
        """A node leaves."""
        self.runner.run(self.store.executions.leave(node))
        self.model.beats.pop(node, None)

    def _commit(self, now: Head, parts: dict[str, Any], *, before: Head | None) -> None:
        logged = sum(chunk.count for chunk in self.model.logs.get(now.id, ()))
        records = parts["records"]
        self.numbers += 10
        write = StepWrite(
            head=replace(now, last_seq=logged + records),
            create=before is None,
            before=before,
            chunk=Chunk(logged + 1, records, b"%d" % self.numbers) if records else None,
            fact_number=self.numbers,
            facts=parts["facts"],
            snapshot=parts["snapshot"],
            deliveries=tuple(Delivery(name, f"{number:032x}", fact) for name, number, fact in parts["deliveries"]),
            consumed=tuple(parts["consumed"]),
            opened=tuple(
                ActivityTask(activity="act", execution=now.id, attempt=self.numbers + place, input="{}", scheduled_at=time)
                for place, time in enumerate(parts["opened"])
            ),
            closed=tuple(self.numbers - back for back in parts["closed"]),
        )
        assert self.runner.run(self._answer(write)) == self.model.commit(write)

    async def _answer(self, write: StepWrite) -> object:
        try:
            return await self.store.executions.commit(write)
        except Fenced:
            return Fenced

    @invariant()
    def equal_answers(self) -> None:
        """Store and model say the same."""
        self.runner.run(self._compare())

    async def _compare(self) -> None:
        of, model = self.store.executions, self.model
        for number in EXECUTIONS:
            execution = f"{number:032x}"
            assert await of.load(execution) == model.load(execution)
            assert await of.log(execution) == model.logs.get(execution, [])
            assert await of.log(execution, limit=2, reverse=True) == _newest(model.logs.get(execution, []), 2)
        assert await of.undelivered(100) == model.inbox
        assert await of.activity_tasks("act") == sorted(model.tasks, key=lambda task: task.scheduled_at)
        waiting = model.waiting()
        assert await of.next_wake() == (waiting[0].wake_at if waiting else None)
        for now in TIMES:
            due = [one.wake_at for one in waiting if one.wake_at is not None and one.wake_at <= now]
            assert [model.heads[execution].wake_at for execution in await of.due(now, 100)] == due
        for node in NODES:
            assert set(await of.owned(node, 100)) == model.owned(node)
        positions = {one.id: Position(one.epoch, one.last_seq, one.status) for one in model.heads.values()}
        assert await of.positions([f"{number:032x}" for number in EXECUTIONS]) == positions
        for machine in (None, *MACHINES):
            for status in STATUSES:
                found = await of.list(ExecutionQuery(account=ACCOUNT, machine=machine, status=status))
                assert [replace(one, input="", output=None) for one in found] == model.listed(machine, status)


def _newest(log: list[Chunk], limit: int) -> list[Chunk]:
    """The chunks that hold the last `limit` records."""
    end = sum(chunk.count for chunk in log)
    return [chunk for chunk in reversed(log) if chunk.first_seq + chunk.count > end - limit + 1]


def store_machine(factory: Callable[[], AbstractAsyncContextManager[Store]]) -> type[RuleBasedStateMachine]:
    """A state machine of hypothesis that opens an empty store with `factory` for every example; run its `TestCase`."""
    return type("StoreMachine", (_Comparison,), {"factory": staticmethod(factory)})
