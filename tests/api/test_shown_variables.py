"""The variables that a run shows are those that it has: what it began with, and each change."""

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest

from flowrunner import config
from flowrunner.wiring import build

SETS = {"type": "transform", "config": {"script": "return {list: [true], part: {a: true}, same: [1, {b: 2}]}"}}
BEGUN = {"list": [1], "part": {"a": 1}, "same": [1, {"b": 2}]}
NOW = {"list": [True], "part": {"a": True}, "same": [1, {"b": 2}]}
TAKEN = {name: name for name in BEGUN}


@pytest.fixture
async def ended(tmp_path):
    """Make something by a path, execute it, and give the run that it was."""
    settings = config.load(environment={}, folder=tmp_path, flags={"store": f"sqlite:///{tmp_path}/flow.db", "dev": True})
    application = build(settings)
    async with AsyncExitStack() as stack:
        await application.start(stack)
        transport = httpx.ASGITransport(application.asgi)
        client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://localhost/api/v2"))

        async def ended(path, name, body, template=None):
            if template is not None:
                assert (await client.post("/action-templates", json=template)).status_code == 201
            assert (await client.post(path, json=body)).status_code == 201
            run = (await client.post(f"{path}/{name}/execute")).json()["runId"]
            async with asyncio.timeout(30):
                await application.feed.ended(run)
            return (await client.get(f"/workflows/runs/{run}")).json()

        yield ended


def same(one, other):
    """Equal as JSON: true is not 1."""
    return repr(one) == repr(other)


async def test_a_change_within_a_value_is_one(ended):
    """A list of 1 that becomes a list of true has changed, though Python calls the two equal."""
    steps = {"a": {**SETS, "output": TAKEN}}
    run = await ended("/workflows", "w", {"workflowId": "w", "definition": {"name": "w", "variables": BEGUN, "steps": steps}})
    assert same(run["output"]["variables"], NOW)
    assert same(run["context"]["variables"], NOW)


async def test_those_of_a_workflow_within_a_test_case(ended):
    """They are variables of its run, below those of the test case."""
    workflow = {"name": "w", "variables": {"inner": 1, "both": "workflow"}, "steps": {"a": {"type": "merge"}}}
    body = {"testId": "t", "groupId": "g", "name": "T", "type": "workflow", "workflowDef": workflow, "variables": {"both": "test"}}
    run = await ended("/tests", "t", body)
    assert same(run["context"]["variables"], {"inner": 1, "both": "test"})
    assert run["output"]["variables"] == run["context"]["variables"]


async def test_a_number_beyond_64_bits(ended):
    """As a variable, and in an action template that is kept with the workflow: it is there, whole where nothing calculated with it."""
    large = 2**70
    parameter = {"name": "p", "type": "number", "default": large}
    template = {"templateId": "t", "name": "T", "type": "transform", "config": {"script": "return {p: input.p}", "x-n": large}, "parameters": [parameter]}
    workflow = {"name": "w", "variables": {"n": large}, "steps": {"a": {"actionTemplateId": "t", "output": {"m": "{{n}}", "p": "p"}}}}
    run = await ended("/workflows", "w", {"workflowId": "w", "definition": workflow}, template)
    assert run["output"]["variables"] == {"n": large, "m": large, "p": float(large)}
    assert run["context"]["variables"]["n"] == large
