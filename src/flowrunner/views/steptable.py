"""Steps as a table: one entry for each, however often it is entered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flowrunner.views.records import moment

RUNNING, SUCCESS, FAILED, SKIPPED, CANCELLED = "running", "success", "failed", "skipped", "cancelled"
PIECE = 500  # rows, shown in one go


@dataclass(slots=True)
class _Row:
    id: str
    name: str
    type: str
    status: str = RUNNING
    started: str | None = None
    duration: int | None = None
    entered: int = 0
    open: int = 0


class StepTable:
    """What became of each step, in the order in which they were entered first.

    A step runs while it is entered anywhere, and has no duration then; otherwise its status and duration (milliseconds) are those of the time that ended last.
    """

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}

    def begin(self, step: str, name: str, kind: str, at: int) -> None:
        """It is entered, at so many milliseconds since 1970 UTC."""
        row = self._rows.get(step)
        if row is None:
            row = self._rows[step] = _Row(step, name, kind)
        row.entered += 1
        row.open += 1
        row.status, row.started, row.duration = RUNNING, moment(at), None

    def end(self, step: str, status: str, duration: int) -> None:
        """It is left."""
        row = self._rows[step]
        row.open -= 1
        if row.open == 0:
            row.status, row.duration = status, duration

    def skip(self, step: str, name: str, kind: str) -> None:
        """It was not entered, because its condition does not hold."""
        row = self._rows.get(step)
        if row is None:
            row = self._rows[step] = _Row(step, name, kind)
        if row.open == 0:
            row.status, row.duration = SKIPPED, 0

    def nodes(self) -> list[dict[str, Any]]:
        """Those that run."""
        return [{"id": row.id, "name": row.name, "type": row.type} for row in self._rows.values() if row.open]

    def pieces(self) -> Iterator[list[dict[str, Any]]]:
        """All of them, some at a time; `startTime` is when it was entered last, RFC 3339, `entered` how often."""
        rows = tuple(self._rows.values())
        for first in range(0, len(rows), PIECE):
            yield [_shown(row) for row in rows[first : first + PIECE]]


def _shown(row: _Row) -> dict[str, Any]:
    return {
        "stepId": row.id,
        "stepName": row.name,
        "stepType": row.type,
        "status": row.status,
        "startTime": row.started,
        "duration": row.duration,
        "entered": row.entered,
    }
