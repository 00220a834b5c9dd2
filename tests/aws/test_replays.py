"""A write that was captured cannot be sent again later; an honest retry can."""

from __future__ import annotations

import datetime as dt
import itertools
from contextlib import suppress

import pytest
from awssigner import ACCESS_KEY, ACCOUNT, NOW, NOW_MS, Key, Keys, make_signed, signed, taken

from flowrunner.api.aws.canonicalrequest import receive
from flowrunner.api.aws.faults import AwsFault
from flowrunner.api.aws.operations import OPERATIONS
from flowrunner.api.aws.replays import REPEAT_SECONDS, Replays
from flowrunner.api.aws.signature import Claim, read_claim
from flowrunner.testing.clock import ManualClock

START = b'{"stateMachineArn":"a"}'
READS = {
    "DescribeActivity", "DescribeExecution", "DescribeMapRun", "DescribeStateMachine", "DescribeStateMachineAlias", "DescribeStateMachineForExecution",
    "GetExecutionHistory", "ListActivities", "ListExecutions", "ListMapRuns", "ListStateMachineAliases", "ListStateMachineVersions", "ListStateMachines",
    "ListTagsForResource", "ValidateStateMachineDefinition",
}  # fmt: skip


def test_reads():
    """What may be sent again without harm is on this list; whatever is new is a write until somebody says otherwise."""
    assert {name for name, operation in OPERATIONS.items() if operation.reads} == READS


async def test_an_equal_write_passes_for_a_few_seconds():
    """A retry or a loop within seconds is taken; the same bytes later are not, however often they are tried."""
    clock = ManualClock(NOW_MS)
    authenticator = make_signed(clock=clock)
    scope = signed("StartExecution", START)
    for wait in (0, 1, REPEAT_SECONDS - 1):
        clock.jump(wait)
        assert await taken(authenticator, dict(scope), START)
    for wait in (0.001, 10, 60, 200):
        clock.jump(wait)
        with pytest.raises(AwsFault, match="was taken before") as caught:
            await taken(authenticator, dict(scope), START)
        assert caught.value.aws_code == "ThrottlingException"  # SDKs sign again and retry this one
    clock.jump(60)
    with pytest.raises(AwsFault, match="Signature expired"):
        await taken(authenticator, dict(scope), START)


async def test_signing_again_is_enough():
    """The same call, signed a second later, is another request."""
    clock = ManualClock(NOW_MS)
    authenticator = make_signed(clock=clock)
    for second in range(20):
        clock.jump(1)
        assert await taken(authenticator, signed("StartExecution", START, at=NOW + dt.timedelta(seconds=second)), START)


async def test_reads_may_be_sent_again():
    """A read is taken for as long as its signature holds."""
    clock = ManualClock(NOW_MS)
    authenticator = make_signed(clock=clock)
    scope = signed("DescribeExecution", START)
    for _ in range(6):
        assert await taken(authenticator, dict(scope), START)
        clock.jump(60)


@pytest.mark.parametrize("target", ["UpdateStateMachine", "GetActivityTask", "TestState", "Fly", ""])
async def test_whatever_is_no_read_is_a_write(target):
    """So is an operation that does not exist."""
    clock = ManualClock(NOW_MS)
    authenticator = make_signed(clock=clock)
    scope = signed(target)
    assert await taken(authenticator, dict(scope))
    clock.jump(REPEAT_SECONDS + 1)
    with pytest.raises(AwsFault, match="was taken before"):
        await taken(authenticator, dict(scope))


async def test_presigned_writes_hold_for_five_minutes():
    """A presigned read is good for its week; a write is not, so that what was taken need not be remembered for a week."""
    clock = ManualClock(NOW_MS)
    authenticator = make_signed(clock=clock)
    write, read = signed("StopExecution", START, expires=604_800), signed("DescribeExecution", START, expires=604_800)
    clock.jump(299)
    assert await taken(authenticator, dict(write), START)
    clock.jump(6)
    with pytest.raises(AwsFault, match="for 5 minutes after it was signed"):
        await taken(authenticator, dict(write), START)
    assert await taken(authenticator, dict(read), START)


