"""Timestamps."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.errors import ExpressionError
from flowrunner.lang.moment import InvalidTimestamp, format_timestamp, is_timestamp, parse_nanoseconds, parse_timestamp

MAXIMUM = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z in milliseconds


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1969-12-31T23:59:59.999Z", -1_000_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T18:30:00-05:30", 0),
        ("2016-03-05T21:29:29.243167252Z", 1_457_213_369_243_167_252),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000_000_000),
    ],
)
def test_parse(text, nanoseconds):
    """Timestamps are read to the nanosecond, offsets taken off."""
    assert parse_nanoseconds(text) == nanoseconds
    assert parse_timestamp(text) == nanoseconds // 1_000_000
    assert is_timestamp(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "2016", "2016-12-05", "2016-12-05 21:29:29Z", "2016-12-05T21:29:29", "2016-12-05T21:29Z", "2016-12-05T25:29:29Z", "2016-12-05T24:00:00Z",
        "2016-13-05T21:29:29Z", "2023-02-29T00:00:00Z", "05-12-2016T21:29:29Z", "2016-12-05T21:29:60Z", "2016-12-05T21:29:29.Z", "2016-12-05T21:29:29.1234567890Z",
        "2016-12-05t21:29:29Z", "2016-12-05T21:29:29z", "2016-12-05T21:29:29+0100", "2016-12-05T21:29:29+19:00", "2016-12-05T21:29:29+01:60", "20161205T212929Z",
        "2016-12-05T21:29:29Z\n", " 2016-12-05T21:29:29Z", "\u0662016-12-05T21:29:29Z", "0000-01-01T00:00:00Z", "{% '2016-03-14T01:59:00Z' %}",
    ],
)  # fmt: skip
def test_refused(text):
    """Everything else is refused, with the text in the error."""
    with pytest.raises(InvalidTimestamp) as raised:
        parse_timestamp(text)
    assert raised.value.text == text
    assert not is_timestamp(text)


@pytest.mark.parametrize("value", [None, True, 5, [], {}])
def test_other_types_are_no_timestamps(value):
    """A choice may test a value of any type."""
    assert not is_timestamp(value)


@given(st.integers(-62_135_596_800_000, MAXIMUM))
def test_round_trip(milliseconds):
    """What is formatted is parsed, and looks as promised."""
    text = format_timestamp(milliseconds)
    assert len(text) == len("2026-01-02T03:04:05.678Z")
    assert parse_timestamp(text) == milliseconds


@given(st.datetimes(timezones=st.integers(-1080, 1080).map(lambda minutes: timezone(timedelta(minutes=minutes)))))
def test_agrees_with_datetime(moment):
    """Any instant that Python writes means the same here."""
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert parse_nanoseconds(moment.isoformat().replace("+00:00", "Z")) == expected * 1000


def test_format_range():
    """Instants outside the years 1 to 9999 have no text."""
    assert format_timestamp(0) == "1970-01-01T00:00:00.000Z"
    for milliseconds in (MAXIMUM + 1, -(10**20), 10**30):
        with pytest.raises(ExpressionError):
            format_timestamp(milliseconds)
