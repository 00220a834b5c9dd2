"""Instants as text: strict RFC 3339 date-times with an offset, as Step Functions reads and writes them.

AWS names what it accepts "ISO-8601 extended offset date-time format" (``Wait``, ``Timestamp*`` comparisons). Its recorded
answers show: the ``T`` and an offset are required, fractions of a second may have up to nine digits, and ranges are checked.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from flowrunner.errors import ExpressionError

_SHAPE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # arithmetic on the written digits, the offset is taken off afterwards
_SECOND = timedelta(seconds=1)
MAX_OFFSET_HOURS = 18  # java.time.ZoneOffset, which RFC 3339's own 23:59 would exceed
NANOSECONDS_PER_SECOND = 1_000_000_000
NANOSECONDS_PER_MILLISECOND = 1_000_000


class InvalidTimestamp(ExpressionError):
    """The text is not a timestamp."""

    code = "invalid_timestamp"

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(f"String does not match RFC3339 timestamp: {text}")


def parse_nanoseconds(text: str) -> int:
    """Nanoseconds since 1970 UTC; negative before. Raises InvalidTimestamp (``24:00:00`` and leap seconds included)."""
    if not isinstance(text, str) or (match := _SHAPE.fullmatch(text)) is None:
        raise InvalidTimestamp(str(text))
    clock, fraction, sign, hours, minutes = match.groups()
    try:
        seconds = (datetime.fromisoformat(clock) - _NAIVE_EPOCH) // _SECOND
    except ValueError:
        raise InvalidTimestamp(text) from None
    if sign is not None:
        offset = int(hours) * 60 + int(minutes)
        if int(minutes) > 59 or offset > MAX_OFFSET_HOURS * 60:
            raise InvalidTimestamp(text)
        seconds += offset * (-60 if sign == "+" else 60)
    return seconds * NANOSECONDS_PER_SECOND + (int(fraction.ljust(9, "0")) if fraction else 0)


def parse_timestamp(text: str) -> int:
    """Milliseconds since 1970 UTC, the rest cut off (towards the past). Raises InvalidTimestamp."""
    return parse_nanoseconds(text) // NANOSECONDS_PER_MILLISECOND


def is_timestamp(text: object) -> bool:
    """Whether `text` is a string that parse_nanoseconds reads. Never raises; no match costs nothing for most strings."""
    if not isinstance(text, str) or len(text) < 20 or text[10] != "T":  # 20 = "2026-01-02T03:04:05Z"
        return False
    try:
        parse_nanoseconds(text)
    except InvalidTimestamp:
        return False
    return True


def format_timestamp(milliseconds: int) -> str:
    """``2026-01-02T03:04:05.678Z``: always three fraction digits and ``Z``. Years 1 to 9999, else ExpressionError."""
    try:
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise ExpressionError(f"The instant {milliseconds} ms is outside the years 1 to 9999.") from None
    return f"{moment.isoformat(timespec='milliseconds')[:-6]}Z"
