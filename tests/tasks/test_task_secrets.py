"""Secret references: resolved at the last moment where the definition has them, hidden in everything that comes out."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import logging

import pytest
from aiohttp import web
from task_calls import ACCOUNT, INVOKE, call, function_arn

from flowrunner.asl.parse import parse_definition
from flowrunner.errors import NotFound, UnknownKey
from flowrunner.lang.dynamic import SecretReference, filled, references_in, secret_places, whole_reference
from flowrunner.ports.secrets import Revealed
from flowrunner.ports.tasks import AttemptLost, Failed, Succeeded, TaskHandler
from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.functions import read_functions

HTTP = "arn:aws:states:::http:invoke"
CANARY = "c4n4ry/+ \"'<&>\\é🔑"
REFERENCE = "{{resolve:secretsmanager:api:SecretString:key}}"
NAME = f"arn:aws:events:us-east-1:{ACCOUNT}:connection/"


class Source:
    """Secrets in a dictionary: name -> (type, value)."""

    def __init__(self, secrets):
        self.secrets, self.asked, self.error = secrets, [], None

    async def reveal(self, account, name, path=None):
        self.asked.append((account, name, path))
        if self.error is not None:
            raise self.error
        if name not in self.secrets:
            raise NotFound("secret", name)
        kind, value = self.secrets[name]
        if path is not None:
            if path not in value:
                raise NotFound(f"field of the secret {name!r},", path)
            value = value[path]
        hidden = tuple(value.values()) if isinstance(value, dict) else (value,)
        return Revealed(value=value, hidden=hidden, type=kind, version=1)


@pytest.fixture
def source():
    return Source({"api": ("custom", {"key": CANARY, "port": 54321, "name": "x y"}), "plain": ("general", "pl41n-text")})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{resolve:secretsmanager:a}}", [("a", None)]),
        ("{{resolve:secretsmanager:a:SecretString}}", [("a", None)]),
        ("{{resolve:secretsmanager:a:SecretString:}}", [("a", None)]),
        ("x{{resolve:secretsmanager:a/b c:SecretString:d.e}}y{{resolve:secretsmanager:f}}", [("a/b c", "d.e"), ("f", None)]),
        ("{{resolve:secretsmanager:a:SecretString:k:AWSCURRENT:}}", [("a", "k")]),
        ("{{resolve:secretsmanager:a:SecretString:k::}}", [("a", "k")]),
        ("{{resolve:secretsmanager:a:b:SecretString:k}}", [("a:b", "k")]),
        ("{{resolve:secretsmanager:a:SecretString:k:AWSPREVIOUS}}", []),
        ("{{resolve:ssm:a}}", []),
        ("{{resolve:secretsmanager:}}", []),
        ("{resolve:secretsmanager:a}", []),
        ("{{ resolve:secretsmanager:a }}", []),
    ],
)
def test_syntax(text, expected):
    """The forms of a reference, and what is none."""
    assert references_in(text) == [SecretReference(*one) for one in expected]


def test_one_pass():
    """What a value holds is not looked at again (S22)."""
    assert filled("{{resolve:secretsmanager:a}}", lambda _: "{{resolve:secretsmanager:b}}") == "{{resolve:secretsmanager:b}}"
    assert whole_reference(" {{resolve:secretsmanager:a}}") is None


def test_places():
    """Literal texts of a template, not its expressions."""
    template = {"a": [REFERENCE, {"b/c": f"Bearer {REFERENCE}"}], "d.$": "$.x", "e.$": REFERENCE, "f": "{% '" + REFERENCE + "' %}", REFERENCE: 1}
    assert secret_places(template) == ((("a", 0), REFERENCE), (("a", 1, "b/c"), f"Bearer {REFERENCE}"))
    assert secret_places(REFERENCE) == (((), REFERENCE),)


@pytest.mark.parametrize("language", ["JSONPath", "JSONata"])
def test_compiled(language):
    """The places stand in the program; a warning tells where a reference is not resolved."""
    name = "Parameters" if language == "JSONPath" else "Arguments"
    state = {"Type": "Task", "Resource": HTTP, name: {"ApiEndpoint": "https://x.example", "Method": "GET", "Headers": {"A": REFERENCE}}, "End": True}
    kept = {**state, "Resource": "arn:aws:states:::states:startExecution", name: {"StateMachineArn": "a", "Input": REFERENCE}}
    odd = {**state, name: {"ApiEndpoint": "{{resolve:ssm:x}}", "Method": "GET", **({"Headers": f"{{% '{REFERENCE}' %}}"} if language == "JSONata" else {})}}
    states = {"A": {**state, "Next": "B"}, "B": {**kept, "Next": "C"}, "C": odd}
    for one in ("A", "B"):
        del states[one]["End"]
    parsed = parse_definition(json.dumps({"StartAt": "A", "QueryLanguage": language, "States": states}))
    assert parsed.program is not None, parsed.diagnostics
    assert parsed.program.root.states["A"].work.secrets == ((("Headers", "A"), REFERENCE),)
    found = [(one.code, one.severity, one.pointer) for one in parsed.diagnostics]
    assert ("SECRET_NOT_RESOLVED", "WARNING", f"/States/B/{name}/Input") in found
    assert ("SECRET_NOT_RESOLVED", "WARNING", f"/States/C/{name}/ApiEndpoint") in found
    assert (("SECRET_NOT_RESOLVED", "WARNING", f"/States/C/{name}/Headers") in found) == (language == "JSONata")


FUNCTIONS = """
import base64, json, sys, urllib.parse, html
def spellings(value):
    return [value, json.dumps(value), json.dumps(json.dumps(value)), urllib.parse.quote(value), urllib.parse.quote_plus(value, safe=""),
            base64.b64encode(value.encode()).decode(), base64.b64encode(b"u:" + value.encode()).decode(), html.escape(value), value.encode().hex()]
