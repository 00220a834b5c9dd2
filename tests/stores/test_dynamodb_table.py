"""The table: made, taken up again, refused; and what a start says that cannot succeed."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from flowrunner.clock import SystemClock
from flowrunner.errors import StoreError, StoreRefused, StoreUnavailable
from flowrunner.stores.dynamodb.keys import SCHEMA, wire
from flowrunner.stores.dynamodb.session import Session
from flowrunner.stores.dynamodb.settings import read_settings
from flowrunner.stores.open import open_store
from flowrunner.testing.awsproxy import Faults, dynamodb_proxy
from flowrunner.testing.conformance.examples import created
from flowrunner.testing.dynamodb import opened_dynamodb

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE")


@pytest.fixture
async def bare(dynamodb_url):
    """Requests to a table that no store has made."""
    async with AsyncExitStack() as stack:
        session = Session(read_settings(dynamodb_url))
        await session.start(stack)
        yield session


@pytest.fixture
def endpoint(dynamodb_url):
    """The address of the server."""
    return read_settings(dynamodb_url).endpoint


async def refused(url, kind=StoreRefused):
    """Why a store of this URL does not start."""
    with pytest.raises(kind) as caught:
        async with opened_dynamodb(url):
            pass
    assert caught.value.remedy
    assert "secret" not in str(caught.value)
    return str(caught.value)


async def make(session, **changes):
    """A table as anybody may make one."""
    keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    attributes = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
    given = {"TableName": session.settings.table, "KeySchema": keys, "AttributeDefinitions": attributes, "BillingMode": "PAY_PER_REQUEST"}
    await session.call("CreateTable", **given | changes)


async def test_the_table_that_is_made(dynamodb_url, bare):
    """It is billed on demand, has three indexes, a tag, expiry by `expires`, and says its version and shards."""
    async with opened_dynamodb(f"{dynamodb_url}&shards=3") as store:
        table = (await bare.call("DescribeTable", TableName=bare.settings.table))["Table"]
        assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
        assert {index["IndexName"] for index in table["GlobalSecondaryIndexes"]} == {"by_account", "by_machine", "by_status"}
        expiry = await bare.call("DescribeTimeToLive", TableName=bare.settings.table)
        assert expiry["TimeToLiveDescription"] == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
        tags = await store.session._client.list_tags_of_resource(ResourceArn=table["TableArn"])
        assert tags["Tags"] == [{"Key": "application", "Value": "flowrunner"}]
        assert await bare.get(SCHEMA) == {"pk": "schema", "sk": "schema", "made_by": "flowrunner", "version": 1, "shards": 3}


async def test_provisioned_units(dynamodb_url, bare):
    """Table and indexes get the units that the URL says."""
    async with opened_dynamodb(f"{dynamodb_url}&billing=provisioned&read=7&write=9"):
        table = (await bare.call("DescribeTable", TableName=bare.settings.table))["Table"]
        for part in (table, *table["GlobalSecondaryIndexes"]):
            units = part["ProvisionedThroughput"]
            assert (units["ReadCapacityUnits"], units["WriteCapacityUnits"]) == (7, 9)


async def test_a_table_keeps_its_shards(dynamodb_url):
    """What the URL says later changes nothing, so every node looks into the same partitions."""
    async with opened_dynamodb(f"{dynamodb_url}&shards=1") as first, opened_dynamodb(f"{dynamodb_url}&shards=9") as second:
        for number in range(1, 20):
            await created(first, number, wake_at=number)
        assert len(await second.executions.due(100, 100)) == 19
        assert second._shards.count == 1


async def test_a_start_costs_little(dynamodb_url):
    """A table that is there costs four requests."""
    async with opened_dynamodb(dynamodb_url):
        pass
    async with opened_dynamodb(dynamodb_url) as store:
        assert dict(store.session.requests) == {"DescribeTable": 2, "GetItem": 1, "Query": 1}


async def test_several_nodes_start_at_once(dynamodb_url):
    """One makes the table, all use it."""
    async with AsyncExitStack() as stack:
        stores = [open_store(dynamodb_url, clock=SystemClock()) for _ in range(5)]
        await asyncio.gather(*(store.start(stack) for store in stores))
        for number, store in enumerate(stores):
            await store.check()
            await created(store, number)


async def test_a_start_that_was_cut_short(dynamodb_url, bare):
    """A table of ours without its schema item, which nothing else is in, is taken up."""
    async with opened_dynamodb(dynamodb_url):
        pass
    await bare.write_all(deletes=[SCHEMA])
    async with opened_dynamodb(dynamodb_url) as store:
        await created(store)


async def test_foreign_tables(dynamodb_url, bare):
    """A table with other keys, without our indexes, or with other things in it is left alone."""
    await make(bare)
    assert "is not FlowRunner's" in await refused(dynamodb_url)
    await bare.call("DeleteTable", TableName=bare.settings.table)
    async with opened_dynamodb(dynamodb_url):
        pass
    await bare.write_all(deletes=[SCHEMA])
    await bare.call("PutItem", TableName=bare.settings.table, Item={"pk": {"S": "theirs"}, "sk": {"S": "x"}})
    assert "is not FlowRunner's" in await refused(dynamodb_url)
    assert await bare.get(SCHEMA) is None


async def test_a_newer_table(dynamodb_url, bare):
    """A table of a later version is refused, with both versions named."""
    async with opened_dynamodb(dynamodb_url):
        pass
    later = {**wire(SCHEMA), "made_by": {"S": "flowrunner"}, "version": {"N": "2"}, "shards": {"N": "4"}}
    await bare.call("PutItem", TableName=bare.settings.table, Item=later)
    assert "schema 2; this one knows 1" in await refused(dynamodb_url)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDeniedException", "Allow this principal"),
        ("UnrecognizedClientException", "credentials"),
        ("InvalidSignatureException", "clock"),
        ("ExpiredTokenException", "too old"),
    ],
)
async def test_refusals_of_aws(dynamodb_url, endpoint, code, words):
    """What AWS refuses is told with table, region and endpoint, and with what to look at; while it serves, it is tried again."""
    async with dynamodb_proxy(endpoint, faults := Faults()) as address:
        url = dynamodb_url.replace(endpoint, address)
        async with opened_dynamodb(url) as store:
            faults.codes = {"TransactWriteItems": code}
            with pytest.raises(StoreUnavailable, match=words):
                await created(store)
            faults.codes = {"TransactWriteItems": "ValidationException"}
            with pytest.raises(StoreError, match="on purpose"):
                await created(store)
            faults.codes = {}
            await created(store)
        faults.codes = {"DescribeTable": code}
        message = await refused(url)
    for word in (words, code, "us-east-1", address, store.session.settings.table):
        assert word in message


async def test_nobody_answers(monkeypatch):
    """An address where nobody listens is named, and may come to life later."""
    monkeypatch.setattr("flowrunner.stores.dynamodb.session.FIRST_DELAY_SECONDS", 0.001)
    message = await refused("dynamodb://us-east-1?endpoint=http://127.0.0.1:9&prefix=x-", StoreUnavailable)
    assert "http://127.0.0.1:9" in message
    assert "x-flowrunner" in message


async def test_no_credentials(monkeypatch, tmp_path):
    """Without credentials a start away from this machine says where they are looked for."""
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    message = await refused("dynamodb://eu-central-1?endpoint=http://192.0.2.1:9")
    assert "No AWS credentials" in message
    assert "AWS_PROFILE" in message
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "No AWS credentials" in await refused("dynamodb://eu-central-1?endpoint=http://192.0.2.1:9")


async def test_starting_twice(dynamodb_url):
    """A store that runs is not started again; one that was stopped may be."""
    store = open_store(dynamodb_url, clock=SystemClock())
    for _ in range(2):
        async with AsyncExitStack() as stack:
            await store.start(stack)
            with pytest.raises(StoreError, match="started already"):
                await store.start(stack)
            await store.check()
        with pytest.raises(StoreUnavailable):
            await store.check()
