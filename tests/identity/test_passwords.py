"""Passwords: which are taken, how they are kept, what checking them costs."""

import asyncio
import statistics
import time
from contextlib import AsyncExitStack

import argon2
import pytest

from flowrunner.errors import InvalidDocument, Overloaded
from flowrunner.identity.passwords import THREADS, WAITING, Passwords, check_password


@pytest.mark.parametrize(
    ("password", "good"),
    [
        ("fifteen letters", True),
        ("abcdefg8", True),
        ("seven77", False),
        ("", False),
        ("password", False),
        ("PassWord", False),
        ("changeme123", False),
        ("aaaaaaaaaa", False),
        ("ada.lovelace", False),  # the user's own name
        ("x" * 512, True),
        ("x" * 513, False),
        ("päßwörter", True),
    ],
)
def test_which_passwords_are_taken(password, good):
    """Long ones, and shorter ones that are not among the first that are tried."""
    if good:
        check_password(password, "Ada.Lovelace")
    else:
        with pytest.raises(InvalidDocument) as refused:
            check_password(password, "Ada.Lovelace")
        assert refused.value.pointer == "/password"


async def test_a_hash_says_how_it_was_made():
    """argon2id with its parameters; one of other parameters is outdated."""
    async with AsyncExitStack() as stack:
        passwords, weaker = Passwords(), Passwords(argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        await passwords.start(stack)
        await weaker.start(stack)
        kept = await passwords.hash("correct horse")
        assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
        assert await passwords.hash("correct horse") != kept
        assert (passwords.outdated(kept), weaker.outdated(kept)) == (False, True)
        assert await weaker.check(kept, "correct horse")
        assert not await weaker.check(kept, "wrong horse")
        assert not await weaker.check("no hash", "correct horse")
        assert not await weaker.check(None, "correct horse")


async def test_the_loop_goes_on_while_hashes_are_made():
    """Threads do it, two at a time; the loop is never held for long."""
    async with AsyncExitStack() as stack:
        passwords = Passwords()
        await passwords.start(stack)
        work = asyncio.gather(*(passwords.hash("correct horse") for _ in range(WAITING)))
        longest, last = 0.0, time.monotonic()
        while not work.done():
            await asyncio.sleep(0)
            now = time.monotonic()
            longest, last = max(longest, now - last), now
        await work
        assert THREADS == 2
        assert longest < 0.5  # seconds; 5 ms on an idle machine, where a hash takes 100


async def test_too_many_are_turned_away():
    """A queue that is full says so at once, and takes more when there is room."""
    async with AsyncExitStack() as stack:
        passwords = Passwords(argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        await passwords.start(stack)
        answers = await asyncio.gather(*(passwords.hash("correct horse") for _ in range(WAITING + 10)), return_exceptions=True)
        assert sum(isinstance(answer, Overloaded) for answer in answers) == 10
        await passwords.hash("correct horse")


async def test_unknown_names_cost_the_same():
    """Nobody learns from the time whether a name exists (medians of many, on whatever machine this is)."""
    async with AsyncExitStack() as stack:
        passwords = Passwords(argon2.PasswordHasher(time_cost=2, memory_cost=8192, parallelism=1))
        await passwords.start(stack)
        kept = await passwords.hash("correct horse")
        await passwords.check(None, "warm")
        times = {"known": [], "unknown": []}
        for _ in range(60):
            for name, hashed in (("known", kept), ("unknown", None)):
                began = time.perf_counter()
                await passwords.check(hashed, "wrong horse")
                times[name].append(time.perf_counter() - began)
        known, unknown = (statistics.median(times[name]) for name in ("known", "unknown"))
        assert 0.5 < known / unknown < 2
