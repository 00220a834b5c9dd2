"""What a text says of itself becomes metadata of its definition: all of it at first, later on what another text says otherwise."""

from __future__ import annotations

from typing import Any

from flowrunner.reading.parsed import Parsed

_WITHOUT: dict[str, Any] = {"description": "", "version": "1.0.0", "tags": (), "category": ""}


def said(parsed: Parsed) -> dict[str, Any]:
    """The metadata in a text; what it does not say is left out."""
    named = {
        "name": parsed.name,
        "description": parsed.description,
        "version": parsed.version,
        "tags": parsed.tags,
        "category": parsed.category,
        "custom": parsed.custom,
    }
    return {name: value for name, value in named.items() if value is not None}


def said_otherwise(before: Parsed, now: Parsed) -> dict[str, Any]:
    """What a text says otherwise than the one before it; what only the earlier one says is as if it had never been said, but for the name.

    So what was changed beside the text stays as long as the text keeps saying the same. `custom` holds the members to change, None for those to remove.
    """
    was, says = {**_WITHOUT, **said(before)}, {**_WITHOUT, **said(now)}
    changes = {name: value for name, value in says.items() if name != "custom" and value != was.get(name)}
    old, new = was.get("custom", {}), says.get("custom", {})
    changes["custom"] = {
        **{name: None for name in old if name not in new},
        **{name: value for name, value in new.items() if name not in old or old[name] != value},
    }
    return changes
