"""The whole of a database: what is put is what is read, and an execution is always read at one moment."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from flowrunner.errors import Fenced
from flowrunner.ports.archive import ArchivedExecution
from flowrunner.ports.documents import APPEND_ONLY, Document, Put, Remove
from flowrunner.ports.executions import ActivityTask, Chunk, Delivery, ExecutionQuery, StepWrite
from flowrunner.testing.conformance.definitions import example_activity, example_machine
from flowrunner.testing.conformance.examples import ACCOUNT, BLOBS, START, TEXTS, created, full, head, records, stepped

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from flowrunner.ports.archive import Archive
    from flowrunner.ports.store import Store

LAST = f"{9:032x}"
FAR = 4_000_000_000_000  # 2096, in milliseconds
BURSTS, BURST = 5, 10  # steps of each execution that is read meanwhile


def archived(number: int = 1, **changes: Any) -> ArchivedExecution:
    """A running execution with something of everything."""
    execution = f"{number:032x}"
    tasks = (
        ActivityTask(activity="second", execution=execution, attempt=4, input="{}", scheduled_at=9),
        ActivityTask(activity="first", execution=execution, attempt=3, input='"ü"', scheduled_at=9),
    )
    plain = ArchivedExecution(
        head=full(number, epoch=12, owner=None),
        chunks=(records(1, 4), records(5, 3)),
        snapshot=b"\x00snapshot",
        facts=((7, b"seven"), (9, b"\xffnine")),
        inbox=(Delivery(f"z-{number}", execution, b"one"), Delivery(f"a-{number}", execution, b"\x80")),
        tasks=tasks,
    )
    return replace(plain, **changes)


def over(number: int = 1, *, stopped_at: int = START + 50, **changes: Any) -> ArchivedExecution:
    """An execution that has ended."""
    ended = full(number, status="SUCCEEDED", owner=None, wake_at=None, stopped_at=stopped_at, epoch=3)
    return archived(number, head=replace(ended, **changes), snapshot=None, facts=(), inbox=(), tasks=())


async def everything(archive: Archive, limit: int = 100) -> list[ArchivedExecution]:
    """All executions, a page at a time."""
    found: list[ArchivedExecution] = []
    while page := await archive.executions(found[-1].head.id if found else None, limit):
        assert len(page) <= limit
        found += page
    return found


@pytest.mark.asyncio
class ArchiveConformance:
    """Every sentence of `ports.archive`. Stores with parts of their own that a write keeps (indexes, queues) show them here too."""

    async def test_what_is_put_is_read(self, store: Store) -> None:
        """Executions of every kind come back equal in every part."""
        texts = [archived(number, head=full(number, input=text, output=text, cause=text)) for number, text in enumerate(TEXTS.values(), 10)]
        blobs = [archived(number, snapshot=blob, facts=((1, blob),), chunks=(Chunk(1, 7, blob),)) for number, blob in enumerate(BLOBS.values(), 40)]
        bare = ArchivedExecution(head=head(1), chunks=(), snapshot=None, facts=(), inbox=(), tasks=())
        several = archived(2, head=full(2, owner="a,b", wake_at=None))
        waiting = archived(3, head=full(3, status="PENDING_REDRIVE", owner=None))
        given = [bare, several, waiting, over(4), over(5, input="x" * 100_000), *texts, *blobs]
        for execution in given:
            assert await store.archive.put_execution(execution)
        for limit in (100, 7, 1):
            assert await everything(store.archive, limit) == given

    async def test_what_is_put_is_there(self, store: Store) -> None:
        """An execution that was put answers every question as if it had grown here."""
        of, one = store.executions, archived(1)
        assert await store.archive.put_execution(one)
        assert await store.archive.put_execution(over(2))
        assert await store.archive.put_execution(archived(3, head=full(3, owner="b"), inbox=(), tasks=()))
        stored = await of.load(one.head.id)
        assert stored is not None
        assert (stored.head, stored.snapshot, stored.facts, stored.inbox) == (one.head, one.snapshot, (b"seven", b"\xffnine"), one.inbox)
        assert await of.find(ACCOUNT, one.head.machine, one.head.name) == one.head
        assert await of.log(one.head.id) == list(one.chunks)
        assert await of.log(one.head.id, after=6, limit=1) == [one.chunks[1]]
        assert await of.due(START + 6, 9) == [one.head.id]
        assert await of.next_wake() == START + 6
        assert await of.undelivered(9) == list(one.inbox)
        assert await of.activity_tasks("first") == [one.tasks[1]]
        assert await of.owned("b", 9) == [f"{3:032x}"]
        assert "b" in await of.owners()
        listed = await of.list(ExecutionQuery(account=ACCOUNT))
        assert [found.id for found in listed] == [f"{number:032x}" for number in (3, 2, 1)]
        assert [found.id for found in await of.list(ExecutionQuery(account=ACCOUNT, machine=one.head.machine, status="SUCCEEDED"))] == [f"{2:032x}"]

    async def test_what_is_put_goes_on(self, store: Store) -> None:
        """The fence is the epoch it came with; then it steps and ends like any other, and leaves nothing behind."""
        one = archived(1)
        await store.archive.put_execution(one)
        with pytest.raises(Fenced):
            await stepped(store, replace(one.head, epoch=11))
        now = await stepped(
            store, one.head, last_seq=8, write={"chunk": records(8, 1), "facts": b"ten", "fact_number": 10, "consumed": ("z-1",), "closed": (4,)}
        )
        expected = replace(one, head=now, chunks=(*one.chunks, records(8, 1)), facts=(*one.facts, (10, b"ten")), inbox=one.inbox[1:], tasks=one.tasks[1:])
        assert await everything(store.archive) == [expected]
        ended = await stepped(store, now, status="FAILED", wake_at=None, stopped_at=START + 9)
        assert await everything(store.archive) == [replace(expected, head=ended, snapshot=None, facts=(), inbox=(), tasks=())]
        assert await store.executions.activity_tasks("first") == []
        await store.executions.forget(one.head.id)
        assert await everything(store.archive) == []
        assert await store.archive.put_execution(one)

    async def test_what_is_committed_is_read(self, store: Store) -> None:
        """Executions that grew here are read with all their parts."""
        task = ActivityTask(activity="a", execution=head().id, attempt=1, input="{}", scheduled_at=1)
        first = await created(store, 1, last_seq=2, write={"chunk": records(1, 2), "facts": b"one", "fact_number": 1, "opened": (task,)})
        delivery = Delivery("d", first.id, b"f")
        other = await created(store, 2, write={"snapshot": b"s", "fact_number": 3, "deliveries": (delivery,)})
        first = await stepped(store, first, last_seq=3, write={"chunk": records(3, 1), "facts": b"two", "fact_number": 2})
        whole = ArchivedExecution(
            head=first, chunks=(records(1, 2), records(3, 1)), snapshot=None, facts=((1, b"one"), (2, b"two")), inbox=(delivery,), tasks=(task,)
        )
        assert await everything(store.archive) == [whole, ArchivedExecution(head=other, chunks=(), snapshot=b"s", facts=(), inbox=(), tasks=())]

    async def test_an_id_or_a_name_that_exists(self, store: Store) -> None:
        """Neither is put a second time, and nothing of it is stored."""
        one = archived(1)
        await store.archive.put_execution(one)
        same_id = archived(1, head=full(1, name="other", epoch=99), snapshot=b"other")
        same_name = archived(2, head=full(2, name=one.head.name, account=one.head.account, machine=one.head.machine))
        for again in (one, same_id, same_name):
            assert not await store.archive.put_execution(again)
        assert await everything(store.archive) == [one]
        assert await store.executions.undelivered(9) == list(one.inbox)
        assert await store.executions.activity_tasks("first") == [one.tasks[1]]
        assert await store.executions.log(same_name.head.id) == []
        assert await store.executions.find(ACCOUNT, one.head.machine, "other") is None
        assert await store.archive.put_execution(replace(same_name, head=full(2)))

    async def test_definitions(self, store: Store) -> None:
        """Revisions, machines and activities come back equal; what exists is left as it is."""
        archive, machine, activity = store.archive, example_machine(), example_activity()
        lone = replace(machine.revision, id="0-of-a-machine-that-is-gone", settings={"a": [1, None, "ü"]})
        for revision in (machine.revision, lone):
            assert await archive.put_revision(revision)
            assert not await archive.put_revision(replace(revision, definition="other"))
        tagged = replace(machine, tags={"k": "v"}, updated_at=START + 7)
        assert await archive.put_machine(tagged)
        assert not await archive.put_machine(replace(tagged, tags={}, type="EXPRESS"))
        assert await archive.put_activity(activity)
        assert not await archive.put_activity(replace(activity, tags={"other": "x"}))
        assert await archive.revisions(None, 9) == sorted((machine.revision, lone), key=lambda one: one.id)
        assert await archive.machines(None, 9) == [tagged] == [await store.definitions.machine(machine.account, machine.name)]
        assert await archive.activities(None, 9) == [activity] == [await store.definitions.activity(activity.account, activity.name)]
        assert await store.definitions.revision(lone.id) == lone
        await store.definitions.delete_machine(machine.account, machine.name)
        assert await archive.machines(None, 9) == []
        assert len(await archive.revisions(None, 9)) == 2

    async def test_documents(self, store: Store) -> None:
        """Documents come back equal in every part, by account, kind and id; what has its key or an alias of it is left as it is."""
        archive, of = store.archive, store.documents
        one = Document(account=ACCOUNT, kind="user", id="a", body=BLOBS["all"], version=7, aliases=("y", "x"), expires_at=FAR)
        entry = Document(account=ACCOUNT, kind=APPEND_ONLY, id="0", body=b"", version=1)
        others = [replace(entry, account=account, kind=kind, id=name) for account in ("000000000000", "999999999999") for kind in ("b", "z") for name in "Ab"]
        given = [entry, one, *others]
        for document in reversed(given):
            assert await archive.put_document(document)
            assert not await archive.put_document(replace(document, body=b"other", version=1, aliases=(), expires_at=None))
        for alias in "xy":
            assert not await archive.put_document(replace(one, id="b", aliases=("free", alias)))
            assert await of.find(alias) == one
        assert await of.find("free") is None
        wanted = sorted(given, key=lambda document: (document.account, document.kind, document.id))
        for limit in (100, 3, 1):
            assert await _pages(archive.documents, limit, lambda document: (document.account, document.kind, document.id)) == [
                (document.account, document.kind, document.id) for document in wanted
            ]
        assert await archive.documents(None, 100) == wanted
        await of.write([Put(replace(one, aliases=()))])
        await of.write([Remove(account=ACCOUNT, kind="user", id="a", version=8)])
        assert await archive.put_document(one)

    async def test_documents_that_have_expired(self, store: Store) -> None:
        """They are not shown, and give their place to what is put; one that is put is as good as absent."""
        archive = store.archive
        old = Document(account=ACCOUNT, kind="user", id="a", body=b"old", version=3, aliases=("x",), expires_at=1)
        assert await archive.put_document(old)
        assert await archive.documents(None, 9) == []
        assert await store.documents.get(ACCOUNT, "user", "a") is None
        assert await archive.expired(1, None, 9) == [(ACCOUNT, "user", "a")]
        new = replace(old, version=2, expires_at=None)
        assert await archive.put_document(new)
        assert await archive.documents(None, 9) == [new]
        assert await archive.expired(FAR, None, 9) == []

    async def test_pages_of_long_documents(self, store: Store) -> None:
        """Every document is read once, however long they are together."""
        given = [Document(account=ACCOUNT, kind="user", id=f"{number:02}", body=bytes([number]) * (1 << 20), version=1) for number in range(22)]
        for document in given:
            await store.archive.put_document(document)
        found: list[Document] = []
        while page := await store.archive.documents((ACCOUNT, "user", found[-1].id) if found else None, 100):
            assert len(page) <= 100
            found += page
        assert found == given

    async def test_pages_across_accounts(self, store: Store) -> None:
        """Pages go on where the last one ended, through every account, each row once."""
        archive, machine, activity = store.archive, example_machine(), example_activity()
        keys = [(account, name) for account in ("111111111111", "222222222222") for name in ("a", "b", "Z")]
        for account, name in reversed(keys):
            revision = replace(machine.revision, id=f"{account}-{name}", account=account, machine=name)
            await archive.put_revision(revision)
            await archive.put_machine(replace(machine, account=account, name=name, revision=revision))
            await archive.put_activity(replace(activity, account=account, name=name))
        for limit in (1, 2, 5, 6, 7):
            machines = await _pages(archive.machines, limit, lambda one: (one.account, one.name))
            activities = await _pages(archive.activities, limit, lambda one: (one.account, one.name))
            revisions = await _pages(archive.revisions, limit, lambda one: one.id)
            assert machines == activities == sorted(keys)
            assert revisions == sorted(f"{account}-{name}" for account, name in keys)

    async def test_an_execution_is_of_one_moment(self, store: Store) -> None:
        """However fast it steps while it is read, its epoch, log, facts and inbox fit together."""
        reads = asyncio.Condition()  # between bursts of steps a read may end: stores may read again what has changed meanwhile

        async def step_on(number: int) -> None:
            now = await created(store, number, last_seq=1, write={"chunk": records(1, 1), "facts": b"1", "fact_number": 1})
            while now.epoch < BURSTS * BURST:
                if now.epoch % BURST == 0:
                    async with reads:
                        await reads.wait()
                await asyncio.sleep(0)
                count = now.epoch + 1
                deliveries = (Delivery(f"{number}-{count}", now.id, b""),)
                parts = {"chunk": records(count, 1), "facts": b"%d" % count, "fact_number": count, "deliveries": deliveries}
                now = await stepped(store, now, last_seq=count, write={**parts, "consumed": (f"{number}-{count - 1}",)})

        seen = set()
        steppers = [asyncio.create_task(step_on(number)) for number in (1, 2, 3)]
        try:
            while not all(stepper.done() for stepper in steppers):
                await asyncio.sleep(0)
                for one in await everything(store.archive, 2):
                    epoch = one.head.epoch
                    seen.add(epoch)
                    assert sum(chunk.count for chunk in one.chunks) == one.head.last_seq == epoch
                    assert [number for number, _ in one.facts] == list(range(1, epoch + 1))
                    assert len(one.inbox) == (epoch > 1)
                async with reads:
                    reads.notify_all()
        finally:
            for stepper in steppers:
                stepper.cancel()
            await asyncio.gather(*steppers, return_exceptions=True)
        assert len(seen) > 1
        assert all(stepper.exception() is None for stepper in steppers)

    async def test_a_moment_stays(self, store: Store) -> None:
        """A store that holds a moment shows nothing of what comes after it, until it is let go."""
        first = await created(store, 1)
        async with store.archive.moment() as held:
            if not held:
                pytest.skip("The store cannot hold a moment; skipping what it would show")
            await created(store, 2)
            await stepped(store, first, last_seq=1, write={"chunk": records(1, 1)})
            await store.documents.write([Put(Document(account=ACCOUNT, kind="user", id="a", body=b""))])
            assert await store.archive.documents(None, 9) == []
            assert [one.head for one in await everything(store.archive)] == [first]
            assert await store.executions.head(f"{2:032x}") is not None
        assert [one.head.last_seq for one in await everything(store.archive)] == [1, 0]

    async def test_ended(self, store: Store) -> None:
        """Executions that ended before a time, by id; never one that is open."""
        for number in (5, 3, 1):
            await store.archive.put_execution(over(number, stopped_at=START + number))
        await store.archive.put_execution(archived(2, head=full(2, owner=None, stopped_at=None)))
        await store.archive.put_execution(archived(4, head=full(4, status="PENDING_REDRIVE", stopped_at=START + 1)))
        ended = store.archive.ended
        assert await ended(START + 100, None, 9) == [f"{number:032x}" for number in (1, 3, 5)]
        assert await ended(START + 5, None, 9) == [f"{number:032x}" for number in (1, 3)]
        assert await ended(START + 1, None, 9) == []
        assert await ended(START + 100, None, 2) == [f"{number:032x}" for number in (1, 3)]
        assert await ended(START + 100, f"{3:032x}", 2) == [f"{5:032x}"]
        assert await ended(START + 100, LAST, 2) == []

    async def test_size(self, store: Store) -> None:
        """Rows are counted by kind; an empty store has none."""
        kinds = ("executions", "revisions", "machines", "activities", "documents")
        size = await store.archive.size()
        assert [size[kind] for kind in kinds] == [0, 0, 0, 0, 0]
        await store.definitions.create_machine(example_machine())
        await store.definitions.create_activity(example_activity())
        await store.documents.write([Put(Document(account=ACCOUNT, kind="user", id=name, body=b"x" * 500_000, aliases=(name,))) for name in "abc"])
        for number in (1, 2, 3):
            await store.archive.put_execution(over(number))
        await store.executions.forget(f"{2:032x}")
        size = await store.archive.size()
        assert [size[kind] for kind in kinds] == [2, 1, 1, 1, 3]
        assert all(count >= 0 for count in size.values())

    async def test_at_once(self, store: Store) -> None:
        """Of several that put the same execution one succeeds."""
        answers = await asyncio.gather(*(store.archive.put_execution(archived(1)) for _ in range(8)))
        assert sorted(answers) == [False] * 7 + [True]
        answers = await asyncio.gather(*(store.archive.put_execution(archived(number)) for number in range(2, 30)))
        assert all(answers)
        commits = [StepWrite(head=archived(number).head, before=archived(number).head) for number in range(1, 30)]
        await asyncio.gather(*map(store.executions.commit, commits))
        assert {one.head.epoch for one in await everything(store.archive)} == {13}


async def _pages(read: Callable[[Any, int], Coroutine[Any, Any, Any]], limit: int, key: Callable[[Any], Any]) -> list[Any]:
    found: list[Any] = []
    while page := await read(found[-1] if found else None, limit):
        found += map(key, page)
    return found
