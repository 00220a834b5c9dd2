import datetime as dt

import pytest

from flowrunner.errors import ExpressionSyntaxError
from flowrunner.lang.cron import Cron


def at(text):
    return round(dt.datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        ("*/5 * * * *", "UTC", "2026-11-21T10:00:00Z", "2026-11-21T10:05:00Z"),
        ("*/5 * * * *", "UTC", "2026-11-21T10:04:59.999Z", "2026-11-21T10:05:00Z"),
        ("*/20 * * * * *", "UTC", "2026-11-21T10:00:00.001Z", "2026-11-21T10:00:20Z"),
        ("@hourly", "UTC", "2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z"),
        ("0 9 * * MON-FRI", "Europe/Berlin", "2026-11-21T10:00:00Z", "2026-11-23T08:00:00Z"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),  # 02:30 is left out that day
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),  # and here it is there twice
        ("0 0 29 2 *", "UTC", "2026-11-21T10:00:00Z", "2028-02-29T00:00:00Z"),
        ("0 0 L * *", "UTC", "2026-11-21T10:00:00Z", "2026-11-30T00:00:00Z"),
    ],
)
def test_next_time(expression, zone, after, expected):
    """The next time is after the moment that is given, in the schedule's time zone."""
    assert Cron(expression, zone).after(at(after)) == at(expected)


@pytest.mark.parametrize(
    "expression", ["", "* * * *", "60 * * * *", "* * * * * * *", "a b c d e", "0 0 31 2 *", "@never", "*/0 * * * *", "1," * 200 + "1 * * * *"]
)
def test_expressions_that_cannot_be_read(expression):
    """The error says what is wrong."""
    with pytest.raises(ExpressionSyntaxError, match="cron expression"):
        Cron(expression)


@pytest.mark.parametrize("zone", ["Mars", "../etc/passwd", "", "\0", "/etc/localtime"])
def test_time_zones_that_do_not_exist(zone):
    """The error names the time zone."""
    with pytest.raises(ExpressionSyntaxError, match="no time zone"):
        Cron("* * * * *", zone)
