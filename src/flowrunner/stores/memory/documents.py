"""Documents in a dictionary."""

from __future__ import annotations

from dataclasses import replace
from heapq import nsmallest
from typing import TYPE_CHECKING

from flowrunner.errors import DocumentConflict
from flowrunner.ports.documents import Change, Document, DocumentStore, Put, check_changes, id_range, key_of
from flowrunner.stores.changes import Kept, aliases_of, decide, lives

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowrunner.clock import Clock
    from flowrunner.stores.changes import Key


class MemoryDocuments(DocumentStore):
    """The documents of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._documents: dict[Key, Document] = {}
        self._aliases: dict[str, Key] = {}

    async def get(self, account: str, kind: str, id: str) -> Document | None:  # noqa: A002
        """See the contract."""
        return self._living((account, kind, id))

    async def find(self, alias: str) -> Document | None:
        """See the contract."""
        key = self._aliases.get(alias)
        return None if key is None else self._living(key)

    async def page(self, account: str, kind: str, *, prefix: str = "", after: str | None = None, limit: int = 100, reverse: bool = False) -> Sequence[Document]:
        """See the contract."""
        low, high = id_range(prefix, after, reverse=reverse) or ("", "")
        wanted = sorted((key for key in self._documents if key[:2] == (account, kind) and low <= key[2] < high), reverse=reverse)
        return [document for key in wanted if (document := self._living(key)) is not None][:limit]

    async def write(self, changes: Sequence[Change]) -> None:
        """See the contract."""
        self._write(changes)

    def _write(self, changes: Sequence[Change], *, rise: int = 1) -> None:
        check_changes(changes)
        holders = {alias: self._aliases[alias] for change in changes for alias in aliases_of(change) if alias in self._aliases}
        keys = {key for key in (*map(key_of, changes), *holders.values()) if key in self._documents}
        stored = {key: Kept(document.version, document.aliases, document.expires_at) for key in keys for document in (self._documents[key],)}
        outcome = decide(changes, stored, holders, now=self._clock.now(), rise=rise)
        for key in outcome.removed:
            del self._documents[key]
        for alias in outcome.freed:
            del self._aliases[alias]
        for document in outcome.puts:
            key = (document.account, document.kind, document.id)
            self._documents[key] = document
            self._aliases |= dict.fromkeys(document.aliases, key)

    def _living(self, key: Key) -> Document | None:
        document = self._documents.get(key)
        return document if document is not None and lives(document.expires_at, self._clock.now()) else None

    # --- the archive's

    def archived(self, after: Key | None, limit: int) -> Sequence[Document]:
        """A page of documents that live, by account, kind and id."""
        living = (key for key in self._documents if (after is None or key > after) and self._living(key) is not None)
        return [self._documents[key] for key in nsmallest(limit, living)]

    def put(self, document: Document) -> bool:
        """Take a document as it is, if its key and its aliases are free."""
        try:
            self._write([Put(replace(document, version=0))], rise=document.version)
        except DocumentConflict:
            return False
        return True

    def expired(self, before: int, after: Key | None, limit: int) -> Sequence[Key]:
        """A page of keys of documents that had expired by this time."""
        old = (key for key, document in self._documents.items() if not lives(document.expires_at, before))
        return nsmallest(limit, (key for key in old if after is None or key > after))

    def count(self) -> int:
        """How many documents there are, expired ones too."""
        return len(self._documents)
