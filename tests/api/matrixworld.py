"""The real application with two accounts full of things, everybody who might call it, and a way to ask it without a socket."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import unquote

import botocore.auth
import botocore.awsrequest
import botocore.credentials
from matrixpeople import AWS, HTTP, MARK, ONE, OPERATOR, PASSWORD, SOCKET, TWO, people

from flowrunner.clock import SystemClock
from flowrunner.config import Settings
from flowrunner.identity import service
from flowrunner.testing.clock import ManualClock
from flowrunner.testing.identities import quick_passwords
from flowrunner.wiring import Application, build

_VARYING = {"x-request-id", "x-amzn-requestid", "content-length", "date"}
_numbers = count()


@dataclass(frozen=True)
class Answer:
    """`status` of a socket is 101, or what its close code stands for; `code` is the error's name."""

    status: int
    headers: tuple
    body: bytes

    @property
    def code(self):
        try:
            said = json.loads(self.body)
        except ValueError:
            return ""
        return str(said.get("__type", "")).partition("#")[2] or str(said.get("code", "")) if isinstance(said, dict) else ""

    def without(self, sent):
        """The answer with what the request named taken out, so that only the server's own words are left."""
        text = repr((self.status, self.headers, self.body.decode()))
        for name in sorted(sent, key=lambda name: -len(sent[name])):
            text = text.replace(sent[name], f"<{name}>")
        return text


@dataclass
class World:
    """`things` are what each account has, by the names that templates use."""

    application: Application
    callers: list = field(default_factory=list)
    things: dict = field(default_factory=dict)
    saved: tuple = ()

    async def ask(self, caller, surface, method, path, body=None, *, target=None):
        """One request of a caller."""
        path, _, query = path.partition("?")
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"host": "localhost", "x-request-id": "case", "content-type": "application/x-amz-json-1.0" if target else "application/json"}
        if target is not None:
            headers["x-amz-target"] = f"AWSStepFunctions.{target}"
        if caller.ticket is not None:
            identity = self.application.identity
            ticket = await identity.credentials.issue_ticket(await identity.gate.bearer(caller.ticket))
            query += ("&" if query else "") + f"ticket={ticket}"
        if caller.authorization is not None:
            headers["authorization"] = caller.authorization
        if caller.key is not None:
            signed = botocore.awsrequest.AWSRequest(method, f"http://localhost{path}", {**headers, "x-case": str(next(_numbers))}, content)
            botocore.auth.SigV4Auth(botocore.credentials.Credentials(*caller.key), "states", "us-east-1").add_auth(signed)
            headers = {name.lower(): value for name, value in signed.headers.items()}
        scope = {
            "type": "websocket" if surface is SOCKET else "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "path": unquote(path),
            "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "scheme": "ws" if surface is SOCKET else "http",
            "client": ("127.0.0.1", 5), "server": ("localhost", 80), "extensions": {"websocket.http.response": {}}, "state": {},
            "headers": [*((name.encode(), value.encode()) for name, value in headers.items()), (b"content-length", b"%d" % len(content))],
            **({"subprotocols": []} if surface is SOCKET else {"method": method}),
        }  # fmt: skip
        return await asyncio.wait_for(_asked(self.application.asgi, scope, content), 10)

    def save(self):
        """Documents as they are now are those to come back to."""
        documents = self.application.store.documents
        self.saved = (dict(documents._documents), dict(documents._aliases))

    def restore(self):
        """Documents as they were saved: a case that deletes its own account leaves it to the next one."""
        documents = self.application.store.documents
        documents._documents, documents._aliases = dict(self.saved[0]), dict(self.saved[1])
        self.application.identity.gate.forget()

    async def of_one(self):
        """All that account one has, but for its audit log."""
        store, things = self.application.store, self.things[ONE]
        documents = {key: document for key, document in store.documents._documents.items() if ONE in (key[0], key[2]) and not key[1].startswith("audit")}
        machines, activities = await store.definitions.machines(ONE, limit=10), await store.definitions.activities(ONE, limit=10)
        return documents, machines, activities, await store.executions.head(things["run"]), await store.executions.head(things["task run"])

    @property
    def traces(self):
        """What betrays account one: its content, and the ids that the server made up for it."""
        return [MARK, *(self.things[ONE][name] for name in ("account", "user", "token", "access_key", "run"))]


