"""R1: a server that kills itself at a named point of a step, at every such moment there is; everything ends as it may, nothing runs twice."""

import asyncio
import itertools

import pytest

from flowrunner.engine.points import POINTS
from flowrunner.testing.crash.campaign import Campaign
from flowrunner.testing.crash.flows import FLOWS, STEPPED

pytestmark = pytest.mark.asyncio(loop_scope="module")
AT_ONCE = 3  # servers


async def crash(site, flows, at, told):
    """Run flows on a server that kills itself at this point, and start it again; whether it came to that."""
    told.schedule = [f"kill at {at}", "start again"]
    async with site() as place:
        server = place.server()
        await server.start(crash_at=at)
        async with Campaign([server], place.book, flows, told=told) as campaign:
            for flow in flows:
                await campaign.begin(flow)
            campaign.judge(await campaign.evidence())
            return campaign.faults > 0


async def exhaust(site, flow, point, told, at_once):
    """Crash at the point's first hit, its second, ... until a run gets through; how often it was killed."""
    for hit in itertools.count(1):
        async with at_once:
            if not await crash(site, [flow], f"{point}:{hit}", told()):
                return hit - 1
    raise AssertionError


@pytest.mark.timeout(90)
@pytest.mark.parametrize("point", POINTS)
async def test_all_flows_survive_a_crash_at_a_point(site, told, point):
    """All flows at once, and the server kills itself at the point: soon after they have begun, and when they are at work."""
    async with asyncio.TaskGroup() as group:
        crashes = [group.create_task(crash(site, FLOWS, f"{point}:{hit}", told())) for hit in (3, 17)]
    assert all(crash.result() for crash in crashes), "a run passed without a kill"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("flow", [*FLOWS, *STEPPED], ids=lambda flow: flow.name)
async def test_every_point_of_a_flow(site, told, flow, record):
    """Each point of one flow, at every hit until a run passes without a kill."""
    at_once = asyncio.Semaphore(AT_ONCE)
    async with asyncio.TaskGroup() as group:
        kills = {point: group.create_task(exhaust(site, flow, point, told, at_once)) for point in POINTS}
    record(f"R1 {flow.name}", {point: task.result() for point, task in kills.items()})
    assert all(task.result() for task in kills.values())
