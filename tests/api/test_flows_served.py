"""Flows through the whole application: YAML in, scripts and branches run, status and logs out, on SQLite."""

import asyncio
import textwrap
from contextlib import AsyncExitStack

import httpx
import pytest

from flowrunner import config
from flowrunner.wiring import build

FLOW = textwrap.dedent("""\
    metadata: {name: Two delays, description: One after the other, version: "2.1.0"}
    nodes:
      start:
        type: delay
        params: {duration: 1ms}
        next: {success: last}
      last: {type: delay, params: {duration: 1ms}}
    """)


@pytest.fixture
async def served(tmp_path):
    settings = config.load(environment={}, folder=tmp_path, flags={"store": f"sqlite:///{tmp_path}/flow.db", "dev": True})
    application = build(settings)
    async with AsyncExitStack() as stack:
        await application.start(stack)
        transport = httpx.ASGITransport(application.asgi)
        client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://localhost/api/v1"))
        yield application, client


async def test_a_flow(served):
    """Made, described by its text, run to its end."""
    application, client = served
    flow = (await client.post("/flows", json={"content": FLOW})).json()["id"]
    info = (await client.get(f"/flows/{flow}/metadata")).json()
    assert (info["name"], info["description"], info["version"]) == ("Two delays", "One after the other", "2.1.0")
    started = await client.post(f"/flows/{flow}/run", json={"input": {"value": 1}})
    assert started.status_code == 201
    execution = started.json()["execution_id"]
    async with asyncio.timeout(30):
        await application.feed.ended(execution)
    shown = (await client.get(f"/executions/{execution}")).json()
    assert (shown["status"], shown["error"], shown["flow_id"]) == ("completed", None, flow)
    assert (shown["progress"], shown["current_node"]) == (100, "last")
    assert shown["results"].keys() == {"start", "last"}
    logs = (await client.get(f"/executions/{execution}/logs?node_id=last")).json()
    assert [entry["message"] for entry in logs] == ["Starting step: last"]


async def test_what_is_wrong(served):
    """A YAML text with errors: each with its place, line and column."""
    _, client = served
    for right, wrong, pointer, line in (
        ("type: delay\n", "type: dely\n", "/nodes/start/type", 4),
        ("success: last", "success: last, error: lats", "/nodes/start/next/error", 6),
    ):
        answer = await client.post("/flows", json={"content": FLOW.replace(right, wrong)})
        assert answer.status_code == 400
        errors = [error for error in answer.json()["errors"] if error["severity"] == "ERROR"]
        assert [(error["pointer"], error["line"]) for error in errors] == [(pointer, line)]
        assert all(error["column"] for error in errors)
