"""Starts with an Idempotency-Key whose server dies before it answers: sent again, they are answered at once, with the execution that was begun, and there is one."""

import asyncio

import httpx
import pytest

from flowrunner.engine.points import AFTER_COMMIT, BEFORE_COMMIT

pytestmark = pytest.mark.asyncio(loop_scope="module")
FLOW = "metadata: {name: two delays}\nnodes:\n  a: {type: delay, params: {duration: 1ms}, next: {success: b}}\n  b: {type: delay, params: {duration: 1ms}}\n"
STEPS = {"variables": {"n": 0}, "steps": {"one": {"type": "delay", "config": {"duration": 1, "unit": "ms"}}}}
TEST = {"testId": "alone", "groupId": "group", "name": "alone", "type": "workflow", "workflowDef": STEPS}
ROUTES = {"flow": 201, "workflow": 202, "test": 202, "group": 202}


async def furnished(client):
    """What there is to start, and where."""
    made = {}
    for path, body in (
        ("/api/v1/flows", {"content": FLOW}),
        ("/api/v2/workflows", {"workflowId": "steps", "name": "steps", "definition": STEPS}),
        *(("/api/v2/environments", {"envId": route, "name": route, "variables": {"where": route}}) for route in ROUTES),
        ("/api/v2/groups", {"groupId": "group", "name": "group"}),
        ("/api/v2/tests", TEST),
    ):
        answer = await client.post(path, json=body)
        assert answer.status_code == 201, answer.text
        made[path] = answer.json()
    return {
        "flow": f"/api/v1/flows/{made['/api/v1/flows']['id']}/run",
        "workflow": "/api/v2/workflows/steps/execute",
        "test": "/api/v2/tests/alone/execute",
        "group": "/api/v2/groups/group/execute",
    }


@pytest.mark.timeout(120)
@pytest.mark.parametrize("point", [BEFORE_COMMIT, AFTER_COMMIT])
async def test_a_start_is_sent_again(site, point):
    """Killed before and after the first step is stored, by every route that begins executions; what runs get by default has changed meanwhile."""
    async with site() as place:
        server = place.server()
        async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as client:
            await server.start()
            routes = await furnished(client)
            for begun, (route, status) in enumerate(ROUTES.items(), 1):
                key = {"idempotency-key": f"once-{route}"}
                await server.kill()
                await server.start(crash_at=f"{point}:1")
                with pytest.raises(httpx.TransportError):
                    await client.post(routes[route], headers=key, json={})
                await server.gone()
                await server.start()
                await client.post(f"/api/v2/environments/{route}/activate")
                again = await client.post(routes[route], headers=key, json={})
                assert (again.status_code, "idempotency-replayed" in again.headers) == (status, False), again.text
                third, fourth = await asyncio.gather(*(client.post(routes[route], headers=key, json={}) for _ in range(2)))
                assert third.content == fourth.content == again.content
                assert third.headers["idempotency-replayed"] == "true"
                runs = (await client.get("/api/v2/workflows/runs")).json()["items"]
                executions = (await client.get("/api/v1/executions")).json()["items"]
                assert len({run["runId"] for run in runs} | {one["id"] for one in executions}) == begun, route
                if route == "group":
                    assert len((await client.get("/api/v2/runs")).json()) == 1
