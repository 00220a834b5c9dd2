from __future__ import annotations

import asyncio
import base64
import json
from email import message_from_bytes

import pytest
from aiohttp import web
from task_calls import call

from flowrunner.ports.secrets import Revealed
from flowrunner.ports.tasks import Failed, Succeeded
from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.registry import Registry

JSON = {"content_type": "application/json"}


@pytest.fixture
def ask(node, server):
    """Sends a request to the server; gives the result or the failure."""

    async def asker(params=None, **more):
        outcome = await node("http.request", {"url": f"{server.url}/path"} | (params or {}), **more)
        return json.loads(outcome.output) if isinstance(outcome, Succeeded) else outcome

    return asker


async def test_a_flow_gets_the_whole_answer(ask, server):
    """Every field of the documented output."""
    server.answer = lambda request: web.json_response({"id": 7}, headers={"X-Trace": "t"})
    made = await ask({"query": {"a": [1, "b"]}, "headers": {"X-One": "1"}}, language="flow")
    output = made["output"]
    assert made["action"] == "success"
    assert (output["status_code"], output["body"], output["raw_body"], output["success"]) == (200, {"id": 7}, '{"id": 7}', True)
    assert (output["headers"]["X-Trace"], output["headers"]["Content-Type"]) == ("t", "application/json; charset=utf-8")
    assert output["metadata"] == {"url": f"{server.url}/path?a=1&a=b", "method": "GET", "redirects": 0, "size": 9}
    assert output["timing_ms"] > 0
    assert server.requests[0][1] == "/path?a=1&a=b"
    assert server.requests[0][2]["X-One"] == "1"


@pytest.mark.parametrize(
    ("status", "action"),
    [(200, "success"), (204, "success"), (302, "success"), (404, "client_error"), (429, "client_error"), (500, "server_error"), (503, "server_error")],
)
async def test_the_status_picks_the_edge(ask, server, status, action):
    """In a flow every status is a result."""
    server.answer = lambda request: web.Response(status=status)
    made = await ask()
    assert (made["action"], made["output"]["success"]) == (action, 200 <= status < 300)


@pytest.mark.parametrize(
    ("body", "kind", "value"),
    [
        (b'{"a": 1}', "application/json", {"a": 1}),
        (b'{"a": 1}', "Application/JSON; charset=UTF-8", {"a": 1}),
        (b'{"a": 1}', "application/problem+json", {"a": 1}),
        (b'{"a": 1}', "application/vnd.api+json; charset=utf-8", {"a": 1}),
        (b"\xef\xbb\xbf[1]", "application/json", [1]),
        ('{"a": "\u00fc"}'.encode("latin-1"), "application/json; charset=iso-8859-1", {"a": "\u00fc"}),
        ('{"a": "\u00fc"}'.encode("utf-16"), "application/json; charset=utf-16", {"a": "\u00fc"}),
        (b'{"a": 1}', "text/plain", '{"a": 1}'),
        (b"{broken", "application/json", "{broken"),
        (b"", "application/json", ""),
        ("\u00fc".encode(), "text/plain", "\u00fc"),
        (b"x", "text/plain; charset=zlib", "x"),
        (b"x", "text/plain; charset=no-such", "x"),
        ("\u00fc".encode(), "text/plain; charset=undefined", "\u00fc"),
        (b"\xff", "text/plain; charset=idna", "\ufffd"),
        (b"+2AA-", "text/plain; charset=utf-7", "\ufffd"),
    ],
)  # fmt: skip
async def test_bodies_are_read_by_media_type_and_charset(ask, server, body, kind, value):
    """JSON is a value on every JSON type, in its own charset; what is broken stays text."""
    server.answer = lambda request: web.Response(body=body, headers={"Content-Type": kind})
    assert (await ask())["output"]["body"] == value


async def test_a_body_that_is_no_text(ask, server):
    """Bytes are given in base64, too."""
    server.answer = lambda request: web.Response(body=b"\xff\x00", content_type="image/png")
    assert base64.b64decode((await ask())["output"]["body_base64"]) == b"\xff\x00"


