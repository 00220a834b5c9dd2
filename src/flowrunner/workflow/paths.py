"""Paths into outputs: ``response.body.items[0].id``."""

from __future__ import annotations

import re

from flowrunner.jsonvalue import JSONValue
from flowrunner.lang.braces.nodes import reached
from flowrunner.lang.braces.values import Unresolved

ABSENT = object()
Path = tuple[str | int, ...]
_STEP = re.compile(r"(?:^|\.)(?P<name>[^.\[\]]+)|\[(?P<index>-?[0-9]{1,9})\]|\[(?P<quote>[\"'])(?P<key>.*?)(?P=quote)\]")


def read_path(text: str) -> Path | None:
    """The steps of a path, a leading ``$`` left out; None for what is none."""
    given = text.strip().removeprefix("$.").removeprefix("$")
    steps: list[str | int] = []
    at = 0
    while at < len(given):
        found = _STEP.match(given, at)
        if found is None or found.end() == at:
            return None
        steps.append(found["name"] if found["name"] is not None else int(found["index"]) if found["index"] is not None else found["key"])
        at = found.end()
    return tuple(steps) if steps else None


def look(value: JSONValue, path: Path) -> JSONValue:
    """The value at a path, ABSENT where there is none."""
    for name in path:
        try:
            value = reached(value, name)
        except Unresolved:
            return ABSENT
    return value
