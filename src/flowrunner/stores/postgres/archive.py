"""Everything a PostgreSQL database holds, page by page; each page of executions is of one moment."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from flowrunner.errors import StoreError
from flowrunner.ports.archive import Archive, ArchivedExecution
from flowrunner.ports.executions import ActivityTask, Chunk, Delivery
from flowrunner.stores.postgres.batch import creation_values, head_of, is_id, turned
from flowrunner.stores.postgres.definitions import activity_of, activity_values, machine_of, machine_values, revision_of, revision_values
from flowrunner.stores.postgres.documents import document_of
from flowrunner.stores.postgres.link import BEGIN_READING
from flowrunner.stores.postgres.text import given, stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from flowrunner.clock import Clock
    from flowrunner.ports.definitions import Activity, Machine, Revision
    from flowrunner.ports.documents import Document
    from flowrunner.stores.changes import Key
    from flowrunner.stores.postgres.documents import PostgresDocuments
    from flowrunner.stores.postgres.link import Link, Row
    from flowrunner.stores.postgres.session import Session

FIRST = "0" * 32
NO_KEY = (None, None, None)
PAGE_BYTES = 16 * 1024 * 1024  # of logs or documents, unless one alone is larger
COUNT_SECONDS = 300.0  # counting reads whole indexes, and so does the last page of what is old


class PostgresArchive(Archive):
    """The whole of one database."""

    def __init__(self, session: Session, documents: PostgresDocuments, clock: Clock) -> None:
        self._session = session
        self._documents = documents
        self._clock = clock
        self._held: Link | None = None  # whose transaction is the moment that is held
        self._reading = asyncio.Lock()

    @asynccontextmanager
    async def moment(self) -> AsyncIterator[bool]:
        """See the contract; one connection keeps a transaction open."""
        async with self._session.transaction(BEGIN_READING) as link:
            await link.fetch("server")  # the first statement, not BEGIN, is the moment
            self._held = link
            try:
                yield True
            finally:
                self._held = None

    @asynccontextmanager
    async def _one_moment(self) -> AsyncIterator[Link]:
        if self._held is not None:
            async with self._reading:
                yield self._held
        else:
            async with self._session.transaction(BEGIN_READING) as link:
                yield link

    async def _read(self, query: str, *arguments: object) -> Sequence[Row]:
        if self._held is None:
            return await self._session.read(query, *arguments)
        with self._session.told():
            async with self._reading:
                return await self._held.fetch(query, *arguments)

    async def executions(self, after: str | None, limit: int) -> Sequence[ArchivedExecution]:
        """See the contract."""
        with self._session.told():
            async with self._one_moment() as link:
                return await self._page(link, after, limit)

    async def _page(self, link: Link, after: str | None, limit: int) -> Sequence[ArchivedExecution]:
        sizes = await link.fetch("archived_sizes", _id(after), after is None, limit)
        totals = accumulate(size for _, size in sizes)
        ids = [row[0].hex for place, (row, total) in enumerate(zip(sizes, totals, strict=True)) if place == 0 or total <= PAGE_BYTES]
        heads = [head_of(row) for row in await link.fetch("archived_heads", ids)]
        chunks = _grouped(await link.fetch("archived_chunks", ids))
        snapshots = _grouped(await link.fetch("archived_snapshots", ids))
        facts = _grouped(await link.fetch("archived_facts", ids))
        inbox = _grouped(await link.fetch("archived_inbox", ids))
        tasks = _grouped(await link.fetch("archived_tasks", ids))
        return [
            ArchivedExecution(
                head=head,
                chunks=tuple(Chunk(*row[1:]) for row in chunks[head.id]),
                snapshot=snapshots[head.id][0][1] if head.id in snapshots else None,
                facts=tuple((number, body) for _, number, body in facts[head.id]),
                inbox=tuple(Delivery(given(name), head.id, fact) for _, name, fact in inbox[head.id]),
                tasks=tuple(_task(head.id, row) for row in tasks[head.id]),
            )
            for head in heads
        ]

    async def revisions(self, after: str | None, limit: int) -> Sequence[Revision]:
        """See the contract."""
        return [revision_of(row) for row in await self._read("archived_revisions", stored(after), limit)]

    async def machines(self, after: tuple[str, str] | None, limit: int) -> Sequence[Machine]:
        """See the contract."""
        return [machine_of(row) for row in await self._read("archived_machines", *_names(after), limit)]

    async def activities(self, after: tuple[str, str] | None, limit: int) -> Sequence[Activity]:
        """See the contract."""
        return [activity_of(row) for row in await self._read("archived_activities", *_names(after), limit)]

    async def documents(self, after: Key | None, limit: int) -> Sequence[Document]:
        """See the contract."""
        return [document_of(row) for row in await self._read("archived_documents", *(after or NO_KEY), self._clock.now(), limit, PAGE_BYTES)]

    async def put_execution(self, execution: ArchivedExecution) -> bool:
        """See the contract."""
        head = execution.head
        if not is_id(head.id):
            raise StoreError(f"{head.id!r} is not the id of an execution: 32 hex digits are.")
        async with self._session.in_turn, self._session.transaction() as link:
            if not await link.fetch("put_head", *creation_values(head)):
                return False
            await _put_parts(link, execution)
        return True

    async def put_revision(self, revision: Revision) -> bool:
        """See the contract."""
        return await self._put("insert_revision", *revision_values(revision))

    async def put_machine(self, machine: Machine) -> bool:
        """See the contract."""
        return await self._put("insert_machine", *machine_values(machine))

    async def put_activity(self, activity: Activity) -> bool:
        """See the contract."""
        return await self._put("insert_activity", *activity_values(activity))

    async def put_document(self, document: Document) -> bool:
        """See the contract."""
        return await self._documents.put(document)

    async def _put(self, query: str, *arguments: object) -> bool:
        async with self._session.in_turn:
            return bool(await self._session.call(query, *arguments))

    async def ended(self, before: int, after: str | None, limit: int) -> Sequence[str]:
        """See the contract."""
        rows = await self._session.call("ended", before, _id(after), after is None, limit, seconds=COUNT_SECONDS)
        return [row[0].hex for row in rows]

    async def expired(self, before: int, after: Key | None, limit: int) -> Sequence[Key]:
        """See the contract."""
        rows = await self._session.call("archived_expired", *(after or NO_KEY), before, limit, seconds=COUNT_SECONDS)
        return [(row[0], row[1], row[2]) for row in rows]

    async def size(self) -> Mapping[str, int]:
        """See the contract."""
        (row,) = await self._session.call("size", self._session.address.schema, seconds=COUNT_SECONDS)
        return {name: row[name] or 0 for name in row.keys()}  # noqa: SIM118  # a row is no mapping


async def _put_parts(link: Link, execution: ArchivedExecution) -> None:
    """All but the head, inside its transaction."""
    identity = execution.head.id
    if execution.chunks:
        await link.fetch("put_chunks", *turned([(identity, chunk.first_seq, chunk.count, chunk.body) for chunk in execution.chunks], 4))
    if execution.snapshot is not None:
        await link.fetch("put_snapshot", identity, execution.snapshot)
    if execution.facts:
        await link.fetch("put_facts", *turned([(identity, number, body) for number, body in execution.facts], 3))
    if execution.inbox:
        await link.fetch("insert_deliveries", *turned([(stored(one.id), identity, one.fact) for one in execution.inbox], 3))
    tasks = [(identity, task.attempt, stored(task.activity), task.scheduled_at, stored(task.input)) for task in execution.tasks]
    if tasks:
        await link.fetch("insert_activity_tasks", *turned(tasks, 5))


def _id(after: str | None) -> str:
    if after is not None and not is_id(after):
        raise StoreError(f"{after!r} is not the id of an execution: 32 hex digits are.")
    return after or FIRST


def _names(after: tuple[str, str] | None) -> tuple[str | None, str | None]:
    return (None, None) if after is None else (stored(after[0]), stored(after[1]))


def _grouped(rows: Iterable[Row]) -> defaultdict[str, list[Row]]:
    """Rows by the execution that their first column names, in their order."""
    groups: defaultdict[str, list[Any]] = defaultdict(list)
    for row in rows:
        groups[row[0].hex].append(row)
    return groups


def _task(execution: str, row: Row) -> ActivityTask:
    return ActivityTask(
        activity=given(row["activity"]),
        execution=execution,
        attempt=row["attempt"],
        input=given(row["input"]),
        scheduled_at=row["scheduled_at"],
    )