async def _asked(app, scope, content):
    incoming = [{"type": "websocket.connect"} if scope["type"] == "websocket" else {"type": "http.request", "body": content, "more_body": False}]
    if scope["path"] == "/api/v1/ws":  # it stays as long as its client does
        incoming.append({"type": "websocket.disconnect", "code": 1000})
    status, headers, parts = 0, (), []

    async def receive():
        return incoming.pop(0) if incoming else await asyncio.Event().wait()

    async def send(message):
        nonlocal status, headers
        kind = message["type"]
        if kind.endswith("response.start"):
            status = message["status"]
        elif kind == "websocket.accept":
            status = 101
        elif kind == "websocket.close" and message.get("code", 1000) != 1000:
            status = message["code"] % 1000 if message["code"] >= 4000 else 500
        headers = headers or tuple((name, value) for name, value in message.get("headers", ()) if name.decode().lower() not in _VARYING)
        parts.append(message.get("body") or (message.get("text") or message.get("reason") or "").encode())

    await app(scope, receive, send)
    return Answer(status, headers, b"".join(parts))


@asynccontextmanager
async def matrix_world(monkeypatch):
    """The server of `wiring.build`, not for development, with everybody and everything in place."""
    monkeypatch.setattr(service, "Passwords", quick_passwords)
    async with AsyncExitStack() as stack:
        application = build(Settings(store="memory:", account=OPERATOR), clock=ManualClock(SystemClock().now()))
        await application.start(stack)
        application.identity.accounts.erase = None  # documents come back after a deleted account, runs would not
        world = World(application)
        world.callers = await people(application)
        for account in (OPERATOR, ONE, TWO):
            await _furnish(world, account)
        world.save()
        yield world


def _definition(mark):
    return json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": {"said": mark}, "End": True}}})