async def test_a_refused_request_is_not_remembered():
    """Only who holds the secret puts anything into the memory."""
    replays = Replays()
    authenticator = make_signed(Keys({ACCESS_KEY: Key()}), replays=replays)
    for wrong in (signed("StartExecution", secret="x"), signed("StartExecution", key="AKIANOBODY"), signed("DescribeExecution", START)):
        with pytest.raises(AwsFault):
            await taken(authenticator, wrong)
    assert len(replays) == 0


# --- the memory itself


def claim(number: int, second: int = 0) -> Claim:
    moment = (NOW + dt.timedelta(seconds=second)).strftime("%Y%m%dT%H%M%SZ")
    text = f"AWS4-HMAC-SHA256 Credential=k/20261121/r/states/aws4_request, SignedHeaders=host, Signature={number * 2**20:016x}{0:048x}"
    return read_claim(receive(b"POST", b"/", b"", [(b"authorization", text.encode()), (b"x-amz-date", moment.encode())]))


def at(second: float):
    return {"now_ms": NOW_MS + int(second * 1000), "monotonic": 1000.0 + second}


def test_memory_is_bounded_and_forgets_on_the_safe_side():
    """With too many signatures whole seconds of an account go, and nothing that it signed in them is taken any more."""
    replays = Replays(kept=1000)
    for number in range(5000):
        replays.take(ACCOUNT, claim(number, number // 100), **at(number / 100))
        assert len(replays) <= 1000
    for number in range(4000):
        with pytest.raises(AwsFault):
            replays.take(ACCOUNT, claim(number, number // 100), **at(50))
    with pytest.raises(AwsFault):
        replays.take(ACCOUNT, claim(9_999_999, 0), **at(50))  # never seen, but it could have been
    replays.take(ACCOUNT, claim(9_999_999, 50), **at(50))


@pytest.mark.parametrize("ahead", [range(300, 301), range(301), range(0, 300, 7)], ids=["one second", "every second", "some seconds"])
def test_a_flood_of_one_account_costs_no_other(ahead):
    """While an account signs ahead of time more than is kept, another's writes are all taken, and none of them twice."""
    replays = Replays(kept=2000)
    flood = itertools.count(10**6)
    moments = itertools.cycle(ahead)
    for number in range(60):
        for _ in range(200):
            with suppress(AwsFault):
                replays.take("222222222222", claim(next(flood), number + next(moments)), **at(number))
        replays.take(ACCOUNT, claim(number, number), **at(number))
        replays.take(ACCOUNT, claim(number, number), **at(number))  # at once: a retry
        assert len(replays) <= 2000
    for number in range(50):
        with pytest.raises(AwsFault):
            replays.take(ACCOUNT, claim(number, number), **at(60))


def test_memory_empties_itself():
    """What no longer holds by its moment is forgotten."""
    replays = Replays()
    for number in range(100):
        replays.take(ACCOUNT, claim(number), **at(0))
    assert len(replays) == 100
    replays.take(ACCOUNT, claim(1000, 10), **at(10))
    replays.take(ACCOUNT, claim(1001, 302), **at(302))
    assert len(replays) == 2
    replays.take(ACCOUNT, claim(1002, 700), **at(700))
    assert len(replays) == 1


def test_a_burst_in_one_second():
    """More in one second than fit: the rest of that second has to be signed again, and then is taken."""
    replays = Replays(kept=100)
    for number in range(100):
        replays.take(ACCOUNT, claim(number), **at(0))
    for number in range(100, 200):
        with pytest.raises(AwsFault):
            replays.take(ACCOUNT, claim(number), **at(0))
        assert len(replays) <= 100
    for number in range(100, 190):
        replays.take(ACCOUNT, claim(number, 1), **at(1))


def test_clocks_ahead_and_behind():
    """Clients whose clocks differ by minutes are told apart by their signatures alone."""
    replays = Replays()
    for number, second in enumerate((-299, -120, 0, 120, 300)):
        replays.take(ACCOUNT, claim(number, second), **at(0))
        with pytest.raises(AwsFault):
            replays.take(ACCOUNT, claim(number, second), **at(30 if second > -200 else 0.9 + REPEAT_SECONDS))
