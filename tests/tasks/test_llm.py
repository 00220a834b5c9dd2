from __future__ import annotations

import pytest
from aiohttp import web
from model_server import anthropic, model_server, openai
from nodes_calls import Secrets, node_call

from flowrunner.tasks.client import GuardedClient
from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.nodes.kind import NodeFailed
from flowrunner.tasks.nodes.llm import LlmKind, Models

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
TOOL = {"name": "weather", "description": "The weather.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}


@pytest.fixture
async def server():
    async with model_server() as made:
        yield made


@pytest.fixture
async def ask(stack, server):
    client = GuardedClient(EgressPolicy([server.place]))
    await client.start(stack)
    kind = LlmKind(Models(client=client, secrets=Secrets(model={"key": "sk-hidden"})))

    async def asking(input=None, **params):  # noqa: A002
        return (await kind.run(node_call({"base_url": server.url, "secret": "model", "model": "m", **params}, input))).output

    return asking


async def test_openai(ask, server):
    """The request is one of chat completions, the answer has all its parts."""
    server.answers = [openai("Hello")]
    output = await ask(prompt="Hi", system="Be brief", max_tokens=5, stop="END", options={"seed": 1})
    path, headers, body = server.requests[0]
    assert (path, headers["Authorization"]) == ("/chat/completions", "Bearer sk-hidden")
    messages = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}]
    assert body == {"model": "m", "messages": messages, "temperature": 0.7, "max_tokens": 5, "stop": ["END"], "seed": 1}
    raw = output.pop("raw_response")
    assert output == {
        "id": "c1", "model": "m-2026", "choices": raw["choices"], "usage": raw["usage"], "content": "Hello", "finish_reason": "stop",
        "has_tool_calls": False, "tool_calls": [], "structured_output": None,
    }  # fmt: skip


async def test_anthropic(ask, server):
    """The request is one of messages, the answer looks like OpenAI's."""
    server.answers = [anthropic("Hello", calls=[("t1", "weather", {"city": "Bonn"})])]
    earlier = [
        {"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "", "tool_calls": [{"id": "t0", "name": "weather", "arguments": {}}]},
        {"role": "tool", "tool_call_id": "t0", "content": "sunny"},
    ]  # fmt: skip
    output = await ask(provider="anthropic", messages=earlier, prompt="And Bonn?", temperature=None, functions=[TOOL])
    path, headers, body = server.requests[0]
    assert (path, headers["x-api-key"], headers["anthropic-version"]) == ("/v1/messages", "sk-hidden", "2023-06-01")
    assert (body["system"], body["max_tokens"], "temperature" in body) == ("Be brief", 4096, False)
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t0", "name": "weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t0", "content": "sunny"}, {"type": "text", "text": "And Bonn?"}]},
    ]
    assert body["tools"] == [{"name": "weather", "description": "The weather.", "input_schema": TOOL["parameters"]}]
    assert (output["content"], output["finish_reason"], output["usage"]["total_tokens"]) == ("Hello", "tool_calls", 7)
    assert output["tool_calls"] == [{"id": "t1", "name": "weather", "arguments": {"city": "Bonn"}}]


async def test_what_is_asked(ask, server):
    """Templates are filled once; input.question goes before the prompt."""
    server.answers = [openai("ok")] * 3
    await ask(template="{{name}} likes {{ .food.best }}", variables={"name": "{{food}}", "food": {"best": ["tea"]}})
    await ask({"question": "Why?"}, prompt="Hi")
    await ask(templates=[{"role": "system", "template": "Speak {{tongue}}"}, {"template": "Hi"}], context={"tongue": "Dutch"})
    asked = [[(one["role"], one["content"]) for one in body["messages"]] for _, _, body in server.requests]
    assert asked == [[("user", '{{food}} likes ["tea"]')], [("user", "Why?")], [("system", "Speak Dutch"), ("user", "Hi")]]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_structured_output(ask, server, provider):
    """An answer by a schema is read and checked."""
    wanted = {"prompt": "Hi", "provider": provider, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}

    def answer(text, value):
        return openai(text) if provider == "openai" else anthropic(calls=[("t", "structured_answer", value)])

    server.answers = [answer('```json\n{"n": 1}\n```', {"n": 1}), answer('{"n": "one"}', {"n": "one"})]
    output = await ask(**wanted)
    assert (output["structured_output"], output["has_tool_calls"]) == ({"n": 1}, False)
    with pytest.raises(NodeFailed, match="/n") as caught:
        await ask(**wanted)
    assert caught.value.error == "FlowRunner.ModelOutput"


async def test_json_without_a_schema(ask, server):
    """parse_structured reads JSON wherever it was asked for; what is none is a failure."""
    server.answers = [openai("[1]"), openai("one"), openai("plain")]
    assert (await ask(prompt="Hi", parse_structured=True))["structured_output"] == [1]
    with pytest.raises(NodeFailed, match="no JSON"):
        await ask(prompt="Hi", response_format="json")
    assert server.requests[1][2]["response_format"] == {"type": "json_object"}
    assert (await ask(prompt="Hi"))["structured_output"] is None


@pytest.mark.parametrize(
    ("answer", "error", "cause"),
    [
        (
            lambda: web.json_response({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "7"}),
            "FlowRunner.ModelRateLimited",
            "slow down (retry after 7 s)",
        ),
        (lambda: web.json_response({"error": {"message": "overloaded"}}, status=529), "FlowRunner.ModelUnavailable", "529: overloaded"),
        (lambda: web.Response(text="down", status=502), "FlowRunner.ModelUnavailable", "502: down"),
        (lambda: web.json_response({"error": {"message": "no such model"}}, status=404), "FlowRunner.ModelRefused", "no such model"),
        (lambda: web.json_response({"choices": []}), "FlowRunner.ModelOutput", "not one of a model"),
        (lambda: web.Response(text="<html>"), "FlowRunner.ModelOutput", "not one of a model"),
    ],
)
async def test_answers_that_are_none(ask, server, answer, error, cause):
    """Each way of failing has a name that retries can match."""
    server.answers = [answer()]
    with pytest.raises(NodeFailed) as caught:
        await ask(prompt="Hi")
    assert (caught.value.error, cause in caught.value.cause) == (error, True)


@pytest.mark.parametrize(
    "params",
    [
        {}, {"prompt": "Hi", "model": None}, {"prompt": "Hi", "provider": "other"}, {"messages": [{"role": "boss", "content": "x"}]}, {"template": "{{x}}"},
        {"prompt": "Hi", "response_format": {"type": "json_schema", "json_schema": {"type": 7}}}, {"prompt": "Hi", "tools": [{"name": "a b"}]}, {"prompt": "Hi", "stop": 1},
        {"prompt": "Hi", "response_format": {"type": "json_schema", "json_schema": {"$ref": "http://127.0.0.1/x"}}}, {"prompt": "Hi", "api_key": "a\nb"},
        {"prompt": "Hi", "provider": "generic", "base_url": None},
    ],
)  # fmt: skip
async def test_parameters_that_cannot_be_used(ask, server, params):
    """The failure names the parameter, and nobody is asked."""
    with pytest.raises(NodeFailed) as caught:
        await ask(**params)
    assert caught.value.error == "FlowRunner.InvalidParameters"
    assert not server.requests


async def test_only_allowed_places(ask):
    """A base URL is checked as every other address."""
    with pytest.raises(NodeFailed) as caught:
        await ask(prompt="Hi", base_url="http://169.254.169.254/latest")
    assert caught.value.error == "FlowRunner.EgressRefused"
