"""The whole of one file as portable rows."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowrunner.ports.archive import Archive, ArchivedExecution
from flowrunner.ports.executions import ActivityTask, Chunk, Delivery
from flowrunner.stores.sqlite.definitions import insert_activity, insert_machine, keep_revision, read_activity, read_machine, read_revision
from flowrunner.stores.sqlite.documents import document_of, put_document
from flowrunner.stores.sqlite.heads import PLACES, head_of, insert_head
from flowrunner.stores.sqlite.session import QUERIES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    import apsw

    from flowrunner.clock import Clock
    from flowrunner.ports.definitions import Activity, Machine, Revision
    from flowrunner.ports.documents import Document
    from flowrunner.stores.changes import Key
    from flowrunner.stores.sqlite.session import Row, Session

PAGE_BYTES = 16 * 1024 * 1024  # a page ends after the execution or the document that reaches this
FIRST = ("", "", "")
KINDS = ("executions", "open executions", "chunks", "facts", "snapshots", "inbox", "activity tasks", "revisions", "machines", "activities", "documents")


class SqliteArchive(Archive):
    """The archive of one file."""

    def __init__(self, session: Session, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self._held: apsw.Cursor | None = None

    @asynccontextmanager
    async def moment(self) -> AsyncIterator[bool]:
        """See the contract; writers go on meanwhile, only the write-ahead log cannot be emptied."""
        async with self._session.moment() as cursor:
            self._held = cursor
            try:
                yield True
            finally:
                self._held = None

    async def executions(self, after: str | None, limit: int) -> Sequence[ArchivedExecution]:
        """See the contract."""
        page: list[ArchivedExecution] = await self._session.look(lambda cursor: _page(cursor, after, limit), self._held)
        return page

    async def revisions(self, after: str | None, limit: int) -> Sequence[Revision]:
        """See the contract."""
        return [read_revision(row) for row in await self._rows("page_of_revisions", after, limit)]

    async def machines(self, after: tuple[str, str] | None, limit: int) -> Sequence[Machine]:
        """See the contract."""
        return [read_machine(row) for row in await self._rows("page_of_machines", *(after or ("", "")), limit)]

    async def activities(self, after: tuple[str, str] | None, limit: int) -> Sequence[Activity]:
        """See the contract."""
        return [read_activity(row) for row in await self._rows("page_of_activities", *(after or ("", "")), limit)]

    async def documents(self, after: Key | None, limit: int) -> Sequence[Document]:
        """See the contract."""
        now = self._clock.now()
        page: list[Document] = await self._session.look(lambda cursor: _documents(cursor, after, now, limit), self._held)
        return page

    async def put_execution(self, execution: ArchivedExecution) -> bool:
        """See the contract."""
        size = sum(len(chunk.body) for chunk in execution.chunks) + sum(len(body) for _, body in execution.facts)
        return await self._write(lambda cursor: _put(cursor, execution), size + len(execution.snapshot or b"") + len(execution.head.input))

    async def put_revision(self, revision: Revision) -> bool:
        """See the contract."""
        return await self._write(lambda cursor: keep_revision(cursor, revision), len(revision.definition))

    async def put_machine(self, machine: Machine) -> bool:
        """See the contract."""
        return await self._write(lambda cursor: insert_machine(cursor, machine))

    async def put_activity(self, activity: Activity) -> bool:
        """See the contract."""
        return await self._write(lambda cursor: insert_activity(cursor, activity))

    async def put_document(self, document: Document) -> bool:
        """See the contract."""
        now = self._clock.now()
        return await self._write(lambda cursor: put_document(cursor, document, now), len(document.body))

    async def ended(self, before: int, after: str | None, limit: int) -> Sequence[str]:
        """See the contract."""
        return [execution for (execution,) in await self._rows("ended", before, after, limit)]

    async def expired(self, before: int, after: Key | None, limit: int) -> Sequence[Key]:
        """See the contract."""
        return [(account, kind, name) for account, kind, name in await self._rows("page_of_expired", *(after or FIRST), before, limit)]

    async def size(self) -> Mapping[str, int]:
        """See the contract; ``bytes`` are the file's and its log's."""
        [row] = await self._rows("size")
        files = (self._session.path, Path(f"{self._session.path}-wal"))
        return {**dict(zip(KINDS, row, strict=True)), "bytes": sum(file.stat().st_size for file in files if file.exists())}

    async def _rows(self, query: str, *arguments: object) -> list[Row]:
        rows: list[Row] = await self._session.look(lambda cursor: cursor.execute(QUERIES[query], arguments).fetchall(), self._held)
        return rows

    async def _write(self, work: Callable[[apsw.Cursor], bool], size: int = 0) -> bool:
        done: bool = await self._session.write(work, size)
        return done


def _page(cursor: apsw.Cursor, after: str | None, limit: int) -> list[ArchivedExecution]:
    page: list[ArchivedExecution] = []
    size = 0
    for row in cursor.connection.execute(QUERIES["page_of_heads"], (after, limit)):
        page.append(_execution(cursor, row))
        size += sum(len(chunk.body) for chunk in page[-1].chunks) + len(page[-1].head.input)
        if size >= PAGE_BYTES:
            break
    return page


def _documents(cursor: apsw.Cursor, after: Key | None, now: int, limit: int) -> list[Document]:
    page: list[Document] = []
    size = 0
    for row in cursor.execute(QUERIES["page_of_documents"], (*(after or FIRST), now, limit)):
        page.append(document_of(row))
        size += len(page[-1].body)
        if size >= PAGE_BYTES:
            break
    return page


def _execution(cursor: apsw.Cursor, row: Row) -> ArchivedExecution:
    def rows(query: str, *arguments: object) -> list[Any]:
        return cursor.execute(QUERIES[query], arguments).fetchall()

    number, head = row[0], head_of(row)
    first, end = number * PLACES, (number + 1) * PLACES
    snapshot = rows("snapshot", number)
    tasks = rows("tasks_of", head.id)
    return ArchivedExecution(
        head=head,
        chunks=tuple(Chunk(place - first, count, body) for place, count, body in rows("whole_log", first, end)),
        snapshot=snapshot[0][0] if snapshot else None,
        facts=tuple((place - first, body) for place, body in rows("numbered_facts", first, end)),
        inbox=tuple(Delivery(*delivery) for delivery in rows("inbox", head.id)),
        tasks=tuple(ActivityTask(activity=task[0], execution=task[1], attempt=task[2], input=task[3], scheduled_at=task[4]) for task in tasks),
    )


def _put(cursor: apsw.Cursor, execution: ArchivedExecution) -> bool:
    number = insert_head(cursor, execution.head)
    if number is None:
        return False
    first = number * PLACES
    for chunk in execution.chunks:
        cursor.execute(QUERIES["insert_chunk"], (first + chunk.first_seq, chunk.count, chunk.body))
    if execution.snapshot is not None:
        cursor.execute(QUERIES["replace_snapshot"], (number, execution.snapshot))
    for place, body in execution.facts:
        cursor.execute(QUERIES["insert_facts"], (first + place, body))
    for delivery in execution.inbox:
        cursor.execute(QUERIES["insert_delivery"], (delivery.id, delivery.execution, delivery.fact))
    for task in execution.tasks:
        cursor.execute(QUERIES["insert_activity_task"], (task.execution, task.attempt, task.activity, task.scheduled_at, task.input))
    return True
