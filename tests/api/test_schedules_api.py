"""Schedules by REST: kept, changed, paused; and what they start, on one server and on two of one store."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from flowrunner import wiring
from flowrunner.config import Settings
from flowrunner.ports.store import Capabilities
from flowrunner.stores.memory.store import MemoryStore
from flowrunner.testing.clock import ManualClock
from flowrunner.wiring import build

ACCOUNT = "000000000000"
FLOW = "metadata: {name: counted}\nnodes:\n  start: {type: transform, params: {script: 'return {seen: input.n}'}}\n"
STEPS = {"variables": {"n": 0}, "steps": {"a": {"type": "merge"}}}
MINUTELY = {"id": "often", "schedule": "* * * * *"}
REPLACED = {"schedule": "@daily", "timezone": "Europe/Berlin", "workflow_id": "steps"}


class Shared(MemoryStore):
    """A store in memory that several servers of this process share."""

    capabilities = Capabilities(durable=False, exclusive=False)


class Node:
    """One server, and a way to ask it."""

    def __init__(self, application):
        self.application = application
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(application.asgi), base_url="http://localhost")

    async def ask(self, method, path, body=None, status=200, **headers):
        answer = await self.client.request(method, path, json=body, headers={name.replace("_", "-"): value for name, value in headers.items()})
        assert answer.status_code == status, answer.text
        return answer

    async def schedule(self, body=None, status=201, **headers):
        body = MINUTELY if body is None else body
        return await self.ask(
            "POST", "/api/v1/schedules", body if {"workflow_id", "flow_id"} & body.keys() else {**body, "flow_id": self.flow}, status, **headers
        )


@asynccontextmanager
async def nodes(count, clock, monkeypatch, folder):
    store, shared = Shared(clock=clock), f"sqlite:///{folder}/shared.db"
    monkeypatch.setattr(wiring, "open_store", lambda url, clock: store if url == shared else MemoryStore(clock=clock))
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            application = build(Settings(store=shared if count > 1 else "memory:", dev=True), clock=clock)
            await application.start(stack)
            made.append(Node(application))
            await stack.enter_async_context(made[-1].client)
        flow = (await made[0].ask("POST", "/api/v1/flows", {"content": FLOW}, 201)).json()["id"]
        await made[0].ask("POST", "/api/v2/workflows", {"workflowId": "steps", "name": "steps", "definition": STEPS}, 201)
        for one in made:
            one.flow = flow
        yield made


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def node(clock, monkeypatch, tmp_path):
    async with nodes(1, clock, monkeypatch, tmp_path) as (one,):
        yield one


async def until_fired(node, clock, name, times):
    """Let time go on until the schedule came about so often; what it says then."""
    path = f"/api/v1/schedules/{name}"
    while (told := (await node.ask("GET", path)).json())["fired"] < times:
        clock.jump(1)
        for _ in range(5):
            await asyncio.sleep(0)
    return told


async def test_life_of_a_schedule(node):
    """Made, read, replaced, listed, deleted."""
    made = await node.schedule({**MINUTELY, "payload": {"n": 7}})
    told = made.json()
    assert (made.headers["location"], made.headers["etag"]) == ("/api/v1/schedules/often", '"1"')
    assert {
        "id": "often",
        "flow_id": node.flow,
        "workflow_id": None,
        "timezone": "UTC",
        "payload": {"n": 7},
        "fired": 0,
        "last_run": None,
    }.items() <= told.items()
    assert told["next_run"] > told["created_at"]
    assert (await node.ask("GET", "/api/v1/schedules/often")).json() == told
    replaced = (await node.ask("PUT", "/api/v1/schedules/often", REPLACED)).json()
    assert (replaced["schedule"], replaced["workflow_id"], replaced["flow_id"], replaced["payload"]) == ("@daily", "steps", None, {})
    assert (await node.ask("GET", "/api/v1/schedules")).json() == {"items": [replaced], "next_cursor": None}
    await node.ask("DELETE", "/api/v1/schedules/often", status=204)
    for method, path, body in (("GET", "", None), ("PUT", "", REPLACED), ("DELETE", "", None), ("POST", "/pause", None), ("GET", "/executions", None)):
        await node.ask(method, f"/api/v1/schedules/often{path}", body, 404)


async def test_what_it_starts(node, clock):
    """Each time is an execution with the payload as input; the history tells them, newest first, page by page."""
    await node.schedule({**MINUTELY, "payload": {"n": 7}})
    told = await until_fired(node, clock, "often", 3)
    page = (await node.ask("GET", "/api/v1/schedules/often/executions?limit=2")).json()
    rest = (await node.ask("GET", f"/api/v1/schedules/often/executions?limit=2&cursor={page['next_cursor']}")).json()
    history = page["items"] + rest["items"]
    assert (len(page["items"]), rest["next_cursor"], len({one["execution_id"] for one in history})) == (2, None, 3)
    assert [one["scheduled_at"] for one in history] == sorted((one["scheduled_at"] for one in history), reverse=True)
    assert told["last_run"] == history[0]
    for one in history:
        head = await node.application.feed.ended(one["execution_id"])
        assert (head.status, '"seen":7' in head.output) == ("SUCCEEDED", True)
        assert (await node.ask("GET", f"/api/v1/executions/{head.id}")).json()["flow_id"] == node.flow


async def test_two_servers_start_it_once(clock, monkeypatch, tmp_path):
    """Two servers of one store see each time come; one of them starts the execution."""
    async with nodes(2, clock, monkeypatch, tmp_path) as (one, other):
        await one.schedule({"schedule": "* * * * *", "workflow_id": "steps", "payload": {"n": 1}})
        await until_fired(other, clock, "steps", 5)
        runs = (await other.ask("GET", "/api/v2/workflows/steps/runs")).json()["items"]
        history = (await one.ask("GET", "/api/v1/schedules/steps/executions")).json()["items"]
        assert len(history) >= 5
        assert {one["execution_id"] for one in history} == {run["runId"] for run in runs}
        assert len(runs) == len({run["runId"] for run in runs}) == len(history)


async def test_paused_and_resumed(node, clock):
    """While it is paused nothing is started, and that time is not made up for; both may be said twice."""
    await node.schedule()
    for _ in range(2):
        paused = await node.ask("POST", "/api/v1/schedules/often/pause")
        assert (paused.json()["enabled"], paused.json()["next_run"], paused.headers["etag"]) == (False, None, '"2"')
    for _ in range(600):
        clock.jump(1)
        await asyncio.sleep(0)
    assert (await node.ask("GET", "/api/v1/schedules/often")).json()["fired"] == 0
    resumed = await node.ask("POST", "/api/v1/schedules/often/resume")
    assert (resumed.json()["enabled"], resumed.headers["etag"]) == (True, '"3"')
    assert (await until_fired(node, clock, "often", 1))["fired"] == 1


async def test_only_what_was_read_is_changed(node, clock):
    """If-Match names what its author has read; that the schedule fires meanwhile changes nothing about that."""
    await node.schedule()
    await until_fired(node, clock, "often", 1)
    path = "/api/v1/schedules/often"
    for method, more, body in (("PUT", "", REPLACED), ("POST", "/pause", None), ("POST", "/resume", None), ("DELETE", "", None)):
        await node.ask(method, path + more, body, 412, if_match='"7"')
    await node.ask("PUT", path, {**REPLACED, "node_id": "n"}, if_match='"1"')
    told = await node.ask("GET", path)
    assert (told.headers["etag"], told.json()["node_id"], told.json()["fired"]) == ('"2"', "n", 1)
    await node.ask("DELETE", path, None, 204, if_match='"2"')


async def test_sent_again(node):
    """With an Idempotency-Key the answer is that of the first time; without one the id is taken."""
    first = await node.schedule(idempotency_key="k")
    again = await node.schedule(idempotency_key="k")
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    await node.schedule(status=409)
    await node.schedule({**MINUTELY, "enabled": False}, 422, idempotency_key="k")


async def test_pages(node):
    """Every schedule comes once, by id; a cursor belongs to its list."""
    for number in range(5):
        await node.schedule({**MINUTELY, "id": f"s{number}"})
    seen, query = [], "?limit=2"
    while query:
        page = await node.ask("GET", f"/api/v1/schedules{query}")
        seen += [one["id"] for one in page.json()["items"]]
        following = page.json()["next_cursor"]
        query = following and f"?limit=2&cursor={following}"
        assert ("link" in page.headers) is bool(query)
    assert seen == [f"s{number}" for number in range(5)]
    await node.ask("GET", "/api/v1/schedules?cursor=x", status=400)


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"schedule": "* * *"}, 400),
        ({"timezone": "Nowhere/Land"}, 400),
        ({"flow_id": None}, 400),
        ({"flow_id": "f", "workflow_id": "steps"}, 400),
        ({"flow_id": "gone"}, 404),
        ({"id": "a/b"}, 400),
        ({"payload": [1]}, 400),
        ({"unknown": 1}, 400),
        ({"payload": {"a": "x" * 300_000}}, 413),
    ],
)
async def test_schedules_that_cannot_be(node, wrong, status):
    """The answer says what is wrong, and nothing is kept."""
    await node.schedule({**MINUTELY, "id": "s", **wrong}, status)
    assert (await node.ask("GET", "/api/v1/schedules")).json()["items"] == []
