"""Scripts of definitions are read in a process of their own; nothing of them runs, and nothing holds the server up."""

import time
from contextlib import AsyncExitStack

import pytest

from flowrunner.tasks.javascript.check import check
from flowrunner.tasks.javascript.checker import Checker

GOOD = ["", "return 1", "input.x", "const a = await b; return a", "({ a }) => a"]
BAD = ["foo(", "return 1 +* 2", "\0", "x" * (1024 * 1024 + 1), "(" * 100_000]
# Each opening bracket makes the engine look through all that follows: minutes, in C, where no time limit of its own is looked at.
SLOW = "(" * 400 + "a+" * 400_000


@pytest.fixture
async def checker():
    async with AsyncExitStack() as stack:
        made = Checker()
        await made.start(stack)
        yield made


async def test_it_says_what_the_check_in_this_process_says(checker):
    """For whatever source, good or bad, together or alone."""
    problems = await checker([*GOOD, *BAD])
    assert problems == {source: check(source) for source in BAD}
    assert [await checker([source]) for source in (GOOD[1], BAD[0])] == [{}, {BAD[0]: check(BAD[0])}]
    assert await checker([]) == {}


async def test_nothing_is_run(checker):
    """Not even code that breaks out of the function."""
    began = time.monotonic()
    broken = ["}; for (;;); () => { function a() {", "}); for (;;); (() => {"]
    assert (await checker(["for (;;);", "}; for (;;); () => {", *broken])).keys() == set(broken)
    assert time.monotonic() - began < 4


async def test_what_takes_too_long_is_a_problem_and_the_next_definition_is_checked():
    """The process is ended and replaced; what was judged before it counts."""
    async with AsyncExitStack() as stack:
        checker = Checker(milliseconds=500)
        await checker.start(stack)
        found = await checker(["foo(", SLOW, "return 1"])
        assert found.keys() == {"foo(", SLOW}
        assert "too long" in found[SLOW].message
        assert await checker(["return 1", "foo("]) == {"foo(": check("foo(")}
