from __future__ import annotations

import asyncio
import json
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from task_calls import ACCOUNT, INVOKE, call, function_arn

from flowrunner.ports.tasks import AttemptLost, Succeeded, TaskHandler, may_begin
from flowrunner.tasks.client import GuardedClient
from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.functions import read_functions
from flowrunner.tasks.http import Connection
from flowrunner.tasks.invokers import EndpointFunctions, environment_signer

HTTP = "arn:aws:states:::http:invoke"


@pytest.fixture
def send(registry, server):
    async def sender(parameters, **options):
        made = await registry(policy=EgressPolicy([f"127.0.0.1:{server.port}"]), **options)
        one = call(HTTP, {"ApiEndpoint": f"{server.url}/path", "Method": "GET"} | parameters)
        return await made.resolve(one).run(one)

    return sender


async def test_answer(send, server):
    """The answer has AWS's four parts."""
    outcome = await send({"QueryParameters": {"a": ["1", "2"], "b": True}, "Headers": {"X-One": "1", "X-Two": ["a", "b"]}})
    assert isinstance(outcome, Succeeded)
    answer = json.loads(outcome.output)
    assert list(answer) == ["Headers", "ResponseBody", "StatusCode", "StatusText"]
    assert (answer["ResponseBody"], answer["StatusCode"], answer["StatusText"]) == ({"ok": True}, 200, "OK")
    assert answer["Headers"]["content-type"] == ["application/json; charset=utf-8"]
    method, path, headers, body = server.requests[0]
    assert (method, path, body) == ("GET", "/path?a=1&a=2&b=true", b"")
    assert (headers["X-One"], headers["X-Two"]) == ("1", "a, b")


@pytest.mark.parametrize(("text", "body"), [("plain", "plain"), ("", ""), ('{"a": 1}', {"a": 1}), ("[1, 2]", [1, 2]), ("7", 7), ("\u00fc", "\u00fc")])
async def test_bodies(send, server, text, body):
    """A JSON body is a value, any other is text."""
    server.answer = lambda request: web.Response(text=text)
    assert json.loads((await send({})).output)["ResponseBody"] == body


async def test_request_body(send, server):
    """A request body goes as JSON, or URL encoded on request."""
    await send({"Method": "POST", "RequestBody": {"a": [1, {"b": 2}]}})
    assert (json.loads(server.requests[-1][3]), server.requests[-1][2]["Content-Type"]) == ({"a": [1, {"b": 2}]}, "application/json")
    await send({"Method": "POST", "RequestBody": "text", "Headers": {"Content-Type": "text/plain"}})
    assert server.requests[-1][3] == b"text"
    for form, expected in (
        (None, [("a[0]", "1"), ("a[1]", "x y"), ("b", "&=")]),
        ("REPEAT", [("a", "1"), ("a", "x y"), ("b", "&=")]),
        ("BRACKETS", [("a[]", "1"), ("a[]", "x y"), ("b", "&=")]),
        ("COMMAS", [("a", "1,x y"), ("b", "&=")]),
    ):
        transform = {"RequestBodyEncoding": "URL_ENCODED"} | ({"RequestEncodingOptions": {"ArrayFormat": form}} if form else {})
        await send({"Method": "POST", "RequestBody": {"a": [1, "x y"], "b": "&="}, "Transform": transform})
        assert parse_qsl(server.requests[-1][3].decode()) == expected


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_statuses(send, server, status):
    """A status from 400 is an error of its own name, with the body as its cause."""
    server.answer = lambda request: web.Response(status=status, text="not so")
    outcome = await send({})
    assert (outcome.error, outcome.cause) == (f"States.Http.StatusCode.{status}", "not so")


