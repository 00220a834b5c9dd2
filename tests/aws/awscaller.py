"""A whole service in this process: the real engine on memory stores, behind the AWS endpoint."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any

import orjson
import pytest

from flowrunner.api.aws import Authenticator, AwsEndpoint, Development, Service
from flowrunner.asl.parse import parse_definition
from flowrunner.clock import SystemClock
from flowrunner.engine.engine import Engine
from flowrunner.errors import InvalidDefinition
from flowrunner.limits import AWS
from flowrunner.ports.store import Store
from flowrunner.ports.tasks import Failed, TaskHandler
from flowrunner.stores.memory.store import MemoryStore

REGION = "us-east-1"
ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"
PASS = '{"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": {"x": 1}, "End": true}}}'
WAIT = '{"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": 3600, "End": true}}}'


class NoTasks(TaskHandler):
    """There are no services here."""

    async def run(self, call):
        return Failed("States.TaskFailed", call.resource.arn)

    def resolve(self, call):
        return self


def compiled(revision):
    parsed = parse_definition(revision.definition)
    if parsed.program is None:
        raise InvalidDefinition("not this release's", parsed.diagnostics)
    return parsed.program


async def make_service(stack: AsyncExitStack, store: Store | None = None, **settings: Any) -> Service:
    clock = SystemClock()
    common = {"compiler": compiled, "tasks": NoTasks(), "clock": clock, "randomness": os.urandom, "region": REGION}
    store = store or MemoryStore()
    express = Engine(store=MemoryStore(), **common)
    engine = Engine(store=store, express=express, **common)
    await store.start(stack)
    await express.start(stack)
    await engine.start(stack)
    return Service(engine=engine, store=store, clock=clock, region=REGION, **settings)


class Caller:
    """Sends requests to an endpoint without a socket."""

    def __init__(self, endpoint: AwsEndpoint) -> None:
        self.endpoint = endpoint
        self.service: Service = endpoint._service
        self.headers: dict[str, str] = {}

    async def raw(self, body: bytes | list[bytes], headers: dict[str, str] | None = None, *, method: str = "POST", client=("127.0.0.1", 5), gone=None):
        """(status, headers, decoded body) of one request; `gone` is an event at which the client hangs up."""
        chunks = [body] if isinstance(body, bytes) else list(body)
        sent: list[dict[str, Any]] = []

        async def receive():
            if chunks:
                return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}
            await (gone.wait() if gone is not None else asyncio.Event().wait())
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        all_headers = {"content-type": "application/x-amz-json-1.0", "host": "localhost", **self.headers, **(headers or {})}
        scope = {
            "type": "http", "method": method, "path": "/", "client": client,
            "headers": [(name.lower().encode(), value.encode()) for name, value in all_headers.items()],
        }  # fmt: skip
        await self.endpoint(scope, receive, send)
        if not sent:
            return None
        answer = orjson.loads(sent[1]["body"])
        return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}, answer

    async def __call__(self, operation: str, **request: Any) -> Any:
        """The answer of an operation that must succeed."""
        status, _, answer = await self.raw(orjson.dumps(request), {"x-amz-target": f"AWSStepFunctions.{operation}"})
        assert status == 200, answer
        return answer

    async def refused(self, operation: str, **request: Any) -> tuple[str, str]:
        """(code, message) of an operation that must be refused by its content."""
        status, _, answer = await self.raw(orjson.dumps(request), {"x-amz-target": f"AWSStepFunctions.{operation}"})
        assert status == 400, answer
        return answer["__type"].partition("#")[2], answer["message"]

    async def machine(self, name: str = "m", definition: str = PASS, **more: Any) -> str:
        return (await self("CreateStateMachine", name=name, definition=definition, roleArn=ROLE, **more))["stateMachineArn"]

    async def ended(self, arn: str) -> dict[str, Any]:
        execution = await self.service.store.executions.find(ACCOUNT, *arn.split(":")[6:8])
        await asyncio.wait_for(self.service.engine.feed.ended(execution.id), 10)
        return await self("DescribeExecution", executionArn=arn)


@pytest.fixture
async def aws():
    async with AsyncExitStack() as stack:
        service = await make_service(stack, activity_poll_seconds=0.05, limits=AWS)
        yield Caller(AwsEndpoint(service, Development()))


@contextmanager
def served(authenticator: Authenticator | None = None):
    """The URL of a uvicorn server on a free port, in a thread; everybody local is let in, unless an authenticator is given."""
    import uvicorn

    class App:
        endpoint: AwsEndpoint | None = None

        async def __call__(self, scope, receive, send):
            if scope["type"] == "lifespan":
                await self.lifespan(receive, send)
            else:
                await self.endpoint(scope, receive, send)

        async def lifespan(self, receive, send):
            async with AsyncExitStack() as stack:
                await receive()
                self.endpoint = AwsEndpoint(await make_service(stack, activity_poll_seconds=1), authenticator or Development())
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})

    server = uvicorn.Server(uvicorn.Config(App(), port=0, log_level="error", lifespan="on"))
    ready = threading.Event()

    async def run():
        task = asyncio.ensure_future(server.serve())
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        ready.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        with suppress(RuntimeError):
            thread.join(10)


@pytest.fixture(scope="session")
def endpoint_url():
    with served() as url:
        yield url
