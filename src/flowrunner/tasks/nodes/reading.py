"""Reading a node's parameters: each reader names the parameter and the remedy when the value is not of its kind."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TypeVar

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.durations import read_seconds
from flowrunner.tasks.nodes.kind import INVALID_PARAMETERS, NodeFailed

Params = Mapping[str, JSONValue]
T = TypeVar("T")


def bad(message: str) -> NodeFailed:
    """The failure for parameters that cannot be used."""
    return NodeFailed(message, error=INVALID_PARAMETERS)


def given(params: Params, *names: str) -> JSONValue:
    """The first of these parameters that is there and not null; None when there is none."""
    return next((params[name] for name in names if params.get(name) is not None), None)


def text(params: Params, *names: str, default: str | None = None) -> str:
    """A text; the first name is the one in messages. Raises NodeFailed when it is missing and has no default."""
    value = given(params, *names)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or (not value and default is None):
        raise bad(f"The parameter {names[0]!r} must be a text, not {_named(value)}.")
    return value


def optional_text(params: Params, *names: str) -> str | None:
    """A text, or None when it is not given."""
    return None if given(params, *names) is None else text(params, *names, default="")


def whole(params: Params, *names: str, default: int, low: int, high: int) -> int:
    """A whole number from `low` to `high`; a text of digits and a float without a fraction are taken, too."""
    value = given(params, *names)
    if value is None:
        return default
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value, re.ASCII):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise bad(f"The parameter {names[0]!r} must be a whole number from {low} to {high}, not {_named(value)}.")
    return value


def number(params: Params, *names: str, default: float | None, low: float, high: float) -> float | None:
    """A number from `low` to `high`."""
    value = given(params, *names)
    if value is None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or not low <= value <= high:
        raise bad(f"The parameter {names[0]!r} must be a number from {low:g} to {high:g}, not {_named(value)}.")
    return value


def seconds(params: Params, *names: str, default: float, high: float = 3600.0, unit: str = "s") -> float:
    """A duration in seconds: a number in `unit`, or a text such as ``500ms``, ``30s``, ``5m``."""
    value = given(params, *names)
    if value is None:
        return default
    try:
        found = read_seconds(value, unit=unit)
    except ValueError as error:
        raise bad(f"The parameter {names[0]!r} {error}.") from None
    if not 0 < found <= high:
        raise bad(f"The parameter {names[0]!r} must be more than 0 and at most {high:g} seconds.")
    return found


def flag(params: Params, *names: str, default: bool) -> bool:
    """True or false."""
    value = given(params, *names)
    if value is None:
        return default
    if value in ("true", "false"):
        return bool(value == "true")
    if not isinstance(value, bool):
        raise bad(f"The parameter {names[0]!r} must be true or false, not {_named(value)}.")
    return value


def listing(params: Params, *names: str) -> list[JSONValue]:
    """A list; empty when it is not given."""
    value = given(params, *names)
    if value is None:
        return []
    if not isinstance(value, list):
        raise bad(f"The parameter {names[0]!r} must be a list, not {_named(value)}.")
    return value


def mapping(params: Params, *names: str) -> JSONObject:
    """An object; empty when it is not given."""
    value = given(params, *names)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad(f"The parameter {names[0]!r} must be an object, not {_named(value)}.")
    return value


def choice(params: Params, *names: str, among: Mapping[str, T], default: str | None = None) -> T:
    """What the given word stands for; words are compared without regard to case."""
    word = text(params, *names, default=default)
    for name, meaning in among.items():
        if name.lower() == word.lower():
            return meaning
    raise bad(f"The parameter {names[0]!r} must be one of {', '.join(among)}, not {'another text' if word else 'an empty one'}.")


def _named(value: JSONValue) -> str:
    """How a value is called in a message: never the value itself if it is long, for it may be a secret."""
    if value is None:
        return "nothing"
    if isinstance(value, bool | int | float):
        return str(value).lower()
    return ("a text" if value else "an empty one") if isinstance(value, str) else "a list" if isinstance(value, list) else "an object"
