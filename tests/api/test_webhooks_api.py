"""Webhooks by REST: kept and replaced, and what they post: signed, again after failures, each event under one id, nothing to addresses that are not allowed."""

import asyncio
import base64
import hmac
import json
from contextlib import AsyncExitStack

import httpx
import pytest
from accountsworld import ONE
from aiohttp import web
from flowsworld import EDITOR, flows_world

from flowrunner import wiring
from flowrunner.config import Settings
from flowrunner.definitions.hookevents import LOOK_SECONDS
from flowrunner.identity.permissions import Permission
from flowrunner.identity.principal import SERVER
from flowrunner.ports.executions import ExecutionQuery
from flowrunner.ports.store import Capabilities
from flowrunner.stores.memory.store import MemoryStore
from flowrunner.testing.clock import ManualClock
from flowrunner.wiring import build

FLOW = """metadata: {name: counted}
nodes:
  start:
    type: transform
    params: {script: 'if (input.bad) { throw new Error("bad") } return {seen: 1}'}
    next: {success: after}
  after: {type: merge}
"""
WAITING = "metadata: {name: waiting}\nnodes:\n  start: {type: delay, params: {duration: 1h}}\n"
KEY = b"0123456789abcdef01234567"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class Receiver:
    """Takes events on loopback; `statuses` are what it answers, then 200."""

    def __init__(self):
        self.got = []
        self.statuses = []

    async def start(self, stack):
        application = web.Application()
        application.router.add_post("/{tail:.*}", self._take)
        runner = web.AppRunner(application)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/hook"

    async def _take(self, request):
        self.got.append((request.headers, await request.read()))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    @property
    def events(self):
        return [json.loads(body) for _, body in self.got]


