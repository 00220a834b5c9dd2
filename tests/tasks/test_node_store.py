from __future__ import annotations

import asyncio
import json

import pytest
from task_calls import ACCOUNT, call

from flowrunner.clock import SystemClock
from flowrunner.errors import StoreUnavailable
from flowrunner.kinds import BUILT_IN
from flowrunner.ports.secrets import Revealed
from flowrunner.ports.tasks import AttemptLost, Failed, may_begin
from flowrunner.stores.memory import MemoryStore
from flowrunner.stores.open import open_store
from flowrunner.tasks.nodes.filters import matches, ordered
from flowrunner.tasks.nodes.kind import NodeFailed
from flowrunner.tasks.nodes.shelf import LOST_TRIES, Shelf, Value
from flowrunner.tasks.registry import Registry
from flowrunner.testing.clock import ManualClock
from flowrunner.testing.dynamodb import opened_dynamodb

STORE = "arn:aws:states:::flowrunner:store"
OTHER = "210987654321"


class Vault:
    async def reveal(self, account, name, path=None):
        return Revealed(value="hunter2hunter2", hidden=("hunter2hunter2",), type="general", version=1)


@pytest.fixture(params=["memory", "sqlite", "postgres", "dynamodb"])
def store_url(request, tmp_path):
    match request.param:
        case "memory":
            return "memory:"
        case "sqlite":
            return f"sqlite:///{tmp_path}/flow.db"
        case "postgres":
            return request.getfixturevalue("plain_url")
        case _:
            return request.getfixturevalue("dynamodb_url")


@pytest.fixture
async def documents(store_url, stack):
    """The documents of each store."""
    if store_url.startswith("dynamodb:"):
        return (await stack.enter_async_context(opened_dynamodb(store_url))).documents
    store = open_store(store_url, clock=SystemClock())
    await store.start(stack)
    return store.documents


@pytest.fixture
def do(starter):
    """Makes a function that runs store operations on documents; each is an attempt of its own unless a key is given."""
    made = {}
    numbers = iter(range(10_000))

    async def run(documents, params, *, key=None, account=ACCOUNT):
        if documents not in made:
            made[documents] = Registry(starter=starter, documents=documents, secrets=Vault())
        one = call(STORE, {"params": params}, account=account, key=key or f"e1/{next(numbers)}")
        outcome = await made[documents].resolve(one).run(one)
        return outcome if isinstance(outcome, Failed) else json.loads(outcome.output)

    return run


async def test_on_every_store(documents, do):
    """Set, get, increment, append, list, query, delete; nothing of another account is seen."""

    async def output(**params):
        return (await do(documents, params))["output"]

    assert await output(operation="set", key="user:1", value={"name": "Ada", "age": 36}) == {"key": "user:1", "value": {"name": "Ada", "age": 36}}
    await output(operation="set", key="user:2", value={"name": "Bob", "age": 25})
    await output(operation="set", key="user:3", value={"name": "C\u00e9line", "age": 41, "tags": ["x"]})
    await output(operation="set", key="k\u00e9y/with % strange\u2603", value=None)
    assert await output(op="get", key="user:1") == {"key": "user:1", "value": {"name": "Ada", "age": 36}, "found": True}
    assert (await output(op="get", key="k\u00e9y/with % strange\u2603"))["found"] is True
    assert await do(documents, {"op": "get", "key": "none", "default": 7}) == {"output": {"key": "none", "value": 7, "found": False}, "action": "not_found"}
    assert (await output(operation="list", prefix="user:"))["keys"] == ["user:1", "user:2", "user:3"]
    assert "k\u00e9y/with % strange\u2603" in (await output(operation="list"))["keys"]
    found = await output(operation="query", prefix="user:", filter={"age": {"$gte": 30}}, sort="-age")
    assert [item["value"]["age"] for item in found["items"]] == [41, 36]
    assert (await output(operation="increment", key="n"))["value"] == 1
    assert (await output(operation="increment", key="n", amount=2.5))["value"] == 3.5
    assert (await output(operation="append", key="log", value="a"))["value"] == ["a"]
    assert (await output(operation="append", key="log", value={"b": 1}, max_length=1))["value"] == [{"b": 1}]
    assert (await do(documents, {"op": "get", "key": "user:1"}, account=OTHER))["action"] == "not_found"
    assert (await do(documents, {"op": "list"}, account=OTHER))["output"] == {"keys": [], "count": 0}
    assert (await output(op="get", key="user:1", namespace="mine"))["found"] is False
    assert (await output(operation="delete", key="user:1"))["deleted"] is True
    assert await do(documents, {"operation": "delete", "key": "user:1"}) == {"output": {"key": "user:1", "deleted": False}, "action": "not_found"}