def echo(event, context):
    print("printed", *spellings(event["k"]), sep="\\\\n")
    return {"all": spellings(event["k"]), event["k"]: 1, "same": event}
def fail(event, context):
    sys.stderr.write(" ".join(spellings(event["k"])) + "\\\\n")
    raise ValueError(" ".join(spellings(event["k"])))
def named(event, context):
    raise type(event["k"], (Exception,), {})("x")
def dies(event, context):
    print(event["k"])
    sys.exit(3)
def long(event, context):
    raise ValueError("x" * 32_700 + event["k"] * 50)
def unfit(event, context):
    return {1, 2, event["k"]}
""".replace("\\\\n", "\\n")


def spelt(value):
    return [value, json.dumps(value)[1:-1], base64.b64encode(value.encode()).decode()[:-4], value.encode().hex(), value[:8]]


@pytest.mark.parametrize("invoked", [False, True], ids=["arn", "invoke"])
@pytest.mark.parametrize("name", ["echo", "fail", "named", "dies", "long", "unfit"])
async def test_functions_show_nothing(run, source, caplog, name, invoked):
    """Whatever a function does with a secret, its output, error and log show none of it."""
    caplog.set_level(logging.DEBUG)
    functions = {name: f"functions.py:{name}"}
    if invoked:
        one = call(INVOKE, {"FunctionName": name, "Payload": {"k": REFERENCE}}, secrets=((("Payload", "k"), REFERENCE),))
    else:
        one = call(function_arn(name), {"k": REFERENCE}, secrets=((("k",), REFERENCE),))
    outcome = await run(FUNCTIONS, functions, one, secrets=source)
    await asyncio.sleep(0.05)  # what it printed arrives by a pipe
    assert source.asked == [(ACCOUNT, "api", "key")]
    assert isinstance(outcome, Succeeded if name == "echo" else Failed)
    said = outcome.output if name == "echo" else f"{outcome.error} {outcome.cause}"
    assert "***" in said or name in ("dies", "unfit")
    if name == "echo":
        json.loads(outcome.output)
    for one_spelling in spelt(CANARY):
        assert one_spelling not in said
        assert one_spelling not in caplog.text


async def test_the_function_gets_the_value(run, source, tmp_path):
    """Within texts as text, alone with the field's own type, a whole secret as the text of its fields."""
    shown = tmp_path / "seen.json"
    text = f"import json\ndef f(event, context):\n    open({str(shown)!r}, 'w').write(json.dumps(event))\n    return 1\n"
    parameters = {
        "inside": f"Bearer {REFERENCE}!",
        "number": "{{resolve:secretsmanager:api:SecretString:port}}",
        "numbers": "{{resolve:secretsmanager:api:SecretString:port}}/{{resolve:secretsmanager:plain}}",
        "all": "{{resolve:secretsmanager:api}}",
        "data": REFERENCE,
        "moved": "other",
    }
    secrets = (*((place, value) for place, value in secret_places(parameters) if place != ("data",)), (("moved",), REFERENCE), (("gone", 0), REFERENCE))
    outcome = await run(text, {"f": "functions.py:f"}, call(function_arn("f"), parameters, secrets=secrets), secrets=source)
    assert outcome == Succeeded("1")
    seen = json.loads(shown.read_text())
    assert json.loads(seen.pop("all")) == source.secrets["api"][1]
    assert seen == {"inside": f"Bearer {CANARY}!", "number": 54321, "numbers": "54321/pl41n-text", "data": REFERENCE, "moved": "other"}


