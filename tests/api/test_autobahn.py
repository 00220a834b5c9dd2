"""Autobahn|Testsuite's cases without compression, against an application that echoes."""

import asyncio

import pytest
from autobahncases import NotHere, cases
from fuzzingclient import play
from liveworld import LiveWorld
from test_frames import echo

from flowrunner.cli import protocol

AT_ONCE = 32
CASE_SECONDS = 100
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}  # not strict: refused, but only when the frame or the message had come whole
LARGE = {f"9.{group}.{number}" for group in (1, 2) for number in range(2, 7)}  # 256 KiB to 16 MiB
LARGE |= {f"9.{group}.{number}" for group in (3, 4) for number in range(1, 10)}  # 4 MiB
LARGE |= {f"9.{group}.{number}" for group in (5, 6) for number in range(1, 7)}  # 1 MiB
CLOSED_WITHIN = "7.1.5"  # who closes in the middle of a message is told so: 1002 instead of 1000
REFUSED = {CLOSED_WITHIN, *LARGE}  # on purpose: docs/reference/stream-messages.md


@pytest.fixture(scope="module")
def found():
    try:
        return cases()
    except NotHere as error:
        pytest.skip(str(error))


async def failing(found, numbers, *, at_once=AT_ONCE):
    """Which of the cases did not go well, with what was seen."""
    world, gate = LiveWorld(app=echo), asyncio.Semaphore(at_once)

    async def one(number):
        async with gate, asyncio.timeout(CASE_SECONDS):
            played = await play(found[number], world.address)
        good = played.behavior in GOOD and played.behaviorClose in GOOD
        return {} if good else {number: (played.behavior, played.behaviorClose, played.result, played.resultClose)}

    async with world.served():
        return {number: seen for one in await asyncio.gather(*map(one, numbers)) for number, seen in one.items()}


@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore")
async def test_no_case_fails_but_what_is_refused(found):
    """301 cases; a refused one closes the connection with a code that says why."""
    assert len(found) == 301
    limits = {number for number in found if number.startswith(("9.", "10."))}
    seen = await failing(found, found.keys() - limits) | await failing(found, sorted(limits), at_once=2)
    assert set(seen) == REFUSED, {number: seen.get(number) for number in set(seen) ^ REFUSED}


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_large_messages_where_they_are_allowed(found, monkeypatch):
    """With limits above 16 MiB nothing but the closed message fails."""
    monkeypatch.setattr(protocol, "MAX_MESSAGE_BYTES", 32 * 2**20)
    monkeypatch.setattr(protocol, "MAX_FRAGMENTS", 2**20)
    assert await failing(found, sorted(LARGE), at_once=1) == {}
