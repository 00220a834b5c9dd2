"""R4, R7: PostgreSQL is killed with all its processes, and its connections are shot, under load; servers live on and lose nothing."""

import asyncio
import contextlib
import itertools
import random
import time

import asyncpg
import pytest
from seed import SEED
from test_kills import keep_running

from flowrunner.testing.crash.campaign import Campaign
from flowrunner.testing.crash.flows import BY_NAME, FLOWS
from flowrunner.testing.postgres import PostgresServer, ServerError, find_binaries

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECONDS_TO_RETURN = 5.0
STORM_SECONDS = 0.2


@pytest.fixture
def database():
    """A server of our own, to be killed."""
    try:
        find_binaries()
    except ServerError as error:
        pytest.skip(str(error))
    with PostgresServer() as made:
        yield made


@pytest.fixture
def store_url(database):
    """The URL of an empty schema."""
    numbers = itertools.count(1)
    return lambda _folder: database.url(schema=f"crash_{next(numbers)}")


async def starts(campaign, until):
    """Callers that start executions all the time."""
    count = 0
    while not until.is_set():
        await campaign.begin(BY_NAME["wait"])
        count += 1
    return count


async def acknowledged(campaign):
    """How long until a start is answered."""
    began = time.monotonic()
    await campaign.begin(BY_NAME["wait"])
    return time.monotonic() - began


@contextlib.asynccontextmanager
async def load(site, tell):
    """A server on the database with all flows running and four callers that start more."""
    async with site() as place:
        server = place.server()
        await server.start()
        pid = server.pid
        async with Campaign([server], place.book, FLOWS, told=tell, nurse=False) as campaign, asyncio.TaskGroup() as group:
            enough = asyncio.Event()
            runners = [group.create_task(keep_running(campaign, flow, enough)) for flow in FLOWS]
            runners += [group.create_task(starts(campaign, enough)) for _ in range(4)]
            yield campaign
            enough.set()
            counts = [await runner for runner in runners]
            evidence = await campaign.evidence()
            campaign.judge(evidence)
            assert (server.running, server.pid) == (True, pid), "the server was started again"
            assert sum(counts) > len(FLOWS)


# --- R4


async def kills(site, database, tell, record, times):
    """Kill the database and start it again, under load; how long each time until a start is acknowledged."""
    chance = random.Random(tell.seed)
    seconds = []
    async with load(site, tell) as campaign:
        for _ in range(times):
            calm, away = chance.uniform(0.2, 1), chance.uniform(0, 2)
            tell.schedule.append(f"kill the database after {calm:.3f} s for {away:.3f} s")
            await asyncio.sleep(calm)  # the instant is the experiment
            await asyncio.to_thread(database.kill)
            campaign.faults += 1
            await asyncio.sleep(away)
            await asyncio.to_thread(database.start)  # returns when its port is open and it takes connections
            seconds.append(await acknowledged(campaign))
    record("R4", {"seed": tell.seed, "kills": times, "seconds": sorted(round(second, 2) for second in seconds)})
    assert max(seconds) <= SECONDS_TO_RETURN, f"{seconds}, {tell}"


@pytest.mark.timeout(120)
async def test_a_killed_database_loses_nothing(site, database, told, record):
    """R4 in the small: two kills."""
    await kills(site, database, told(SEED), record, 2)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_database_killed_ten_times(site, database, told, record):
    """R4: ten kills."""
    await kills(site, database, told(SEED), record, 10)


# --- R7


async def storm(site, database, tell, record, seconds):
    """End every connection of the server each fifth of a second; afterwards no more are open than before."""
    tell.schedule.append(f"end all connections every {STORM_SECONDS:g} s for {seconds:g} s")
    killer = await asyncpg.connect(database.url())
    shot = 0
    try:
        async with load(site, tell) as campaign:
            before = await others(killer)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                shot += await killer.fetchval(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL"
                )
                campaign.faults += 1
                await asyncio.sleep(STORM_SECONDS)
            assert await acknowledged(campaign) <= SECONDS_TO_RETURN
            assert await others(killer) <= before + 2, "connections are left over"
    finally:
        await killer.close()
    record("R7", {"seconds": seconds, "connections shot": shot})
    assert shot >= seconds / STORM_SECONDS / 2


async def others(killer):
    """How many connections others have."""
    return await killer.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL AND backend_type = 'client backend'"
    )


@pytest.mark.timeout(120)
async def test_connections_are_shot(site, database, told, record):
    """R7 in the small: three seconds."""
    await storm(site, database, told(), record, 3)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_connections_are_shot_for_a_minute(site, database, told, record):
    """R7: a minute."""
    await storm(site, database, told(), record, 60)
