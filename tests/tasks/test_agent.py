from __future__ import annotations

import pytest
from aiohttp import web
from model_server import anthropic, model_server, openai
from nodes_calls import Secrets, node_call

from flowrunner.kinds import BUILT_IN
from flowrunner.ports.secrets import NoSecrets
from flowrunner.stores.memory import MemoryStore
from flowrunner.tasks.client import GuardedClient
from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.nodes.agent import AgentKind
from flowrunner.tasks.nodes.database import DatabaseKind
from flowrunner.tasks.nodes.kind import NodeFailed, NodeKind, NodeResult
from flowrunner.tasks.nodes.llm import Models
from flowrunner.tasks.nodes.reach import Reach
from flowrunner.tasks.nodes.shelf import Shelf
from flowrunner.tasks.nodes.storing import Store
from flowrunner.testing.clock import ManualClock


class Noon:
    def now(self):
        return 1_795_262_400_000  # 2026-11-21T12:00:00Z


class Requests(NodeKind):
    """Stands in for http.request: it sends by the same client."""

    info = BUILT_IN["http.request"]

    def __init__(self, client):
        self._client = client

    async def run(self, call):
        answer = await self._client.request(call.params.get("method", "GET"), call.params["url"], headers={}, body=None)
        return NodeResult({"status_code": answer.status, "body": answer.value()[0], "sent": call.params.get("body")})


@pytest.fixture
async def server():
    async with model_server() as made:
        yield made


@pytest.fixture
async def agent(stack, server):
    client = GuardedClient(EgressPolicy([server.place]))
    await client.start(stack)
    kinds = {"database": DatabaseKind(reach=Reach(EgressPolicy()), secrets=NoSecrets()), "http.request": Requests(client)}
    kind = AgentKind(Models(client=client, secrets=Secrets()), clock=Noon(), find=kinds.get)
    kinds["agent"] = kind
    kinds["store"] = Store(Shelf(MemoryStore().documents, ManualClock()))

    async def run(**params):
        return (await kind.run(node_call({"base_url": server.url, "api_key": "k", "model": "m", "prompt": "What time is it?", **params}))).output

    return run


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_the_current_time(agent, server, provider):
    """A tool's result goes back to the model, whose answer is the response; every step is told."""
    form = openai if provider == "openai" else anthropic
    server.answers = [form("Let me look", calls=[("t1", "current_time", {"timezone": "Europe/Berlin"})]), form("One o'clock")]
    output = await agent(provider=provider)
    assert output["response"] == "One o'clock"
    done = {"id": "t1", "name": "current_time", "arguments": {"timezone": "Europe/Berlin"}, "result": "2026-11-21T13:00:00+01:00"}
    assert [(step["step"], step["tool_calls"]) for step in output["steps"]] == [(1, [done]), (2, [])]
    assert (output["thinking"], output["intermediate_results"], output["usage"]["total_tokens"]) == (["Let me look"], [done], 14)
    assert [one["role"] for one in output["conversation"]] == ["user", "assistant", "tool", "assistant"]
    again = server.requests[1][2]["messages"]
    if provider == "openai":
        assert again[1]["tool_calls"][0]["function"] == {"name": "current_time", "arguments": '{"timezone":"Europe/Berlin"}'}
        assert again[2] == {"role": "tool", "tool_call_id": "t1", "content": "2026-11-21T13:00:00+01:00"}
    else:
        assert again[2]["content"] == [{"type": "tool_result", "tool_use_id": "t1", "content": "2026-11-21T13:00:00+01:00"}]


async def test_nodes_as_tools(agent, server):
    """A node of another kind is a tool; what the author fixed, the model cannot change."""
    tool = {"kind": "database", "name": "numbers", "params": {"driver": "sqlite", "dsn": ":memory:", "operation": "query"}}
    server.answers = [openai(calls=[("t1", "numbers", {"query": "SELECT 6 * 7 AS n", "dsn": "postgresql://u@10.0.0.1/d", "driver": "postgres"})]), openai("42")]
    output = await agent(tools=[tool])
    assert output["intermediate_results"][0]["result"]["rows"] == [{"n": 42}]
    shown = next(one["function"] for one in server.requests[0][2]["tools"] if one["function"]["name"] == "numbers")
    assert "query" in shown["parameters"]["properties"]
    assert "dsn" not in shown["parameters"]["properties"]


