"""Executions as version 1 of the API shows them: status with progress and current node, and log entries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flowrunner.core.records import Record
from flowrunner.jsonvalue import loads
from flowrunner.ports.executions import ExecutionStore, Head, Status
from flowrunner.views.lines import line
from flowrunner.views.records import ENDS, TURNS, Entry, at, details, entries, failure_text, has_notes, moment, shown_definition

# Version 1 of the API renders running, completed, failed, canceled.
V1_STATUS: dict[Status, str] = {
    "RUNNING": "running",
    "PENDING_REDRIVE": "running",
    "SUCCEEDED": "completed",
    "FAILED": "failed",
    "TIMED_OUT": "failed",
    "ABORTED": "canceled",
}
V1_LEVELS = {"debug": "debug", "info": "info", "warn": "warning", "error": "error"}


class StatusFold:
    """The status of one execution, record by record.

    Progress is the percentage that the node entered last was reached with. It never falls; 100 is a completed execution, one that failed or
    was canceled stays where it came to. `seq` is the sequence number of the last record taken: earlier ones change nothing.
    """

    def __init__(self, head: Head) -> None:
        self._head = head
        self._noted = has_notes(head)
        self.seq = 0
        self.status: Status = "RUNNING"
        self._ended_at: int | None = None
        self._error: str | None = None
        self._progress = 0.0
        self._node = ""
        self._results: dict[str, Any] = {}
        self.last_at = head.started_at

    def take(self, seq: int, record: Record) -> bool:
        """Take the next record; whether followers are told: at the start, at each node entered, and at the end."""
        if seq <= self.seq:
            return False
        self.seq = seq
        self.last_at = at(record)
        kind: str = record["type"]
        if kind in TURNS:
            self._turn(kind, record)
            return True
        if not self._noted:
            return self._history(kind, record)
        if kind == "StepStarted":
            told = record["note"]
            self._progress = max(self._progress, float(told.get("progress", 0.0)))
            self._node = told["stepId"]
            return True
        if kind == "StepCompleted" and "output" in record["note"]:
            self._results[record["note"]["stepId"]] = loads(record["note"]["output"])
        return False

    def _turn(self, kind: str, record: Record) -> None:
        self.status = TURNS[kind]
        self._ended_at = at(record) if kind in ENDS else None
        told = details(record)
        self._error = failure_text(told.get("error"), told.get("cause")) if kind in ENDS else None
        if kind == "ExecutionTimedOut" and self._error is None:
            self._error = "States.Timeout"
        if self.status == "SUCCEEDED":
            self._progress = 100.0

    def _history(self, kind: str, record: Record) -> bool:
        """A state machine without notes: its states are the nodes."""
        if kind.endswith("StateEntered"):
            self._node = details(record)["name"]
            return True
        if kind.endswith("StateExited"):
            told = details(record)
            if "output" in told:
                self._results[told["name"]] = loads(told["output"])
        return False

    def shown(self) -> dict[str, Any]:
        """The status after the records taken so far."""
        return {
            "id": self._head.id,
            "flow_id": shown_definition(self._head.machine),
            "status": V1_STATUS[self.status],
            "start_time": moment(self._head.started_at),
            "end_time": None if self._ended_at is None else moment(self._ended_at),
            "error": self._error,
            "results": dict(self._results),
            "progress": self._progress,
            "current_node": self._node,
            "metadata": {"name": self._head.name, "revision": self._head.revision},
        }


def status(head: Head, records: Iterable[Record]) -> dict[str, Any]:
    """The status of an execution after these records, which are its log from the beginning."""
    fold = StatusFold(head)
    for seq, record in enumerate(records, 1):
        fold.take(seq, record)
    return fold.shown()


async def read_status(executions: ExecutionStore, head: Head) -> dict[str, Any]:
    """The status by the stored log, read page by page. Raises StoreUnavailable."""
    fold = StatusFold(head)
    await advance(executions, fold, head.id)
    return fold.shown()


async def advance(executions: ExecutionStore, fold: StatusFold, execution: str) -> None:
    """Take what the stored log has after the fold's last record. Raises StoreUnavailable."""
    async for page in entries(executions, execution, after=fold.seq):
        for seq, record in page:
            fold.take(seq, record)


def log_entry(record: Record) -> dict[str, Any] | None:
    """The log entry of a record; None for one that readers of logs do not see."""
    found = line(record)
    if found is None:
        return None
    return {
        "timestamp": moment(found.at),
        "node_id": found.step,
        "level": V1_LEVELS[found.level],
        "message": found.message,
        "data": found.data,
    }


def log_entries(records: Iterable[Record]) -> list[dict[str, Any]]:
    """The log entries of these records, in their order."""
    return [entry for record in records if (entry := log_entry(record)) is not None]


async def read_log_entries(executions: ExecutionStore, execution: str) -> list[dict[str, Any]]:
    """The log entries of the stored log. Raises StoreUnavailable."""
    found: list[dict[str, Any]] = []
    page: list[Entry]
    async for page in entries(executions, execution):
        found += log_entries(record for _, record in page)
    return found
