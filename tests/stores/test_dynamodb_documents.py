"""What documents cost on DynamoDB, how they lie there, and what happens when an answer is lost."""

from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from flowrunner.errors import DocumentConflict, StoreUnavailable
from flowrunner.ports.documents import BODY_BYTES, CHANGES, Put, Remove
from flowrunner.stores.dynamodb.documentplan import LATER_SECONDS
from flowrunner.stores.dynamodb.keys import alias_key, document_key
from flowrunner.stores.dynamodb.table import TTL
from flowrunner.testing.awsproxy import Faults, dynamodb_proxy
from flowrunner.testing.clock import ManualClock
from flowrunner.testing.conformance.documents import NOW, DocumentConformance, document, named, removal, stored
from flowrunner.testing.conformance.examples import ACCOUNT
from flowrunner.testing.dynamodb import opened_dynamodb

MOST_MOMENTS = 200


@pytest.fixture
def clock():
    return ManualClock(NOW)


@pytest.fixture
async def store(dynamodb_url, clock):
    async with opened_dynamodb(dynamodb_url, clock=clock) as store:
        yield store


@pytest.fixture
def proxied(dynamodb_url, clock):
    """A function: a store behind a proxy with these faults."""

    @asynccontextmanager
    async def proxied(faults):
        endpoint = dynamodb_url.partition("endpoint=")[2].partition("&")[0]
        async with dynamodb_proxy(endpoint, faults) as address, opened_dynamodb(dynamodb_url.replace(endpoint, address), clock=clock) as store:
            yield store

    return proxied


async def items_of(store):
    """Every item that a document has left, by key."""
    found = await store.session.pages("Scan", {"ConsistentRead": True})
    return {(item["pk"], item["sk"]): item for item in found if item["pk"].startswith(("d#", "l#"))}


async def swept(store, keys):
    """Wait until the sweeper has left these items only."""
    for attempt in range(MOST_MOMENTS):
        if (await items_of(store)).keys() == keys:
            return
        await store.session.pause(min(attempt, 3))
    assert (await items_of(store)).keys() == keys


async def test_requests(store, sent):
    """A document without aliases is one conditional put; with aliases, or several, a look and one transaction."""
    of = store.documents
    await of.write([Put(document())])
    await of.write([Put(document(version=1))])
    assert sent() == ["PutItem", "PutItem"]
    await of.write([Put(named(document("bob"), "b", "c"))])
    assert sent() == ["BatchGetItem", ["Put", "Put", "Put"]]
    await of.write([Put(named(document("bob", version=1), "b", "d"))])  # b stays as it is
    assert sent() == ["BatchGetItem", ["Put", "Put", "Delete"]]
    await of.write([Put(document("entry", kind="audit")), Put(document(version=2))])
    assert sent() == ["BatchGetItem", ["Put", "Put"]]
    await of.write([removal(named(document("bob", version=2)))])
    assert sent() == ["BatchGetItem", ["Delete", "Delete", "Delete"]]
    await of.get(ACCOUNT, "user", "ada")
    await of.page(ACCOUNT, "user")
    await of.find("b")
    assert sent() == ["GetItem", "Query", "GetItem"]


async def test_a_full_write_is_one_transaction(store, sent):
    """Twenty documents of 1 MiB, each with four new aliases in the place of four others, are 100 actions."""
    of = store.documents
    old = [document(f"{number:02}", aliases=tuple(f"{number}{letter}" for letter in "abcd")) for number in range(CHANGES)]
    await of.write(list(map(Put, old)))
    sent()
    new = [replace(one, version=1, body=bytes(BODY_BYTES), aliases=tuple(f"{alias}!" for alias in one.aliases)) for one in old]
    await of.write(list(map(Put, new)))
    transactions = [request for request in sent() if isinstance(request, list)]
    assert [len(actions) for actions in transactions] == [100]
    assert await of.find("0a") is None
    assert (await of.find("19d!")).body == bytes(BODY_BYTES)
    await of.write([Put(named(document("late"), "0a", "1b"))])
    assert (await of.find("0a")).id == "late"
    await of.write([Remove(account=ACCOUNT, kind="user", id="late", version=1)])


