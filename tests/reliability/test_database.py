"""R4, R7, R13 and R14 on PostgreSQL: the database is killed, its connections are, the network between is cut, a server is paused."""

import asyncio
import random
import time

import asyncpg
import httpx
import pytest
from seed import SEED
from test_kills import keep_running

from flowrunner.testing.crash.campaign import Campaign
from flowrunner.testing.crash.flows import FLOWS
from flowrunner.testing.crash.server import LEASE_SECONDS
from flowrunner.testing.postgres import PostgresServer
from flowrunner.testing.proxy import Proxy

pytestmark = pytest.mark.asyncio(loop_scope="module")
BACK_SECONDS = 5.0  # after the database's port is open again
NOT_READY_SECONDS = 6.0  # a check of readiness takes five at most
CALM_SECONDS = 1.0


@pytest.fixture(scope="module")
def database():
    """A database server to kill, with fsync on."""
    with PostgresServer({}) as server:
        yield server


@pytest.fixture(scope="module")
def store_url(database):
    """A function: the URL of an empty schema on it."""
    numbers = iter(range(10_000))
    return lambda _: database.url(schema=f"s{next(numbers)}")


async def status(server, path="/readyz"):
    async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
        return (await http.get(server.url + path)).status_code


async def until_ready(server, *, ready=True, within=BACK_SECONDS):
    """How long it took until the server called itself ready, or not."""
    began = time.monotonic()
    while (await status(server) == 200) is not ready:
        assert time.monotonic() - began < within, f"ready is still {not ready} after {within} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def under_load(place, servers, tell, *, disturb, record, what):
    """Let eight flows run one after the other while `disturb(campaign)` does its worst; then everything must end well."""
    pids = [server.pid for server in servers]
    async with Campaign(servers, place.book, FLOWS, told=tell, nurse=False) as campaign, asyncio.TaskGroup() as group:
        enough = asyncio.Event()
        runners = [group.create_task(keep_running(campaign, flow, enough)) for flow in FLOWS]
        try:
            told = await disturb(campaign)
        finally:
            enough.set()
        counts = [await runner for runner in runners]
        campaign.judge(await campaign.evidence())
    assert [server.pid for server in servers] == pids, "a server was started again"
    assert all(server.running for server in servers)
    record(what, {"seed": tell.seed, "executions": sum(counts), "answered": campaign.callers.success, **(told or {})})


async def kill_the_database(site, told, database, kills, record):
    chance = random.Random(SEED)
    tell = told(SEED)
    async with site() as place:
        server = place.server()
        await server.start()

        async def disturb(campaign):
            waits = []
            for _ in range(kills):
                calm = chance.uniform(0.2, CALM_SECONDS)
                tell.schedule.append(f"kill the database after {calm:.3f} s")
                await asyncio.sleep(calm)  # the instant is the experiment
                await asyncio.to_thread(database.kill)
                assert await status(server) == 503
                assert await status(server, "/healthz") == 200
                await asyncio.to_thread(database.start)
                waits.append(await until_ready(server))
            return {"kills": kills, "longest_wait": max(waits)}

        await under_load(place, [server], tell, disturb=disturb, record=record, what="R4")


async def cut_connections(site, told, database, seconds, record):
    tell = told(SEED)
    async with site() as place:
        server = place.server()
        await server.start()

        async def disturb(campaign):
            cut = 0
            connection = await asyncpg.connect(database.url())
            try:
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    rows = await connection.fetch(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                    )
                    cut += len(rows)
                    await asyncio.sleep(0.2)
            finally:
                await connection.close()
            assert cut
            await until_ready(server)
            return {"connections_cut": cut}

        await under_load(place, [server], tell, disturb=disturb, record=record, what="R7")


async def pause_a_server(site, told, times, record):
    tell = told(SEED)
    async with site() as place:
        servers = [place.server(), place.server()]
        for server in servers:
            await server.start()

        async def disturb(campaign):
            for number in range(times):
                await asyncio.sleep(CALM_SECONDS)
                paused = servers[number % 2]
                tell.schedule.append(f"pause server {number % 2} for {2 * LEASE_SECONDS} s")
                campaign.faults += 1
                paused.pause()
                await asyncio.sleep(2 * LEASE_SECONDS + 1)
                paused.go_on()
                await until_ready(paused)
            return {"pauses": times}

        await under_load(place, servers, tell, disturb=disturb, record=record, what="R13")


CUTS = {
    "both ways": {"to_target": True, "to_client": True},
    "to the database": {"to_target": True},
    "from the database": {"to_client": True},
}


async def cut_the_network(site, told, database, cuts, record):
    tell = told(SEED)
    async with Proxy("127.0.0.1", database.port) as proxy, site() as place:
        near = place.server()
        through = place.url
        place.url = place.url.replace(f":{database.port}/", f":{proxy.port}/")
        far = place.server()
        place.url = through
        for server in (near, far):
            await server.start()

        async def disturb(campaign):
            for cut in cuts:
                await asyncio.sleep(CALM_SECONDS)
                tell.schedule.append(f"cut the network of one server {cut}")
                campaign.faults += 1
                proxy.hold(**CUTS[cut])
                assert await until_ready(far, ready=False, within=NOT_READY_SECONDS) < NOT_READY_SECONDS
                assert await status(far, "/healthz") == 200
                assert await status(near) == 200
                await asyncio.sleep(LEASE_SECONDS)
                proxy.heal()
                await until_ready(far, within=3 * BACK_SECONDS)  # it may be waiting for an answer that will never come
            return {"cuts": len(cuts)}

        await under_load(place, [near, far], tell, disturb=disturb, record=record, what="R14")


@pytest.mark.timeout(120)
async def test_the_database_is_killed(site, told, database, record):
    """R4 in the small: twice under load; nothing acknowledged is lost, the server is back by itself."""
    await kill_the_database(site, told, database, 2, record)


@pytest.mark.timeout(120)
async def test_connections_are_cut(site, told, database, record):
    """R7 in the small: three seconds of pg_terminate_backend."""
    await cut_connections(site, told, database, 3, record)


@pytest.mark.timeout(120)
async def test_a_server_is_paused(site, told, record):
    """R13 in the small: a server sleeps over its lease, the other one takes over, the sleeper's late writes come to nothing."""
    await pause_a_server(site, told, 1, record)


@pytest.mark.timeout(120)
async def test_the_network_is_cut(site, told, database, record):
    """R14 in the small: a server loses its database, the other one goes on with its work."""
    await cut_the_network(site, told, database, ["both ways"], record)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_the_database_is_killed_ten_times(site, told, database, record):
    """R4."""
    await kill_the_database(site, told, database, 10, record)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_connections_are_cut_for_a_minute(site, told, database, record):
    """R7."""
    await cut_connections(site, told, database, 60, record)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_servers_are_paused_ten_times(site, told, record):
    """R13."""
    await pause_a_server(site, told, 10, record)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_the_network_is_cut_ten_times(site, told, database, record):
    """R14."""
    await cut_the_network(site, told, database, [*CUTS, *CUTS, *CUTS, "both ways"], record)
