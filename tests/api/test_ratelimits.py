"""Token buckets: a burst is the bucket, what follows is the refill, and nobody pays for another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_app import app, client, problem

from flowrunner.api.identify import RUNS_READ, NoAccounts
from flowrunner.api.ratelimits import Buckets, Quota, headers_of, retry_after
from flowrunner.clock import SystemClock
from flowrunner.config import Settings
from flowrunner.limits import AWS_RATES, Rate
from flowrunner.wiring import _limiter, build

RATES = {"Start": Rate(5, 2), "Stop": Rate(1, 0.5)}


class Time:
    """Seconds that a test moves on."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def made(time, rates=RATES, **settings):
    return Buckets(rates, monotonic=time, **settings)


@given(st.integers(1, 3000), st.floats(0.1, 2000), st.floats(0, 1e9))
def test_burst_is_the_bucket(bucket, per_second, start):
    """As many requests pass at once as the bucket holds, not one more."""
    time = Time()
    time.now = start
    buckets = made(time, {"Start": Rate(bucket, per_second)})
    passed = 0
    while passed < bucket + 2 and buckets.take("a", "Start") is None:
        passed += 1
    assert passed == bucket


@pytest.mark.parametrize("operation", ["StartExecution", "DescribeExecution", "CreateStateMachine", "SendTaskSuccess"])
def test_steady_rate_is_the_refill(operation):
    """Who never stops asking gets the refill, within 5 %."""
    time, rate = Time(), AWS_RATES[operation]
    buckets = made(time, AWS_RATES)
    while buckets.take("a", operation) is None:
        pass
    passed, seconds, step = 0, 100, 1 / (rate.per_second * 4)
    for _ in range(round(seconds / step)):
        time.now += step
        passed += buckets.take("a", operation) is None
    assert passed == pytest.approx(seconds * rate.per_second, rel=0.05)


@given(st.integers(1, 20), st.floats(0.1, 50), st.lists(st.floats(0, 3), max_size=60))
def test_never_more_than_bucket_and_refill(bucket, per_second, gaps):
    """Whatever the pauses: in no span pass more than the bucket and what was refilled in it."""
    time = Time()
    buckets = made(time, {"Start": Rate(bucket, per_second)})
    passed: list[float] = []
    for gap in gaps:
        time.now += gap
        if buckets.take("a", "Start") is None:
            passed.append(time.now)
    for index, first in enumerate(passed):
        for count, last in enumerate(passed[index:], 1):
            assert count <= bucket + (last - first) * per_second + 1e-6


@given(st.floats(0.05, 500), st.integers(1, 20))
def test_the_wait_is_right(per_second, bucket):
    """After the time that is told a request passes, a little before it does not."""
    time = Time()
    buckets = made(time, {"Start": Rate(bucket, per_second)})
    while (wait := buckets.take("a", "Start")) is None:
        pass
    time.now += wait * 0.99
    assert buckets.take("a", "Start") is not None
    time.now += wait * 0.01 + 1e-9
    assert buckets.take("a", "Start") is None


def test_accounts_and_operations_have_buckets_of_their_own():
    """One account's requests do not count for another's, nor one operation's for another; what has no rate is not counted."""
    time = Time()
    buckets = made(time)
    assert [buckets.take("a", "Stop") is None for _ in range(3)] == [True, False, False]
    assert buckets.take("b", "Stop") is None
    assert buckets.take("a", "Start") is None
    assert all(buckets.take("a", "List") is None for _ in range(1000))
    assert len(buckets) == 3


def test_all_requests_of_an_account():
    """A rate of the account counts every operation; what the operation's bucket refuses is not taken from it, nor the other way."""
    time = Time()
    buckets = made(time, every=Rate(4, 1))
    assert buckets.take("a", "Stop") is None
    assert buckets.take("a", "Stop") is not None
    assert [buckets.take("a", "List") is None for _ in range(4)] == [True, True, True, False]
    time.now += 1
    assert buckets.take("a", "List") is None
    time.now += 0.5
    assert buckets.take("a", "Start") is not None
    time.now += 0.5
    assert [buckets.take("a", "Start") is None for _ in range(2)] == [True, False]


def test_several_nodes_share_a_rate():
    """Two nodes together let pass what one would, burst and refill."""
    time = Time()
    nodes = [made(time, {"Start": Rate(100, 10)}, nodes=lambda: 2) for _ in range(2)]

    def asked():
        return sum(node.take("a", "Start") is None for node in nodes for _ in range(200))

    assert asked() == 100
    time.now += 5
    assert asked() == 50


def test_memory_is_bounded():
    """The bucket that was not used for longest is forgotten first."""
    buckets = made(Time(), kept=100)
    for number in range(1000):
        assert buckets.take("always", "Stop") is None or number > 0
        buckets.take(f"a{number}", "Start")
    assert len(buckets) <= 100


