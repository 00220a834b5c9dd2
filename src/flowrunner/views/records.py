"""Records of a log as views read them: what kind, when, what they tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import orjson

from flowrunner.core.records import Record, details_key
from flowrunner.ports.executions import ExecutionStore, Head, Status

Entry = tuple[int, Record]  # sequence number and record
PAGE = 500  # records, read from a store in one go
# Records that tell what became of the whole execution.
TURNS: dict[str, Status] = {
    "ExecutionStarted": "RUNNING",
    "ExecutionRedriven": "RUNNING",
    "ExecutionSucceeded": "SUCCEEDED",
    "ExecutionFailed": "FAILED",
    "ExecutionTimedOut": "TIMED_OUT",
    "ExecutionAborted": "ABORTED",
}
ENDS = frozenset(kind for kind, status in TURNS.items() if status != "RUNNING")
FORMATS = ("flow", "workflow", "test")  # definitions whose machines are named FORMAT/ID


def moment(milliseconds: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def at(record: Record) -> int:
    """When it happened, milliseconds since 1970 UTC."""
    seconds: float = record["timestamp"]
    return round(seconds * 1000)


def note(record: Record) -> dict[str, Any] | None:
    """What a note tells; None for a history event."""
    return record.get("note")


def details(record: Record) -> dict[str, Any]:
    """The details of a history event."""
    return record.get(details_key(record["type"])) or {}


def failure_text(error: str | None, cause: str | None) -> str | None:
    """Error and cause as one text; None without either."""
    return ": ".join(part for part in (error, cause) if part) or None


def ended_by(head: Head) -> tuple[str | None, str | None]:
    """Error and cause of an execution; what timed out has an error, too, where the log names none."""
    return "States.Timeout" if head.status == "TIMED_OUT" and head.error is None else head.error, head.cause


def shown_definition(machine: str) -> str:
    """The id its author knows: without the format before it."""
    known, slash, name = machine.partition("/")
    return name if slash and known in FORMATS else machine


def has_notes(head: Head) -> bool:
    """Whether the execution is one of a flow, a workflow or a test case, whose log has notes."""
    return head.machine.partition("/")[0] in FORMATS and "/" in head.machine


async def entries(executions: ExecutionStore, execution: str, *, after: int = 0) -> AsyncIterator[list[Entry]]:
    """The stored log after a sequence number, page by page. Raises StoreUnavailable."""
    while chunks := await executions.log(execution, after=after, limit=PAGE):
        page = [
            (chunk.first_seq + place, record) for chunk in chunks for place, record in enumerate(orjson.loads(chunk.body)) if chunk.first_seq + place > after
        ]
        if not page:
            return
        after = page[-1][0]
        yield page
