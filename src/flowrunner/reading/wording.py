"""Words of messages about what somebody wrote."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from flowrunner.jsonvalue import JSONValue


def meant(word: str, known: Iterable[str]) -> str:
    """A remedy: ``Did you mean ...?``, or what there is when nothing is near."""
    names = list(known)
    near = difflib.get_close_matches(word, names, 1, 0.5)
    if near:
        return f"Did you mean '{near[0]}'?"
    return f"There are: {', '.join(names)}." if 0 < len(names) <= 40 else ""


def shown(value: JSONValue) -> str:
    """A value in a message, short."""
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