async def _furnish(world, account):
    """One of everything, by way of the API itself."""
    owner = next(caller for caller in world.callers if caller.account == account)
    mark, name = (MARK, "one") if account == ONE else ("plain", f"of{account[-1]}")

    async def call(target, **given):
        answer = await world.ask(owner, AWS, "POST", "/", given, target=target)
        assert answer.status == 200, answer
        return json.loads(answer.body)

    async def rest(method, path, body=None):
        answer = await world.ask(owner, HTTP, method, path, body)
        assert answer.status < 300, answer
        return json.loads(answer.body)

    me, arn, role = "/api/v1/accounts/me", f"arn:aws:states:us-east-1:{account}", "arn:aws:iam::1:role/x"
    scrap = await rest("POST", f"{me}/users", {"username": f"{mark}-scrap{account[-1]}", "password": PASSWORD, "role": "viewer"})
    token = await rest("POST", f"{me}/tokens", {"name": mark, "user": scrap["id"]})
    key = await rest("POST", f"{me}/access-keys", {"name": mark, "user": scrap["id"]})
    await rest("POST", f"{me}/secrets/{name}/simple", {"value": mark})
    await rest("POST", f"{me}/structured-secrets/{name}/whole", {"type": "custom", "data": {"said": mark}, "description": mark, "tags": [mark]})
    for machine, kind in (("payroll", "STANDARD"), ("second", "STANDARD"), ("express", "EXPRESS")):
        tags = [{"key": "k", "value": mark}]
        await call("CreateStateMachine", name=f"{name}-{machine}", definition=_definition(mark), roleArn=role, type=kind, tags=tags)
    for activity in (f"{name}-approve", f"{name}-other"):
        await call("CreateActivity", name=activity, tags=[{"key": "k", "value": mark}])
    for run in (f"{name}-run1", f"{name}-run2"):
        await call("StartExecution", stateMachineArn=f"{arn}:stateMachine:{name}-payroll", name=run, input=json.dumps({"said": mark}))
    task = {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": f"{arn}:activity:{name}-approve", "End": True}}}
    await call("CreateStateMachine", name=f"{name}-task", definition=json.dumps(task), roleArn=role)
    await call("StartExecution", stateMachineArn=f"{arn}:stateMachine:{name}-task", name=f"{name}-run3", input=json.dumps({"said": mark}))
    taken = await call("GetActivityTask", activityArn=f"{arn}:activity:{name}-approve")
    executions = world.application.store.executions
    head, waiting = await executions.find(account, f"{name}-payroll", f"{name}-run1"), await executions.find(account, f"{name}-task", f"{name}-run3")
    await world.application.feed.ended(head.id)
    pages = {
        "ListActivities": {}, "ListStateMachines": {}, "ListExecutions": {"stateMachineArn": f"{arn}:stateMachine:{name}-payroll"},
        "GetExecutionHistory": {"executionArn": f"{arn}:execution:{name}-payroll:{name}-run1"},
    }  # fmt: skip
    say = {"steps": {"a": {"type": "merge"}}, "variables": {"said": mark}}
    flow = await rest(
        "POST", "/api/v1/flows", {"name": f"{name}-flow", "content": f"metadata: {{name: f, description: {mark}}}\nnodes: {{a: {{type: merge}}}}"}
    )
    await rest("POST", "/api/v1/schedules", {"id": f"{name}-schedule", "schedule": "0 0 1 1 *", "flow_id": flow["id"], "payload": {"said": mark}})
    webhook = await rest("POST", "/api/v1/webhooks", {"url": f"https://{mark}.example/", "flow_id": flow["id"], "secret": mark})
    await rest("POST", "/api/v2/workflows", {"workflowId": f"{name}-steps", "name": mark, "definition": say})
    await rest("POST", "/api/v2/environments", {"envId": f"{name}-stage", "name": mark, "variables": {f"{name}-url": mark}})
    await rest("POST", "/api/v2/action-templates", {"templateId": f"{name}-template", "name": mark, "type": "delay", "config": {"duration": 1}})
    await rest("POST", "/api/v2/groups", {"groupId": f"{name}-group", "name": mark})
    await rest("POST", "/api/v2/tests", {"testId": f"{name}-test", "groupId": f"{name}-group", "name": mark, "type": "workflow", "workflowDef": say})
    tested = await rest("POST", f"/api/v2/tests/{name}-test/execute")
    together = await rest("POST", f"/api/v2/groups/{name}-group/execute")
    for begun in (tested["runId"], *(one["runId"] for one in together["results"])):
        await world.application.feed.ended(begun)
    world.things[account] = {
        "flow": flow["id"], "workflow": f"{name}-steps", "environment": f"{name}-stage", "variable": f"{name}-url", "template": f"{name}-template",
        "schedule": f"{name}-schedule", "webhook": webhook["id"],
        "test": f"{name}-test", "group": f"{name}-group", "result": tested["resultId"], "batch": together["runId"],
        "account": account, "user": scrap["id"], "token": token["id"], "access_key": key["id"], "secret": f"{name}/simple", "structured": f"{name}/whole",
        "run": head.id, "machine": f"{name}-payroll", "activity": f"{name}-approve", "execution": f"{name}-run1",
        "task": taken["taskToken"], "task run": waiting.id, "cursor": (await rest("GET", "/api/v2/workflows/runs?limit=1"))["next_cursor"],
        **{f"page of {operation}": (await call(operation, **given, maxResults=1))["nextToken"] for operation, given in pages.items()},
    }  # fmt: skip
