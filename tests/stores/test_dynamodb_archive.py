"""Exports and imports that DynamoDB makes hard: large executions, steps in between, readers that die."""

import asyncio
from dataclasses import replace

import pytest

from flowrunner.ports.archive import ArchivedExecution
from flowrunner.ports.executions import ActivityTask, Chunk, Delivery
from flowrunner.stores.dynamodb.keys import head_key, partition, wire
from flowrunner.testing.conformance.definitions import example_activity, example_machine
from flowrunner.testing.conformance.examples import created, full, head, records, stepped
from flowrunner.testing.dynamodb import empty_dynamodb, opened_dynamodb


@pytest.fixture
async def store(dynamodb_url):
    async with opened_dynamodb(dynamodb_url) as store:
        yield store


def large(number=1):
    """An execution that many transactions would be needed for."""
    execution = f"{number:032x}"
    return ArchivedExecution(
        head=full(number, owner=None, epoch=0, last_seq=301, input="i" * 1_000_000),
        chunks=(*(Chunk(first, 1, b"[%d]" % first) for first in range(1, 301)), Chunk(301, 1, b"x" * 2_000_000)),
        snapshot=b"s" * 700_000,
        facts=tuple((fact, b"f" * 1000) for fact in range(20, 220)),
        inbox=tuple(Delivery(f"{number}-{place:03}", execution, b"d") for place in range(120)),
        tasks=tuple(ActivityTask(activity="a", execution=execution, attempt=place, input="{}", scheduled_at=place) for place in range(120)),
    )


async def test_from_one_table_to_another(store, dynamodb):
    """Everything that one table holds can be put into another, and is the same there; what is there is left alone."""
    for one in (large(1), replace(large(2), inbox=(), tasks=())):
        assert await store.archive.put_execution(one)
        assert not await store.archive.put_execution(one)
    await created(store, 3, status="SUCCEEDED", write={"chunk": records(1, 2)}, last_seq=2)
    await store.definitions.create_machine(example_machine())
    await store.definitions.create_activity(example_activity())
    source = store.archive
    found = await source.executions(None, 10)
    assert found[:2] == [large(1), replace(large(2), inbox=(), tasks=())]
    async with empty_dynamodb(dynamodb) as other:
        for one in found:
            assert await other.archive.put_execution(one)
        for revision in await source.revisions(None, 9):
            assert await other.archive.put_revision(revision)
        for machine in await source.machines(None, 9):
            assert await other.archive.put_machine(machine)
            assert not await other.archive.put_machine(machine)
        for activity in await source.activities(None, 9):
            assert await other.archive.put_activity(activity)
        assert await other.archive.executions(None, 10) == found
        assert await other.definitions.machines(example_machine().account) == [example_machine()]
        sizes = [await archive.size() for archive in (source, other.archive)]
        assert [{**size, "bytes": 0} for size in sizes] == [{"executions": 3, "revisions": 1, "machines": 1, "activities": 1, "documents": 0, "bytes": 0}] * 2
        one = await stepped(other, large(1).head, write={"facts": b"next", "fact_number": 220, "closed": tuple(range(120))})
        assert (await other.executions.load(one.id)).facts[-1] == b"next"


async def test_the_same_large_execution_put_by_several(store):
    """One of them succeeds, and the execution is whole."""
    answers = await asyncio.gather(*(store.archive.put_execution(large(1)) for _ in range(4)))
    assert sorted(answers) == [False, False, False, True]
    assert await store.archive.executions(None, 9) == [large(1)]


async def test_an_execution_that_steps_all_the_time_is_read(store):
    """It is held still for a moment, and goes on."""
    one = await created(store, 1, last_seq=1, write={"chunk": records(1, 1)})
    read = asyncio.ensure_future(store.archive.executions(None, 9))
    while not read.done():
        one = await stepped(store, one, last_seq=one.last_seq + 1, write={"chunk": records(one.last_seq + 1, 1)})
    (found,) = await read
    assert sum(chunk.count for chunk in found.chunks) == found.head.last_seq == found.head.epoch < one.epoch
    assert "held" not in await store.session.get(head_key(one.id))


async def test_a_reader_that_died(store, monkeypatch):
    """A step waits a while for whoever holds the execution still, then it goes on by itself."""

    async def nothing(_seconds):
        return None

    monkeypatch.setattr(store.session, "_sleep", nothing)
    one = await created(store, 1)
    mark = {"UpdateExpression": "SET held = :mark", "ExpressionAttributeValues": {":mark": {"B": b"dead"}}}
    await store.session.call("UpdateItem", TableName=store.session.settings.table, Key=wire(head_key(one.id)), **mark)
    one = await stepped(store, one, last_seq=5)
    assert await store.executions.head(one.id) == one == replace(head(1), epoch=2, last_seq=5)
    assert [item["sk"] for item in await store.session.query(partition(one.id))] == ["h"]
