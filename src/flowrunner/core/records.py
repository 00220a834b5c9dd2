"""History entries, named and shaped as Step Functions shows them (API reference, HistoryEvent).

A record is the JSON object that GetExecutionHistory answers with; its place in the execution's log is its sequence
number. Records of later features that Step Functions does not know have no ``id``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

Record = dict[str, Any]

LEAST, MOST = -(1 << 63), (1 << 64) - 1  # the whole numbers that orjson writes
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
    """Records as one JSON array, ready for a log chunk.

    The values in notes are an author's own; their whole numbers beyond 64 bits are written as most readers of JSON take them.
    """
    try:
        return orjson.dumps(records)
    except TypeError:
        return orjson.dumps(_rounded(records))


def _rounded(value: Any) -> Any:
    """The value with its whole numbers beyond 64 bits as the nearest double; as text where there is none."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    if isinstance(value, int) and not LEAST <= value <= MOST:
        try:
            return float(value)
        except OverflowError:
            return str(value)
    return value
