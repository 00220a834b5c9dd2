"""Failed log-ins wait longer and longer; nobody locks anybody else out."""

import pytest

from flowrunner.errors import Overloaded
from flowrunner.identity import backoff as module
from flowrunner.identity.backoff import ADDRESS_BUDGET, FREE, KEPT, LONGEST_SECONDS, Backoff
from flowrunner.testing.clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


def wait(backoff, name="ada", address="192.0.2.1"):
    """How long this caller must wait now."""
    try:
        backoff.admit(name, address)
    except Overloaded as overloaded:
        return overloaded.retry_after
    return 0.0


def fail(backoff, clock, times, name="ada", address="192.0.2.1"):
    for _ in range(times):
        clock.jump(wait(backoff, name, address))
        backoff.failed(name, address)


def test_waits_double_up_to_a_bound(clock):
    """A few mistakes are free, then 1, 2, 4 ... seconds, at most a quarter of an hour."""
    backoff = Backoff(clock)
    fail(backoff, clock, FREE)
    waits = []
    for _ in range(14):
        fail(backoff, clock, 1)
        waits.append(wait(backoff))
    assert waits[:5] == [1, 2, 4, 8, 16]
    assert waits[-1] == LONGEST_SECONDS


def test_a_stranger_locks_nobody_out(clock):
    """Who fails under a name from elsewhere does not make its owner wait, in any spelling of the name."""
    backoff = Backoff(clock)
    fail(backoff, clock, 12, "Ada", "198.51.100.9")
    assert wait(backoff, "ada", "198.51.100.9") > 0
    assert wait(backoff, "ada", "192.0.2.1") == 0


def test_success_forgets_the_pair_not_the_address(clock):
    """An attacker with a name of their own does not win guesses at others with it."""
    backoff = Backoff(clock)
    for number in range(round(ADDRESS_BUDGET)):
        backoff.failed(f"victim-{number}", "192.0.2.1")
        backoff.succeeded("attacker", "192.0.2.1")
    assert wait(backoff, "another", "192.0.2.1") > 0
    assert wait(backoff, "another", "192.0.2.2") == 0


def test_an_address_has_a_hundred_failures_a_minute(clock):
    """Over all names, however they are spread."""
    backoff, passed = Backoff(clock), 0
    for number in range(10_000):
        if wait(backoff, f"name-{number}") == 0:
            passed += 1
            backoff.failed(f"name-{number}", "192.0.2.1")
        clock.jump(0.06)  # ten minutes in all
    assert passed <= ADDRESS_BUDGET * 11


def test_memory_is_bounded(clock):
    """Names and addresses that an attacker makes up do not fill the memory."""
    backoff = Backoff(clock)
    for number in range(KEPT + 500):
        backoff.failed(f"name-{number}", f"address-{number}")
    assert len(backoff._pairs) <= KEPT
    assert len(backoff._addresses) <= KEPT


def test_an_hour_forgets(clock):
    """Old mistakes count no more."""
    backoff = Backoff(clock)
    fail(backoff, clock, FREE + 3)
    clock.jump(module.FORGET_SECONDS + 1)
    backoff.failed("ada", "192.0.2.1")
    assert wait(backoff) == 0
