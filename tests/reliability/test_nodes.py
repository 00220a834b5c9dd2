"""R13, R14: two servers on one PostgreSQL, one of them paused beyond its lease or cut off from the database; the other goes on."""

import asyncio
import contextlib
import random
import time
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
import pytest_asyncio
from seed import SEED
from test_kills import keep_running

from flowrunner.client import ServerRefused
from flowrunner.testing.crash.campaign import Campaign
from flowrunner.testing.crash.flows import FLOWS, machine_arn
from flowrunner.testing.crash.outside import Callers
from flowrunner.testing.crash.server import LEASE_SECONDS
from flowrunner.testing.proxy import PARTITION, Conditions, FaultProxy

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECONDS_TO_NOTICE = 15.0  # /readyz gives the store 5 seconds, and the machine may be busy with other tests
SECONDS_TO_RETURN = LEASE_SECONDS + 5


@pytest.fixture
def store_url(postgres_urls):
    """The URL of an empty schema."""
    return lambda _folder: postgres_urls()


@pytest_asyncio.fixture(loop_scope="module")
async def proxy(postgres_urls):
    """A proxy before the database."""
    parts = urlsplit(postgres_urls())
    async with FaultProxy(parts.hostname, parts.port) as made:
        yield made


def through(url, proxy):
    """The same store by way of the proxy."""
    parts = urlsplit(url)
    who = f"{parts.username}@" if parts.username else ""
    return urlunsplit(parts._replace(netloc=f"{who}127.0.0.1:{proxy.port}"))


async def until(holds, within, what):
    """Wait until something holds; how long it took."""
    began = time.monotonic()
    while not await holds():
        assert time.monotonic() - began < within, f"not within {within:g} s: {what}"
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def status(server, path):
    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=SECONDS_TO_NOTICE) as http:
        with contextlib.suppress(httpx.TransportError):
            return (await http.get(f"{server.url}{path}")).status_code
    return None


# --- R13


async def pauses(site, told, record, seed, times):
    """Stop one of two servers for two leases and let it go on, again and again, while all flows run."""
    chance, tell = random.Random(seed), told(seed)
    async with site() as place:
        servers = [place.server(), place.server()]
        for server in servers:
            await server.start()
        async with Campaign(servers, place.book, FLOWS, told=tell, nurse=False) as campaign, asyncio.TaskGroup() as group:
            enough = asyncio.Event()
            runners = [group.create_task(keep_running(campaign, flow, enough)) for flow in FLOWS]
            for _ in range(times):
                which, calm = chance.randrange(2), chance.uniform(0.2, 1)
                tell.schedule.append(f"stop server {which} after {calm:.3f} s for two leases")
                await asyncio.sleep(calm)  # the instant is the experiment
                servers[which].pause()
                campaign.faults += 1
                await asyncio.sleep(2 * LEASE_SECONDS)  # so that the other takes over
                servers[which].go_on()
            enough.set()
            counts = [await runner for runner in runners]
            evidence = await campaign.evidence()
            campaign.judge(evidence)
            taken = sum([(await server.samples()).get("flowrunner_lease_takeovers_total", 0) for server in servers])
            record("R13", {"seed": seed, "pauses": times, "executions": sum(counts), "taken over": taken, "answered": campaign.callers.success})
            return taken


@pytest.mark.timeout(120)
async def test_a_paused_server_is_fenced_off(site, told, record):
    """R13 in the small: one pause; what it had in hand goes on elsewhere, and nothing begins on it when it comes back."""
    for seed in range(SEED, SEED + 4):  # an instant at which the server had nothing in hand shows nothing
        if await pauses(site, told, record, seed, 1) > 0:
            return
    pytest.fail("nothing was ever taken over")


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_ten_pauses(site, told, record):
    """R13: ten pauses."""
    assert await pauses(site, told, record, SEED, 10) > 0


# --- R14

WAYS = {
    "both ways": PARTITION,
    "nothing arrives": Conditions(up="hold"),
    "nothing comes back": Conditions(down="hold"),
    "half open": Conditions(up="swallow", down="swallow", accept_only=True),
    "refused": Conditions(refuse=True),
}


async def partitions(site, tell, record, proxy, ways):
    """Cut one of two servers off from the database in these ways, two leases each, while all flows run."""
    async with site() as place:
        cut_off, other = place.server(url=through(place.url, proxy)), place.server()
        for server in (cut_off, other):
            await server.start()
        alone = Callers([cut_off])
        async with Campaign([cut_off, other], place.book, FLOWS, told=tell, nurse=False) as campaign, asyncio.TaskGroup() as group:
            enough = asyncio.Event()
            runners = [group.create_task(keep_running(campaign, flow, enough)) for flow in FLOWS]
            for way in ways:
                tell.schedule.append(f"cut off: {way}")
                await asyncio.sleep(0.5)  # work for both
                proxy.set(WAYS[way])
                if way in ("half open", "refused"):
                    proxy.cut()
                campaign.faults += 1
                await asyncio.gather(is_told(cut_off), is_refused(alone, campaign), asyncio.sleep(2 * LEASE_SECONDS))
                proxy.set(Conditions())
                if way == "half open":
                    proxy.cut()  # the network comes back and knows nothing of the old connections
                seconds = await until(lambda: is_ready(cut_off), SECONDS_TO_RETURN, f"ready after {way}")
                record("R14", {"way": way, "seconds to return": round(seconds, 2)})
            enough.set()
            counts = [await runner for runner in runners]
            campaign.judge(await campaign.evidence())
            record("R14", {"partitions": len(ways), "executions": sum(counts), "answered": campaign.callers.success})
        await alone.close()


async def is_ready(server):
    return await status(server, "/readyz") == 200


async def is_told(server):
    """A server that is cut off says that it is not ready, and that it lives."""

    async def not_ready():
        return await status(server, "/readyz") == 503

    await until(not_ready, SECONDS_TO_NOTICE, "it says that it is not ready")
    assert await status(server, "/healthz") == 200


async def is_refused(alone, campaign):
    """A start is refused with 503 and not acknowledged."""
    name = f"cut-off-{time.monotonic_ns()}"
    campaign.tried.add(machine_arn("wait").replace(":stateMachine:", ":execution:") + f":{name}")
    with pytest.raises(ServerRefused) as refused:
        await alone.once("StartExecution", stateMachineArn=machine_arn("wait"), name=name, input='{"order": 8}')
    assert refused.value.status == 503


@pytest.mark.timeout(120)
async def test_a_server_without_its_database(site, told, record, proxy):
    """R14 in the small: one partition."""
    await partitions(site, told(), record, proxy, ["both ways"])


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_ten_partitions(site, told, record, proxy):
    """R14: each way twice."""
    await partitions(site, told(), record, proxy, [*WAYS, *WAYS])