class World:
    """A server, a receiver and a way to ask."""

    async def ask(self, method, path, body=None, status=200, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.client.request(method, f"/api/v1{path}", json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer

    async def hook(self, status=201, *, headers=None, **more):
        return await self.ask("POST", "/webhooks", {"url": self.receiver.url, "flow_id": self.flow, **more}, status, **(headers or {}))

    async def run(self, flow=None, **given):
        run = (await self.ask("POST", f"/flows/{flow or self.flow}/run", {"input": given}, 201)).json()["execution_id"]
        await self.application.feed.ended(run)
        return run

    async def deliveries(self, hook, count, *statuses):
        """Let time go on until there are so many and all have come to one of these."""
        while True:
            found = (await self.ask("GET", f"/webhooks/{hook}/deliveries")).json()["items"]
            if len(found) >= count and all(one["status"] in (statuses or ("delivered",)) for one in found):
                return found
            self.clock.jump(1)
            await asyncio.sleep(0.01)  # the receiver is a real one


@pytest.fixture
async def world():
    made = World()
    made.clock, made.receiver = ManualClock(), Receiver()
    async with AsyncExitStack() as stack:
        await made.receiver.start(stack)
        made.application = build(Settings(store="memory:", dev=True), clock=made.clock)
        await made.application.start(stack)
        made.client = await stack.enter_async_context(httpx.AsyncClient(transport=httpx.ASGITransport(made.application.asgi), base_url="http://localhost"))
        made.flow = (await made.ask("POST", "/flows", {"content": FLOW}, 201)).json()["id"]
        made.waiting = (await made.ask("POST", "/flows", {"content": WAITING}, 201)).json()["id"]
        yield made


class Shared(MemoryStore):
    """A store in memory that several servers of this process share."""

    capabilities = Capabilities(durable=False, exclusive=False)


@pytest.fixture
async def shared_worlds(monkeypatch, tmp_path):
    clock, receiver = ManualClock(), Receiver()
    store, shared = Shared(clock=clock), f"sqlite:///{tmp_path}/shared.db"
    monkeypatch.setattr(wiring, "open_store", lambda url, clock: store if url == shared else MemoryStore(clock=clock))
    async with AsyncExitStack() as stack:
        await receiver.start(stack)
        worlds = []
        for _ in range(2):
            made = World()
            made.clock, made.receiver = clock, receiver
            made.application = build(Settings(store=shared, dev=True), clock=clock)
            await made.application.start(stack)
            made.client = await stack.enter_async_context(httpx.AsyncClient(transport=httpx.ASGITransport(made.application.asgi), base_url="http://localhost"))
            worlds.append(made)
        flow = (await worlds[0].ask("POST", "/flows", {"content": FLOW}, 201)).json()["id"]
        for made in worlds:
            made.flow = flow
        yield worlds


async def test_life_of_a_webhook(world):
    """What is made is shown, but for its secret; a version that was not read is not changed; a deleted one is gone."""
    made = await world.hook(secret=SECRET)
    told = made.json()
    path = f"/webhooks/{told['id']}"
    assert (made.headers["location"], made.headers["etag"]) == (f"/api/v1{path}", '"1"')
    assert (told["signed"], told["flow_id"], told["events"]) == (True, world.flow, ["flow.completed", "flow.failed", "flow.cancelled", "flow.timed_out"])
    assert SECRET not in made.text
    assert (await world.ask("GET", path)).json() == told
    changed = {"url": world.receiver.url, "flow_id": world.flow, "node_id": "start"}
    replaced = (await world.ask("PUT", path, changed, if_match='"1"')).json()
    assert (replaced["events"], replaced["signed"]) == (["node.completed", "node.failed"], True)
    await world.ask("PUT", path, changed, 412, if_match='"1"')
    assert (await world.ask("PUT", path, {**changed, "secret": None})).json()["signed"] is False
    assert (await world.ask("GET", "/webhooks")).json()["items"] == [(await world.ask("GET", path)).json()]
    await world.ask("PUT", path, {**changed, "flow_id": world.waiting}, 400)
    await world.ask("DELETE", path, status=412, if_match='"1"')
    await world.ask("DELETE", path, status=204)
    for method, further in (("GET", ""), ("DELETE", ""), ("GET", "/deliveries")):
        await world.ask(method, f"{path}{further}", status=404)


async def test_a_secret_needs_its_permission():
    """Who may not set secrets sets none by way of a webhook; who may not read executions sees no deliveries."""
    async with flows_world() as world:
        issued = await world.identity.credentials.issue_token(ONE, world.users[EDITOR], SERVER, scopes=[Permission.MACHINES_WRITE, Permission.MACHINES_READ])
        bearer = {"authorization": f"Bearer {issued.secret}"}
        body = {"url": "https://example.com/", "flow_id": "none", "secret": "s"}
        refused = await world.client.post("/api/v1/webhooks", json=body, headers=bearer)
        assert (refused.status_code, "secrets:write" in refused.text) == (403, True)
        assert (await world.client.get("/api/v1/webhooks/none/deliveries", headers=bearer)).status_code == 403
        assert (await world.client.get("/api/v1/webhooks", headers=bearer)).json()["items"] == []


async def test_a_repeated_request_makes_one(world):
    """The same key is the same webhook."""
    first, again = [(await world.hook(headers={"idempotency_key": "k"})).json()["id"] for _ in range(2)]
    assert first == again
    assert len((await world.ask("GET", "/webhooks")).json()["items"]) == 1


async def test_pages(world):
    """Every webhook comes once, by id."""
    made = [(await world.hook()).json()["id"] for _ in range(5)]
    found, query = [], "?limit=2"
    while query:
        page = (await world.ask("GET", f"/webhooks{query}")).json()
        found += [one["id"] for one in page["items"]]
        query = page["next_cursor"] and f"?limit=2&cursor={page['next_cursor']}"
    assert found == sorted(made)


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"url": "ftp://example.com/"}, 400),
        ({"url": "http://"}, 400),
        ({"events": []}, 400),
        ({"events": ["workflow.failed"]}, 400),
        ({"flow_id": "nothing"}, 404),
        ({"workflow_id": "both"}, 400),
        ({"node_id": "start", "events": ["flow.failed"]}, 400),
        ({"headers": {"webhook-id": "x"}}, 400),
        ({"headers": {"a.$": "$"}}, 400),
        ({"headers": {"A": "two\r\nlines"}}, 400),
        ({"retry_config": {"initial_delay": 0}}, 400),
        ({"retry_config": {"initial_delay": 9, "max_delay": 3}}, 400),
        ({"secret": ""}, 400),
        ({"other": 1}, 400),
    ],
)
async def test_webhooks_that_cannot_be(world, wrong, status):
    """A problem, and nothing is kept."""
    await world.ask("POST", "/webhooks", {"url": world.receiver.url, "flow_id": world.flow, **wrong}, status)
    assert (await world.ask("GET", "/webhooks")).json()["items"] == []