@pytest.mark.parametrize(
    ("name", "error", "failed"),
    [
        ("{{resolve:secretsmanager:gone}}", None, ("FlowRunner.SecretNotFound", "There is no secret 'gone'.")),
        ("{{resolve:secretsmanager:api:SecretString:nope}}", None, ("FlowRunner.SecretNotFound", "There is no field of the secret 'api', 'nope'.")),
        (REFERENCE, UnknownKey("No key."), ("FlowRunner.SecretUnavailable", "The secret 'api' cannot be had now: No key.")),
    ],
)
async def test_unresolvable(registry, source, name, error, failed):
    """A secret that cannot be had fails the attempt before it begins, with an error that can be caught and names it."""
    source.error = error
    made = await registry(secrets=source)
    one = call(function_arn("f"), {"a": REFERENCE, "b": name}, secrets=((("b",), name),))
    assert await made.resolve(one).run(one) == Failed(*failed, "start")


@pytest.mark.parametrize("resource", ["arn:aws:states:::states:startExecution", "arn:aws:states:::aws-sdk:sfn:sendTaskSuccess"])
async def test_nothing_that_is_kept(registry, source, starter, resource):
    """What a history would keep gets no secret."""
    made = await registry(secrets=source)
    one = call(resource, {"Input": REFERENCE}, secrets=((("Input",), REFERENCE),))
    outcome = await made.resolve(one).run(one)
    assert (outcome.error, outcome.phase) == ("FlowRunner.SecretNotAllowed", "start")
    assert "(api)" in outcome.cause
    assert source.asked == starter.started == []


async def test_a_broken_handler(registry, source):
    """A handler that raises shows its secrets neither in the message nor in the traceback."""

    class Broken(TaskHandler):
        async def run(self, call):
            raise KeyError(call.parameters)

    made = await registry(secrets=source, handlers={"mine": Broken()})
    one = call("arn:aws:states:::mine:act", {"k": REFERENCE}, secrets=((("k",), REFERENCE),))
    with pytest.raises(RuntimeError) as raised:
        await made.resolve(one).run(one)
    assert "***" in str(raised.value)
    assert raised.value.__suppress_context__
    assert all(one_spelling not in str(raised.value) for one_spelling in spelt(CANARY))


async def test_an_attempt_that_was_taken_over(registry, source):
    """An attempt that got its secrets, and then may not begin, is no failure: another node has it in hand."""

    class Late(TaskHandler):
        async def run(self, call):
            raise AttemptLost

    made = await registry(secrets=source, handlers={"mine": Late()})
    one = call("arn:aws:states:::mine:act", {"k": REFERENCE}, secrets=((("k",), REFERENCE),))
    with pytest.raises(AttemptLost):
        await made.resolve(one).run(one)


async def test_places_are_shared(registry, source):
    """A handler is guarded once, so that its places are counted once."""
    made = await registry(secrets=source)
    first, second = (made.resolve(call(HTTP, {}, attempt=n)) for n in (1, 2))
    assert first is second


# --- http:invoke and its connections


@pytest.fixture
async def server(stack):
    """Echoes requests; ``/token`` gives tokens; ``/refuse`` answers 401."""
    requests, tokens = [], itertools.count(1)

    async def handle(request):
        body = await request.text()
        requests.append((request.path, dict(request.headers), dict(request.query), body))
        if request.path == "/token":
            return web.json_response({"access_token": f"t0k3n-{next(tokens)}-abcdef", "expires_in": 3600})
        if request.path == "/no-token":
            return web.json_response({"error": body}, status=400)
        status = 401 if request.path == "/refuse" else 200
        return web.json_response({"headers": dict(request.headers), "query": dict(request.query), "body": body}, status=status, headers={"X-Echo": "é"})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    return type("Server", (), {"url": f"http://127.0.0.1:{port}", "place": f"127.0.0.1:{port}", "requests": requests})