async def test_a_request_is_sent_once(send, server):
    """A connection that breaks fails the attempt; the request is not repeated behind the state's back."""

    def broken(request):
        request.transport.abort()
        return web.Response()

    server.answer = broken
    for method in ("GET", "PUT", "DELETE", "POST"):
        assert (await send({"Method": method})).error == "States.Http.Socket"
    assert [request[0] for request in server.requests] == ["GET", "PUT", "DELETE", "POST"]


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"ApiEndpoint": None}, "States.Runtime"),
        ({"Method": None}, "States.Runtime"),
        ({"Method": "TRACE"}, "States.Runtime"),
        ({"Colour": 1}, "States.Runtime"),
        ({"Headers": {"Host": "x"}}, "States.Runtime"),
        ({"Headers": {"X": "a\r\nY: b"}}, "States.Runtime"),
        ({"Headers": {"X\r\nY": "b"}}, "States.Runtime"),
        ({"Headers": []}, "States.Runtime"),
        ({"QueryParameters": "a=b"}, "States.Runtime"),
        ({"RequestBody": "x", "Transform": {"RequestBodyEncoding": "URL_ENCODED"}}, "States.Runtime"),
        ({"Authentication": {}}, "States.Runtime"),
        ({"Authentication": {"ConnectionArn": "arn:aws:events:us-east-1:123456789012:connection/none/1"}}, "Events.ConnectionResource.ResourceNotFound"),
        ({"ApiEndpoint": "http://169.254.169.254/latest/meta-data/"}, "FlowRunner.EgressRefused"),
        ({"ApiEndpoint": "file:///etc/passwd"}, "FlowRunner.EgressRefused"),
    ],
)
async def test_refused(send, server, parameters, error):
    """What cannot or may not be sent is not."""
    assert (await send(parameters)).error == error
    assert server.requests == []


async def test_connections(send, server):
    """A connection's credential is added to the request and is no part of the answer."""

    class Connections:
        async def connection(self, account, arn):
            assert account == ACCOUNT
            return Connection(headers={"Authorization": "Bearer canary"}, query={"key": "canary2"}, body={"client": "canary3"})

    outcome = await send({"Method": "POST", "RequestBody": {"a": 1}, "Authentication": {"ConnectionArn": "arn:x"}}, connections=Connections())
    _, path, headers, body = server.requests[0]
    assert (path, headers["Authorization"], json.loads(body)) == ("/path?key=canary2", "Bearer canary", {"a": 1, "client": "canary3"})
    assert "canary" not in outcome.output


async def test_large_answers(send, server):
    """An answer above the profile's payload limit is refused."""
    server.answer = lambda request: web.Response(body=b"a" * 300_000)
    assert (await send({})).error == "States.DataLimitExceeded"


async def test_url_function(registry, server, tmp_path):
    """A function behind a URL of the configuration gets the event and the idempotency key; its host needs no exception."""
    table = {"f": {"url": f"{server.url}/f", "headers": {"Authorization": "Bearer x"}}}
    made = await registry(functions=read_functions(table, tmp_path))
    one = call(function_arn("f"), {"a": 1})
    assert await made.resolve(one).run(one) == Succeeded('{"ok": true}')
    method, path, headers, body = server.requests[0]
    assert (method, path, body, headers["Idempotency-Key"], headers["Authorization"]) == ("POST", "/f", b'{"a":1}', "e1/1", "Bearer x")
    server.answer = lambda request: web.json_response({"errorType": "MyError", "errorMessage": "m"}, status=500)
    assert (await made.resolve(one).run(one)).error == "MyError"
    server.answer = lambda request: web.Response(text="down", status=503)
    service = call(INVOKE, {"FunctionName": "f"})
    outcome = await made.resolve(service).run(service)
    assert (outcome.error, json.loads(outcome.cause)["errorMessage"]) == ("States.Http.StatusCode.503", "down")
    trusted_only = call(HTTP, {"ApiEndpoint": server.url, "Method": "GET"})
    assert (await made.resolve(trusted_only).run(trusted_only)).error == "FlowRunner.EgressRefused"


async def test_url_function_may_not_redirect_elsewhere(registry, server, tmp_path):
    """The trust is for the configured host, not for where it points."""
    made = await registry(functions=read_functions({"f": f"{server.url}/f"}, tmp_path))
    server.answer = lambda request: web.Response(status=302, headers={"Location": "http://127.0.0.2/"})
    one = call(function_arn("f"), {})
    outcome = await made.resolve(one).run(one)
    assert outcome.error == "States.Http.Socket"
    assert "127.0.0.2" in outcome.cause