async def test_an_event_is_delivered_and_signed(world):
    """The receiver can prove it; the body says what ended, and what it gave."""
    hook = (await world.ask("POST", "/webhooks", {"url": world.receiver.url, "flow_id": world.flow, "secret": SECRET, "headers": {"X-Mine": "1"}}, 201)).json()
    run = await world.run(said="confidential")
    [delivered] = await world.deliveries(hook["id"], 1)
    [(headers, body)] = world.receiver.got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.digest(KEY, signed, "sha256")).decode()
    event = json.loads(body)
    assert event == {
        "id": headers["webhook-id"], "type": "flow.completed", "event": "flow.completed", "timestamp": event["timestamp"], "execution_id": run, "flow_id": world.flow, "node_id": None,
        "status": "completed", "data": {"said": "confidential", "seen": 1},
    }  # fmt: skip
    assert (headers["X-Mine"], delivered["id"], delivered["execution_id"], delivered["event"]) == ("1", event["id"], run, "flow.completed")
    log = await world.ask("GET", f"/executions/{delivered['delivery_execution_id']}")
    assert SECRET not in log.text
    assert [one["id"] for one in (await world.ask("GET", "/executions")).json()["items"]] == [run]


async def test_every_event(world):
    """Ends of runs and of nodes, each once; those of one node only where that was asked for."""
    everything = ["flow.completed", "flow.failed", "flow.cancelled", "node.completed", "node.failed"]
    hook = (await world.hook(events=everything)).json()["id"]
    narrow = (await world.hook(node_id="after")).json()["id"]
    other = (await world.hook(flow_id=world.waiting)).json()["id"]
    good, bad = await world.run(), await world.run(bad=True)
    long = (await world.ask("POST", f"/flows/{world.waiting}/run", {}, 201)).json()["execution_id"]
    await world.ask("DELETE", f"/executions/{long}", status=204)
    found = await world.deliveries(hook, 5)
    told = sorted((one["execution_id"] == good, one["event"]) for one in found)
    assert told == sorted([(True, "node.completed"), (True, "node.completed"), (True, "flow.completed"), (False, "node.failed"), (False, "flow.failed")])
    assert {one["execution_id"] for one in found} == {good, bad}
    assert [one["event"] for one in await world.deliveries(narrow, 1)] == ["node.completed"]
    assert [(one["event"], one["execution_id"]) for one in await world.deliveries(other, 1)] == [("flow.cancelled", long)]
    for _ in range(3):  # further looks find nothing that was not told
        world.clock.jump(LOOK_SECONDS)
        await asyncio.sleep(0.05)
    assert len({event["id"] for event in world.receiver.events}) == len(world.receiver.got) == 7


RETURNS = """metadata: {name: returns}
nodes:
  node:
    type: transform
    params:
      script: |
        if (input.bad) throw new Error("bad");
        if (input.deep) { let value = 1; for (let level = 0; level < input.deep; level++) value = [value]; return {value} }
        return input.long ? {value: "é".repeat(input.long)} : {value: "{{resolve:secretsmanager:KEY:SecretString}}"};
"""


async def test_data_are_what_was_given(world):
    """As the log has it: a text that looks like a secret's place stays one; errors of what failed; what is too large is left out."""
    flow = (await world.ask("POST", "/flows", {"content": RETURNS}, 201)).json()["id"]
    await world.ask("POST", "/accounts/000000000000/secrets/KEY", {"value": "hidden"}, 201)
    hook = (await world.hook(flow_id=flow, events=["node.completed", "node.failed", "flow.failed"])).json()["id"]
    for number, given in enumerate(({}, {"long": 30_000}, {"long": 40_000}, {"deep": 60}, {"bad": True})):
        await world.run(flow, **given)
        await world.deliveries(hook, number + 1 + (number == 4))
    told = {(event["type"], event.get("data_omitted"), json.dumps(event["data"])[:60]) for event in world.receiver.events}
    literal = json.dumps({"value": "{{resolve:secretsmanager:KEY:SecretString}}"})
    assert ("node.completed", None, literal[:60]) in told
    assert sum(event.get("data_omitted") is True and event["data"] is None for event in world.receiver.events) == 1
    assert [len(event["data"]["value"]) for event in world.receiver.events if event["data"] and len(str(event["data"].get("value"))) > 1000] == [30_000]
    for event in world.receiver.events:
        if event["type"].endswith(".failed"):
            assert event["data"]["error"] == "FlowRunner.ScriptError"
            assert "bad" in event["data"]["cause"]


