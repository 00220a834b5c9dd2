"""R15: processes claim the same executions again and again, and each claim has one winner."""

import asyncio
import json
import os
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from flowrunner.clock import SystemClock
from flowrunner.stores.open import open_store
from flowrunner.testing.conformance.examples import created

CHILD = Path(__file__).with_name("claiming_child.py")
EXECUTIONS = 10


@pytest.fixture(params=["postgres", pytest.param("dynamodb", marks=pytest.mark.slow)])
def shared_url(request):
    """A store that several processes may share."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres_urls")()
    return request.getfixturevalue("dynamodb_url")


async def hammer(url, processes, tasks, epochs):
    """Have processes claim ten executions so many times each; how many claims there were, and how many of them were lost."""
    async with AsyncExitStack() as stack:
        store = open_store(url, clock=SystemClock())
        await store.start(stack)
        heads = [await created(store, number, wake_at=1) for number in range(EXECUTIONS)]
        last = heads[0].epoch + epochs
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        pipe = asyncio.subprocess.PIPE
        children = [
            await asyncio.create_subprocess_exec(
                sys.executable, CHILD, url, str(tasks), str(last), *(head.id for head in heads), stdin=pipe, stdout=pipe, env=environment, limit=1 << 26
            )
            for _ in range(processes)
        ]  # fmt: skip
        for phase in (b"ready\n", b"taken\n"):
            for child in children:
                assert await child.stdout.readline() == phase
            for child in children:
                child.stdin.write(b"go\n")
        told = [json.loads(await child.stdout.readline()) for child in children]
        assert [await child.wait() for child in children] == [0] * processes
        won = Counter((execution, epoch) for one in told for execution, epoch in one["won"])
        assert set(won.values()) == {1}, "a claim has several winners"
        for head in heads:
            final = (await store.executions.head(head.id)).epoch
            assert {epoch for execution, epoch in won if execution == head.id} == set(range(head.epoch + 1, final + 1))
        due = Counter(execution for one in told for execution in one["due"])
        assert set(due) == {head.id for head in heads}
        assert set(due.values()) == {1}, "a row that was due was given to several"
        return won.total() + sum(one["lost"] for one in told), sum(one["lost"] for one in told)


@pytest.mark.timeout(300)
async def test_each_claim_has_one_winner(shared_url):
    """R15 in the small: two processes, four tasks each."""
    claims, lost = await hammer(shared_url, 2, 4, 10)
    assert lost > 0
    assert claims >= 100


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_ten_thousand_claims(postgres_urls, record):
    """R15: four processes, ten thousand claims; the stand-in for DynamoDB, one request at a time, would take an hour."""
    total = fenced = 0
    while total < 10_000:
        claims, lost = await hammer(postgres_urls(), 4, 4, 150)
        total, fenced = total + claims, fenced + lost
    record("R15", {"claims": total, "fenced off": fenced})
    assert fenced > 0
