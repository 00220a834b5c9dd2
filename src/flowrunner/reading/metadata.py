"""How large the metadata of a definition may be, wherever it is given: in its text, or beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flowrunner.jsonvalue import dumps

MOST_CUSTOM_BYTES = 64 * 1024  # as JSON in UTF-8
MOST_TAGS = 50
MOST_CHARACTERS = {"name": 256, "description": 8192, "version": 64, "category": 128, "created_by": 256}


def beyond_bounds(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The members that are too large, each with what it may be."""
    for name, most in MOST_CHARACTERS.items():
        if len(str(values.get(name) or "")) > most:
            yield name, f"{name} has at most {most} characters."
    tags = values.get("tags") or ()
    if len(tags) > MOST_TAGS or any(not 0 < len(tag) <= MOST_CHARACTERS["category"] for tag in tags):
        yield "tags", f"There are at most {MOST_TAGS} tags of 1 to {MOST_CHARACTERS['category']} characters."
    if len(dumps(values.get("custom") or {}).encode()) > MOST_CUSTOM_BYTES:
        yield "custom", f"custom takes at most {MOST_CUSTOM_BYTES} bytes."
