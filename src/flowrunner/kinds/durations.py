"""Durations as authors write them."""

from __future__ import annotations

import math
import re

from flowrunner.jsonvalue import JSONValue

_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|μs|ms|s|m|h|d)", re.ASCII)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PLAIN = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", re.ASCII)
LONGEST = 366 * 86400.0  # seconds: an execution of Step Functions ends after a year


def read_seconds(value: JSONValue, *, unit: str = "s") -> float:
    """Seconds of a number (in `unit`) or of a text such as ``100ms``, ``1h30m`` or ``30``; from 0 to a year.

    Raises ValueError whose text ends the sentence "NAME ...".
    """
    found = _number(value, _SECONDS[unit])
    if found is None or not math.isfinite(found) or not 0 <= found <= LONGEST:
        raise ValueError("must be a number of seconds from 0 to a year, or a text with units such as 500ms or 1m30s")
    return found


def read_milliseconds(value: JSONValue, *, unit: str = "s") -> int:
    """`read_seconds` in whole milliseconds, rounded up."""
    return math.ceil(round(read_seconds(value, unit=unit) * 1000, 6))


def read_limit(value: JSONValue, *, unit: str = "s") -> int:
    """`read_milliseconds` of a duration that bounds something: more than nothing."""
    found = read_milliseconds(value, unit=unit)
    if found == 0:
        raise ValueError("must be more than 0")
    return found


def limit_of_execution(milliseconds: int | None) -> int | None:
    """The longest an execution may take. Earlier releases took 0 and rounded it up to a second, which such kept definitions still mean."""
    return 1000 if milliseconds == 0 else milliseconds


def _number(value: JSONValue, factor: float) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value * factor
    if not isinstance(value, str):
        return None
    text = value.strip()
    if _PLAIN.fullmatch(text):
        return float(text) * factor
    if len(text) > 100:
        return None
    parts = _PART.findall(text)
    if not parts or "".join(number + name for number, name in parts) != text:
        return None
    return sum(float(number) * _SECONDS[name] for number, name in parts)
