"""Everything a database holds, as rows that any other store takes: for export, import, backup, size and clean-up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from flowrunner.ports.definitions import Activity, Machine, Revision
from flowrunner.ports.documents import Document
from flowrunner.ports.executions import ActivityTask, Chunk, Delivery, Head


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedExecution:
    """One execution with all that belongs to it, at one moment.

    `facts` are (number, encoded) since the snapshot, in order; `inbox` and `tasks` are in order of arrival.
    """

    head: Head
    chunks: tuple[Chunk, ...]
    snapshot: bytes | None
    facts: tuple[tuple[int, bytes], ...]
    inbox: tuple[Delivery, ...]
    tasks: tuple[ActivityTask, ...]


class Archive(ABC):
    """The whole of one database, across accounts. All methods raise StoreUnavailable when it does not answer.

    Pages are in ascending order of their key; `after` is the key of the last row of the page before, None for the first.
    A page of executions or documents may be shorter than `limit` where they are large; only an empty page is the end.
    """

    def moment(self) -> AbstractAsyncContextManager[bool]:
        """Hold one moment: if it gives True, every page read within is of that moment, whatever is committed meanwhile.

        A store that cannot do so gives False: then only a store without servers is read as a whole. One at a time.
        """
        return nullcontext(enter_result=False)

    @abstractmethod
    async def executions(self, after: str | None, limit: int) -> Sequence[ArchivedExecution]:
        """A page by id; each execution is of one moment (epoch, log, facts and inbox fit together)."""

    @abstractmethod
    async def revisions(self, after: str | None, limit: int) -> Sequence[Revision]:
        """A page by id."""

    @abstractmethod
    async def machines(self, after: tuple[str, str] | None, limit: int) -> Sequence[Machine]:
        """A page by (account, name)."""

    @abstractmethod
    async def activities(self, after: tuple[str, str] | None, limit: int) -> Sequence[Activity]:
        """A page by (account, name)."""

    @abstractmethod
    async def documents(self, after: tuple[str, str, str] | None, limit: int) -> Sequence[Document]:
        """A page by (account, kind, id), of those that have not expired."""

    @abstractmethod
    async def put_execution(self, execution: ArchivedExecution) -> bool:
        """Store an execution as it is, epoch included, all or nothing; False (and nothing changed) if its id or name exists."""

    @abstractmethod
    async def put_revision(self, revision: Revision) -> bool:
        """Store a revision; False if its id exists."""

    @abstractmethod
    async def put_machine(self, machine: Machine) -> bool:
        """Store a machine whose revision is stored; False if its name exists."""

    @abstractmethod
    async def put_activity(self, activity: Activity) -> bool:
        """Store an activity; False if its name exists."""

    @abstractmethod
    async def put_document(self, document: Document) -> bool:
        """Store a document as it is, version included; False (and nothing changed) if its key or one of its aliases is in use."""

    @abstractmethod
    async def ended(self, before: int, after: str | None, limit: int) -> Sequence[str]:
        """A page, by id, of executions that ended before this time (milliseconds since 1970 UTC)."""

    @abstractmethod
    async def expired(self, before: int, after: tuple[str, str, str] | None, limit: int) -> Sequence[tuple[str, str, str]]:
        """A page, by (account, kind, id), of documents that expired at or before this time and still take room.

        Whoever removes one writes ``Remove`` with version 0, which spares what was stored in its place meanwhile.
        """

    @abstractmethod
    async def size(self) -> Mapping[str, int]:
        """How much there is: rows of each kind, and ``bytes`` on disk where the database tells.

        The kinds ``executions``, ``revisions``, ``machines``, ``activities`` and ``documents`` (expired ones too) are always among them.
        """