async def test_nothing_is_lost_between_writers(documents):
    """Two processes, many attempts at once, one number: every increment counts once, repeated ones not again."""
    shelves = [Shelf(documents, SystemClock()) for _ in range(2)]  # each with locks of its own, as processes have

    def plus_one(found):
        return Value(1 if found is None else found.value + 1)

    async def one(number):
        for _ in range(2):  # the same attempt, twice
            await shelves[number % 2].change(ACCOUNT, "default", "n", plus_one, f"e1/{number}")

    await asyncio.gather(*(one(number) for number in range(12)))
    assert (await shelves[0].get(ACCOUNT, "default", "n")).value == 12


async def test_what_expires():
    """After its time a value is not there; incrementing keeps the time it was given."""
    clock = ManualClock(1_000_000)
    shelf = Shelf(MemoryStore(clock=clock).documents, clock)
    await shelf.change(ACCOUNT, "a", "k", lambda found: Value(1, clock.now() + 60_000), "e/1")
    clock.jump(59)
    assert (await shelf.get(ACCOUNT, "a", "k")).value == 1
    clock.jump(2)
    assert await shelf.get(ACCOUNT, "a", "k") is None
    assert (await shelf.change(ACCOUNT, "a", "k", lambda found: Value("again" if found is None else "still"), "e/2")).value == "again"


async def test_ttl_is_a_duration(do):
    """A number of seconds or a text; kept by an increment."""
    documents = MemoryStore().documents
    await do(documents, {"op": "set", "key": "k", "value": 1, "ttl": "1h"})
    before = (await documents.get(ACCOUNT, "store", "default/k")).expires_at
    assert before > 3_500_000
    await do(documents, {"op": "increment", "key": "k"})
    assert (await documents.get(ACCOUNT, "store", "default/k")).expires_at == before
    await do(documents, {"op": "set", "key": "k", "value": 1})
    assert (await documents.get(ACCOUNT, "store", "default/k")).expires_at is None


class Losing:
    """Documents whose writes are made, and whose answers are lost."""

    def __init__(self, documents, times):
        self._documents, self._left = documents, times

    def __getattr__(self, name):
        return getattr(self._documents, name)

    async def write(self, changes):
        await self._documents.write(changes)
        self._left -= 1
        if self._left >= 0:
            raise StoreUnavailable


@pytest.mark.parametrize("operation", ["increment", "append", "set"])
async def test_a_lost_answer_does_not_count_twice(do, operation):
    """The attempt finds itself in the document."""
    inner = MemoryStore().documents
    await do(inner, {"op": "set", "key": "k", "value": [] if operation == "append" else 0})
    made = await do(Losing(inner, 1), {"op": operation, "key": "k", "value": 5})
    assert made["output"]["value"] == ([5] if operation == "append" else 5)
    assert (await do(inner, {"op": "get", "key": "k"}))["output"]["value"] == made["output"]["value"]


async def test_a_store_that_does_not_answer(do):
    """Is a typed failure after a few tries; the repeated attempt has its effect once."""
    inner = MemoryStore().documents
    broken = Losing(inner, 99)

    async def never(*_):
        raise StoreUnavailable

    broken.write = never
    outcome = await do(broken, {"op": "increment", "key": "n"}, key="e1/7")
    assert outcome.error == "FlowRunner.StoreUnavailable"
    assert LOST_TRIES == 3
    for _ in range(2):
        assert (await do(inner, {"op": "increment", "key": "n"}, key="e1/7"))["output"]["value"] == 1


async def test_a_node_that_lost_the_attempt_changes_nothing(do):
    """It asks before it writes."""
    documents = MemoryStore().documents

    async def no():
        return False

    token = may_begin.set(no)
    try:
        with pytest.raises(AttemptLost):
            await do(documents, {"op": "set", "key": "k", "value": 1})
    finally:
        may_begin.reset(token)
    assert (await do(documents, {"op": "get", "key": "k"}))["action"] == "not_found"


