import asyncio
from dataclasses import replace

import pytest

from flowrunner.errors import StoreError, StoreUnavailable
from flowrunner.ports.documents import Document
from flowrunner.ports.executions import ActivityTask, Delivery
from flowrunner.stores.postgres import link, session
from flowrunner.testing.conformance.archive import archived
from flowrunner.testing.conformance.definitions import example_activity, example_machine, example_revision
from flowrunner.testing.conformance.examples import START, created, full, records, stepped


@pytest.fixture
async def stores(postgres_urls, open_postgres):
    async with open_postgres(postgres_urls()) as first, open_postgres(postgres_urls()) as other:
        yield first, other


async def every(read):
    """All rows of an archive's pages of two."""
    rows, after = [], None
    while page := await read(after, 2):
        assert len(page) <= 2
        rows += page
        last = page[-1]
        after = last.head.id if hasattr(last, "head") else last.id if hasattr(last, "definition") else (last.account, last.name)
    return rows


async def filled(store):
    """Executions of every kind, and definitions."""
    task = ActivityTask(activity="a\0", execution=f"{1:032x}", attempt=3, input='"\0"', scheduled_at=9)
    parts = {"chunk": records(1, 3), "snapshot": b"s", "opened": (task,), "deliveries": (Delivery("d\0", f"{1:032x}", b"f"), Delivery("e", f"{1:032x}", b"g"))}
    at = await created(store, 1, write=parts, wake_at=5, input="x\0" * 5000)
    at = await stepped(store, at, write={"facts": b"1", "fact_number": 1})
    await stepped(store, at, write={"facts": b"2", "fact_number": 7, "chunk": records(4, 1)})
    for number in range(2, 7):
        await created(store, number, status="SUCCEEDED", stopped_at=START + number, write={"chunk": records(1, 2)})
    await created(store, 7, **{name: getattr(full(7), name) for name in ("owner", "output", "error", "cause", "extra", "wake_at")})
    for number in range(3):
        await store.definitions.create_machine(example_machine(number, name=f"m{number}"))
        await store.definitions.create_activity(example_activity(name=f"a{number}"))
    await store.definitions.update_machine(example_machine().account, "m1", example_revision(9, machine="m1"))


async def test_all_of_one_store_goes_into_another(stores):
    """Everything that is read page by page is put elsewhere as it is, epochs and order included; putting it again changes nothing."""
    first, other = stores
    await filled(first)
    old, new = first.archive, other.archive
    for _ in range(2):
        assert [await new.put_revision(one) for one in await every(old.revisions)] == [_ == 0] * 4
        assert [await new.put_machine(one) for one in await every(old.machines)] == [_ == 0] * 3
        assert [await new.put_activity(one) for one in await every(old.activities)] == [_ == 0] * 3
        assert [await new.put_execution(one) for one in await every(old.executions)] == [_ == 0] * 7
    for kind in ("executions", "revisions", "machines", "activities"):
        assert await every(getattr(new, kind)) == await every(getattr(old, kind))
    for number in range(1, 8):
        assert await other.executions.load(f"{number:032x}") == await first.executions.load(f"{number:032x}")
        assert await other.executions.log(f"{number:032x}") == await first.executions.log(f"{number:032x}")
    assert await other.executions.activity_tasks("a\0") == await first.executions.activity_tasks("a\0") != []
    sizes = dict(await old.size())
    assert sizes.pop("bytes") > 100_000
    assert {name: count for name, count in (await new.size()).items() if name != "bytes"} == sizes
    assert (sizes["executions"], sizes["inbox"], sizes["facts"], sizes["machines"]) == (7, 2, 2, 3)


async def test_a_taken_name_or_id_puts_nothing(stores):
    """An execution whose id or name exists is refused, and none of its parts is there."""
    first, other = stores
    await filled(first)
    await created(other, 100, name="name-1")
    (one, *_) = await first.archive.executions(None, 1)
    assert await other.archive.put_execution(one) is False
    assert await other.executions.log(one.head.id) == []
    assert await other.executions.undelivered(9) == []