async def sent(made, parameters):
    one = call(HTTP, parameters, secrets=secret_places(parameters))
    return await made.resolve(one).run(one)


async def test_http_request(registry, source, server):
    """Headers, query and body get the value; the echo shows none of it."""
    source.secrets["api"] = ("custom", {"key": "c4n4ry/+ '<&>"})
    made = await registry(secrets=source, policy=EgressPolicy([server.place]))
    parts = {"Headers": {"X-Key": REFERENCE}, "QueryParameters": {"q": REFERENCE}, "RequestBody": {"b": f"<{REFERENCE}>"}}
    outcome = await sent(made, {"ApiEndpoint": f"{server.url}/x", "Method": "POST", **parts})
    [(_, headers, query, body)] = server.requests
    assert (headers["X-Key"], query["q"], json.loads(body)) == ("c4n4ry/+ '<&>", "c4n4ry/+ '<&>", {"b": "<c4n4ry/+ '<&>>"})
    assert isinstance(outcome, Succeeded)
    assert outcome.output.count("***") >= 3
    assert "c4n4ry" not in outcome.output
    outcome = await sent(made, {"ApiEndpoint": f"{server.url}/refuse", "Method": "POST", **parts})
    assert outcome.error == "States.Http.StatusCode.401"
    assert "c4n4ry" not in outcome.cause


CONNECTIONS = {
    "header": ("api_key", {"key": "k3y-123456", "header_name": "X-Mine", "prefix": "Key"}, lambda h, q: h["X-Mine"] == "Key k3y-123456"),
    "default": (
        "api_key",
        {"key": "k3y-123456", "headers": {"X-More": "m0re-1234"}},
        lambda h, q: (h["X-Api-Key"], h["X-More"]) == ("k3y-123456", "m0re-1234"),
    ),
    "query": ("api_key", {"key": "k3y-123456", "query_param": "token"}, lambda h, q: q == {"token": "k3y-123456"}),
    "a/basic": (
        "general",
        {"username": "ada", "password": "p4ss-word"},
        lambda h, q: h["Authorization"] == "Basic " + base64.b64encode(b"ada:p4ss-word").decode(),
    ),
    "jwt": ("jwt", {"token": "a.b.c-token"}, lambda h, q: h["Authorization"] == "Bearer a.b.c-token"),
    "given": (
        "oauth",
        {"client_id": "id", "client_secret": "s3cr3t-x", "access_token": "g1ven-token"},
        lambda h, q: h["Authorization"] == "Bearer g1ven-token",
    ),
}


@pytest.mark.parametrize("name", CONNECTIONS)
async def test_connections(registry, server, name):
    """Each type of secret adds its credential, and the echo shows none of it."""
    kind, value, check = CONNECTIONS[name]
    made = await registry(secrets=Source({name: (kind, value)}), policy=EgressPolicy([server.place]))
    for ending in ("", "/7f0b7b0e-1234-5678-9abc-def012345678"):
        outcome = await sent(made, {"ApiEndpoint": f"{server.url}/x", "Method": "GET", "Authentication": {"ConnectionArn": f"{NAME}{name}{ending}"}})
        assert isinstance(outcome, Succeeded), outcome
        _, headers, query, _ = server.requests[-1]
        assert check(headers, query)
        for text in ("k3y-123456", "m0re-1234", "p4ss-word", base64.b64encode(b"ada:p4ss-word").decode(), "a.b.c-token", "g1ven-token"):
            assert text not in outcome.output