@pytest.mark.parametrize(
    ("params", "header", "value"),
    [
        ({"auth": {"username": "ada", "password": "s:cret"}}, "Authorization", "Basic " + base64.b64encode(b"ada:s:cret").decode()),
        ({"username": "ada", "password": "x"}, "Authorization", "Basic " + base64.b64encode(b"ada:x").decode()),
        ({"auth": {"type": "bearer", "token": "tok"}}, "Authorization", "Bearer tok"),
        ({"auth": {"token": "tok"}}, "Authorization", "Bearer tok"),
        ({"bearer_token": "tok"}, "Authorization", "Bearer tok"),
        ({"auth": {"api_key": "key"}}, "X-API-Key", "key"),
        ({"api_key": "key", "key_name": "X-Mine"}, "X-Mine", "key"),
    ],
)
async def test_credentials(ask, server, params, header, value):
    """Basic, bearer, and a key in a header of its own."""
    await ask(params)
    assert server.requests[0][2][header] == value


async def test_a_credential_does_not_go_to_another_host(ask, server):
    """After a redirect to another origin the key is gone."""
    server.answer = lambda request: (
        web.Response(status=302, headers={"Location": f"http://localhost:{server.port}/there"}) if request.path == "/path" else web.Response()
    )
    made = await ask({"bearer_token": "tok"}, options={"policy": EgressPolicy([f"127.0.0.1:{server.port}", f"localhost:{server.port}"])})
    assert made["output"]["metadata"]["redirects"] == 1
    assert "Authorization" in server.requests[0][2]
    assert "Authorization" not in server.requests[1][2]


async def test_redirects(ask, server):
    """Followed unless it is said otherwise, each hop guarded."""
    server.answer = lambda request: web.Response(status=307, headers={"Location": "/next"}) if request.path == "/path" else web.Response(text="there")
    made = await ask()
    assert (made["output"]["body"], made["output"]["metadata"]["url"]) == ("there", f"{server.url}/next")
    assert (await ask({"follow_redirects": False}))["output"]["status_code"] == 307
    server.answer = lambda request: web.Response(status=302, headers={"Location": "http://169.254.169.254/latest"})
    outcome = await ask()
    assert outcome.error == "FlowRunner.EgressRefused"


async def test_bodies_are_sent(ask, server):
    """A text as it is, a value as JSON, a form URL encoded."""
    await ask({"method": "post", "body": {"a": [1]}})
    assert (json.loads(server.requests[-1][3]), server.requests[-1][2]["Content-Type"]) == ({"a": [1]}, "application/json")
    await ask({"method": "PUT", "body": "plain", "headers": {"Content-Type": "text/plain"}})
    assert (server.requests[-1][0], server.requests[-1][3]) == ("PUT", b"plain")
    await ask({"method": "POST", "form_data": {"a": "b c", "n": [1, 2]}})
    assert server.requests[-1][3] == b"a=b+c&n=1&n=2"
    assert server.requests[-1][2]["Content-Type"] == "application/x-www-form-urlencoded"


async def test_files_are_uploaded(ask, server):
    """A multipart form as a parser of its own reads it; names cannot break out of their quotes."""
    file = {"name": "up", "filename": 'a"b\r\nX: 1.bin', "content_base64": base64.b64encode(b"\x00\xff").decode()}
    other = {"name": "text", "content": "caf\u00e9", "content_type": "text/plain"}
    await ask({"method": "POST", "form_data": {"who": "ada"}, "file": [file, other]})
    kind, body = server.requests[0][2]["Content-Type"], server.requests[0][3]
    parts = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body).get_payload()
    read = {part.get_param("name", header="content-disposition"): part for part in parts}
    assert list(read) == ["who", "up", "text"]
    assert read["who"].get_payload() == "ada"
    assert (read["up"].get_payload(decode=True), read["up"].get_content_type()) == (b"\x00\xff", "application/octet-stream")
    assert read["up"].get_filename() == "a%22b%0D%0AX: 1.bin"
    assert read["text"].get_payload(decode=True) == "caf\u00e9".encode()


