"""Two real servers on one store: any of them answers, and the work of a killed one goes on at the other."""

from __future__ import annotations

import asyncio
import time

import pytest
from order_server import OrderServer, attempts, failures, until

LEASE_SECONDS = 2


@pytest.fixture(params=["postgres", "dynamodb"])
def servers(request, tmp_path):
    """Two servers on one store, with one ledger."""
    url = request.getfixturevalue(f"{request.param}_url")
    made = [OrderServer(tmp_path, url) for _ in range(2)]
    try:
        for server in made:
            server.start(FLOWRUNNER_LEASE_SECONDS=str(LEASE_SECONDS))
        yield made
    finally:
        for server in made:
            server.close()


async def followed(server, execution):
    """Every event that a stream on this server tells, from the first to the end."""
    async with server.client() as client:
        run = await client.run(execution)
        return [message async for message in client.follow(run["runId"]) if message["type"] != "end"]


def test_the_work_of_a_killed_server_goes_on(servers):
    """Kill one in the middle of an order: the other ends it within lease + 5 s, streams all of it, and runs again only what it may."""
    first, second = servers
    execution = first.order(workSeconds=1)
    until(lambda: first.began()["ProcessPayment"], "the branches run")
    first.kill()
    killed = time.monotonic()
    until(lambda: [error for _, error in failures(second.history(execution)) if error == "FlowRunner.OutcomeUnknown"], "the other one takes over")
    assert time.monotonic() - killed < LEASE_SECONDS + 5
    ended = second.ended(execution)
    events = second.history(execution)
    assert ended["status"] == "SUCCEEDED"
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert attempts(events)["NotifyCustomer"] == 1
    assert second.began()["NotifyCustomer"] <= 1
    messages = asyncio.run(followed(second, execution))
    assert [message["seq"] for message in messages] == list(range(1, len(events) + 1))


def test_a_server_that_is_stopped_hands_over_at_once(servers):
    """SIGTERM: what waits for its retry is taken up by the other one without waiting for a lease."""
    first, second = servers
    execution = first.order(workSeconds=0.2, paymentBusy=2)
    until(lambda: "PaymentGatewayBusy" in [error for _, error in failures(first.history(execution))], "the payment waits for its retry")
    assert first.terminate() == 0
    ended = second.ended(execution)
    assert ended["status"] == "SUCCEEDED"
    assert "FlowRunner.OutcomeUnknown" not in [error for _, error in failures(second.history(execution))]
