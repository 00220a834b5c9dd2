"""Canary secrets through whole executions on a database file: none is left in it, in the log or in what is told about the run."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import logging
import os
import random
import uuid
from contextlib import AsyncExitStack
from urllib.parse import quote, quote_plus

import pytest
from aiohttp import web

from flowrunner.asl.parse import parse_definition
from flowrunner.clock import SystemClock
from flowrunner.engine.engine import Engine
from flowrunner.ports.definitions import Machine, Revision
from flowrunner.ports.tasks import ChildStart
from flowrunner.stores.open import open_store
from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.functions import read_functions
from flowrunner.tasks.registry import Registry
from flowrunner.vault.keys import KeySource
from flowrunner.vault.secrets import StructuredChange
from flowrunner.vault.vault import Vault

ACCOUNT = "123456789012"
MARKER = "m4rk3r-0f-what-1s-st0r3d"
FUNCTIONS = """
import base64, json, sys, urllib.parse, html, time
def spellings(value):
    return [value, json.dumps(value), json.dumps(json.dumps(value)), urllib.parse.quote(value), urllib.parse.quote_plus(value, safe=""),
            base64.b64encode(value.encode()).decode(), base64.urlsafe_b64encode(b"u:" + value.encode()).decode(), html.escape(value), value.encode().hex()]
def echo(event, context):
    print(event["k"])
    return {"all": spellings(event["k"]), "marker": event.get("marker")}
def fail(event, context):
    print(*spellings(event["k"]), file=sys.stderr)
    raise ValueError(" ".join(spellings(event["k"])))
def named(event, context):
    raise type(event["k"], (Exception,), {})("x")
def late(event, context):
    print(event["k"], flush=True)
    time.sleep(60)
def dies(event, context):
    print(event["k"])
    sys.exit(3)
