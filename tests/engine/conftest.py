"""Engines to test: on each store, warm (machines stay in memory) and cold (replayed for every fact)."""

import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from flowrunner.engine import activities
from flowrunner.stores.open import open_store
from flowrunner.testing.clock import ManualClock

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "core")]

from enginebench import Bench  # noqa: E402 - found by the line above


@pytest.fixture(params=["memory", "sqlite", "postgres", "dynamodb"])
def store_url(request, tmp_path):
    """The URL of an empty store."""
    if request.param in ("postgres", "dynamodb"):
        return request.getfixturevalue(f"{request.param}_url")
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'flowrunner.db'}"


@pytest.fixture(params=[1000, 0], ids=["warm", "cold"])
async def bench(request, store_url, monkeypatch):
    """A running engine, alone on its store: it looks for what other nodes do so rarely that the clock need not stop for it."""
    monkeypatch.setattr(activities, "ASK_SECONDS", 3600.0)
    async with AsyncExitStack() as stack:
        clock = ManualClock()
        store = open_store(store_url, clock=clock)
        await store.start(stack)
        made = Bench(store, kept_warm=request.param, clock=clock, lease_seconds=36000.0)
        made.engine.feed._look_seconds = 3600.0
        await made.engine.start(stack)
        yield made
