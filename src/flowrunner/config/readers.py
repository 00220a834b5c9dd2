"""From what a file, a variable or an option says to a value. Each raises ValueError that ends the sentence "KEY ..."."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit


def read_text(value: object) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text that is not empty")
    return value


def read_whole(low: int, high: int) -> Callable[[object], int]:
    """A reader of whole numbers from `low` to `high`."""

    def read(value: object) -> int:
        digits = str(value)
        if isinstance(value, bool) or re.fullmatch(r"[0-9]{1,9}", digits) is None or not low <= int(digits) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(digits)

    return read


def read_seconds(value: object) -> float:
    """A number of seconds above 0."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else -1.0
    except ValueError:
        number = -1.0
    if not 0 < number < 1e9:
        raise ValueError("must be a number of seconds above 0")
    return number


def read_script_seconds(value: object) -> float:
    """A number of seconds that a script may have: from 0.001 to 900."""
    number = read_seconds(value)
    if not 0.001 <= number <= 900:
        raise ValueError("must be 0.001 to 900 seconds")
    return number


def read_boolean(value: object) -> bool:
    """True or false, as people write it."""
    word = str(value).strip().lower()
    if word not in {"true", "1", "yes", "on", "false", "0", "no", "off"}:
        raise ValueError("must be true or false")
    return word in {"true", "1", "yes", "on"}


def read_choice(choices: tuple[str, ...]) -> Callable[[object], str]:
    """A reader of one of these words."""

    def read(value: object) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return str(value)

    return read


def read_texts(value: object) -> tuple[str, ...]:
    """A list of texts, or one text with commas."""
    parts = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) and part for part in parts):
        raise ValueError("must be a list of texts")
    return tuple(parts)


def read_programs(value: object) -> tuple[str, ...]:
    """A list of programs, each by its name or its absolute path."""
    programs = read_texts(value)
    if not all(program.startswith("/") or "/" not in program for program in programs):
        raise ValueError("must be a list of programs, each by its name or its absolute path")
    return programs


def read_account(value: object) -> str:
    """12 digits."""
    if not isinstance(value, str) or re.fullmatch(r"[0-9]{12}", value) is None:
        raise ValueError("must be a text of 12 digits")
    return value


def read_region(value: object) -> str:
    """The name of a region."""
    if not isinstance(value, str) or re.fullmatch(r"[a-z0-9-]{1,32}", value) is None:
        raise ValueError("must be a region name such as us-east-1")
    return value


def read_url(value: object) -> str:
    """An ``http(s)`` URL."""
    try:
        fits = isinstance(value, str) and re.fullmatch(r"https?://[^/\s]\S*", value) is not None and urlsplit(value).port != 0
    except ValueError:  # a port that is none, a bracket that is not closed
        fits = False
    if not fits:
        raise ValueError("must be an http:// or https:// URL")
    return str(value)


def read_store(value: object) -> str:
    """The URL of a store."""
    if not isinstance(value, str) or not re.match(r"(memory:|sqlite:|postgres(ql)?:|dynamodb:)", value):
        raise ValueError("must be a store URL: sqlite:///PATH, memory:, postgresql://... or dynamodb://...")
    return value


_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def read_duration(value: object) -> float:
    """Seconds, as a number or with units: ``24h``, ``1h30m``."""
    text = str(value)
    parts = _DURATION.findall(text)
    if isinstance(value, str) and parts and "".join(f"{number}{unit}" for number, unit in parts) == text:
        return read_seconds(sum(float(number) * _UNITS[unit] for number, unit in parts))
    try:
        return read_seconds(value)
    except ValueError:
        raise ValueError("must be a number of seconds above 0, or a duration such as 24h") from None


def read_path(value: object) -> Path:
    """A path."""
    return value if isinstance(value, Path) else Path(read_text(value))