def test_retry_after():
    """Whole seconds, at least one."""
    assert [retry_after(seconds) for seconds in (0.01, 1, 1.2, 59.5)] == [1, 1, 2, 60]


def test_what_is_left():
    """A quota tells how many requests still pass, and when the bucket is full; an empty one when the next passes."""
    time = Time()
    buckets = made(time, {"Start": Rate(4, 0.5)})
    seen = []
    for _ in range(5):
        buckets.take("a", "Start")
        [quota] = buckets.quotas("a", "Start")
        seen.append((quota.remaining, quota.reset))
    assert seen == [(3, 2), (2, 4), (1, 6), (0, 2), (0, 2)]
    assert buckets.quotas("b", "Start") == [Quota(limit=4, window=8, remaining=4, reset=0)]
    assert buckets.quotas("a", "Other") == []


@given(st.integers(1, 50), st.floats(0.1, 50), st.integers(1, 4), st.lists(st.floats(0, 3), max_size=20))
def test_what_is_left_passes(bucket, per_second, nodes, gaps):
    """As many as a quota says pass at once, and no more."""
    time = Time()
    buckets = made(time, {"Start": Rate(bucket, per_second)}, nodes=lambda: nodes)
    for gap in gaps:
        time.now += gap
        buckets.take("a", "Start")
    told = buckets.quotas("a", "Start")[0].remaining
    passed = 0
    while buckets.take("a", "Start") is None:
        passed += 1
    assert passed == told


def test_the_tightest_quota_is_told():
    """The headers are those of the bucket with the least left; the policy names all."""
    buckets = made(Time(), {"Start": Rate(5, 2)}, every=Rate(3, 3))
    buckets.take("a", "Start")
    assert dict(headers_of(buckets.quotas("a", "Start"))) == {
        b"ratelimit-limit": b"3", b"ratelimit-remaining": b"2", b"ratelimit-reset": b"1", b"ratelimit-policy": b"3;w=1, 5;w=3",
    }  # fmt: skip


# --- at the edges


async def test_rest_tells_the_quota():
    """Answers of a route that is counted have the quota, good ones and those that refuse; on the latter it resets when Retry-After says."""
    async with client(app(limiter=made(Time(), {RUNS_READ: Rate(2, 0.25)}))) as http:
        answers = [await http.get(path) for path in ("/api/v2/workflows/runs", "/api/v2/workflows/runs/none", "/api/v2/workflows/runs")]
        assert [answer.status_code for answer in answers] == [200, 404, 429]
        assert [[answer.headers[f"ratelimit-{name}"] for name in ("limit", "remaining", "reset", "policy")] for answer in answers] == [
            ["2", "1", "4", "2;w=8"],
            ["2", "0", "4", "2;w=8"],
            ["2", "0", "4", "2;w=8"],
        ]
        assert answers[2].headers["retry-after"] == "4"
        assert "ratelimit-limit" not in (await http.get("/healthz")).headers
    async with client(app()) as http:
        assert "ratelimit-limit" not in (await http.get("/api/v2/workflows/runs")).headers


async def test_rest_answers_429():
    """A route counts under its permission; the answer says when to come back. What needs no permission is not counted."""
    time = Time()
    async with client(app(limiter=made(time, {RUNS_READ: Rate(2, 0.25)}))) as http:
        assert [(await http.get("/api/v2/workflows/runs")).status_code for _ in range(2)] == [200, 200]
        answer = await http.get("/api/v2/workflows/runs")
        await problem(answer, 429, "too_many_requests")
        assert answer.headers["retry-after"] == "4"
        assert (await http.get("/healthz")).status_code == 200
        time.now += 4
        assert (await http.get("/api/v2/workflows/runs")).status_code == 200


async def test_rest_refuses_before_it_counts():
    """Who is not let in takes nothing from anybody's bucket."""
    buckets = made(Time(), {RUNS_READ: Rate(1, 1)})
    async with client(app(authenticator=NoAccounts(), limiter=buckets)) as http:
        await problem(await http.get("/api/v2/workflows/runs"), 401, "unauthenticated")
    assert len(buckets) == 0


LIMITED = [
    ({"dev": True}, False),
    ({"dev": True, "limits": "open"}, False),
    ({"dev": True, "request_rates": "aws"}, True),
    ({"dev": True, "requests_per_second": 1}, True),
    ({}, False),
    ({"request_rates": "aws"}, True),
    ({"limits": "open"}, False),
    ({"limits": "open", "request_rates": "aws"}, True),
    ({"request_rates": "off"}, False),
    ({"request_rates": "off", "requests_per_second": 5}, True),
]


@pytest.mark.parametrize(("settings", "limited"), LIMITED)
async def test_which_servers_limit(settings, limited):
    """Those whose settings say so."""
    chosen = Settings(store="memory:", **settings)
    assert (_limiter(chosen, SystemClock(), build(chosen).engine) is not None) is limited