@pytest.mark.parametrize("longest", [0.2, "200ms", "0.2"])
async def test_a_request_that_takes_too_long(ask, server, longest):
    """A timeout in seconds or as text gives the error that takes the edge `timeout`."""
    server.answer = lambda request: asyncio.Event().wait()
    outcome = await ask({"timeout": longest})
    assert (outcome.error, "Traceback" in outcome.cause) == ("States.Timeout", False)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"url": None}, "url"),
        ({"method": "BREW"}, "method"),
        ({"timeout": "soon"}, "timeout"),
        ({"timeout": 0}, "timeout"),
        ({"headers": {"Host": "x"}}, "Host"),
        ({"headers": {"X": "a\r\nY: b"}}, "cannot be sent"),
        ({"headers": [1]}, "headers"),
        ({"auth": {"type": "digest"}}, "auth.type"),
        ({"bearer_token": "a\nb"}, "line break"),
        ({"body": "x", "form_data": {"a": 1}}, "body"),
        ({"method": "POST", "file": "/etc/passwd"}, "files of the server are not read"),
        ({"method": "POST", "file": {"content_base64": "%"}}, "base64"),
        ({"form_data": {"a": 1}}, "POST"),
        ({"follow_redirects": 7}, "follow_redirects"),
    ],
)
async def test_parameters_that_cannot_be_used(ask, server, params, says):
    """Each is named, and nothing is sent."""
    outcome = await ask(params)
    assert isinstance(outcome, Failed)
    assert (outcome.error, server.requests) == ("FlowRunner.InvalidParameters", [])
    assert says in outcome.cause


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
        "http://169.254.169.254/",
        "file:///etc/passwd",
        "gopher://x/",
        "http://u:p@example.com/",
    ],
)
async def test_the_guard_is_on(ask, server, url):
    """What the operator has not allowed is not connected to."""
    outcome = await ask({"url": url})
    assert outcome.error == "FlowRunner.EgressRefused"


async def test_nobody_there(node, closed_port):
    """A server that is not there is a socket error, as the States Language calls it."""
    options = {"policy": EgressPolicy([f"127.0.0.1:{closed_port}"])}
    outcome = await node("http.request", {"url": f"http://127.0.0.1:{closed_port}/"}, options=options)
    assert (outcome.error, outcome.cause) == ("States.Http.Socket", f"127.0.0.1:{closed_port} cannot be reached: ClientConnectorError.")


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello", "gave an answer that cannot be read"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello", "gave an answer that cannot be read"),
        (b"nonsense\r\n\r\n", "gave an answer that cannot be read"),
        (b"", "closed the connection before its answer was whole"),
    ],
)
async def test_a_server_that_misbehaves_was_reached(node, sent, says):
    """The cause does not say that it was not."""

    async def misbehave(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(misbehave, "127.0.0.1", 0) as listening:
        address = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        outcome = await node("http.request", {"url": f"http://{address}/"}, options={"policy": EgressPolicy([address])})
    assert isinstance(outcome, Failed), outcome
    assert outcome.error == "States.Http.Socket"
    assert outcome.cause.startswith(f"{address} {says}: ")


async def test_the_last_method_is_told(ask, server):
    """Of a POST that was led on, the GET that followed."""
    server.answer = lambda request: web.Response(status=303, headers={"Location": "/next"}) if request.path == "/path" else web.Response(text="there")
    made = await ask({"method": "POST", "body": "x"})
    assert (made["output"]["metadata"]["method"], made["output"]["metadata"]["redirects"]) == ("GET", 1)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"follow_redirects": "no"}, "The parameter 'follow_redirects' must be true or false, not a text."),
        ({"auth": {"type": "bearer", "token": ""}}, "The parameter 'token' must be a text, not an empty one."),
        ({"query": "a=1"}, "The parameter 'query' must be an object, not a text."),
    ],
)
async def test_a_message_does_not_contradict_itself(node, params, says):
    """A text is not called another one where none is wanted."""
    outcome = await node("http.request", {"url": "http://127.0.0.1/", **params})
    assert outcome.cause == says


# --- in a workflow


async def test_a_step_has_the_bodys_own_keys(ask, server):
    """`userId: userId` works, and the whole answer is there."""
    server.answer = lambda request: web.json_response({"userId": 1, "title": "x", "status": "mine"})
    output = (await ask(language="workflow"))["output"]
    assert (output["userId"], output["title"], output["status"]) == (1, "x", 200)
    assert output["response"]["body"] == {"userId": 1, "title": "x", "status": "mine"}
    assert (output["response"]["statusCode"], json.loads(output["response"]["bodyRaw"])["userId"]) == (200, 1)
    assert output["response"]["headers"]["Content-Type"].startswith("application/json")


@pytest.mark.parametrize(
    ("more", "passes"),
    [
        ({}, False),
        ({"expectedStatus": 404}, True),
        ({"expectedStatus": [200, "404"]}, True),
        ({"expectedStatus": 200}, False),
        ({"assertions": [{"type": "status_code", "expected": 404}]}, True),
        ({"assertions": [{"type": "status_code", "in": [404, 410]}]}, True),
        ({"assertions": [{"type": "json_path", "path": "error", "equals": "gone"}]}, False),
    ],
)
async def test_a_status_fails_a_step_unless_it_is_expected(ask, server, more, passes):
    """404 with expectedStatus or an assertion about the status is a success."""
    server.answer = lambda request: web.json_response({"error": "gone"}, status=404)
    made = await ask(more, language="workflow")
    if passes:
        assert made["output"]["status"] == 404
    else:
        assert made.error == "FlowRunner.HttpStatus"
        assert "404" in made.cause


