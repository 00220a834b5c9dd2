"""What both databases share: statements with their parameters, what they give, and how large that may be."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from flowrunner.core.faults import DATA_LIMIT_EXCEEDED
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps
from flowrunner.tasks.nodes.kind import NodeFailed

DATABASE_ERROR = "FlowRunner.DatabaseError"
DATABASE_CONFLICT = "FlowRunner.DatabaseConflict"  # locked, deadlock, serialization: the same again may work
CONSTRAINT_VIOLATED = "FlowRunner.ConstraintViolated"
UNREACHABLE = "FlowRunner.DatabaseUnreachable"
TIMEOUT = "States.Timeout"


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with values for its parameters: by position (a sequence), or by name (an object, SQLite only)."""

    sql: str
    arguments: Sequence[JSONValue] | JSONObject = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much one attempt may take: `rows` and `bytes` of what it gives back, `seconds` in all."""

    rows: int
    bytes: int
    seconds: float


@dataclass(slots=True)
class Answer:
    """What a statement did. `columns` is empty for one that gives no rows."""

    columns: tuple[str, ...] = ()
    rows: list[JSONObject] = field(default_factory=list)
    affected: int = 0


class Taken:
    """Collects rows and counts them against the bounds, over all statements of an attempt."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._rows = self._bytes = 0

    def add(self, answer: Answer, rows: Iterable[Sequence[object]]) -> None:
        """Append rows to an answer. Raises NodeFailed (``States.DataLimitExceeded``)."""
        for row in rows:
            record = {name: plain(value) for name, value in zip(answer.columns, row, strict=True)}
            self._rows += 1
            self._bytes += len(dumps(record))
            if self._rows > self._bounds.rows:
                raise NodeFailed(f"There are more than {self._bounds.rows} rows. Ask for fewer (LIMIT), or raise max_rows.", error=DATA_LIMIT_EXCEEDED)
            if self._bytes > self._bounds.bytes:
                raise NodeFailed(f"The rows have more than {self._bounds.bytes} bytes. Ask for fewer, or raise max_bytes.", error=DATA_LIMIT_EXCEEDED)
            answer.rows.append(record)


class Database(Protocol):
    """A connection for one attempt."""

    async def run(self, statements: Sequence[Statement], bounds: Bounds, *, read_only: bool) -> list[Answer]:
        """Run all in one transaction, or none. Raises NodeFailed."""
        ...

    async def batch(self, sql: str, rows: Sequence[Sequence[JSONValue] | JSONObject], bounds: Bounds) -> int:
        """Run one statement for each of these rows of parameters, all in one transaction; how many rows it changed."""
        ...


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Column names, each once: a second ``id`` is ``id_2``."""
    made: list[str] = []
    for name in names:
        count, one = 1, name
        while one in made:
            count += 1
            one = f"{name}_{count}"
        made.append(one)
    return tuple(made)


def plain(value: object) -> JSONValue:
    """A database's value as JSON: bytes in base64, moments in ISO 8601, exact decimals as texts where a number would lose digits."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    return str(value)


def _decimal(value: Decimal) -> JSONValue:
    if not value.is_finite():
        return str(value)
    if value == value.to_integral_value() and abs(value) < 2**53:
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value)
