"""Documents in SQLite."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowrunner.errors import DocumentConflict
from flowrunner.ports.documents import Change, Document, DocumentStore, Put, check_changes, id_range, is_name, key_of
from flowrunner.stores.changes import Kept, aliases_of, decide, joined, size_of
from flowrunner.stores.sqlite.session import QUERIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from flowrunner.clock import Clock
    from flowrunner.stores.changes import Key
    from flowrunner.stores.sqlite.session import Row, Session


class SqliteDocuments(DocumentStore):
    """The documents of one file."""

    def __init__(self, session: Session, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def get(self, account: str, kind: str, id: str) -> Document | None:  # noqa: A002
        """See the contract."""
        rows = self._session.read("document", account, kind, id, self._clock.now()) if is_name(id) else ()
        return document_of(rows[0]) if rows else None

    async def find(self, alias: str) -> Document | None:
        """See the contract."""
        rows = self._session.read("document_by_alias", alias, self._clock.now()) if is_name(alias) else ()
        return document_of(rows[0]) if rows else None

    async def page(self, account: str, kind: str, *, prefix: str = "", after: str | None = None, limit: int = 100, reverse: bool = False) -> Sequence[Document]:
        """See the contract."""
        ids = id_range(prefix, after, reverse=reverse)
        if ids is None:
            return []
        rows = await self._session.scan("documents_reverse" if reverse else "documents", account, kind, *ids, self._clock.now(), limit)
        return [document_of(row) for row in rows]

    async def write(self, changes: Sequence[Change]) -> None:
        """See the contract; the time is taken when the write is asked for."""
        check_changes(changes)
        now, all_of_them = self._clock.now(), tuple(changes)
        await self._session.write(lambda cursor: _write(cursor, all_of_them, now), size_of(changes))


def _write(cursor: apsw.Cursor, changes: Sequence[Change], now: int, *, rise: int = 1) -> None:
    """Everything is read before anything is changed: a conflict leaves the transaction as it was."""
    stored: dict[Key, Kept] = {}
    holders: dict[str, Key] = {}
    for change in changes:
        key = key_of(change)
        for row in _rows(cursor, "document_kept", *key):
            stored[key] = _kept(row)
        for alias in aliases_of(change):
            for account, kind, name, *kept in _rows(cursor, "alias_holder", alias):
                holders[alias] = (account, kind, name)
                stored[holders[alias]] = _kept(tuple(kept))
    outcome = decide(changes, stored, holders, now=now, rise=rise)
    for key in outcome.removed:
        cursor.execute(QUERIES["delete_document"], key)
    for alias in outcome.freed:
        cursor.execute(QUERIES["delete_alias"], (alias,))
    for document in outcome.puts:
        values = (document.account, document.kind, document.id, document.version, joined(document.aliases), document.expires_at, document.body)
        ((place,),) = _rows(cursor, "put_document", *values)
        for alias in document.aliases:
            cursor.execute(QUERIES["put_alias"], (alias, place))


def put_document(cursor: apsw.Cursor, document: Document, now: int) -> bool:
    """Write a document as it is; return whether its key and its aliases were free."""
    changes = [Put(replace(document, version=0))]
    check_changes(changes)
    try:
        _write(cursor, changes, now, rise=document.version)
    except DocumentConflict:
        return False
    return True


def _rows(cursor: apsw.Cursor, query: str, *arguments: object) -> list[Any]:
    return cursor.execute(QUERIES[query], arguments).fetchall()


def _kept(row: Row) -> Kept:
    version, aliases, expires_at = row
    return Kept(version, tuple(aliases.split()), expires_at)


def document_of(row: Row) -> Document:
    """A row of `document`, `documents` and `page_of_documents`."""
    account, kind, name, version, aliases, expires_at, body = row
    return Document(account=account, kind=kind, id=name, body=body, version=version, aliases=tuple(aliases.split()), expires_at=expires_at)