async def test_endpoint(registry, server):
    """A function that is not registered goes to the AWS endpoint, if there is one."""
    made = await registry(endpoint_url=server.url)
    one = call(INVOKE, {"FunctionName": "g:live", "Payload": {"a": 1}})
    server.answer = lambda request: web.Response(text="[1]", headers={"X-Amz-Executed-Version": "3"})
    answer = json.loads((await made.resolve(one).run(one)).output)
    assert (answer["Payload"], answer["ExecutedVersion"]) == ([1], "3")
    assert server.requests[0][:2] == ("POST", "/2015-03-31/functions/g/invocations?Qualifier=live")
    server.answer = lambda request: web.json_response({"errorType": "E", "errorMessage": "m"}, headers={"X-Amz-Function-Error": "Unhandled"})
    assert (await made.resolve(one).run(one)).error == "E"
    missing = {"Type": "User", "Message": "Function not found: x"}
    server.answer = lambda request: web.json_response(missing, status=404, headers={"x-amzn-ErrorType": "ResourceNotFoundException"})
    outcome = await made.resolve(one).run(one)
    assert outcome.error == "Lambda.ResourceNotFoundException"
    assert outcome.cause.startswith("Function not found: x (Service: AWSLambda; Status Code: 404; Error Code: ResourceNotFoundException;")


async def test_endpoint_is_signed(monkeypatch, stack, server):
    """With a key pair in the environment the request carries a signature."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    sign = environment_signer("us-east-1")
    assert sign("POST", f"{server.url}/x", b"{}", {})["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert environment_signer("us-east-1") is None
    assert EndpointFunctions(server.url, GuardedClient(EgressPolicy())).places() == 1000


@pytest.mark.parametrize(
    ("resource", "error"),
    [
        ("arn:aws:states:::sqs:sendMessage", "SQS.SdkClientException"),
        ("arn:aws:states:::dynamodb:putItem", "DynamoDB.SdkClientException"),
        ("arn:aws:states:::aws-sdk:dynamodb:putItem", "DynamoDb.SdkClientException"),
        ("arn:aws:states:::aws-sdk:s3:getObject", "S3.SdkClientException"),
        ("arn:aws:states:::glue:startJobRun.sync", "Glue.SdkClientException"),
    ],
)
async def test_nothing_serves_it(registry, resource, error):
    """A resource that nobody serves fails with its service's name and the remedies."""
    made = await registry()
    one = call(resource, {})
    outcome = await made.resolve(one).run(one)
    assert outcome.error == error
    assert "mock_config" in outcome.cause
    assert outcome.phase == ("submit" if ".sync" in resource else "run")


class Plugin(TaskHandler):
    async def run(self, call):
        return Succeeded('"plugged"')


async def test_more_services(registry, monkeypatch):
    """Services are added by hand or by entry points, for a service or for one action."""
    from importlib.metadata import EntryPoint

    from flowrunner.tasks import registry as module

    point = EntryPoint(name="glue", group="flowrunner.tasks", value="test_http:Plugin")
    monkeypatch.setattr(EntryPoint, "load", lambda self: Plugin)
    monkeypatch.setattr(module, "entry_points", lambda group: [point])
    made = await registry(handlers={"sqs:sendMessage": Plugin()})
    for resource in ("arn:aws:states:::sqs:sendMessage", "arn:aws:states:::glue:startJobRun"):
        one = call(resource, {})
        assert await made.resolve(one).run(one) == Succeeded('"plugged"')
        assert made.resolve(one) is made.resolve(one)


async def test_a_lost_attempt_sends_nothing(send, server):
    """When another node has taken the attempt over, no request leaves."""

    async def ours():
        return False

    async def run():
        may_begin.set(ours)
        with pytest.raises(AttemptLost):
            await send({})

    await asyncio.create_task(run())
    assert server.requests == []