async def test_oauth(registry, server):
    """One token for many attempts, fetched with the client's credentials; anew after a refusal."""
    fields = {"client_id": "id", "client_secret": "s3cr3t-x", "token_url": f"{server.url}/token", "scopes": ["a", "b"], "extra": {"audience": "aud-1234"}}
    made = await registry(secrets=Source({"o": ("oauth", fields)}), policy=EgressPolicy([server.place]))
    asked = {"ApiEndpoint": f"{server.url}/x", "Method": "GET", "Authentication": {"ConnectionArn": f"{NAME}o/1"}}
    outcomes = await asyncio.gather(*(sent(made, asked) for _ in range(5)))
    assert all(isinstance(one, Succeeded) and "t0k3n" not in one.output for one in outcomes)
    tokens = [request for request in server.requests if request[0] == "/token"]
    assert len(tokens) == 1
    assert tokens[0][1]["Authorization"] == "Basic " + base64.b64encode(b"id:s3cr3t-x").decode()
    assert tokens[0][3] == "grant_type=client_credentials&scope=a+b&audience=aud-1234"
    refused = await sent(made, {**asked, "ApiEndpoint": f"{server.url}/refuse"})
    assert refused.error == "States.Http.StatusCode.401"
    assert "t0k3n" not in refused.cause
    await sent(made, asked)
    assert server.requests[-1][1]["Authorization"] == "Bearer t0k3n-2-abcdef"


async def test_a_secret_made_anew_has_a_token_of_its_own(registry, server):
    """One that was deleted and made again has version 1 as before; the token of the client that it was is not used for it."""
    fields = {"client_id": "id", "client_secret": "s3cr3t-x", "token_url": f"{server.url}/token"}
    source = Source({"o": ("oauth", fields)})
    made = await registry(secrets=source, policy=EgressPolicy([server.place]))
    asked = {"ApiEndpoint": f"{server.url}/x", "Method": "GET", "Authentication": {"ConnectionArn": f"{NAME}o/1"}}
    await sent(made, asked)
    source.secrets["o"] = ("oauth", {**fields, "client_id": "other"})
    await sent(made, asked)
    assert server.requests[-1][1]["Authorization"] == "Bearer t0k3n-2-abcdef"


@pytest.mark.parametrize(
    ("arn", "value", "error"),
    [
        (f"{NAME}none/1", None, "Events.ConnectionResource.ResourceNotFound"),
        ("arn:aws:events:us-east-1:999999999999:connection/c/1", ("jwt", {"token": "t"}), "Events.ConnectionResource.ResourceNotFound"),
        ("c", ("jwt", {"token": "t"}), "Events.ConnectionResource.ResourceNotFound"),
        (f"{NAME}c/1", ("general", "text"), "Events.ConnectionResource.NotAuthorized"),
        (f"{NAME}c/1", ("general", {"user": "x"}), "Events.ConnectionResource.NotAuthorized"),
        (f"{NAME}c/1", ("oauth", {"client_id": "a", "client_secret": "b"}), "Events.ConnectionResource.NotAuthorized"),
        (
            f"{NAME}c/1",
            ("oauth", {"client_id": "a", "client_secret": "s3cr3t-y", "token_url": "http://127.0.0.1:9/t"}),
            "Events.ConnectionResource.NotAuthorized",
        ),
        (f"{NAME}c/1", ("oauth", {"client_id": "a", "client_secret": "s3cr3t-y", "token_url": "SERVER/no-token"}), "Events.ConnectionResource.NotAuthorized"),
    ],
)
async def test_connections_that_cannot_be_used(registry, server, arn, value, error):
    """Another account's, one that is not there, one without a credential: a typed failure without a value in it."""
    if value is not None and isinstance(value[1], dict) and "token_url" in value[1]:
        value[1]["token_url"] = value[1]["token_url"].replace("SERVER", server.url)
    made = await registry(secrets=Source({} if value is None else {"c": value}), policy=EgressPolicy([server.place]))
    outcome = await sent(made, {"ApiEndpoint": f"{server.url}/x", "Method": "GET", "Authentication": {"ConnectionArn": arn}})
    assert outcome.error == error
    assert "s3cr3t" not in outcome.cause
    assert [request for request in server.requests if request[0] == "/x"] == []


async def test_functions_of_events_log_nothing(run, source, caplog, tmp_path):
    """A function invoked as an event is not waited for; its failure is logged without the secret."""
    caplog.set_level(logging.DEBUG)
    parameters = {"FunctionName": "fail", "InvocationType": "Event", "Payload": {"k": REFERENCE}}
    outcome = await run(FUNCTIONS, {"fail": "functions.py:fail"}, call(INVOKE, parameters, secrets=secret_places(parameters)), secrets=source)
    assert isinstance(outcome, Succeeded)
    async with asyncio.timeout(10):
        while "invoked as an event, failed" not in caplog.text:
            await asyncio.sleep(0.01)
    assert all(one_spelling not in caplog.text for one_spelling in spelt(CANARY))
    assert read_functions({}, tmp_path) == {}