async def test_a_failed_delivery_is_tried_again(world):
    """After the delays that were asked for, with the same id; then it is given up."""
    hook = (await world.hook(retry_config={"max_retries": 2, "initial_delay": 60, "max_delay": 600, "backoff_factor": 2})).json()["id"]
    world.receiver.statuses = [500, 503]
    before = world.clock.now()
    await world.run()
    await world.deliveries(hook, 1)
    assert world.clock.now() - before >= 180_000
    assert len(world.receiver.got) == 3
    assert len({event["id"] for event in world.receiver.events}) == 1
    world.receiver.statuses = [500] * 3
    await world.run()
    failed = (await world.deliveries(hook, 2, "failed", "delivered"))[0]
    assert (failed["status"], failed["error"]) == ("failed", "FlowRunner.WebhookRefused")
    assert "500" in failed["cause"]


async def test_what_runs_already_is_told(world):
    """A webhook that is made while an execution runs is told its end."""
    long = (await world.ask("POST", f"/flows/{world.waiting}/run", {}, 201)).json()["execution_id"]
    world.clock.jump(600)
    hook = (await world.hook(flow_id=world.waiting)).json()["id"]
    await world.ask("DELETE", f"/executions/{long}", status=204)
    assert [one["execution_id"] for one in await world.deliveries(hook, 1)] == [long]


async def test_what_a_look_finds_is_told_once(world):
    """An end that another server committed, or that this one did not come to tell, is found in the log; twice found, it is told once."""
    world.application.feed.untap(world.application._hookevents.tap)
    hook = (await world.hook()).json()["id"]
    run = await world.run()
    [one] = await world.deliveries(hook, 1)
    world.application._hookevents._known.clear()
    for _ in range(3):
        world.clock.jump(LOOK_SECONDS)
        await asyncio.sleep(0.05)
    assert (one["execution_id"], len(world.receiver.got)) == (run, 1)


async def test_a_run_of_another_server_is_told_once(shared_worlds):
    """Two servers of one store look at the same executions; whoever is first starts the one delivery."""
    one, other = shared_worlds
    hook = (await one.hook()).json()["id"]
    run = await other.run()
    assert [found["execution_id"] for found in await one.deliveries(hook, 1)] == [run]
    for _ in range(3):
        one.clock.jump(LOOK_SECONDS)
        await asyncio.sleep(0.05)
    assert len(one.receiver.got) == 1


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[::ffff:10.0.0.1]/", "http://192.168.1.1:8080/"])
async def test_addresses_that_are_not_allowed(world, url):
    """Nothing is sent there, and nobody tries again."""
    hook = (await world.hook(url=url)).json()["id"]
    await world.run()
    [one] = await world.deliveries(hook, 1, "failed")
    assert one["error"] == "FlowRunner.EgressRefused"


async def test_a_disabled_webhook_tells_nothing(world):
    """What ends meanwhile is not made up for."""
    hook = (await world.hook(enabled=False)).json()["id"]
    await world.run()
    for _ in range(2):
        world.clock.jump(LOOK_SECONDS)
        await asyncio.sleep(0.05)
    await world.ask("PUT", f"/webhooks/{hook}", {"url": world.receiver.url, "flow_id": world.flow})
    last = await world.run()
    assert [one["execution_id"] for one in await world.deliveries(hook, 1)] == [last]


async def test_an_erased_account_tells_nothing(world):
    """Its executions are stopped; nobody is told, and nothing is left."""
    await world.hook(flow_id=world.waiting)
    await world.ask("POST", f"/flows/{world.waiting}/run", {}, 201)
    await world.application.identity.accounts.erase("000000000000")
    for _ in range(3):
        world.clock.jump(LOOK_SECONDS)
        await asyncio.sleep(0.05)
    store = world.application.store
    assert not await store.executions.list(ExecutionQuery(account="000000000000"))
    assert not await store.documents.page("999999999999", "webhook-open")
    assert world.receiver.got == []


async def test_runs_without_a_webhook_cost_nothing(world):
    """No request to the store for an execution that nobody is told of."""
    documents, asked = world.application.store.documents, []
    await world.run()
    for name in ("get", "page", "write"):
        kept = getattr(documents, name)

        async def counted(*given, kept=kept, **more):
            asked.append(given)
            return await kept(*given, **more)

        setattr(documents, name, counted)
    machine = await world.application.authoring.flows.machine("000000000000", world.flow)
    asked.clear()
    head = await world.application.engine.start_execution(machine)
    await world.application.feed.ended(head.id)
    assert asked == []