async def test_what_has_ended(stores):
    """Executions that ended before a time, by id, in pages."""
    store = stores[0]
    await filled(store)
    ids = [f"{number:032x}" for number in (2, 3, 4)]
    assert await store.archive.ended(START + 5, None, 100) == ids
    assert await store.archive.ended(START + 5, None, 2) == ids[:2]
    assert await store.archive.ended(START + 5, ids[1], 2) == ids[2:]
    with pytest.raises(StoreError):
        await store.archive.ended(START, "no id", 2)


async def test_a_page_is_of_one_moment(stores):
    """While steps are committed every execution of a page has the log and the facts of its epoch."""
    store = stores[0]
    now = [await created(store, number, write={"chunk": records(1, 1), "facts": b"0"}, last_seq=1) for number in range(1, 21)]
    done = False

    async def write():
        nonlocal now
        for step in range(1, 15):
            write = {"chunk": records(step + 1, 1), "facts": b"%d" % step, "fact_number": step}
            now = await asyncio.gather(*(stepped(store, at, last_seq=step + 1, write=write) for at in now))

    writing = asyncio.create_task(write())
    while not done:
        done = writing.done()
        for one in await store.archive.executions(None, 100):
            assert len(one.chunks) == len(one.facts) == one.head.last_seq == one.head.epoch
    await writing


async def test_pages_are_bounded_by_bytes(stores, monkeypatch):
    """A page ends before it grows too large, but has one execution at least."""
    from flowrunner.stores.postgres import archive

    store = stores[0]
    for number, size in ((1, 10), (2, 10), (3, 5000), (4, 10), (5, 10)):
        await created(store, number, write={"chunk": replace(records(1, 1), body=b"x" * size)})
    monkeypatch.setattr(archive, "PAGE_BYTES", 100)
    pages, after = [], None
    while page := await store.archive.executions(after, 100):
        pages.append([int(one.head.id, 16) for one in page])
        after = page[-1].head.id
    assert pages == [[1, 2], [3], [4, 5]]


async def test_hundreds_at_once_have_their_turn(stores, monkeypatch):
    """An import or a prune asks for more at once than there are connections, and waits for each as long as it takes: the database may be far away."""
    monkeypatch.setattr(session, "WAIT_SECONDS", 0.0)
    store, _ = stores
    machines = [example_machine(number, name=f"m{number}") for number in range(40)]
    executions = [archived(number, head=full(number, status="SUCCEEDED", owner=None, wake_at=None)) for number in range(1, 41)]
    whole = [replace(one, snapshot=None, facts=(), inbox=(), tasks=()) for one in executions]
    documents = [Document(account=machines[0].account, kind="user", id=f"{number}", body=b"", version=1) for number in range(40)]
    for put, rows in (
        (store.archive.put_revision, [one.revision for one in machines]),
        (store.archive.put_machine, machines),
        (store.archive.put_activity, [example_activity(name=f"a{number}") for number in range(40)]),
        (store.archive.put_document, documents),
        (store.archive.put_execution, whole),
    ):
        assert await asyncio.gather(*map(put, rows)) == [True] * 40
    await asyncio.gather(*(store.executions.forget(one.head.id) for one in whole))
    assert await store.archive.executions(None, 9) == []
    assert store.session.in_use == 0
    with pytest.raises(StoreUnavailable, match="are busy"):  # who asks for an answer is told at once
        await asyncio.gather(*(store.executions.next_wake() for _ in range(40)))


async def test_what_is_old_may_take_long_to_find(stores, monkeypatch):
    """The last page of a prune looks at everything that is not old, which in a large database takes longer than a call may."""
    monkeypatch.setattr(link.Link.fetch, "__kwdefaults__", {"seconds": 0.0})
    store, _ = stores
    with pytest.raises(StoreUnavailable):
        await store.executions.next_wake()
    assert await store.archive.ended(START, None, 9) == []
    assert await store.archive.expired(START, None, 9) == []
    assert (await store.archive.size())["executions"] == 0
