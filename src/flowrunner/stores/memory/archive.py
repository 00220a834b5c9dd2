"""The whole of one process's dictionaries as portable rows: for tests and for moves out of memory."""

from __future__ import annotations

from heapq import nsmallest
from typing import TYPE_CHECKING, TypeVar

from flowrunner.ports.archive import Archive, ArchivedExecution

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowrunner.ports.definitions import Activity, Machine, Revision
    from flowrunner.ports.documents import Document
    from flowrunner.stores.memory.definitions import MemoryDefinitions
    from flowrunner.stores.memory.documents import MemoryDocuments
    from flowrunner.stores.memory.executions import MemoryExecutions

Thing = TypeVar("Thing")
Key = TypeVar("Key", str, tuple[str, str])


class MemoryArchive(Archive):
    """The archive of one memory store."""

    def __init__(self, executions: MemoryExecutions, definitions: MemoryDefinitions, documents: MemoryDocuments) -> None:
        self._executions = executions
        self._definitions = definitions
        self._documents = documents

    async def executions(self, after: str | None, limit: int) -> Sequence[ArchivedExecution]:
        """See the contract."""
        return self._executions.archived(after, limit)

    async def revisions(self, after: str | None, limit: int) -> Sequence[Revision]:
        """See the contract."""
        return _page(self._definitions.all_revisions(), after, limit)

    async def machines(self, after: tuple[str, str] | None, limit: int) -> Sequence[Machine]:
        """See the contract."""
        return _page(self._definitions.all_machines(), after, limit)

    async def activities(self, after: tuple[str, str] | None, limit: int) -> Sequence[Activity]:
        """See the contract."""
        return _page(self._definitions.all_activities(), after, limit)

    async def documents(self, after: tuple[str, str, str] | None, limit: int) -> Sequence[Document]:
        """See the contract."""
        return self._documents.archived(after, limit)

    async def put_execution(self, execution: ArchivedExecution) -> bool:
        """See the contract."""
        return self._executions.put(execution)

    async def put_revision(self, revision: Revision) -> bool:
        """See the contract."""
        return self._definitions.put_revision(revision)

    async def put_machine(self, machine: Machine) -> bool:
        """See the contract."""
        return self._definitions.put_machine(machine)

    async def put_activity(self, activity: Activity) -> bool:
        """See the contract."""
        if self._definitions.has_activity(activity.account, activity.name):
            return False
        await self._definitions.create_activity(activity)
        return True

    async def put_document(self, document: Document) -> bool:
        """See the contract."""
        return self._documents.put(document)

    async def ended(self, before: int, after: str | None, limit: int) -> Sequence[str]:
        """See the contract."""
        return self._executions.ended(before, after, limit)

    async def expired(self, before: int, after: tuple[str, str, str] | None, limit: int) -> Sequence[tuple[str, str, str]]:
        """See the contract."""
        return self._documents.expired(before, after, limit)

    async def size(self) -> Mapping[str, int]:
        """See the contract; memory does not tell its bytes."""
        of = self._definitions
        return {
            "executions": self._executions.count(),
            "revisions": len(of.all_revisions()),
            "machines": len(of.all_machines()),
            "activities": len(of.all_activities()),
            "documents": self._documents.count(),
        }


def _page(things: Mapping[Key, Thing], after: Key | None, limit: int) -> list[Thing]:
    return [things[key] for key in nsmallest(limit, (key for key in things if after is None or key > after))]
