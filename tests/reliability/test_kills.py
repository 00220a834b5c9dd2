"""R2 and R3: a server that is killed at any instant, and again while it takes up what the first kill left."""

import asyncio
import random

import pytest
from seed import SEED

from flowrunner.engine.points import POINTS
from flowrunner.testing.crash.campaign import SECONDS_TO_END, Campaign
from flowrunner.testing.crash.flows import FLOWS, STEPPED
from flowrunner.testing.crash.server import LEASE_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")
ROUNDS_A_STORE = 25  # so that a verdict comes now and then
LONGEST_CALM_SECONDS = 1.5
# A node that looks at the others less often than twice a lease takes none for dead, and DynamoDB's stand-in under this load answers slowly.
LEASES = {"sqlite": LEASE_SECONDS, "postgres": LEASE_SECONDS, "dynamodb": 3.0}
LONGEST_RECOVERY_SECONDS = 0.3  # a start takes about as long


async def keep_running(campaign, flow, until, within=SECONDS_TO_END):
    """One execution of the flow after the other, each of which ends within so many seconds; how many."""
    count = 0
    while not until.is_set():
        arn = await campaign.begin(flow)
        count += 1
        assert await campaign.ended(arn, within) is not None, f"{arn} did not end, {campaign.told}"
    return count


async def kill_at_random(site, told, seed, kills, record, *, flows=FLOWS, twice=False, lease=LEASE_SECONDS, longest_calm=LONGEST_CALM_SECONDS):
    """Kill a server again and again while the flows run, one execution of each after the other; a flow that is there twice, two at a time."""
    chance = random.Random(seed)
    tell = told(seed)
    async with site() as place:
        server = place.server(lease_seconds=lease)
        await server.start()
        async with Campaign([server], place.book, flows, told=tell, nurse=False) as campaign, asyncio.TaskGroup() as group:
            enough = asyncio.Event()
            within = SECONDS_TO_END + kills * 2 * longest_calm  # kills may follow each other faster than a lease ends
            runners = [group.create_task(keep_running(campaign, flow, enough, within)) for flow in flows]
            for _ in range(kills):
                calm = chance.uniform(0, longest_calm)
                tell.schedule.append(f"kill after {calm:.3f} s")
                await asyncio.sleep(calm)  # the instant is the experiment
                await server.kill()
                campaign.faults += 1
                if twice:
                    await kill_in_recovery(campaign, server, chance, tell)
                await server.start()
            enough.set()
            counts = [await runner for runner in runners]
            campaign.judge(await campaign.evidence())
            what = ("R3" if twice else "R2") + ("" if flows is FLOWS else " flows and workflows")
            record(what, {"seed": seed, "kills": campaign.faults, "executions": sum(counts), "answered": campaign.callers.success})
    return sum(counts)


async def kill_in_recovery(campaign, server, chance, tell):
    """Start, and kill at a point of the first step that recovery takes, or as many milliseconds after the start."""
    at = chance.choice((*(f"{point}:{hit}" for point in POINTS for hit in (1, 2)), ""))
    if at:
        tell.schedule.append(f"start, kill at {at}")
        await server.start(crash_at=at)
        async with asyncio.timeout(60):
            await server.gone()  # work goes on, so it comes to every point
    else:
        delay = chance.uniform(0, LONGEST_RECOVERY_SECONDS)
        tell.schedule.append(f"start, kill {delay:.3f} s after")
        await server.launch()
        await asyncio.sleep(delay)
        await server.kill()
    campaign.faults += 1


@pytest.fixture
def lease(request):
    """The lease that the store under test can keep on a machine that is busy with other tests."""
    return LEASES[request.node.callspec.params["store_url"]]


@pytest.mark.timeout(90)
async def test_kills_at_random_instants(site, told, record, lease):
    """R2 in the small: five kills, all flows."""
    assert await kill_at_random(site, told, SEED, 5, record, lease=lease) >= len(FLOWS)


@pytest.mark.timeout(90)
async def test_kills_while_it_recovers(site, told, record, lease):
    """R3 in the small: three kills, each with another before everything is taken up again."""
    assert await kill_at_random(site, told, SEED, 3, record, twice=True, lease=lease) >= len(FLOWS)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("twice", [False, True])
async def test_kills_under_flows_and_workflows(site, told, record, twice):
    """R2 and R3 in the small for what is not written in Amazon States Language."""
    assert await kill_at_random(site, told, SEED, 1 if twice else 3, record, flows=STEPPED * 2, twice=twice) >= len(STEPPED)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("seed", range(SEED, SEED + 2))
async def test_many_kills_under_flows_and_workflows(site, told, record, *, request, seed, twice):
    """R2 and R3: 25 kills, and 10 double kills, twice on each store; now and then there is time to take up what the killed server left."""
    kills, flows, lease = 10 if twice else ROUNDS_A_STORE, STEPPED * 3, LEASES[request.node.callspec.params["store_url"]]
    assert await kill_at_random(site, told, seed, kills, record, flows=flows, twice=twice, lease=lease, longest_calm=2 * lease) >= len(flows)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(SEED, SEED + 4))
async def test_a_hundred_kills(site, told, record, seed):
    """R2: four times 25 kills."""
    assert await kill_at_random(site, told, seed, ROUNDS_A_STORE, record) >= len(FLOWS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(SEED, SEED + 2))
async def test_twenty_double_kills(site, told, record, seed):
    """R3: twice ten kills with another while the server recovers."""
    assert await kill_at_random(site, told, seed, 10, record, twice=True) >= len(FLOWS)