"""


def spellings(value):
    raw = value.encode()
    encoded = [base64.b64encode(b"\0" * n + raw).decode()[2 if n else 0 :].rstrip("=")[2:-2] for n in range(3)]
    texts = [value, json.dumps(value)[1:-1], quote(value), quote_plus(value), html.escape(value), raw.hex(), *encoded]
    return {text.encode() for text in texts} | {text.encode() for text in (raw.hex().upper(), quote(value, safe="").lower())}


def task(resource, parameters, **more):
    return {"Type": "Task", "Resource": resource, "Parameters": parameters, "Next": "Then", "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Then"}], **more}


def function(name, k, **more):
    return task(f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}", {"k": k, "marker": MARKER}, **more)


def http(url, k, **more):
    parts = {"Headers": {"X-K": k}, "QueryParameters": {"q": k}, "RequestBody": {"b": f"<{k}>"}}
    return task("arn:aws:states:::http:invoke", {"ApiEndpoint": url, "Method": "POST", **parts, **more})


def states(reference, server):
    retry = {"Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 1}]}
    connection = {"Authentication": {"ConnectionArn": f"arn:aws:events:us-east-1:{ACCOUNT}:connection/connection/1"}}
    invoke = task("arn:aws:states:::lambda:invoke", {"FunctionName": "echo", "Payload": {"k": f"Bearer {reference}"}})
    return {
        "success": function("echo", reference),
        "within": function("echo", f"postgres://u:{reference}@h/db"),
        "failure": function("fail", reference, **retry),
        "named": function("named", reference),
        "timeout": function("late", reference, TimeoutSeconds=1),
        "exit": function("dies", reference),
        "invoke": invoke,
        "event": task("arn:aws:states:::lambda:invoke", {"FunctionName": "fail", "InvocationType": "Event", "Payload": {"k": reference}}),
        "http": http(f"{server}/echo", reference),
        "http status": http(f"{server}/refuse", reference, **connection),
        "redirect": http(f"{server}/redirect", reference),
        "unreachable": http("http://127.0.0.1:1/x", reference),
        "refused": http("http://169.254.169.254/x", reference),
        "bad field": http(f"{server}/echo", reference, Odd=reference),
        "child": task("arn:aws:states:::states:startExecution", {"StateMachineArn": "x", "Input": {"k": reference}}),
        "nothing": task("arn:aws:states:::sqs:sendMessage", {"MessageBody": reference}),
    }


class Starter:
    async def start_child(self, start: ChildStart):
        raise AssertionError

    async def answer(self, token, **answer):
        raise AssertionError


def compiler(revision):
    return parse_definition(revision.definition).program


@pytest.fixture
async def server():
    async def handle(request):
        if request.path == "/redirect":
            raise web.HTTPTemporaryRedirect(f"/echo?{request.query_string}")
        body = {"headers": dict(request.headers), "query": request.query_string, "body": await request.text()}
        return web.json_response(
            body, status=401 if request.path == "/refuse" else 200, headers={"X-Echo": request.headers["X-K"].encode("unicode_escape").decode()}
        )

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    await runner.cleanup()


async def test_canaries(tmp_path, server, caplog):
    """Every task kind and outcome, 32 executions: no spelling of a canary in any file of the store, in the log, or in a run's answer; data that looks like a reference stays as it is."""
    caplog.set_level(logging.DEBUG)
    generator, clock = random.Random(5), SystemClock()
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    canaries, told = [], []
    async with AsyncExitStack() as stack:
        store = open_store(f"sqlite:///{tmp_path / 'flowrunner.db'}", clock=clock)
        await store.start(stack)
        vault = Vault(store.documents, KeySource(randomness=os.urandom, own_file=tmp_path / "keys" / "master.key"), clock=clock, randomness=os.urandom)
        await vault.start()
        await vault.secrets.set_structured(ACCOUNT, "connection", StructuredChange(type="api_key", data={"key": "c4n4ry-0f-the-c0nnect10n"}))
        canaries.append("c4n4ry-0f-the-c0nnect10n")
        registry = Registry(
            starter=Starter(), functions=read_functions({name: f"functions.py:{name}" for name in ("echo", "fail", "named", "late", "dies")}, tmp_path),
            policy=EgressPolicy([server.removeprefix("http://"), "127.0.0.1:1"]), secrets=vault.secrets, workers=2,
        )  # fmt: skip
        await registry.start(stack)
        engine = Engine(store=store, compiler=compiler, tasks=registry, clock=clock, randomness=os.urandom, region="us-east-1")
        await engine.start(stack)
        running = []
        for n, name in enumerate(states("", "")):
            canary = f"c4n4ry{n}/+{base64.b64encode(generator.randbytes(12)).decode()}é\"'<&>"
            value = canary.replace("é", "") if name.startswith(("http", "redirect", "unreach", "refused", "bad")) else canary
            canaries.append(value)
            await vault.secrets.set(ACCOUNT, f"plain-{n}", value)
            await vault.secrets.set_structured(ACCOUNT, f"fields-{n}", StructuredChange(data={"deep": {"er": value}, "pin": 81_000_000 + n}))
            for reference in (f"{{{{resolve:secretsmanager:plain-{n}}}}}", f"{{{{resolve:secretsmanager:fields-{n}:SecretString:deep.er}}}}"):
                definition = {"StartAt": "Do", "States": {"Do": states(reference, server)[name], "Then": {"Type": "Pass", "End": True}}}
                revision = Revision(
                    id=str(uuid.uuid4()), account=ACCOUNT, machine=f"m{uuid.uuid4().hex}", definition=json.dumps(definition), role_arn="r", created_at=0
                )
                machine = Machine(account=ACCOUNT, name=revision.machine, type="STANDARD", created_at=0, revision=revision)
                head = await engine.start_execution(await store.definitions.create_machine(machine), input=json.dumps({"given": reference}))
                running.append((name, reference, head.id))
        for name, reference, identity in running:
            async with asyncio.timeout(40):
                while (head := await store.executions.head(identity)).status == "RUNNING":
                    await asyncio.sleep(0.02)
            chunks = await store.executions.log(identity, limit=1000)
            log = b"".join(chunk.body for chunk in chunks)
            told += [log, str(head).encode()]
            assert head.status == ("FAILED" if name == "bad field" else "SUCCEEDED"), (name, head)  # States.Runtime is never caught
            assert json.dumps({"given": reference}).encode().replace(b" ", b"") in log.replace(b'\\"', b'"').replace(b" ", b""), name
            assert reference.encode() in log.split(b"Scheduled", 1)[1], name
        await asyncio.sleep(0.2)
    files = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "functions.py"}
    everything = {**files, "log": caplog.text.encode(), "told": b"".join(told)}
    assert MARKER.encode() in files["flowrunner.db"] + files.get("flowrunner.db-wal", b"")
    assert len(canaries) == 17
    for place, content in everything.items():
        for canary in canaries:
            for spelt in spellings(canary):
                assert spelt not in content, (place, canary, spelt, content[max(0, content.find(spelt) - 300) :][:500])
    assert b"***" in everything["told"]
