"""Heads as rows, for the executions and their archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowrunner.ports.executions import Head
from flowrunner.stores.sqlite.session import QUERIES

if TYPE_CHECKING:
    import apsw

    from flowrunner.stores.sqlite.session import Row

OPEN = ("RUNNING", "PENDING_REDRIVE")
PLACES = 1 << 26  # records or facts of one execution: 67 million; leaves 2^37 executions
SHORT_INPUT = 2000  # characters that stay in the head's row, half a page
COLUMNS = (
    *("id", "account", "machine", "name", "revision", "status", "epoch", "last_seq", "started_at", "stopped_at", "wake_at", "owner"),
    *("seed", "error", "extra", "cause", "output", "input"),
)


def insert_head(cursor: apsw.Cursor, head: Head) -> int | None:
    """Write a new head with its input; return its number, None if its id or name is taken."""
    spilled = len(head.input) > SHORT_INPUT and head.status in OPEN
    values = (
        *(head.id, head.account, head.machine, head.name, head.revision, head.status, head.epoch, head.last_seq, head.started_at),
        *(head.stopped_at, head.wake_at, head.owner, head.seed, head.error, head.extra, head.cause, head.output, None if spilled else head.input),
    )
    rows: list[Row] = cursor.execute(QUERIES["insert_head"], values).fetchall()
    number: int | None = rows[0][0] if rows else None
    if number is not None and spilled:
        cursor.execute(QUERIES["insert_input"], (number, head.input))
    return number


def head_of(row: Row) -> Head:
    """A row as the queries `head_by_...`, `list_...` and `page_of_heads` name its columns."""
    values: Any = dict(zip(COLUMNS, row[1:], strict=True))
    return Head(**values)
