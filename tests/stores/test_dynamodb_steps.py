"""What a step costs, and steps that one transaction cannot hold."""

import time
from dataclasses import replace

import pytest

from flowrunner.errors import Fenced, StoreError, StoreUnavailable
from flowrunner.ports.executions import ActivityTask, Chunk, Delivery, ExecutionQuery, Head, NameTaken, StepWrite, Stored
from flowrunner.stores.dynamodb.actions import MOST_BYTES
from flowrunner.stores.dynamodb.keys import REDO, partition
from flowrunner.stores.dynamodb.values import BODY_BYTES, INLINE_BYTES, PART_BYTES, TEXT_BYTES
from flowrunner.testing.conformance.examples import created, full, head, records, stepped
from flowrunner.testing.dynamodb import opened_dynamodb

PARENT = f"{1:032x}"


@pytest.fixture
async def store(dynamodb_url):
    async with opened_dynamodb(dynamodb_url) as store:
        yield store


@pytest.fixture
async def other(store, dynamodb_url):
    """Another node on the same table."""
    async with opened_dynamodb(dynamodb_url) as other:
        yield other


async def swept(store):
    """Wait until nothing is left to sweep."""
    await store._sweeper._idle.wait()


async def test_an_execution_that_ends_at_once_is_one_request(store, sent):
    """W1, the write that matters most: a transaction of head, name and chunk, and nothing afterwards."""
    at_once = {"status": "SUCCEEDED", "output": '{"ok":true}', "last_seq": 12, "stopped_at": 5}
    await created(store, 1, write={"chunk": Chunk(1, 12, b"[" + b" " * 2700 + b"]")}, **at_once)
    await swept(store)
    assert sent() == [["Put", "Put", "Put"]]


async def test_what_steps_cost(store, sent):
    """Each step is one transaction; what it moves rides with it."""
    one = await created(store, 1, owner="n", write={"chunk": records(1, 4), "facts": b"f"}, last_seq=4)
    assert sent() == [["Put"] * 5]  # head, name, chunk, facts, owner
    one = await stepped(store, one, owner=None, wake_at=9, write={"chunk": records(5, 1), "facts": b"f", "fact_number": 1}, last_seq=5)
    assert sent() == [["Update", "Put", "Put", "Put", "Delete"]]
    one = await stepped(store, one, wake_at=12)
    assert sent() == [["Update", "Delete", "Put"]]
    one = await stepped(store, one)
    assert sent() == [["Update"]]
    await stepped(store, one, status="SUCCEEDED", wake_at=None, write={"deliveries": (Delivery("d", f"{9:032x}", b"f"),)})
    await swept(store)
    assert sent() == [["Update", "Delete", "Put", "Put"], "Query", "BatchWriteItem"]  # both facts go in one request


async def test_what_reads_cost(store, sent):
    """A load is one query, an inbox is read again; a name costs two."""
    one = await created(store, 1, wake_at=1, write={"facts": b"f", "deliveries": (Delivery("d", f"{2:032x}", b"f"),)})
    await created(store, 2)
    sent()
    await store.executions.load(one.id)
    assert sent() == ["Query"]
    await store.executions.load(f"{2:032x}")
    assert sent() == ["Query", "Query"]
    await store.executions.head(one.id)
    await store.executions.find(one.account, one.machine, one.name)
    await store.executions.positions([one.id] * 50)
    assert sent() == ["GetItem", "GetItem", "GetItem", "BatchGetItem"]


@pytest.mark.slow
async def test_processor_time_of_a_step(store):
    """What a commit of W1 costs this process; printed, and a bound that no slow machine reaches."""
    await created(store, 0)
    began = time.process_time()
    for number in range(1, 501):
        await created(store, number, status="SUCCEEDED", write={"chunk": Chunk(1, 12, b"[" + b" " * 2700 + b"]")}, last_seq=12)
    spent = (time.process_time() - began) / 500 * 1000
    print(f"{spent:.2f} ms")  # noqa: T201
    assert spent < 20


