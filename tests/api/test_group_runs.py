"""Runs of groups: so many test cases at once, in order, whatever servers come and go."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from flowrunner import config, wiring
from flowrunner.ports.documents import Put
from flowrunner.ports.store import Capabilities
from flowrunner.stores.memory.store import MemoryStore
from flowrunner.wiring import build

ACCOUNT = "000000000000"
STEPS = {"steps": {"one": {"type": "delay", "config": {"duration": 30, "unit": "ms"}}}}
FOREVER = {"steps": {"one": {"type": "delay", "config": {"duration": 60, "unit": "m"}}}}


class Shared(MemoryStore):
    """A store in memory that several servers of this process share."""

    capabilities = Capabilities(durable=False, exclusive=False)


class Node:
    """One server, and a way to ask it."""

    def __init__(self, application):
        self.application = application
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(application.asgi), base_url="http://localhost/api/v2")

    async def ask(self, method, path, body=None, status=200, **headers):
        answer = await self.client.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def group(self, count, steps=STEPS):
        await self.ask("POST", "/groups", {"groupId": "all", "name": "All"}, 201)
        for number in range(count):
            test = {"testId": f"test-{number:02}", "groupId": "all", "name": "n", "type": "workflow", "workflowDef": steps}
            await self.ask("POST", "/tests", test, 201)

    async def ended(self, run):
        async with asyncio.timeout(40):
            while (told := await self.ask("GET", f"/runs/{run}"))["status"] == "running":
                await asyncio.sleep(0.01)
        return told


@asynccontextmanager
async def serving(folder):
    settings = config.load(environment={}, folder=folder, flags={"store": f"sqlite:///{folder}/flow.db", "dev": True})
    application = build(settings)
    async with AsyncExitStack() as stack:
        await application.start(stack)
        node = Node(application)
        await stack.enter_async_context(node.client)
        yield node


def most_at_once(results):
    """How many of the results' runs there were at the same moment."""
    marks = sorted([(one["startTime"], 1) for one in results] + [(one["endTime"], -1) for one in results])
    found = most = 0
    for _, change in marks:
        found += change
        most = max(most, found)
    return most


@pytest.mark.parametrize(("query", "limit"), [("", 10), ("?concurrency=3", 3), ("?concurrency=1", 1), ("?concurrency=100", 12)])
async def test_so_many_at_once(tmp_path, query, limit):
    """Never more than asked for, 10 otherwise; the answer comes with the first ones begun, and results are in the order of the test cases."""
    async with serving(tmp_path) as node:
        await node.group(12)
        begun = await node.ask("POST", f"/groups/all/execute{query}", None, 202)
        names = [f"test-{number:02}" for number in range(12)]
        assert [one["testId"] for one in begun["results"]] + begun["pending"] == names
        assert len(begun["results"]) >= limit
        assert begun["total"] == 12
        assert begun["status"] == "running" or not begun["pending"]
        told = await node.ended(begun["runId"])
        assert (told["status"], told["passed"], told["failed"], told["pending"]) == ("passed", 12, 0, [])
        assert [one["testId"] for one in told["results"]] == names
        assert most_at_once(told["results"]) <= limit
        starts = [one["startTime"] for one in told["results"]]
        assert starts == sorted(starts)
        async with asyncio.timeout(40):  # the last one has begun, and perhaps ended, before that is noted
            while await node.application.store.documents.page("999999999999", "test-run-open"):
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("wrong", ["0", "101", "x", "-1", "1.5"])
async def test_no_such_number(tmp_path, wrong):
    """From 1 to 100."""
    async with serving(tmp_path) as node:
        await node.group(1)
        await node.ask("POST", f"/groups/all/execute?concurrency={wrong}", None, 400)
        assert await node.ask("GET", "/runs") == []


async def test_the_server_stops_in_the_middle(tmp_path):
    """The next one goes on, with the texts of when the run was begun; each test case runs once."""
    async with serving(tmp_path) as node:
        await node.group(9)
        run = (await node.ask("POST", "/groups/all/execute?concurrency=2", None, 202))["runId"]
        await node.ask("PUT", "/tests/test-08", {"workflowDef": FOREVER})
    async with serving(tmp_path) as node:
        told = await node.ended(run)
        assert (told["passed"], most_at_once(told["results"])) == (9, 2)
        runs = (await node.ask("GET", "/workflows/runs"))["items"]
        assert len(runs) == 9


async def test_the_key_is_that_of_one_run(tmp_path):
    """Sent again with its key, it is the same run, also when the first answer was never given."""
    async with serving(tmp_path) as node:
        await node.group(3)
        first = await node.ask("POST", "/groups/all/execute?concurrency=1", None, 202, **{"idempotency-key": "k"})
        documents = node.application.store.documents
        for document in await documents.page(ACCOUNT, "request"):
            if b"fingerprint" in document.body:  # as when its server had died: begun, not answered
                unanswered = json.loads(document.body) | {"status": 0, "server": "another"}
                await documents.write([Put(replace(document, body=json.dumps(unanswered).encode()))])
        again = await node.ask("POST", "/groups/all/execute?concurrency=1", None, 202, **{"idempotency-key": "k"})
        assert again["runId"] == first["runId"]
        await node.ended(first["runId"])
        assert len(await node.ask("GET", "/runs")) == 1
        assert len((await node.ask("GET", "/workflows/runs"))["items"]) == 3


async def test_two_servers_begin_each_once(tmp_path, monkeypatch):
    """Two servers that see to the same run keep its limit together, and begin no test case twice."""
    settings = config.load(environment={}, folder=tmp_path, flags={"store": f"sqlite:///{tmp_path}/flow.db", "dev": True})
    shared = None

    def opened(url, clock):
        nonlocal shared
        if url == "memory:":
            return MemoryStore(clock=clock)
        shared = shared or Shared(clock=clock)
        return shared

    monkeypatch.setattr(wiring, "open_store", opened)
    async with AsyncExitStack() as stack:
        nodes = []
        for _ in range(2):
            application = build(settings)
            await application.start(stack)
            nodes.append(Node(application))
            await stack.enter_async_context(nodes[-1].client)
        await nodes[0].group(12)
        run = (await nodes[0].ask("POST", "/groups/all/execute?concurrency=3", None, 202))["runId"]
        nodes[1].application.testruns._follow(ACCOUNT, run)
        told = await nodes[1].ended(run)
        assert (told["passed"], len({one["runId"] for one in told["results"]})) == (12, 12)
        assert most_at_once(told["results"]) <= 3
        assert len((await nodes[0].ask("GET", "/workflows/runs"))["items"]) == 12
