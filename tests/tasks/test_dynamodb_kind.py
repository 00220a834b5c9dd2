from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from aiobotocore.session import AioSession
from aiohttp import web
from nodes_calls import Secrets, node_call

from flowrunner.clock import SystemClock
from flowrunner.ports.secrets import NoSecrets
from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.nodes.dynamodb import DynamoKind
from flowrunner.tasks.nodes.dynamoitems import plain, wire
from flowrunner.tasks.nodes.kind import NodeFailed

KEYS = {"access_key": "AKIDEXAMPLE", "secret_key": "not-a-secret", "region": "us-east-1"}


@pytest.fixture
async def items(dynamodb, request):
    """Runs operations on a table of the test's own, with partition key ``id`` and sort key ``at`` if the test says so."""
    parts = urlsplit(dynamodb)
    endpoint = parse_qs(parts.query)["endpoint"][0]
    sort = getattr(request, "param", None)
    table = f"nodes-{request.node.name}".replace("[", "-").replace("]", "")
    names = ["id", *([sort] if sort else [])]
    made = AioSession().create_client("dynamodb", region_name="us-east-1", endpoint_url=endpoint, aws_access_key_id="x", aws_secret_access_key="x")
    async with made as client:
        await client.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S" if name == "id" else "N"} for name in names],
        )
        kind = DynamoKind(policy=EgressPolicy([urlsplit(endpoint).netloc]), secrets=Secrets(keys=KEYS), clock=SystemClock())

        async def run(operation, **params):
            return await kind.run(node_call({"secret": "keys", "endpoint": endpoint, "table_name": table, "operation": operation} | params))

        yield run
        await client.delete_table(TableName=table)


async def test_values_by_key(items):
    """Values are set, read and deleted by key; JSON values come back as they were."""
    value = {"n": 1, "f": 2.5, "t": "ü", "l": [True, None, {"x": []}], "big": 12345678901234567}
    await items("set", key="a", value=value)
    found = await items("get", key="a", consistent=True)
    assert (found.output["item"], found.output["value"], found.output["found"]) == ({"id": "a", "value": value}, value, True)
    assert (await items("get", key={"id": "b"})).action == "not_found"
    assert [(await items("delete", key="a")).output for _ in range(2)] == [{"deleted": 1}, {"deleted": 0}]


async def test_ttl(items):
    """A value whose time has come is not given, even while DynamoDB still has it."""
    written = await items("set", key="a", value=1, ttl="1h")
    assert written.output["item"]["ttl"] > 1_700_000_000
    await items("set", value={"id": "b", "ttl": 1_000_000_000})
    assert [one["id"] for one in (await items("list")).output["items"]] == ["a"]
    assert (await items("get", key="b")).action == "not_found"


@pytest.mark.parametrize("items", ["at"], indirect=True)
async def test_queries(items):
    """Key conditions and filters have operators; every page is read until the limit."""
    await items("batch_write", items=[{"id": "a", "at": n, "sign": "odd" if n % 2 else "even", "in": {"n": n}} for n in range(60)])
    between = await items("query", key_condition={"id": "a", "at": {"$between": [10, 13]}})
    assert [one["at"] for one in between.output["items"]] == [10, 11, 12, 13]
    odd = await items("query", key_condition={"id": "a", "at": {"$gte": 50}}, filter={"sign": "odd", "in.n": {"$lt": 55}})
    assert [one["at"] for one in odd.output["items"]] == [51, 53]
    assert (await items("list", limit=7)).output["count"] == 7
    await items("batch_write", deletes=[{"id": "a", "at": n} for n in range(58)])
    assert (await items("scan")).output["count"] == 2
    for wrong in ({"at": 1}, {"id": "a", "at": {"$nearly": 1}}, {}):
        with pytest.raises(NodeFailed) as caught:
            await items("query", key_condition=wrong)
        assert caught.value.error in ("FlowRunner.InvalidParameters", "FlowRunner.DynamoDbError")


