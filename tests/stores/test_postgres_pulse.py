"""A PostgreSQL server that falls silent is noticed in seconds, one that is slow is waited for (reliability R14)."""

import asyncio
import time
from urllib.parse import urlsplit, urlunsplit

import pytest

from flowrunner.errors import StoreUnavailable
from flowrunner.stores.postgres.pulse import Pulse
from flowrunner.testing.conformance.examples import created
from flowrunner.testing.proxy import PARTITION, Conditions, FaultProxy

NOTICED_SECONDS = 3.0  # with the times below; a call alone would be given 15


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(Pulse, "QUIET_SECONDS", 0.3)
    monkeypatch.setattr(Pulse, "ASK_SECONDS", 0.5)


@pytest.fixture
async def proxy(postgres_url):
    parts = urlsplit(postgres_url)
    async with FaultProxy(parts.hostname, parts.port) as made:
        yield made


@pytest.fixture
async def store(postgres_url, proxy, open_postgres):
    """The store by way of the proxy, with every connection open."""
    parts = urlsplit(postgres_url)
    who, _, _ = parts.netloc.rpartition("@")
    async with open_postgres(urlunsplit(parts._replace(netloc=f"{who}@127.0.0.1:{proxy.port}"))) as opened:
        await asyncio.gather(created(opened, 1), *(opened.executions.next_wake() for _ in range(opened.session.address.connections)))
        yield opened


@pytest.mark.parametrize(
    "conditions",
    [
        pytest.param(PARTITION, id="nothing passes"),
        pytest.param(Conditions(up="swallow", accept_only=True), id="nothing arrives"),
        pytest.param(Conditions(down="hold"), id="nothing comes back"),
        pytest.param(Conditions(up="hold", refuse=True), id="nobody else is let in"),
    ],
)
async def test_a_silent_server(store, proxy, conditions):
    """Who waits is told soon, who comes then is told at once, and the store serves again by itself."""
    proxy.set(conditions)
    began = time.monotonic()
    first = await asyncio.gather(created(store, 2), store.executions.next_wake(), store.documents.get("000000000000", "none", "none"), return_exceptions=True)
    assert [type(error) for error in first] == [StoreUnavailable] * 3
    assert time.monotonic() - began < NOTICED_SECONDS
    for _ in range(4):
        asked = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await store.executions.next_wake()
        with pytest.raises(StoreUnavailable):
            await created(store, 2)
        assert time.monotonic() - asked < 1.5  # the writer waits a moment before it connects to a server that refuses
    proxy.set(Conditions())
    async with asyncio.timeout(10):
        while True:
            try:
                await created(store, 3)
                break
            except StoreUnavailable:
                await asyncio.sleep(0.02)
    assert store.session.in_use == 0


async def test_who_is_just_connecting_is_told_as_well(postgres_url, proxy, open_postgres):
    """A place whose connection was closed makes a new one, to a server that nobody knows yet to be silent."""
    parts = urlsplit(postgres_url)
    who, _, _ = parts.netloc.rpartition("@")
    async with open_postgres(urlunsplit(parts._replace(netloc=f"{who}@127.0.0.1:{proxy.port}"))) as store:
        proxy.set(PARTITION)
        began = time.monotonic()
        told = await asyncio.gather(*(store.executions.next_wake() for _ in range(store.session.address.connections)), return_exceptions=True)
        assert [type(error) for error in told] == [StoreUnavailable] * len(told)
        assert time.monotonic() - began < NOTICED_SECONDS  # to connect alone may take 5 s
        assert store.session.in_use == 0


async def test_it_says_that_the_server_is_silent(store, proxy):
    """While it lasts, callers are told for how long there was no answer."""
    proxy.set(PARTITION)
    with pytest.raises(StoreUnavailable):
        await store.executions.next_wake()
    with pytest.raises(StoreUnavailable, match=r"has fallen silent: no answer for 0\.8 s") as told:
        await store.executions.next_wake()
    assert "connects again by itself" in told.value.remedy


async def test_a_slow_statement_is_waited_for(store, proxy):
    """A server that still lets us in is only slow: nothing is broken off, however often it is asked for."""
    before = proxy.accepted
    async with store.session.transaction() as link:
        await link.run("SELECT pg_sleep(1.5)")
    assert proxy.accepted - before >= 2  # it was asked for more than once
    await store.executions.next_wake()


async def test_a_server_that_is_not_asked_is_not_watched(store, proxy):
    """Nobody waits, nobody asks."""
    before = proxy.accepted
    proxy.set(PARTITION)
    await asyncio.sleep(1.0)  # the instant is the experiment
    assert proxy.accepted == before
    proxy.set(Conditions())
    await store.executions.next_wake()


async def test_the_rest_of_a_broken_transaction_is_not_done_alone(store, proxy):
    """A connection that is lost between two statements takes the whole transaction with it."""

    async def two_statements():
        async with store.session.transaction() as link:
            await link.fetch("write_check", "first")
            proxy.cut()
            async with asyncio.timeout(10):
                while link.is_open:
                    await asyncio.sleep(0)
            await link.fetch("write_check", "second")

    with pytest.raises(StoreUnavailable, match="in the middle of a transaction"):
        await two_statements()
    async with store.session.transaction() as link:
        await link.run(f"DO $$ BEGIN ASSERT NOT EXISTS (SELECT FROM {store.session.address.schema}.meta WHERE value IN ('first', 'second')); END $$")
