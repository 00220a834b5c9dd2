from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web
from task_calls import Starter, call, ids

from flowrunner.clock import SystemClock
from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.functions import read_functions
from flowrunner.tasks.registry import Registry


@pytest.fixture
async def stack():
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
def starter():
    return Starter()


@pytest.fixture
def registry(stack, starter):
    """Make and start a registry."""

    async def make(**options):
        made = Registry(starter=starter, callbacks=starter, uuids=ids(), clock=SystemClock(), **options)
        await made.start(stack)
        return made

    return make


def _write(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.fixture
def run(registry, tmp_path):
    """Runs calls with functions made from source text; the registry is made once for each test."""
    made = []

    async def runner(source, functions, the_call, **options):
        _write(tmp_path / "functions.py", source)
        if not made:
            made.append(await registry(functions=read_functions(functions, tmp_path), **options))
        return await made[0].resolve(the_call).run(the_call)

    return runner


@pytest.fixture
async def server(stack):
    """A server on loopback that remembers requests and answers as told: ``server.answer``."""

    class Server:
        def __init__(self):
            self.requests, self.answer, self.port = [], lambda request: web.json_response({"ok": True}), 0

        async def handle(self, request):
            self.requests.append((request.method, request.path_qs, dict(request.headers), await request.read()))
            answer = self.answer(request)
            return await answer if asyncio.iscoroutine(answer) else answer

    made = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    where = web.TCPSite(runner, "127.0.0.1", 0)
    await where.start()
    made.port = where._server.sockets[0].getsockname()[1]
    made.url = f"http://127.0.0.1:{made.port}"
    return made


@pytest.fixture
def node(registry, server):
    """Runs a node of a kind through the registry, which may reach the server; gives the outcome."""
    made = []

    async def runner(kind, params, *, language="asl", changes=None, options=None, **more):
        if not made:
            made.append(await registry(**{"policy": EgressPolicy([f"127.0.0.1:{server.port}"])} | (options or {})))
        one = call(f"arn:aws:states:::flowrunner:{kind}", {"params": params, "language": language, **more}, **(changes or {}))
        return await made[0].resolve(one).run(one)

    return runner


@pytest.fixture
def closed_port():
    """A port on loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
