"""Every message of the two live sockets, by its type: what it has, and what it means. Reference pages and the AsyncAPI document are written from this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, UnsetType

from flowrunner.api.executions import ExecutionInfo, LogEntry
from flowrunner.views.shapes import End, Shape, Snapshot, StatusChange
from flowrunner.views.standing import SNAPSHOT
from flowrunner.views.stream import NOTES

# --- /api/v2/workflows/runs/{run}/stream: payloads, and details where there are such

PAYLOADS: Mapping[str, type[Shape]] = {**{kind.name: kind.payload for kind in NOTES.values()}, "status": StatusChange, SNAPSHOT: Snapshot, "end": End}
DETAILS: Mapping[str, type[Shape]] = {kind.name: kind.detail for kind in NOTES.values() if kind.detail is not None}


# --- /api/v1/ws


class LiveStatus(ExecutionInfo, kw_only=True):
    """How an execution stands, as `GET /api/v1/executions/{id}` has it; to who follows `*` without results, and with progress where it was reached."""

    results: dict[str, Any] | UnsetType = UNSET
    progress: float | UnsetType = UNSET
    current_node: str | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


# Type -> its own member with the shape of that, and its meaning.
SAID: Mapping[str, tuple[str, Any, str]] = {
    "status": ("status", LiveStatus, "At once, at each node that is entered, and at the end: the whole status, as `GET /api/v1/executions/{id}` has it."),
    "log": ("log", LogEntry, "A log line: `timestamp`, `node_id`, `level` (`debug`, `info`, `warning`, `error`), `message`, `data`."),
    "complete": (
        "message",
        str,
        "`Execution completed with status: ` and `completed`, `failed` or `canceled`. Nothing more comes of this execution.",
    ),
    "error": ("message", str, "What is wrong with a message of the client. The socket stays open."),
    "pong": ("", None, "The answer to `ping`."),
    "gap": ("message", str, "To who follows `*` and reads too slowly: changes were left out."),
}


class Subscribe(Shape, kw_only=True, rename=None, tag_field="type", tag="subscribe"):
    """Follow an execution, from its beginning, behind the sequence number `after`, or, with `past` false, from its status as it is now; `*` is all of the account."""

    execution_id: str
    past: bool = True
    after: int = 0


class Unsubscribe(Shape, kw_only=True, rename=None, tag_field="type", tag="unsubscribe"):
    """Follow it no more."""

    execution_id: str


class Ping(Shape, kw_only=True, rename=None, tag_field="type", tag="ping"):
    """Ask for a `pong`, with the same `execution_id` if there is one."""

    execution_id: str = ""


ASKED: Mapping[str, type[Shape]] = {"subscribe": Subscribe, "unsubscribe": Unsubscribe, "ping": Ping}
