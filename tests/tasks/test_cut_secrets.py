"""What is cut, logged or told by another server: no part of a secret is left in it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from aiohttp import web
from model_server import model_server, openai
from nodes_calls import node_call
from task_calls import call

from flowrunner.clock import SystemClock
from flowrunner.ports.secrets import NoSecrets
from flowrunner.ports.tasks import Succeeded, TaskHandler, log, say
from flowrunner.tasks.answers import failed
from flowrunner.tasks.client import GuardedClient
from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.nodes.command import Programs
from flowrunner.tasks.nodes.httprequest import HttpRequest
from flowrunner.tasks.nodes.kind import NodeFailed
from flowrunner.tasks.nodes.llm import LlmKind, Models
from flowrunner.tasks.nodes.mcp import McpKind
from flowrunner.tasks.secrecy import Guarded, expose

CANARY = "c4n4ry-of-quite-some-length"
AGAIN = f"{CANARY} " * 300  # wherever it is cut, one of them is in two


class Attempt(TaskHandler):
    """An attempt that was given the canary, and does this."""

    def __init__(self, work):
        self._work = work

    async def run(self, call):
        expose([CANARY])
        try:
            return await self._work()
        except NodeFailed as error:
            return failed(error.error, error.cause)


async def outcome_of(work):
    return await Guarded(Attempt(work), NoSecrets()).run(call("arn:aws:states:::mine:act", {}))


async def cause_of(kind, params, **more):
    """What a failed node says."""
    return (await outcome_of(lambda: kind.run(node_call(params, **more)))).cause


async def test_log_lines():
    """Lines of the log show no secret, whoever writes them."""
    heard = []
    token = say.set(lambda *line: heard.append(line))

    async def talk():
        log("info", f"with {CANARY}", f'{{"k":"{CANARY}"}}')
        return Succeeded("{}")

    await outcome_of(talk)
    log("info", "after", None)
    say.reset(token)
    assert heard == [("info", "with ***", '{"k":"***"}'), ("info", "after", None)]


async def test_what_a_model_says_of_itself(stack):
    """A model that repeats its key does not get it into the log."""
    heard = []
    token = say.set(lambda *line: heard.append(line))
    async with model_server() as server:
        client = GuardedClient(EgressPolicy([server.place]))
        await client.start(stack)
        server.answers = [{**openai("Hello"), "model": CANARY}]
        kind = LlmKind(Models(client=client, secrets=NoSecrets()))

        async def ask():
            await kind.run(node_call({"base_url": server.url, "model": "m", "prompt": "Hi", "api_key": CANARY}))
            return Succeeded("{}")

        await outcome_of(ask)
    say.reset(token)
    assert len(heard) == 1
    assert CANARY not in str(heard)


@pytest.mark.parametrize(("params", "status"), [({}, 500), ({"assertions": [{"type": "equals", "path": "word", "expected": "other"}]}, 200)])
async def test_answers_of_servers(stack, server, params, status):
    """The beginning of an answer that a step tells."""
    server.answer = lambda request: web.json_response({"word": AGAIN}, status=status)
    client = GuardedClient(EgressPolicy([server.url.removeprefix("http://")]))
    await client.start(stack)
    raw = {"language": "workflow", "params": {}, "input": None}
    cause = await cause_of(HttpRequest(client, SystemClock()), {"url": f"{server.url}/x", **params}, raw=raw)
    assert "***" in cause
    assert CANARY[:6] not in cause


async def test_failures_of_tools():
    """What a tool says that fails."""
    pytest.importorskip("mcp")
    kind = McpKind(policy=EgressPolicy(), programs=Programs([sys.executable]))
    script = str(Path(__file__).with_name("mcp_test_server.py"))
    params = {
        "connectionType": "cmd",
        "command": sys.executable,
        "args": [script],
        "operation": "executeTool",
        "toolName": "fail",
        "toolParameters": {"why": AGAIN},
    }
    cause = await cause_of(kind, params)
    assert "***" in cause
    assert CANARY[:6] not in cause


async def test_answers_that_the_mcp_library_cannot_read(server, caplog):
    """They are in nobody's log: what another server answers may repeat the key that it was sent."""
    pytest.importorskip("mcp")
    server.answer = lambda request: web.Response(text=f"{{{CANARY}", content_type="application/json")
    kind = McpKind(policy=EgressPolicy([server.url.removeprefix("http://")]), programs=Programs())
    cause = await cause_of(kind, {"connectionType": "http", "url": f"{server.url}/mcp"})
    assert cause.startswith("The MCP server did not do it")
    assert CANARY[:6] not in cause
    assert CANARY[:6] not in caplog.text