@pytest.mark.parametrize(
    ("assertion", "passes"),
    [
        ({"type": "status_code", "expected": 200}, True),
        ({"type": "status_code", "expected": 201}, False),
        ({"type": "json_path", "path": "$.data.items[1].id", "equals": 2}, True),
        ({"type": "json_path", "path": "$.data.items[1].id", "equals": 3}, False),
        ({"type": "json_path", "path": "data.items", "exists": True}, True),
        ({"type": "json_path", "path": "data.none", "exists": True}, False),
        ({"type": "json_path", "path": "data.none", "exists": False}, True),
        ({"type": "arrayLength", "path": "response.body.data.items", "expected": 2}, True),
        ({"type": "lessThan", "path": "status", "expected": 200}, False),
    ],
)
async def test_assertions_of_a_step(ask, server, assertion, passes):
    """About the status, the body, and anything in the output."""
    server.answer = lambda request: web.json_response({"data": {"items": [{"id": 1}, {"id": 2}]}})
    made = await ask({"assertions": [assertion]}, language="workflow")
    if passes:
        assert made["output"]["assertions"][0]["passed"] is True
    else:
        assert made.error == "FlowRunner.AssertionFailed"


async def test_a_path_below_the_base_address(node, server):
    """`path` is below the variable baseUrl."""
    await node("http", {"path": "/users/1"}, language="workflow", variables={"baseUrl": f"{server.url}/api/"})
    assert server.requests[0][1] == "/api/users/1"


def test_only_asking_is_repeatable(starter):
    """GET may be sent again after a crash, POST not."""
    made = Registry(starter=starter)

    def idempotent(method):
        one = call("arn:aws:states:::flowrunner:http.request", {"params": {"url": "http://x", "method": method}})
        return made.resolve(one).idempotent(one)

    assert idempotent("get")
    assert not idempotent("POST")
    assert not idempotent("${input.method}")


class Vault:
    async def reveal(self, account, name, path=None):
        return Revealed(value="k3y-of-the-canary", hidden=("k3y-of-the-canary",), type="general", version=1)


@pytest.mark.parametrize(
    "params",
    [
        {"bearer_token": "${secrets.KEY}"},
        {"auth": {"username": "ada", "password": "${secrets.KEY}"}},
        {"query": {"k": "${secrets.KEY}"}},
        {"method": "POST", "body": {"k": "${secrets.KEY}"}},
    ],
)
@pytest.mark.parametrize("status", [200, 500])
async def test_a_server_that_sends_secrets_back_shows_none(registry, server, params, status):
    """Whatever it does with them: in a body, a header, in base64, with a good or a bad status, in both languages."""
    seen = []

    def echo(request):
        sent = server.requests[-1]
        seen.append(json.dumps([sent[1], sent[2], sent[3].decode()]))
        back = sent[2].get("Authorization", sent[1])
        return web.json_response({"seen": seen[-1]}, status=status, headers={"X-Back": back})

    server.answer = echo
    made = await registry(policy=EgressPolicy([f"127.0.0.1:{server.port}"]), secrets=Vault())
    one = call("arn:aws:states:::flowrunner:http.request", {"params": {"url": f"{server.url}/p", **params}, "language": "flow"})
    outcome = await made.resolve(one).run(one)
    encoded = base64.b64encode(b"ada:k3y-of-the-canary").decode()
    assert "k3y-of-the-canary" in seen[0] or encoded in seen[0]
    assert "k3y-of-the-canary" not in outcome.output
    assert encoded not in outcome.output


async def test_headers_of_older_servers(ask, server):
    """They are bytes: UTF-8, or else Latin-1. A half of a character would stop the execution."""
    answer = (
        "HTTP/1.1 200 Tr\u00e8s bien\r\nX-Latin: caf\u00e9\r\nContent-Length: 2\r\nConnection: close\r\nX-Other: ".encode("latin-1")
        + "\u20ac\r\n\r\n{}".encode()
    )

    def older(request):
        request.transport.write(answer)
        request.transport.close()
        return web.Response()

    server.answer = older
    output = (await ask())["output"]
    assert (output["headers"]["X-Latin"], output["headers"]["X-Other"]) == ("caf\u00e9", "\u20ac")
