"""History entries, named and shaped as Step Functions shows them (API reference, HistoryEvent).

A record is the JSON object that GetExecutionHistory answers with; its place in the execution's log is its sequence
number. Records of later features that Step Functions does not know have no ``id``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import orjson

Record = dict[str, Any]

MOST = int(sys.float_info.max)
NOT_TRUNCATED = {"truncated": False}
# Types whose details keep another name than the type's own.
_DETAILS = {"StateEntered": "stateEnteredEventDetails", "StateExited": "stateExitedEventDetails"}


def details_key(event_type: str) -> str:
    """The member that holds an event type's details, e.g. ``taskFailedEventDetails``."""
    for suffix, key in _DETAILS.items():
        if event_type.endswith(suffix):
            return key
    return f"{event_type[0].lower()}{event_type[1:]}EventDetails"


def text_detail(name: str, text: str) -> dict[str, Any]:
    """A payload (JSON text) and the flag that says it is whole."""
    return {name: text, f"{name}Details": NOT_TRUNCATED}


def failure_detail(error: str | None, cause: str | None) -> dict[str, Any]:
    """Error and cause, each only when there is one."""
    detail: dict[str, Any] = {}
    if cause is not None:
        detail["cause"] = cause
    if error is not None:
        detail["error"] = error
    return detail


def encode(records: Sequence[Record]) -> bytes:
    """Records as one JSON array, ready for a log chunk; of what an author's notes hold, whole numbers that few readers know are texts."""
    try:
        return orjson.dumps(records)
    except TypeError:  # whole numbers beyond 64 bits
        return json.dumps(_readable(records), separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _readable(value: Any) -> Any:
    """The value with its whole numbers beyond those of a double as texts: orjson and browsers refuse to read them, or take them for infinity."""
    if isinstance(value, dict):
        return {name: _readable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(part) for part in value]
    return str(value) if isinstance(value, int) and abs(value) > MOST else value
