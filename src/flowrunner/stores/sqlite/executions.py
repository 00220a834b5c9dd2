"""Executions in SQLite. The first statement of every write is its fence: if that changes nothing, nothing is changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowrunner.errors import Fenced
from flowrunner.ports.executions import (
    ActivityTask,
    Chunk,
    Delivery,
    ExecutionQuery,
    ExecutionStore,
    Head,
    NameTaken,
    Position,
    StepWrite,
    Stored,
)
from flowrunner.stores.sqlite.heads import OPEN, PLACES, head_of, insert_head
from flowrunner.stores.sqlite.session import QUERIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import apsw

    from flowrunner.stores.sqlite.session import Row, Session

LAST = (1 << 63) - 1


class SqliteExecutions(ExecutionStore):
    """The executions of one file."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def commit(self, write: StepWrite) -> Head | NameTaken:
        """See the contract."""
        answer: Head | NameTaken = await self._session.write(lambda cursor: _store(cursor, write), _size(write))
        return answer

    async def load(self, execution: str) -> Stored | None:
        """See the contract."""
        stored: Stored | None = self._session.transaction(lambda: self._load(execution))
        return stored

    def _load(self, execution: str) -> Stored | None:
        read = self._session.read
        rows = read("head_by_id", execution)
        if not rows:
            return None
        number = rows[0][0]
        snapshot = read("snapshot", number)
        facts = read("facts", number * PLACES, (number + 1) * PLACES)
        return Stored(
            head_of(rows[0]),
            snapshot[0][0] if snapshot else None,
            tuple(body for (body,) in facts),
            tuple(Delivery(*row) for row in read("inbox", execution)),
        )

    async def head(self, execution: str) -> Head | None:
        """See the contract."""
        rows = self._session.read("head_by_id", execution)
        return head_of(rows[0]) if rows else None

    async def positions(self, executions: Sequence[str]) -> Mapping[str, Position]:
        """See the contract."""
        rows = [row for execution in executions for row in self._session.read("position", execution)]
        return {execution: Position(epoch, last_seq, status) for execution, epoch, last_seq, status in rows}

    async def find(self, account: str, machine: str, name: str) -> Head | None:
        """See the contract."""
        rows = self._session.read("head_by_name", account, machine, name)
        return head_of(rows[0]) if rows else None

    async def log(self, execution: str, *, after: int = 0, limit: int = 1000, reverse: bool = False) -> Sequence[Chunk]:
        """See the contract."""
        chunks: list[Chunk] = self._session.transaction(lambda: self._log(execution, after, limit, reverse=reverse))
        return chunks

    def _log(self, execution: str, after: int, limit: int, *, reverse: bool) -> list[Chunk]:
        numbers = self._session.read("number", execution)
        base = numbers[0][0] * PLACES if numbers else 0
        last = self._session.read("log_end", base, base + PLACES) if numbers else []
        if not last:
            return []
        end = last[0][0] - base + last[0][1]
        first, stop = (max(1, (after or end) - limit), min(after or end, end)) if reverse else (after + 1, min(after + 1 + limit, end))
        if first >= stop:
            return []
        rows = self._session.read("log_reverse" if reverse else "log", base, base + first, base + stop)
        return [Chunk(place - base, count, body) for place, count, body in rows]

    async def list(self, query: ExecutionQuery) -> Sequence[Head]:
        """See the contract."""
        started_at, execution = query.after or (LAST, "")
        arguments = [query.account, query.status, started_at, execution, query.limit]
        if query.machine is None:
            rows = await self._session.scan("list_account", *arguments)
        elif query.status in (None, "SUCCEEDED"):
            rows = await self._session.scan("list_machine", *arguments, query.machine)
        else:
            rows = await self._session.scan("list_machine_status", *arguments, query.machine)
        return [head_of(row) for row in rows]

    async def due(self, now: int, limit: int, *, hide_seconds: float = 0.0) -> Sequence[str]:
        """See the contract; one server holds the file, so nobody else is there to be kept from them."""
        del hide_seconds
        return [execution for (execution,) in self._session.read("due", now, limit)]

    async def next_wake(self) -> int | None:
        """See the contract."""
        rows = self._session.read("next_wake")
        return rows[0][0] if rows else None

    async def undelivered(self, limit: int) -> Sequence[Delivery]:
        """See the contract."""
        return [Delivery(*row) for row in self._session.read("undelivered", limit)]

    async def activity_tasks(self, activity: str, *, limit: int = 100) -> Sequence[ActivityTask]:
        """See the contract."""
        rows = self._session.read("activity_tasks", activity, limit)
        return [ActivityTask(activity=row[0], execution=row[1], attempt=row[2], input=row[3], scheduled_at=row[4]) for row in rows]

    async def forget(self, execution: str) -> None:
        """See the contract."""

        def work(cursor: apsw.Cursor) -> None:
            for row in cursor.execute(QUERIES["delete_head"], (execution,)).fetchall():
                number: Any = row[0]
                cursor.execute(QUERIES["delete_chunks"], (number * PLACES, (number + 1) * PLACES))
                cursor.execute(QUERIES["delete_input"], (number,))

        await self._session.write(work)

    async def beat(self, node: str) -> Mapping[str, int]:
        """See the contract."""

        def work(cursor: apsw.Cursor) -> dict[str, int]:
            cursor.execute(QUERIES["beat"], (node,))
            rows: list[Any] = cursor.execute(QUERIES["nodes"]).fetchall()
            return dict(rows)

        counters: dict[str, int] = await self._session.write(work)
        return counters

    async def leave(self, node: str) -> None:
        """See the contract."""

        def work(cursor: apsw.Cursor) -> None:
            cursor.execute(QUERIES["delete_node"], (node,))

        await self._session.write(work)

    async def owners(self) -> Sequence[str]:
        """See the contract."""
        return sorted({node for (owner,) in self._session.read("owners") for node in owner.split(",")})

    async def owned(self, node: str, limit: int) -> Sequence[str]:
        """See the contract."""
        found: list[str] = []
        for (owner,) in self._session.read("owners"):
            if node in owner.split(","):
                found += [execution for (execution,) in self._session.read("owned", owner, limit - len(found))]
        return found