async def test_nothing_is_left_lying(store):
    """Parts of bodies that were replaced or removed go, and so do aliases."""
    of = store.documents
    (one,) = await stored(of, named(document(body=bytes(BODY_BYTES)), "x"))
    (one,) = await stored(of, replace(one, body=b"short"))
    user = document_key(ACCOUNT, "user", "ada")
    await swept(store, {user, alias_key("x")})
    (one,) = await stored(of, replace(one, body=bytes(BODY_BYTES)))
    assert len(await items_of(store)) == 6
    with pytest.raises(DocumentConflict):
        await of.write([Put(document(body=bytes(BODY_BYTES)))])
    await of.write([removal(one)])
    await swept(store, set())
    (one,) = await stored(of, document(body=bytes(BODY_BYTES)))
    await stored(of, replace(one, body=b""))
    await swept(store, {user})


async def test_what_dynamodb_removes_by_itself(store):
    """Items of what expires say when, an hour later, in seconds: documents, parts and aliases, which follow a longer life."""
    of = store.documents
    (one,) = await stored(of, named(document(body=bytes(BODY_BYTES), expires_at=NOW + 5_000), "x"))
    assert {item[TTL] for item in (await items_of(store)).values()} == {NOW // 1000 + 5 + LATER_SECONDS}
    (one,) = await stored(of, replace(one, body=b"", expires_at=NOW + 60_000))
    found = await items_of(store)
    assert {found[key][TTL] for key in (alias_key("x"), document_key(ACCOUNT, "user", "ada"))} == {NOW // 1000 + 60 + LATER_SECONDS}
    await stored(of, replace(one, expires_at=None))
    found = await items_of(store)
    assert [TTL in found[key] for key in (alias_key("x"), document_key(ACCOUNT, "user", "ada"))] == [False, False]
    table = store.session.settings.table
    answer = await store.session.call("DescribeTimeToLive", TableName=table)
    assert answer["TimeToLiveDescription"]["AttributeName"] == TTL


class TestFaults(DocumentConformance):
    """With one request in ten going wrong nobody notices.

    moto forgets ClientRequestTokens, so transactions do not lose answers here; nor single puts, whose outcome may then be unknown.
    """

    @pytest.fixture
    async def store(self, proxied):
        rates = dict.fromkeys(("throttle", "conflict", "error", "refused", "unprocessed"), 0.02) | {"PutItem.error": 0.0, "PutItem.refused": 0.0}
        async with proxied(Faults(seed=1, rates=rates, serialise=True)) as store:
            yield store


async def test_an_answer_that_is_lost(proxied):
    """What was done before its answer was lost is known by its stamp, whether it was one request or a transaction."""
    faults = Faults(seed=1, serialise=True)
    async with proxied(faults) as store:
        for write in ([Put(document())], [Put(named(document("bob"), "b"))], [Put(document("x")), Put(document("y"))]):
            faults.rates = {"PutItem.lost": 0.7, "TransactWriteItems.lost": 0.7}
            await store.documents.write(write)
            faults.rates = {}
        assert [one.version for one in await store.documents.page(ACCOUNT, "user")] == [1, 1, 1, 1]
    assert faults.done["lost"] > 0


async def test_an_outcome_that_is_unknown(store, monkeypatch):
    """If the answer was lost and somebody has written since, the caller is told that it is unknown, not that it failed."""
    call = store.session.call

    async def losing(operation, *, on_doubt=None, **arguments):
        if operation == "PutItem" and on_doubt is not None:
            monkeypatch.setattr(store.session, "call", call)
            await call(operation, **arguments)
            await store.documents.write([Put(document(version=1, body=b"other"))])
            on_doubt()
        return await call(operation, on_doubt=on_doubt, **arguments)

    monkeypatch.setattr(store.session, "call", losing)
    with pytest.raises(StoreUnavailable, match="not known"):
        await store.documents.write([Put(document())])
