"""Definitions on every store, read by the front end of state machines: what is tested here does not depend on the format."""

import os
from contextlib import AsyncExitStack

import pytest

from flowrunner.asl.parse import parse_definition
from flowrunner.definitions.service import Definitions
from flowrunner.reading.parsed import Parsed
from flowrunner.stores.open import open_store
from flowrunner.testing.clock import ManualClock
from flowrunner.testing.dynamodb import fresh_url

ACCOUNT = "000000000001"


def parse(text, around):
    parsed = parse_definition(text)
    comment = None if parsed.program is None else parsed.program.comment
    return Parsed(parsed.program, parsed.diagnostics, name=comment)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture(params=["memory", "sqlite", "postgres", "dynamodb"])
async def store(request, tmp_path, clock):
    """An empty store of each kind."""
    url = {
        "memory": lambda: "memory:",
        "sqlite": lambda: f"sqlite:///{tmp_path}/flow.db",
        "postgres": lambda: request.getfixturevalue("postgres_url"),
        "dynamodb": lambda: fresh_url(request.getfixturevalue("dynamodb")),
    }[request.param]()
    async with AsyncExitStack() as stack:
        opened = open_store(url, clock=clock)
        await opened.start(stack)
        yield opened


@pytest.fixture
def flows(store, clock):
    return Definitions(store, form="flow", parse=parse, clock=clock, randomness=os.urandom)


@pytest.fixture
def workflows(store, clock):
    return Definitions(store, form="workflow", parse=parse, clock=clock, randomness=os.urandom, reserved=frozenset({"runs", "validate"}))