def _store(cursor: apsw.Cursor, write: StepWrite) -> Head | NameTaken:
    """Do one step inside the shared transaction."""
    head = replace(write.head, epoch=write.head.epoch + 1)
    over = head.status not in OPEN
    if write.create:
        number = insert_head(cursor, head)
        if number is None:
            return _taken(cursor, head)
    else:
        number = _update(cursor, head, write.head.epoch)
    if write.chunk is not None:
        cursor.execute(QUERIES["insert_chunk"], (number * PLACES + write.chunk.first_seq, write.chunk.count, write.chunk.body))
    for consumed in write.consumed:
        cursor.execute(QUERIES["delete_delivery"], (consumed, head.id))
    for delivery in write.deliveries:
        cursor.execute(QUERIES["insert_delivery"], (delivery.id, delivery.execution, delivery.fact))
    if over:
        _drop(cursor, head.id, number, create=write.create)
    else:
        _keep(cursor, number, write)
    return head


def _update(cursor: apsw.Cursor, head: Head, epoch: int) -> int:
    values = (
        *(head.id, epoch, head.revision, head.status, head.last_seq, head.stopped_at, head.wake_at, head.owner),
        *(head.error, head.extra, head.cause, head.output),
    )
    rows: list[Row] = cursor.execute(QUERIES["update_head"], values).fetchall()
    if not rows:
        raise Fenced(f"Execution {head.id} is no longer at epoch {epoch}.")
    number: int = rows[0][0]
    return number


def _taken(cursor: apsw.Cursor, head: Head) -> NameTaken:
    rows = cursor.execute(QUERIES["head_by_name"], (head.account, head.machine, head.name)).fetchall()
    if not rows:
        raise Fenced(f"Execution {head.id} exists already.")
    return NameTaken(head_of(rows[0]))


def _keep(cursor: apsw.Cursor, number: int, write: StepWrite) -> None:
    """What an execution that goes on needs to go on."""
    if write.snapshot is not None:
        cursor.execute(QUERIES["replace_snapshot"], (number, write.snapshot))
        cursor.execute(QUERIES["delete_facts"], (number * PLACES, (number + 1) * PLACES))
    elif write.facts is not None:
        cursor.execute(QUERIES["insert_facts"], (number * PLACES + write.fact_number, write.facts))
    for task in write.opened:
        cursor.execute(QUERIES["insert_activity_task"], (task.execution, task.attempt, task.activity, task.scheduled_at, task.input))
    for attempt in write.closed:
        cursor.execute(QUERIES["delete_activity_task"], (write.head.id, attempt))


def _drop(cursor: apsw.Cursor, execution: str, number: int, *, create: bool) -> None:
    """An execution that is over keeps its head and its log."""
    cursor.execute(QUERIES["delete_inbox"], (execution,))
    if not create:
        cursor.execute(QUERIES["delete_snapshot"], (number,))
        cursor.execute(QUERIES["delete_facts"], (number * PLACES, (number + 1) * PLACES))
        cursor.execute(QUERIES["delete_activity_tasks"], (execution,))


def _size(write: StepWrite) -> int:
    """About how many bytes the write puts into the transaction."""
    size = len(write.head.input if write.create else "") + len(write.head.output or "") + len(write.facts or b"") + len(write.snapshot or b"")
    size += len(write.chunk.body) if write.chunk else 0
    return size + sum(len(delivery.fact) for delivery in write.deliveries) + sum(len(task.input) for task in write.opened)
