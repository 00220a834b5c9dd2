"""The whole application in this process, and a client of it: for tests of what is served, without a socket."""

from contextlib import AsyncExitStack, asynccontextmanager

import httpx

from flowrunner import config
from flowrunner.wiring import build


@asynccontextmanager
async def serving(folder, base="http://localhost", store=None):
    """The application and its client; on an SQLite file in the folder, unless another store is named. It lets everybody in (`dev`)."""
    application = build(config.load(environment={}, folder=folder, flags={"store": store or f"sqlite:///{folder}/flow.db", "dev": True}))
    async with AsyncExitStack() as stack:
        await application.start(stack)
        transport = httpx.ASGITransport(application.asgi)
        yield application, await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url=base))


def asking(client):
    """A function: the JSON answer to a request, whose status must be the one that is named."""

    async def ask(method, path, body=None, status=200):
        answer = await client.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask
