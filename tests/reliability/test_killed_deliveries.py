"""A server that kills itself at any commit of a run and of the delivery of its event: the event comes, under one id, whatever died before."""

import asyncio
import itertools
import json

import httpx
import pytest
from aiohttp import web

from flowrunner.engine.points import AFTER_COMMIT, AFTER_DISPATCH

pytestmark = pytest.mark.asyncio(loop_scope="module")
FLOW = "metadata: {name: f}\nnodes:\n  start: {type: transform, params: {script: 'return 1'}}\n"
RETRY = {"initial_delay": 1, "max_delay": 2}
SECONDS = 30


class Inbox:
    """Takes events; the first is refused, so that what retries is killed, too."""

    def __init__(self):
        self.events = []
        self.come = asyncio.Event()

    async def __aenter__(self):
        application = web.Application()
        application.router.add_post("/", self._take)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def _take(self, request):
        self.events.append(json.loads(await request.read()))
        if len(self.events) == 1:
            return web.Response(status=500)
        self.come.set()
        return web.Response()


async def delivered(site, at):
    """Run a flow on a server that kills itself at this point, and start it again; whether it came to that."""
    async with site() as place, Inbox() as inbox, httpx.AsyncClient(trust_env=False, timeout=10) as http:
        server = place.server()
        await server.start(crash_at=at)
        api = f"{server.url}/api/v1"
        flow = (await http.post(f"{api}/flows", json={"content": FLOW})).json()["id"]
        hook = (await http.post(f"{api}/webhooks", json={"url": inbox.url, "flow_id": flow, "secret": "s", "retry_config": RETRY})).json()["id"]
        key, killed = {"idempotency-key": "one"}, False
        while True:
            try:
                run = (await http.post(f"{api}/flows/{flow}/run", json={}, headers=key)).json()["execution_id"]
                break
            except httpx.TransportError:
                killed = True
                await server.gone()
                await server.start()
        come, gone = asyncio.ensure_future(inbox.come.wait()), asyncio.ensure_future(server.gone())
        async with asyncio.timeout(SECONDS):
            await asyncio.wait((come, gone), return_when=asyncio.FIRST_COMPLETED)
            if not server.running:
                killed = True
                await server.start()
            await come
            while True:
                try:
                    found = (await http.get(f"{api}/webhooks/{hook}/deliveries")).json()["items"]
                except httpx.TransportError:
                    await server.gone()
                    await server.start()
                    killed = True
                    continue
                if [one["status"] for one in found] == ["delivered"]:
                    break
                await asyncio.sleep(0.02)  # the server is a real one
        gone.cancel()
        assert {event["execution_id"] for event in inbox.events} == {run}
        assert {event["id"] for event in inbox.events} == {found[0]["id"]}
        assert {event["event"] for event in inbox.events} == {"flow.completed"}
        return killed


@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", [AFTER_COMMIT, AFTER_DISPATCH])
async def test_no_event_is_lost(site, point):
    """At the point's first hit, its second, ... until a run and its delivery get through."""
    for hit in itertools.count(1):
        if not await delivered(site, f"{point}:{hit}"):
            assert hit > 2
            return