EDGES = sorted({1, 2, 255, 256 * 1024, *(limit // 4 + near for limit in (INLINE_BYTES, TEXT_BYTES, BODY_BYTES, 2 * PART_BYTES) for near in (-1, 0, 1))})


@pytest.mark.parametrize("characters", EDGES)
async def test_sizes(store, characters):
    """Texts of four-byte characters and bodies come back whole at the edges of every split (reliability R37)."""
    text, body = "😀" * characters, b"\xf0" * (characters * 4)
    parts = {"chunk": Chunk(1, 1, body), "facts": body}
    one = await created(store, 1, input=text, output=text, error="x" + text, cause=text + "é", extra="ü" + text, write=parts)
    assert await store.executions.load(one.id) == Stored(one, None, (body,), ())
    task = ActivityTask(activity="a", execution=one.id, attempt=1, input=text, scheduled_at=1)
    one = await stepped(store, one, output=text + "!", write={"snapshot": body, "deliveries": (Delivery("d", one.id, body),), "opened": (task,)})
    assert await store.executions.load(one.id) == Stored(one, body, (), (Delivery("d", one.id, body),))
    assert await store.executions.activity_tasks("a") == [task]
    assert await store.executions.log(one.id) == [Chunk(1, 1, body)]
    assert await store.executions.find(one.account, one.machine, one.name) == one


async def test_a_large_step_is_fenced_like_any_other(store):
    """What a step that came too late sent ahead is not seen, and is removed."""
    one = await created(store, 1)
    large = {"chunk": Chunk(1, 1, b"c" * MOST_BYTES), "facts": b"f" * MOST_BYTES}
    before = await store.session.query(partition(one.id))
    with pytest.raises(Fenced):
        await stepped(store, replace(one, epoch=7), write=large)
    answer = await store.executions.commit(StepWrite(head=head(2, name=one.name, input="i" * MOST_BYTES), create=True, **large))
    assert answer == NameTaken(one)
    await swept(store)
    assert await store.session.query(partition(one.id)) == before
    assert await store.session.query(partition(f"{2:032x}")) == []


def crowd(execution=PARENT, first=0, count=300):
    """Tasks that one transaction cannot open."""
    return tuple(ActivityTask(activity="a", execution=execution, attempt=first + n, input="{}", scheduled_at=n) for n in range(count))


async def test_many_tasks_and_deliveries_in_one_step(store, other):
    """A step opens, closes, delivers and consumes hundreds; other nodes see all of it once it is answered."""
    sent = tuple(Delivery(f"d{number:03}", f"{2 + number % 3:032x}", b"f") for number in range(250))
    one = await created(store, 1, write={"opened": crowd(), "deliveries": sent})
    assert await other.executions.activity_tasks("a", limit=1000) == list(crowd())
    assert await other.executions.undelivered(1000) == list(sent)
    await created(store, 2)
    two = await store.executions.load(f"{2:032x}")
    mine = tuple(one for one in sent if one.execution == two.head.id)
    assert two.inbox == mine
    one = await stepped(other, one, write={"closed": tuple(range(290)), "opened": crowd(first=400, count=2)})
    assert [task.attempt for task in await store.executions.activity_tasks("a", limit=1000)] == [400, 401, *range(290, 300)]
    names = tuple(delivery.id for delivery in mine)
    await stepped(store, two.head, write={"consumed": names, "deliveries": tuple(replace(one, id=f"x{one.id}") for one in sent)})
    assert len(await other.executions.undelivered(1000)) == 500 - len(mine)
    assert len((await other.executions.load(two.head.id)).inbox) == len(mine)
    assert await store.session.query(REDO) == []


async def test_a_large_step_whose_process_dies(store, other, monkeypatch):
    """Whoever loads the execution, or beats, does what was left, once, though several do it at the same time."""
    for number, finish in ((1, lambda: other.executions.load(PARENT)), (5, lambda: other.executions.beat("n"))):
        execution = f"{number:032x}"
        sent = (Delivery(f"d{number}", f"{9:032x}", b"f"), Delivery(f"d{number}", f"{8:032x}", b"twice"))

        async def die(*_):
            raise ConnectionError

        with monkeypatch.context() as patched:
            patched.setattr(store._redo, "finish", die)
            with pytest.raises(ConnectionError):
                await created(store, number, write={"opened": crowd(execution), "deliveries": sent})
        assert len(await store.session.query(REDO)) == 1
        assert await other.executions.activity_tasks("a") == []
        await finish()
        await store._redo.finish_all()
        assert len(await other.executions.activity_tasks("a", limit=1000)) == 300
        assert [one.id for one in await other.executions.undelivered(9)] == [f"d{number}"]
        assert await store.session.query(REDO) == []
        stored = await store.executions.load(execution)
        assert await store.executions.load(execution) == Stored(stored.head, None, (), ())
        await stepped(store, stored.head, status="FAILED")
        stored = await other.executions.load(f"{9:032x}")
        nine = await created(store, 9, name=str(number)) if stored is None else stored.head
        await stepped(store, nine, write={"consumed": (f"d{number}",)})


async def test_a_large_step_whose_rest_fails_goes_before_the_next_one(store, other, monkeypatch):
    """A node that could not do the rest at once does it before its next step, so a task that this closes is not opened afterwards."""

    async def throttled(*_):
        raise StoreUnavailable

    one = await created(store, 1)
    large = StepWrite(head=one, before=one, opened=crowd(), deliveries=(Delivery("d", f"{9:032x}", b"f"),))
    with monkeypatch.context() as patched:
        patched.setattr(store._redo, "finish", throttled)
        with pytest.raises(StoreUnavailable):
            await store.executions.commit(large)
    with pytest.raises(Fenced):  # who asks again learns that it was done
        await store.executions.commit(large)
    two = await store.executions.head(one.id)
    await stepped(store, two, write={"closed": tuple(range(299))})
    await other._redo.finish_all()
    assert [task.attempt for task in await other.executions.activity_tasks("a", limit=1000)] == [299]
    assert [delivery.id for delivery in await other.executions.undelivered(9)] == ["d"]
    assert await store.session.query(REDO) == []


async def test_beats_do_not_wait_for_what_is_left(store, other, monkeypatch):
    """However long it takes to do what a node that died has left, and though it fails, the others show that they live; a later beat does it."""
    import asyncio

    async def die(*_):
        raise ConnectionError

    async def failing(*_):
        raise StoreError("it cannot be done")

    held = asyncio.Event()
    with monkeypatch.context() as patched:
        patched.setattr(store._redo, "finish", die)
        with pytest.raises(ConnectionError):
            await created(store, 1, write={"opened": crowd()})
    with monkeypatch.context() as patched:
        patched.setattr(other._redo, "finish", lambda *_: held.wait())
        async with asyncio.timeout(20):
            assert [await other.executions.beat("n") for _ in range(3)] == [{"n": 0}, {"n": 1}, {"n": 2}]
        patched.setattr(other._redo, "finish_all", failing)
        await other._redo.stop()
        assert await other.executions.beat("n") == {"n": 3}
        async with asyncio.timeout(20):
            while other._redo.failure is None:
                await asyncio.sleep(0)
    assert await other.executions.beat("n") == {"n": 4}
    async with asyncio.timeout(60):
        while await store.session.query(REDO):
            await asyncio.sleep(0.01)
    assert len(await store.executions.activity_tasks("a", limit=1000)) == 300


async def test_redo_by_two_at_once(store, other, monkeypatch):
    """Two nodes that finish the same step at the same time do each part once."""
    import asyncio

    async def nothing(*_):
        return None

    with monkeypatch.context() as patched:
        patched.setattr(store._redo, "finish", nothing)
        await created(store, 1, write={"opened": crowd(), "deliveries": (Delivery("d", PARENT, b"f"),)})
    await asyncio.gather(*(node._redo.finish_all() for node in (store, other, store, other)))
    assert await store.executions.activity_tasks("a", limit=1000) == list(crowd())
    assert (await store.executions.load(PARENT)).inbox == (Delivery("d", PARENT, b"f"),)
    assert await store.session.query(REDO) == []


async def test_the_end_is_swept(store):
    """What an execution needed to go on goes away in the background; head, name and log stay."""
    parts = {"snapshot": b"s", "opened": crowd(count=40), "deliveries": tuple(Delivery(f"{n}", PARENT, b"f") for n in range(70)), "chunk": records(1, 1)}
    one = await created(store, 1, write=parts)
    for number in range(1, 40):
        one = await stepped(store, one, write={"facts": b"f", "fact_number": number})
    one = await stepped(store, one, status="SUCCEEDED")
    await swept(store)
    assert [item["sk"][0] for item in await store.session.query(partition(one.id))] == ["c", "h"]
    assert await store.executions.undelivered(100) == []


async def test_beginning_anew_after_an_end_that_was_not_swept(store, other):
    """Nothing of the first life comes back, whoever begins the second one."""
    store._sweeper.later = lambda _: None
    task = crowd(count=1)
    one = await created(store, 1, write={"facts": b"old", "opened": task, "deliveries": (Delivery("a", PARENT, b"old"),)})
    one = await stepped(store, one, status="FAILED")
    await created(store, 2, write={"deliveries": (Delivery("late", PARENT, b"old"),)})
    assert await other.executions.activity_tasks("a") == []
    one = await stepped(other, one, status="RUNNING", write={"facts": b"new", "deliveries": (Delivery("a", PARENT, b"new"),)})
    assert await store.executions.load(one.id) == Stored(one, None, (b"new",), (Delivery("a", PARENT, b"new"),))
    assert await store.executions.activity_tasks("a") == []


async def test_an_id_of_a_delivery_that_went_nowhere_is_free(store):
    """A delivery for an execution that was over does not stand in the way of another with its id."""
    store._sweeper.later = lambda _: None
    await created(store, 1, status="ABORTED")
    two = await created(store, 2, write={"deliveries": (Delivery("a", PARENT, b"nowhere"),)})
    await stepped(store, two, write={"deliveries": (Delivery("a", two.id, b"here"),)})
    assert await store.executions.undelivered(9) == [Delivery("a", two.id, b"here")]


async def test_a_forgetting_cut_short(store, other, monkeypatch):
    """An execution is gone for everybody at once; what is left of it is taken up by whoever forgets it next."""

    async def die(*_, **__):
        raise ConnectionError

    gone = await created(store, 1, write={"chunk": Chunk(1, 1, b"c" * MOST_BYTES)}, status="SUCCEEDED", stopped_at=1)
    with monkeypatch.context() as patched:
        patched.setattr(store.session, "write_all", die)
        with pytest.raises(ConnectionError):
            await store.executions.forget(gone.id)
    for call in (other.executions.head(gone.id), other.executions.load(gone.id), other.executions.find(gone.account, gone.machine, gone.name)):
        assert await call is None
    assert await other.executions.positions([gone.id]) == {}
    with pytest.raises(Fenced):
        await stepped(other, gone)
    assert isinstance(await other.executions.commit(StepWrite(head=head(2, name=gone.name), create=True)), Head)
    assert await other.archive.ended(5, None, 9) == [gone.id]
    await other.executions.forget(gone.id)
    assert await other.session.query(partition(gone.id)) == []
    assert await other.archive.ended(5, None, 9) == []
    assert await other.executions.find(gone.account, gone.machine, gone.name) is not None


async def test_without_the_head_as_read(store):
    """A step that does not say what it changes is stored all the same."""
    one = await created(store, 1, wake_at=3, owner="a")
    answer = await store.executions.commit(StepWrite(head=replace(one, owner=None)))
    assert isinstance(answer, Head)
    assert await store.executions.due(3, 9) == [one.id]
    assert await store.executions.owned("a", 9) == []


async def test_names_of_nodes(store):
    """Nodes whose names contain each other are kept apart."""
    nodes = ["\t", " a", "a", "a#", "a#b", "a$", "a%", "a%23", "😀", "\U0010ffff"]
    for number, node in enumerate(nodes):
        await created(store, number, owner=node)
    assert await store.executions.owners() == sorted(nodes)
    for number, node in enumerate(nodes):
        assert await store.executions.owned(node, 9) == [f"{number:032x}"]


async def test_everything_in_one_head(store):
    """A head with all its attributes is stored and changed."""
    one = await store.executions.commit(StepWrite(head=full(1), create=True))
    assert await stepped(store, one, **dict.fromkeys(("owner", "wake_at", "error", "cause", "output", "extra", "stopped_at"))) == await store.executions.head(
        one.id
    )


async def test_what_goes_away_while_it_is_read(store, other, monkeypatch):
    """Who lists, or reads a log or open tasks, in the moment in which an execution ends or is forgotten does without it."""
    get_all = store.session.get_all

    async def meanwhile(change, read):
        async def late(keys, names=()):
            wanted = list(keys)
            if any(sk.startswith("b#") for _, sk in wanted):
                await change()
                await swept(other)
            return await get_all(wanted, names)

        monkeypatch.setattr(store.session, "get_all", late)
        found = await read()
        monkeypatch.setattr(store.session, "get_all", get_all)
        return found

    long = records(1, 1)
    one = await created(store, 1, status="FAILED", cause="c" * INLINE_BYTES * 2, write={"chunk": replace(long, body=b"1" * BODY_BYTES * 2)})
    assert len(await store.executions.list(ExecutionQuery(account=one.account))) == 1
    assert await meanwhile(lambda: other.executions.forget(one.id), lambda: store.executions.list(ExecutionQuery(account=one.account))) == []
    two = await created(store, 2, status="FAILED", write={"chunk": replace(long, body=b"1" * BODY_BYTES * 2)})
    assert await meanwhile(lambda: other.executions.forget(two.id), lambda: store.executions.log(two.id)) == []
    task = ActivityTask(activity="a", execution=f"{3:032x}", attempt=1, input="i" * TEXT_BYTES * 2, scheduled_at=1)
    three = await created(store, 3, write={"opened": (task,), "deliveries": (Delivery("d", f"{3:032x}", b"f" * BODY_BYTES * 2),)})
    assert await store.executions.activity_tasks("a") == [task]

    async def emptied():
        parts = [item for item in await other.session.query(partition(three.id)) if item["sk"].startswith("b#")]
        await other.session.write_all(deletes=[(item["pk"], item["sk"]) for item in parts])

    assert await meanwhile(emptied, lambda: store.executions.activity_tasks("a")) == []
    assert await store.executions.undelivered(9) == []


async def test_a_damaged_log_is_told(store):
    """A part that somebody took out of the table is no empty log."""
    one = await created(store, 1, write={"chunk": replace(records(1, 1), body=b"1" * BODY_BYTES * 2)})
    [part] = [item for item in await store.session.query(partition(one.id)) if item["sk"].endswith("#00001")]
    await store.session.write_all(deletes=[(part["pk"], part["sk"])])
    with pytest.raises(StoreError, match="changed from outside"):
        await store.executions.log(one.id)