async def test_what_belongs_together_is_the_authors(agent, server):
    """A word with the same meaning changes nothing either, nor does a part of an address beside the author's secret."""
    tool = {"kind": "database", "name": "numbers", "params": {"driver": "sqlite", "path": ":memory:", "op": "select", "sql": "SELECT 1 AS n"}}
    changed = {"operation": "execute", "queryType": "execute", "query": "CREATE TABLE t (a)", "host": "10.0.0.1", "secret": "OTHER", "max_rows": 5}
    server.answers = [openai(calls=[("t1", "numbers", changed)]), openai("1")]
    output = await agent(tools=[tool])
    assert output["intermediate_results"][0]["result"]["rows"] == [{"n": 1}]
    shown = next(one["function"] for one in server.requests[0][2]["tools"] if one["function"]["name"] == "numbers")["parameters"]["properties"]
    assert "max_rows" in shown
    assert not shown.keys() & {"operation", "op", "queryType", "query", "sql", "host", "secret", "password", "dsn", "driver"}


async def test_each_use_of_a_tool_has_a_key(agent, server):
    """The store took the second increment for the first one again."""
    tools = [{"kind": "store", "name": "count", "params": {"op": "increment", "key": "k"}}]
    server.answers = [openai(calls=[("t1", "count", {}), ("t2", "count", {})]), openai(calls=[("t3", "count", {"amount": 5})]), openai("7")]
    output = await agent(tools=tools)
    assert [one["result"]["value"] for one in output["intermediate_results"]] == [1, 2, 7]


async def test_a_model_that_does_not_count(agent, server):
    """Some servers write null for the tokens, and the content as a list of parts."""
    answer = openai([{"type": "text", "text": "Yes"}, {"type": "text", "text": "."}])
    server.answers = [answer | {"usage": {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}}]
    output = await agent()
    assert (output["response"], output["usage"]["total_tokens"]) == ("Yes.", 0)


async def test_requests_as_tools(agent, server):
    """A tool may be a request of the author's, or the built-in one."""
    own = {"name": "stock", "description": "How many there are.", "parameters": {"type": "object"}}
    handlers = {"stock": {"url": f"{server.url}/stock", "method": "POST"}}
    server.answers = [
        openai(calls=[("t1", "stock", {"item": "x"}), ("t2", "http_request", {"url": f"{server.url}/page"})]), web.json_response({"count": 3}), web.json_response("page"), openai("Three"),
    ]  # fmt: skip
    output = await agent(tools=[own, "http_request"], tool_handlers=handlers)
    assert [one["result"]["body"] for one in output["intermediate_results"]] == [{"count": 3}, "page"]
    assert output["intermediate_results"][0]["result"]["sent"] == {"item": "x"}


async def test_failing_tools(agent, server):
    """A tool that fails, or that there is not, is told to the model, which may go on."""
    server.answers = [
        openai(calls=[("t1", "current_time", {"timezone": "Moon"}), ("t2", "launch", {}), ("t3", "http_request", {"url": "x"})]), openai("Never mind"),
    ]  # fmt: skip
    output = await agent()
    errors = [one["error"] for one in output["intermediate_results"]]
    assert errors[0].startswith("FlowRunner.NodeFailed: There is no time zone")
    assert all("There is no tool" in one for one in errors[1:])
    assert output["response"] == "Never mind"


async def test_steps_are_bounded(agent, server):
    """After max_steps questions without an answer the node fails."""
    server.answers = [openai(calls=[("t", "current_time", {})]) for _ in range(3)]
    with pytest.raises(NodeFailed) as caught:
        await agent(max_steps=3)
    assert (caught.value.error, len(server.requests)) == ("FlowRunner.AgentSteps", 3)


@pytest.mark.parametrize(
    "params",
    [{"tools": ["launch"]}, {"tools": [{"kind": "agent"}]}, {"tools": [{"kind": "none"}]}, {"tools": [{"name": "a"}]}, {"tools": [{"name": "a"}], "tool_handlers": {"a": {}}},
     {"tools": [{"name": "a"}], "tool_handlers": {"a": {"script": "1"}}}, {"max_steps": 0}, {"prompt": None}],
)  # fmt: skip
async def test_tools_that_cannot_be(agent, server, params):
    """The failure names the tool, and nobody is asked."""
    with pytest.raises(NodeFailed) as caught:
        await agent(**params)
    assert caught.value.error == "FlowRunner.InvalidParameters"
    assert not server.requests
