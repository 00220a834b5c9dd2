"""R6 on real servers: their store fails, denies and lags, they are killed beside it, and everything ends as it may."""

import asyncio

import pytest
import pytest_asyncio
from seed import SEED

from flowrunner.testing.crash.campaign import Campaign
from flowrunner.testing.crash.flows import FLOWS
from flowrunner.testing.crash.server import Nursery

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nursery():
    """Servers whose store fails now and then."""
    async with Nursery("planted:plant") as made:
        yield made


async def run_flows(site, told, seed, rate, times, *, kill):
    """All flows so many times over a store that fails; with `kill` the server dies in the middle of it."""
    tell = told(seed)
    environment = {"PLANTED": "fail_now_and_then", "FAULT_RATE": str(rate), "FAULT_SEED": str(seed)}
    tell.schedule = [f"the store fails at {rate:.0%}", *(["kill when all are acknowledged"] if kill else [])]
    async with site() as place:
        server = place.server()
        await server.start(**environment)
        async with Campaign([server], place.book, FLOWS, told=tell, environment=environment) as campaign:
            await asyncio.gather(*(campaign.begin(flow) for flow in FLOWS for _ in range(times)))
            if kill:
                await server.kill()
            evidence = await campaign.evidence(120)
            # An answer that was late or lost may leave an attempt in doubt: each is a fault like a kill.
            campaign.judge(evidence)
            return len(evidence.runs)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("rate", "kill"), [(0.01, False), (0.1, True)], ids=["1 %", "10 %, killed"])
async def test_flows_over_a_store_that_fails(site, told, rate, kill):
    """All flows at 1 % and at 10 %."""
    assert await run_flows(site, told, SEED, rate, 1, kill=kill) >= len(FLOWS)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(SEED, SEED + 5))
@pytest.mark.parametrize("rate", [0.01, 0.1])
async def test_many_flows_over_a_store_that_fails(site, told, rate, seed, record):
    """Each flow five times, with a kill, five seeds."""
    record("R6 servers", {"rate": rate, "seed": seed, "executions": await run_flows(site, told, seed, rate, 5, kill=True)})
