"""Commit and load: names, the fence, atomicity, facts and snapshots, texts of every kind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from flowrunner.errors import Fenced
from flowrunner.ports.executions import ActivityTask, Delivery, ExecutionQuery, Head, NameTaken, StepWrite, Stored
from flowrunner.testing.conformance.examples import ACCOUNT, BLOBS, MACHINE, TEXTS, created, full, head, records, stepped

if TYPE_CHECKING:
    from flowrunner.ports.store import Store

ENDS = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


async def everything(store: Store, *executions: str) -> list[Any]:
    """All that a store tells about executions, to compare before and after."""
    of = store.executions
    one_by_one = [(await of.load(execution), await of.log(execution)) for execution in executions]
    return [
        one_by_one,
        await of.undelivered(1000),
        await of.activity_tasks("activity"),
        await of.list(ExecutionQuery(account=ACCOUNT)),
        await of.next_wake(),
    ]


def laden(before: Head, *, create: bool = False) -> StepWrite:
    """A write that has every part, to see whether any of it stays."""
    return StepWrite(
        head=replace(before, last_seq=before.last_seq + 2, wake_at=1),
        create=create,
        chunk=records(before.last_seq + 1, 2),
        fact_number=9,
        facts=b"facts",
        deliveries=(Delivery(f"to-{before.id}", f"{99:032x}", b"fact"),),
        opened=(ActivityTask(activity="activity", execution=before.id, attempt=9, input="{}", scheduled_at=1),),
    )


@pytest.mark.asyncio
class CommitConformance:
    """`commit`, `load`, `head` and `find`."""

    async def test_create_stores_the_head_and_raises_the_epoch(self, store: Store) -> None:
        """A created head is stored as given, with epoch 1, and found by id and by names."""
        answer = await store.executions.commit(StepWrite(head=full(), create=True))
        assert answer == full(epoch=1)
        assert await store.executions.head(full().id) == answer
        assert await store.executions.find(ACCOUNT, MACHINE, "name-1") == answer
        assert await store.executions.load(full().id) == Stored(answer, None, (), ())

    async def test_unknown_executions(self, store: Store) -> None:
        """What is not there is None, or nothing."""
        await created(store)
        for execution in (f"{2:032x}", "", "no id", "'", "\0"):
            assert await store.executions.load(execution) is None
            assert await store.executions.head(execution) is None
            assert await store.executions.log(execution) == []
        for names in ((ACCOUNT, MACHINE, "name-2"), (ACCOUNT, "other", "name-1"), ("other", MACHINE, "name-1"), ("", "", "")):
            assert await store.executions.find(*names) is None

    @pytest.mark.parametrize("number", [1, 2])
    async def test_name_taken(self, store: Store, number: int) -> None:
        """A create whose name exists answers with the head that has it (running or over) and leaves nothing, under either id."""
        first = await created(store, 1, status=ENDS[number])
        before = await everything(store, f"{1:032x}", f"{2:032x}")
        assert await store.executions.commit(laden(head(number, name="name-1"), create=True)) == NameTaken(first)
        assert await everything(store, f"{1:032x}", f"{2:032x}") == before

    async def test_a_create_can_be_repeated(self, store: Store) -> None:
        """Whoever lost the answer to a create and repeats it gets its own execution back as NameTaken, unchanged."""
        write = laden(head(), create=True)
        first = await store.executions.commit(write)
        before = await everything(store, f"{1:032x}", f"{99:032x}")
        assert isinstance(first, Head)
        assert await store.executions.commit(write) == NameTaken(first)
        assert await everything(store, f"{1:032x}", f"{99:032x}") == before

    async def test_a_name_is_taken_per_account_and_machine(self, store: Store) -> None:
        """The same name in another account or machine is free; names are compared as they are."""
        await created(store, 1, name="n")
        others: tuple[dict[str, Any], ...] = ({"account": "999999999999"}, {"machine": "m"}, {"name": "N"}, {"name": "n "}, {"name": "n\0"})
        for number, changes in enumerate(others, start=2):
            await created(store, number, **({"name": "n"} | changes))

    async def test_create_under_an_existing_id(self, store: Store) -> None:
        """An id that exists under another name is refused with Fenced, and nothing changes."""
        await created(store, 1)
        before = await everything(store, f"{1:032x}")
        with pytest.raises(Fenced):
            await store.executions.commit(laden(head(1, name="another"), create=True))
        assert await everything(store, f"{1:032x}") == before

    async def test_200_creates_of_one_name(self, store: Store) -> None:
        """Of 200 concurrent creates of one name one wins, and all others learn who it was."""
        writes = [StepWrite(head=head(number, name="one"), create=True) for number in range(1, 201)]
        answers = await asyncio.gather(*map(store.executions.commit, writes))
        (winner,) = (answer for answer in answers if isinstance(answer, Head))
        assert answers.count(NameTaken(winner)) == 199
        assert await store.executions.list(ExecutionQuery(account=ACCOUNT, limit=1000)) == [replace(winner, input="", output=None)]

    async def test_steps_replace_the_head(self, store: Store) -> None:
        """A step writes every attribute that may change and raises the epoch by one; None takes an attribute away."""
        first = await created(store)
        second = await stepped(
            store, first, **{name: getattr(full(), name) for name in ("owner", "output", "error", "cause", "stopped_at", "wake_at", "last_seq", "extra")}
        )
        assert second == full(epoch=2)
        assert await store.executions.head(first.id) == second
        third = await stepped(store, second, owner=None, output=None, error=None, cause=None, stopped_at=None, wake_at=None, extra=None)
        assert await store.executions.head(first.id) == third == head(1, epoch=3, last_seq=7)

    @pytest.mark.parametrize("status", ["RUNNING", "PENDING_REDRIVE", *ENDS])
    async def test_statuses(self, store: Store, status: str) -> None:
        """Every status is stored, at creation and later."""
        await created(store, 1, status=status)
        await stepped(store, await created(store, 2), status=status)
        for number in (1, 2):
            stored = await store.executions.head(f"{number:032x}")
            assert stored is not None
            assert stored.status == status

    @pytest.mark.parametrize("epoch", [-1, 0, 1, 3, 4, 1 << 40])
    async def test_fence(self, store: Store, epoch: int) -> None:
        """A write with any epoch but the stored one raises Fenced and leaves nothing behind."""
        await stepped(store, await created(store, write={"chunk": records(1, 2), "facts": b"f"}, last_seq=2))
        before = await everything(store, f"{1:032x}", f"{99:032x}")
        with pytest.raises(Fenced):
            await store.executions.commit(laden(head(1, epoch=epoch, last_seq=2)))
        assert await everything(store, f"{1:032x}", f"{99:032x}") == before

    async def test_fence_of_an_execution_that_is_not_there(self, store: Store) -> None:
        """A step of an unknown execution raises Fenced and creates nothing."""
        with pytest.raises(Fenced):
            await store.executions.commit(laden(head()))
        assert await everything(store, f"{1:032x}", f"{99:032x}") == [[(None, [])] * 2, [], [], [], None]

    async def test_200_commits_on_one_epoch(self, store: Store) -> None:
        """Of 200 concurrent writers that read the same epoch exactly one wins; what the others brought is nowhere."""
        first = await created(store)
        writes = [StepWrite(head=replace(first, cause=str(number)), chunk=records(1, number + 1)) for number in range(200)]
        answers = await asyncio.gather(*map(store.executions.commit, writes), return_exceptions=True)
        (winner,) = (answer for answer in answers if isinstance(answer, Head))
        assert sum(isinstance(answer, Fenced) for answer in answers) == 199
        assert await store.executions.head(first.id) == winner
        assert await store.executions.log(first.id) == [records(1, int(winner.cause or 0) + 1)]

    async def test_concurrent_writes_fail_alone(self, store: Store) -> None:
        """In a crowd of writes the fenced and the name-taken ones fail, all others are stored whole."""
        running = [await created(store, number) for number in range(1, 31)]
        good = [StepWrite(head=replace(one, last_seq=3), chunk=records(1, 3), facts=b"f") for one in running]
        new = [StepWrite(head=head(number, last_seq=2), create=True, chunk=records(1, 2)) for number in range(31, 61)]
        stale = [laden(replace(one, epoch=7)) for one in running]
        taken = [laden(head(number + 100, name=f"name-{number}"), create=True) for number in range(1, 31)]
        mixed = [write for four in zip(good, stale, new, taken, strict=True) for write in four]
        answers = await asyncio.gather(*map(store.executions.commit, mixed), return_exceptions=True)
        kinds = [type(answer) for answer in answers]
        assert kinds == [Head, Fenced, Head, NameTaken] * 30
        assert await store.executions.undelivered(1000) == []
        assert await store.executions.activity_tasks("activity") == []
        for number in range(1, 61):
            assert await store.executions.log(f"{number:032x}") == [records(1, 3 if number <= 30 else 2)]
            assert await store.executions.head(f"{number + 100:032x}") is None

    async def test_a_step_has_all_its_parts(self, store: Store) -> None:
        """Head, chunk, facts, deliveries and opened tasks of one write are all there after it."""
        stored = await store.executions.commit(laden(head(), create=True))
        assert isinstance(stored, Head)
        assert await store.executions.load(stored.id) == Stored(stored, None, (b"facts",), ())
        assert await store.executions.log(stored.id) == [records(1, 2)]
        assert [delivery.id for delivery in await store.executions.undelivered(10)] == [f"to-{stored.id}"]
        assert [task.attempt for task in await store.executions.activity_tasks("activity")] == [9]

    async def test_facts_come_back_oldest_first(self, store: Store) -> None:
        """Facts gather in the order of their numbers, whatever the gaps."""
        at = await created(store, write={"facts": b"0"})
        for number in (1, 2, 9, 10, 11, 100, 1000):
            at = await stepped(store, at, write={"facts": b"%d" % number, "fact_number": number})
        at = await stepped(store, at)
        assert await store.executions.load(at.id) == Stored(at, None, (b"0", b"1", b"2", b"9", b"10", b"11", b"100", b"1000"), ())

    async def test_a_snapshot_replaces_facts(self, store: Store) -> None:
        """A snapshot takes the place of the snapshot and all facts before it, those of its own step too; later facts follow it."""
        at = await created(store, write={"facts": b"0"})
        at = await stepped(store, at, write={"facts": b"1", "fact_number": 1, "snapshot": b"first"})
        assert await store.executions.load(at.id) == Stored(at, b"first", (), ())
        at = await stepped(store, at, write={"facts": b"2", "fact_number": 2})
        assert await store.executions.load(at.id) == Stored(at, b"first", (b"2",), ())
        at = await stepped(store, at, write={"snapshot": b"second"})
        assert await store.executions.load(at.id) == Stored(at, b"second", (), ())
        other = await created(store, 2, write={"snapshot": b"at once"})
        assert await store.executions.load(other.id) == Stored(other, b"at once", (), ())

    @pytest.mark.parametrize("status", ENDS)
    @pytest.mark.parametrize("create", [True, False])
    async def test_the_end_drops_what_is_only_for_going_on(self, store: Store, status: str, create: bool) -> None:  # noqa: FBT001
        """With a terminal status snapshot, facts, inbox and open tasks go; head, log and what belongs to others stay."""
        await created(store, 2, write={"facts": b"theirs", "deliveries": (Delivery("d1", f"{1:032x}", b"f"), Delivery("d3", f"{3:032x}", b"f"))})
        at = head()
        if not create:
            at = await created(store, 1, write={"snapshot": b"s"})
            at = await stepped(store, at, write={"facts": b"f", "fact_number": 1})
        last = replace(laden(replace(at, status=status)), create=create)  # type: ignore[arg-type]
        answer = await store.executions.commit(last)
        assert isinstance(answer, Head)
        assert await store.executions.load(at.id) == Stored(answer, None, (), ())
        assert await store.executions.log(at.id) == [records(1, 2)]
        assert await store.executions.activity_tasks("activity") == []
        assert {delivery.id for delivery in await store.executions.undelivered(10)} == {"d3", f"to-{at.id}"}
        other = await store.executions.load(f"{2:032x}")
        assert other is not None
        assert other.facts == (b"theirs",)

    async def test_forgetting(self, store: Store) -> None:
        """An execution that has ended is removed with its log and its name; one that is open, or not there, is left alone."""
        kept = await created(store, 1, write={"chunk": records(1, 2)})
        gone = await created(store, 2, write={"chunk": records(1, 2)}, status="SUCCEEDED", input="long " * 5000)
        for execution in (kept.id, gone.id, f"{9:032x}", gone.id):
            await store.executions.forget(execution)
        assert await store.executions.head(kept.id) == kept
        assert await store.executions.head(gone.id) is None
        assert await store.executions.log(gone.id) == []
        assert await store.executions.find(gone.account, gone.machine, gone.name) is None
        listed = await store.executions.list(ExecutionQuery(account=gone.account))
        assert [one.id for one in listed] == [kept.id]
        again = await created(store, 3, name=gone.name)
        assert await store.executions.log(again.id) == []

    async def test_redrive(self, store: Store) -> None:
        """An execution that is over can be written again at its epoch: the store has no rules of its own about statuses."""
        at = await stepped(store, await created(store), status="FAILED", error="E")
        at = await stepped(store, at, status="PENDING_REDRIVE")
        at = await stepped(store, at, status="RUNNING", write={"facts": b"again"})
        assert await store.executions.load(at.id) == Stored(at, None, (b"again",), ())

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
    async def test_texts(self, store: Store, text: str) -> None:
        """Every Unicode text comes back as it was, in every place, running or over, from 0 to 1 MiB."""
        short = text[:80]
        texts: dict[str, Any] = {"machine": f"m{short}", "input": text, "output": text, "error": text, "cause": text, "extra": text}
        for number, status in ((1, "RUNNING"), (2, "SUCCEEDED")):
            attributes = texts | {"name": f"n{number}{short}", "status": status}
            at = await created(store, number, **attributes)
            assert await store.executions.head(at.id) == at == head(number, epoch=1, **attributes)
            assert await store.executions.find(ACCOUNT, f"m{short}", f"n{number}{short}") == at
            at = await stepped(store, at, output=f"{text}!", error=None)
            assert await store.executions.head(at.id) == at

    @pytest.mark.parametrize("blob", BLOBS.values(), ids=BLOBS.keys())
    async def test_blobs(self, store: Store, blob: bytes) -> None:
        """Every byte string comes back as it was, in every place, from 0 to 1 MiB."""
        at = await created(store, 1, seed=blob[:16].ljust(16, b"\0"), write={"snapshot": blob, "chunk": replace(records(1, 1), body=blob)})
        at = await stepped(store, at, write={"facts": blob, "fact_number": 1, "deliveries": (Delivery("d", at.id, blob),)})
        assert await store.executions.load(at.id) == Stored(at, blob, (blob,), (Delivery("d", at.id, blob),))
        (chunk,) = await store.executions.log(at.id)
        assert chunk.body == blob

    @pytest.mark.parametrize("number", [0, 1, (1 << 31) + 1, (1 << 53) + 1, (1 << 63) - 1])
    async def test_numbers(self, store: Store, number: int) -> None:
        """Times up to 2^63 - 1 come back as they were."""
        at = await created(store, 1, started_at=number, stopped_at=number, wake_at=number)
        assert await store.executions.head(at.id) == at
        assert await store.executions.next_wake() == number