@pytest.fixture
async def reluctant():
    """A server that speaks BatchWriteItem and leaves most of it undone, as DynamoDB does when it is throttled."""
    seen, leave = [], [20, 20, 3, 0, 0]

    async def handle(request):
        body = json.loads(await request.read())
        (writes,) = body["RequestItems"].values()
        seen.append(len(writes))
        undone = writes[len(writes) - leave[len(seen) - 1] :] if len(seen) <= len(leave) and leave[len(seen) - 1] else []
        return web.json_response({"UnprocessedItems": {"t": undone} if undone else {}}, content_type="application/x-amz-json-1.0")

    application = web.Application()
    application.router.add_post("/", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"127.0.0.1:{site._server.sockets[0].getsockname()[1]}", seen, leave
    await runner.cleanup()


async def test_what_is_left_undone_is_written_again(reluctant):
    """Batches have 25 writes; what DynamoDB leaves undone is sent again after longer and longer waits, and in the end given up."""
    place, seen, leave = reluctant
    waits = []

    async def sleep(delay):
        waits.append(delay)

    kind = DynamoKind(policy=EgressPolicy([place]), secrets=NoSecrets(), clock=SystemClock(), sleep=sleep)
    params = KEYS | {"endpoint": f"http://{place}", "table_name": "t", "operation": "batch_write", "items": [{"id": str(n)} for n in range(30)]}
    assert (await kind.run(node_call(params))).output == {"written": 30, "deleted": 0}
    assert seen == [25, 20, 20, 3, 5]
    assert len(waits) == 3
    assert waits[0] <= 0.025
    assert waits[2] > waits[0]
    leave[:] = [1] * 100
    with pytest.raises(NodeFailed, match="undone in 8 tries"):
        await kind.run(node_call(params))


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:8000", "http://localhost:8000", "http://169.254.169.254", "file:///etc/passwd", "http://8.8.8.8:22"])
async def test_only_allowed_endpoints(endpoint):
    """Endpoints are checked as every other address."""
    kind = DynamoKind(policy=EgressPolicy(), secrets=NoSecrets(), clock=SystemClock())
    with pytest.raises(NodeFailed) as caught:
        await kind.run(node_call(KEYS | {"endpoint": endpoint, "table_name": "t", "operation": "get", "key": "a"}))
    assert caught.value.error == "FlowRunner.EgressRefused"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(stack, server, status):
    """Nor to an address in digits, which no resolver would be asked for: nothing arrives there."""
    other = web.AppRunner(web.Application(), shutdown_timeout=0.1)
    arrived = []

    async def arrive(request):
        arrived.append(request.path)
        return web.json_response({})

    other.app.router.add_route("*", "/{path:.*}", arrive)
    await other.setup()
    stack.push_async_callback(other.cleanup)
    site = web.TCPSite(other, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    server.answer = lambda request: web.Response(status=status, headers={"Location": f"http://127.0.0.1:{port}/latest/meta-data"})
    kind = DynamoKind(policy=EgressPolicy([server.url.removeprefix("http://")]), secrets=NoSecrets(), clock=SystemClock())
    with pytest.raises(NodeFailed):
        await kind.run(node_call(KEYS | {"endpoint": server.url, "table_name": "t", "operation": "get", "key": "a"}))
    assert server.requests
    assert arrived == []


async def test_answers_have_an_end(server, monkeypatch):
    """An answer that is larger than DynamoDB's are is not read to its end."""
    monkeypatch.setattr("flowrunner.tasks.nodes.dynamohttp.MOST_BYTES", 100_000)
    server.answer = lambda request: web.Response(text='{"Item": {"a": {"S": "' + "x" * 100_000 + '"}}}', content_type="application/x-amz-json-1.0")
    kind = DynamoKind(policy=EgressPolicy([server.url.removeprefix("http://")]), secrets=NoSecrets(), clock=SystemClock())
    with pytest.raises(NodeFailed, match="larger than 100000 bytes") as caught:
        await kind.run(node_call(KEYS | {"endpoint": server.url, "table_name": "t", "operation": "get", "key": "a"}))
    assert caught.value.error == "FlowRunner.DynamoDbError"


async def test_the_servers_own_credentials_are_not_used(monkeypatch):
    """A definition without credentials gets none, whatever the server's environment has."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "operator")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "operator")
    kind = DynamoKind(policy=EgressPolicy(), secrets=NoSecrets(), clock=SystemClock())
    with pytest.raises(NodeFailed, match="access_key"):
        await kind.run(node_call({"table_name": "t", "operation": "get", "key": "a"}))


@pytest.mark.parametrize("value", [0, -1.5, 1e-7, 1e21, 2**63 - 1, "", [], {}, None, False])
def test_wire_values(value):
    """What is written is read again."""
    assert plain(wire(value)) == value
