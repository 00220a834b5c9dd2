"""Executions in PostgreSQL. The fence and all that hangs on it are one statement (queries.sql, `commit`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowrunner.ports.executions import ActivityTask, Chunk, Delivery, ExecutionQuery, ExecutionStore, Head, NameTaken, Position, StepWrite, Stored
from flowrunner.stores.postgres.batch import head_of, is_id
from flowrunner.stores.postgres.keys import machine_key, name_key
from flowrunner.stores.postgres.text import given, stored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowrunner.stores.postgres.session import Session

LAST = ((1 << 63) - 1, "f" * 32)
"""Above every (started_at, id)."""


class PostgresExecutions(ExecutionStore):
    """The executions of one database."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def commit(self, write: StepWrite) -> Head | NameTaken:
        """See the contract."""
        return await self._session.commit(write)

    async def load(self, execution: str) -> Stored | None:
        """See the contract."""
        rows = await self._session.read("load", execution) if is_id(execution) else ()
        for row in rows:
            inbox = [Delivery(given(name), execution, fact) for name, fact in zip(row["deliveries"], row["delivered"], strict=True)]
            return Stored(head_of(row), row["snapshot"], tuple(row["facts"]), tuple(inbox))
        return None

    async def head(self, execution: str) -> Head | None:
        """See the contract."""
        rows = await self._session.read("head_by_id", execution) if is_id(execution) else ()
        return head_of(rows[0]) if rows else None

    async def positions(self, executions: Sequence[str]) -> Mapping[str, Position]:
        """See the contract."""
        rows = await self._session.read("positions", [execution for execution in set(executions) if is_id(execution)])
        return {identity.hex: Position(epoch, last_seq, status) for identity, epoch, last_seq, status in rows}

    async def find(self, account: str, machine: str, name: str) -> Head | None:
        """See the contract."""
        rows = await self._session.read("head_by_name", stored(account), name_key(account, machine, name))
        return head_of(rows[0]) if rows else None

    async def log(self, execution: str, *, after: int = 0, limit: int = 1000, reverse: bool = False) -> Sequence[Chunk]:
        """See the contract."""
        rows = await self._session.read("log_reverse" if reverse else "log", execution, after, limit) if is_id(execution) else ()
        return [Chunk(*row) for row in rows]

    async def list(self, query: ExecutionQuery) -> Sequence[Head]:
        """See the contract."""
        started_at, execution = query.after or LAST
        page = (stored(query.account), query.status, started_at, execution, query.limit)
        if query.machine is None:
            rows = await self._session.scan("list_account", *page)
        else:
            kind = "list_machine" if query.status in (None, "SUCCEEDED") else "list_machine_status"
            rows = await self._session.scan(kind, *page, machine_key(query.account, query.machine))
        return [head_of(row) for row in rows]

    async def due(self, now: int, limit: int, *, hide_seconds: float = 0.0) -> Sequence[str]:
        """See the contract; what others have claimed is left out."""
        if hide_seconds <= 0:
            return [row[0].hex for row in await self._session.read("due", now, limit)]
        rows = await self._session.call("claim", now, limit, hide_seconds)
        return [execution.hex for execution, _ in sorted(rows, key=lambda row: (row[1], row[0]))]

    async def next_wake(self) -> int | None:
        """See the contract."""
        rows = await self._session.read("next_wake")
        return rows[0][0] if rows else None

    async def undelivered(self, limit: int) -> Sequence[Delivery]:
        """See the contract."""
        return [Delivery(given(name), execution.hex, fact) for name, execution, fact in await self._session.read("undelivered", limit)]

    async def activity_tasks(self, activity: str, *, limit: int = 100) -> Sequence[ActivityTask]:
        """See the contract."""
        rows = await self._session.read("activity_tasks", stored(activity), limit)
        return [
            ActivityTask(
                activity=activity,
                execution=row["execution"].hex,
                attempt=row["attempt"],
                input=given(row["input"]),
                scheduled_at=row["scheduled_at"],
            )
            for row in rows
        ]

    async def forget(self, execution: str) -> None:
        """See the contract."""
        if is_id(execution):
            async with self._session.in_turn:
                await self._session.read("forget", execution)  # may be repeated, as a read may

    async def beat(self, node: str) -> Mapping[str, int]:
        """See the contract."""
        await self._session.call("beat", stored(node))
        return {given(row[0]): row[1] for row in await self._session.read("nodes")}

    async def leave(self, node: str) -> None:
        """See the contract."""
        await self._session.read("delete_node", stored(node))

    async def owners(self) -> Sequence[str]:
        """See the contract."""
        return sorted({node for (owner,) in await self._session.read("owners") for node in given(owner).split(",")})

    async def owned(self, node: str, limit: int) -> Sequence[str]:
        """See the contract."""
        owners = [owner for (owner,) in await self._session.read("owners") if node in given(owner).split(",")]
        return [row[0].hex for row in await self._session.read("owned", owners, limit)] if owners else []
