"""History entries, named and shaped as Step Functions shows them (API reference, HistoryEvent).

A record is the JSON object that GetExecutionHistory answers with; its place in the execution's log is its sequence
number. Records of later features that Step Functions does not know have no ``id``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowrunner.jsonvalue import encoded

Record = dict[str, Any]

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
    """Records as one JSON array, ready for a log chunk."""
    return encoded(records)
