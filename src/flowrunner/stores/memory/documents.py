"""Documents in a dictionary."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flowrunner.errors import DocumentConflict
from flowrunner.ports.documents import Change, Document, DocumentStore, Put, Remove, check_changes, key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowrunner.clock import Clock

Key = tuple[str, str, str]


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
        ids = (key[2] for key in self._documents if key[:2] == (account, kind) and key[2].startswith(prefix))
        wanted = sorted((name for name in ids if after is None or (name < after if reverse else name > after)), reverse=reverse)
        living = (self._living((account, kind, name)) for name in wanted)
        return [document for document in living if document is not None][:limit]

    async def write(self, changes: Sequence[Change]) -> None:
        """See the contract."""
        check_changes(changes)
        for position, change in enumerate(changes):
            if not self._fits(change):
                raise DocumentConflict(position)
        taken: dict[str, int] = {}
        for position, change in enumerate(changes):
            for alias in change.document.aliases if isinstance(change, Put) else ():
                holder = self._aliases.get(alias)
                if taken.setdefault(alias, position) != position or (holder is not None and holder != key_of(change) and self._living(holder) is not None):
                    raise DocumentConflict(position)
        for change in changes:
            if isinstance(change, Put | Remove):
                self._drop(key_of(change))
        for change in changes:
            if isinstance(change, Put):
                for alias in change.document.aliases:
                    if alias in self._aliases:  # of one that has expired
                        self._drop(self._aliases[alias])
                self._documents[key_of(change)] = replace(change.document, version=change.document.version + 1)
                self._aliases |= dict.fromkeys(change.document.aliases, key_of(change))

    def _fits(self, change: Change) -> bool:
        stored = self._living(key_of(change))
        wanted = change.document.version if isinstance(change, Put) else change.version
        return (0 if stored is None else stored.version) == wanted

    def _living(self, key: Key) -> Document | None:
        document = self._documents.get(key)
        return None if document is None or (document.expires_at is not None and document.expires_at <= self._clock.now()) else document

    def _drop(self, key: Key) -> None:
        document = self._documents.pop(key, None)
        for alias in () if document is None else document.aliases:
            del self._aliases[alias]