@pytest.mark.parametrize(
    ("params", "error", "says"),
    [
        ({}, "FlowRunner.InvalidParameters", "operation"),
        ({"op": "steal"}, "FlowRunner.InvalidParameters", "get, set"),
        ({"op": "get"}, "FlowRunner.InvalidParameters", "key"),
        ({"op": "get", "key": ""}, "FlowRunner.InvalidParameters", "key"),
        ({"op": "get", "key": "x" * 201}, "FlowRunner.InvalidParameters", "200"),
        ({"op": "get", "key": "\u2603" * 200}, "FlowRunner.InvalidParameters", "fewer"),
        ({"op": "get", "key": "k", "namespace": "n" * 65}, "FlowRunner.InvalidParameters", "namespace"),
        ({"op": "set", "key": "k"}, "FlowRunner.InvalidParameters", "value"),
        ({"op": "set", "key": "k", "value": 1, "ttl": "soon"}, "FlowRunner.InvalidParameters", "ttl"),
        ({"op": "set", "key": "k", "value": "x" * 270_000}, "States.DataLimitExceeded", "256 KiB"),
        ({"op": "increment", "key": "text"}, "FlowRunner.StoreType", "no number"),
        ({"op": "increment", "key": "n", "amount": "1"}, "FlowRunner.InvalidParameters", "amount"),
        ({"op": "increment", "key": "huge", "amount": 1.7e308}, "FlowRunner.StoreType", "too large"),
        ({"op": "append", "key": "text", "value": 1}, "FlowRunner.StoreType", "no list"),
        ({"op": "query", "filter": {"a": {"$near": 1}}}, "FlowRunner.InvalidParameters", "$near"),
        ({"op": "query", "filter": {"a": {"$in": 1}}}, "FlowRunner.InvalidParameters", "$in"),
        ({"op": "query", "sort": 7}, "FlowRunner.InvalidParameters", "sort"),
        ({"op": "list", "limit": 1001}, "FlowRunner.InvalidParameters", "limit"),
    ],
)  # fmt: skip
async def test_what_cannot_be_done(do, params, error, says):
    """Is named, and changes nothing."""
    documents = MemoryStore().documents
    await do(documents, {"op": "set", "key": "text", "value": "t"})
    await do(documents, {"op": "set", "key": "huge", "value": 1.7e308})
    outcome = await do(documents, params)
    assert isinstance(outcome, Failed), outcome
    assert outcome.error == error
    assert says in outcome.cause


async def test_a_secret_is_not_stored_openly(starter):
    """Its name may be; its value is refused."""
    documents = MemoryStore().documents
    registry = Registry(starter=starter, documents=documents, secrets=Vault())
    text = "{{resolve:secretsmanager:PASSWORD}}"
    one = call(STORE, {"params": {"op": "set", "key": "k", "value": {"p": text}}}, secrets=((("params", "value", "p"), text),))
    outcome = await registry.resolve(one).run(one)
    assert outcome.error == "FlowRunner.SecretNotAllowed"
    assert outcome.error in dict(BUILT_IN["store"].errors)
    assert await documents.get(ACCOUNT, "store", "default/k") is None


VALUE = {"n": 5, "s": "text", "l": [1, {"a": 2}], "o": {"deep": [10, 20]}, "t": True, "z": None}


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        ({}, True), ({"n": 5}, True), ({"n": "5"}, False), ({"n": {"$eq": 5.0}}, True), ({"n": {"$ne": 5}}, False), ({"none": {"$ne": 5}}, True), ({"none": None}, False),
        ({"z": None}, True), ({"n": {"$gt": 4, "$lt": 6}}, True), ({"n": {"$gt": 5}}, False), ({"n": {"$gte": 5, "$lte": 5}}, True), ({"s": {"$gt": "tex"}}, True), ({"s": {"$gt": 1}}, False),
        ({"t": {"$gt": 0}}, False), ({"t": 1}, False), ({"n": {"$in": [1, 5]}}, True), ({"n": {"$in": []}}, False), ({"s": {"$contains": "ex"}}, True), ({"l": {"$contains": {"a": 2}}}, True),
        ({"o": {"$contains": "deep"}}, True), ({"o.deep[1]": 20}, True), ({"o": {"deep": [10, 20]}}, True), ({"$key": {"$contains": "k"}}, True), ({"$value": {"$ne": 1}}, True),
        ({"n": 5, "s": "other"}, False),
    ],
)  # fmt: skip
def test_filters(wanted, passes):
    """Every operator, on fields that are there, deep, absent, of another type."""
    assert matches(wanted, "key", VALUE) is passes


def test_orders():
    """By several fields, downwards, with what lacks the field at the end; any types side by side."""
    items = [(key, value) for key, value in zip("abcde", [{"n": 2, "s": "x"}, {"n": 1}, {"s": "y"}, {"n": 2, "s": "w"}, {"n": "t"}], strict=True)]
    assert [key for key, _ in ordered(items, ["n", "-s"])] == ["b", "a", "d", "e", "c"]
    assert [key for key, _ in ordered(items, ["-n"])][-1] == "c"
    mixed = [("1", {"v": value}) for value in (None, [1], {"a": 1}, "s", 2, True, 1.5)]
    assert [value["v"] for _, value in ordered(mixed, ["v"])] == [True, 1.5, 2, "s", [1], {"a": 1}, None]
    with pytest.raises(NodeFailed):
        matches({"a": {"$or": []}}, "k", {})
