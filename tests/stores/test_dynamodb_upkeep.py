"""Looking at a table: nothing is made or changed."""

from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from flowrunner.clock import SystemClock
from flowrunner.errors import StoreRefused
from flowrunner.ports.upkeep import FileUpkeep, Schema
from flowrunner.stores.dynamodb.keys import SCHEMA, wire
from flowrunner.stores.dynamodb.session import Session
from flowrunner.stores.dynamodb.settings import read_settings
from flowrunner.stores.open import open_store, open_upkeep
from flowrunner.testing.conformance.archive import archived, everything, over
from flowrunner.testing.conformance.examples import created
from flowrunner.testing.dynamodb import opened_dynamodb


@pytest.fixture
async def bare(dynamodb_url):
    """Requests to the table, whoever made it."""
    async with AsyncExitStack() as stack:
        session = Session(read_settings(dynamodb_url))
        await session.start(stack)
        yield session


@asynccontextmanager
async def reading(url):
    async with AsyncExitStack() as stack:
        store = open_store(url, clock=SystemClock(), readonly=True)
        await store.start(stack)
        yield store


async def looked(url):
    async with reading(url) as store:
        return await store.archive.size()


async def refused(url, why, *, upgrade=True):
    """Every look is refused, for this reason and with a remedy."""
    upkeep = open_upkeep(url)
    for call in (upkeep.schema, upkeep.script, *([upkeep.upgrade] if upgrade else []), upkeep.findings, lambda: looked(url)):
        with pytest.raises(StoreRefused, match=why) as caught:
            await call()
        assert caught.value.remedy


async def test_what_is_not_there_is_not_made(dynamodb_url, bare):
    """A table that is missing is refused and still missing; one that is empty stays empty."""
    await refused(dynamodb_url, "There is no table", upgrade=False)
    assert bare.settings.table not in (await bare._client.list_tables())["TableNames"]
    async with opened_dynamodb(dynamodb_url):
        pass
    await bare.write_all(deletes=[SCHEMA])
    await refused(dynamodb_url, "Nothing is in the table", upgrade=False)
    assert await bare.pages("Scan", {}) == []


@pytest.mark.parametrize("there", [False, True])
async def test_an_upgrade_makes_what_is_not_there(dynamodb_url, bare, there):
    """A table that is missing, and what belongs into an empty one; a server takes it as its own."""
    if there:
        async with opened_dynamodb(dynamodb_url):
            pass
        await bare.write_all(deletes=[SCHEMA])
    upkeep = open_upkeep(dynamodb_url)
    assert await upkeep.upgrade() == Schema("", "1")
    assert await upkeep.upgrade() == Schema("1", "1")
    async with opened_dynamodb(dynamodb_url) as server:
        await created(server, 1)


async def test_what_is_not_ours_is_left(dynamodb_url, bare):
    """A newer table and one of others are refused."""
    async with opened_dynamodb(dynamodb_url):
        pass
    later = {**wire(SCHEMA), "made_by": {"S": "flowrunner"}, "version": {"N": "2"}, "shards": {"N": "4"}}
    await bare.call("PutItem", TableName=bare.settings.table, Item=later)
    await refused(dynamodb_url, "schema 2; this one knows 1")
    await bare.write_all(deletes=[SCHEMA])
    await bare.call("PutItem", TableName=bare.settings.table, Item={"pk": {"S": "theirs"}, "sk": {"S": "x"}})
    await refused(dynamodb_url, "is not FlowRunner's")


async def test_a_look(dynamodb_url, bare):
    """The version is told, there is nothing to upgrade; a store for reading sees everything of the table's shards and writes nothing."""
    async with opened_dynamodb(f"{dynamodb_url}&shards=1") as server:
        for number in range(1, 5):
            await server.archive.put_execution(archived(number) if number % 2 else over(number))
        await created(server, 9, wake_at=5)
        upkeep = open_upkeep(dynamodb_url)
        assert not isinstance(upkeep, FileUpkeep)
        items = sorted(map(repr, await bare.pages("Scan", {})))
        assert await upkeep.schema() == await upkeep.upgrade() == Schema("1", "1")
        assert await upkeep.script() == await upkeep.findings() == ()
        async with reading(dynamodb_url) as store:
            assert await everything(store.archive) == await everything(server.archive)
            assert await store.executions.due(100, 100) == await server.executions.due(100, 100) != []
            sent = set(store.session.requests)
        assert sent <= {"DescribeTable", "GetItem", "BatchGetItem", "Query", "Scan"}
        assert sorted(map(repr, await bare.pages("Scan", {}))) == items
