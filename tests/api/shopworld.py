"""A whole application beside a small shop, which the requests of test cases ask."""

import asyncio
import json
import threading
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from flowrunner import config
from flowrunner.wiring import build

ITEMS = {"items": [{"id": 7, "name": "pen"}], "total": 1, "sold": None}


class Shop(BaseHTTPRequestHandler):
    """``/items`` is there, ``/slow/N`` is unavailable until it was asked N times."""

    asked = None

    def do_GET(self):
        self.asked[self.path] += 1
        slow = self.path.startswith("/slow/") and self.asked[self.path] < int(self.path.rpartition("/")[2])
        body = json.dumps(ITEMS).encode()
        self.send_response(503 if slow else 200 if self.path.startswith(("/items", "/slow/")) else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def shop():
    """Its address, and how often each path was asked for."""
    asked = Counter()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Counting", (Shop,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class World:
    def __init__(self, application, client, url, asked):
        self.application, self.client, self.url, self.asked = application, client, url, asked

    async def ask(self, method, path, body=None, status=200, **more):
        """The answer's JSON; a body that is bytes is sent as it is."""
        sent = {"content": body} if isinstance(body, bytes) else {} if body is None else {"json": body}
        answer = await self.client.request(method, path, **sent, **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def refused(self, method, path, body, status=400):
        """The (pointer, message) pairs of what is wrong."""
        told = await self.ask(method, path, body, status)
        return [(one["pointer"], one["detail"]) for one in told["errors"]]

    async def keep(self, name, **more):
        """A new test case."""
        return await self.ask("POST", "/tests", {"testId": name, "groupId": "g", "name": name, **more}, 201)

    async def executed(self, name, body=None):
        """How an execution of a test case came out, and its run."""
        result = await self.ask("POST", f"/tests/{name}/execute", body, 202)
        async with asyncio.timeout(30):
            await self.application.feed.ended(result["runId"])
        run = await self.ask("GET", f"/workflows/runs/{result['runId']}")
        return await self.ask("GET", f"/results/{result['resultId']}"), run


@asynccontextmanager
async def shop_world(folder, **flags):
    """The application on a store in `folder`, asked without a network."""
    settings = config.load(environment={}, folder=folder, flags={"store": f"sqlite:///{folder}/flow.db", "dev": True, **flags})
    application = build(settings)
    async with AsyncExitStack() as stack:
        url, asked = stack.enter_context(shop())
        await application.start(stack)
        transport = httpx.ASGITransport(application.asgi)
        client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://localhost/api/v2"))
        yield World(application, client, url, asked)
