"""Documents in PostgreSQL. Whoever writes some holds a lock on each of their names and aliases, there or not, to the end of its transaction.

The locks are advisory and taken in one order, so that writers wait for each other and never in a circle, and what a writer found
(or did not find) is still so when it commits, without the failures of the isolation level `serializable`.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING

from flowrunner.errors import DocumentConflict, StoreUnavailable
from flowrunner.ports.documents import Change, Document, DocumentStore, Put, check_changes, id_range, is_name, key_of
from flowrunner.stores.changes import Kept, aliases_of, decide, joined
from flowrunner.stores.postgres.batch import turned
from flowrunner.stores.postgres.faults import RACES
from flowrunner.stores.postgres.keys import lock_key
from flowrunner.stores.postgres.writer import FIRST_PAUSE_SECONDS, MOST_RACES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowrunner.clock import Clock
    from flowrunner.stores.changes import Key, Outcome
    from flowrunner.stores.postgres.link import Link, Row
    from flowrunner.stores.postgres.session import Session


class PostgresDocuments(DocumentStore):
    """The documents of one database."""

    def __init__(self, session: Session, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self._turns = asyncio.Semaphore(max(1, session.address.connections // 2))  # who waits for a lock has a connection: some stay for reading

    async def get(self, account: str, kind: str, id: str) -> Document | None:  # noqa: A002
        """See the contract."""
        rows = await self._session.read("document", account, kind, id, self._clock.now()) if is_name(id) else ()
        return document_of(rows[0]) if rows else None

    async def find(self, alias: str) -> Document | None:
        """See the contract."""
        rows = await self._session.read("document_by_alias", alias, self._clock.now()) if is_name(alias) else ()
        return document_of(rows[0]) if rows else None

    async def page(self, account: str, kind: str, *, prefix: str = "", after: str | None = None, limit: int = 100, reverse: bool = False) -> Sequence[Document]:
        """See the contract."""
        ids = id_range(prefix, after, reverse=reverse)
        if ids is None:
            return []
        rows = await self._session.read("documents_reverse" if reverse else "documents", account, kind, *ids, self._clock.now(), limit)
        return [document_of(row) for row in rows]

    async def write(self, changes: Sequence[Change]) -> None:
        """See the contract."""
        await self._write(changes)

    async def put(self, document: Document) -> bool:
        """Store a document as it is; return whether its key and its aliases were free."""
        try:
            await self._write([Put(replace(document, version=0))], rise=document.version)
        except DocumentConflict:
            return False
        return True

    async def _write(self, changes: Sequence[Change], *, rise: int = 1) -> None:
        """Write, and again after a lost race: those of other programs, as ours wait for each other."""
        check_changes(changes)
        for races in range(MOST_RACES):
            try:
                await self._try(changes, rise)
            except StoreUnavailable as error:
                if not isinstance(error.__cause__, RACES):
                    raise
                await asyncio.sleep(FIRST_PAUSE_SECONDS * 2**races * random.random())  # noqa: S311  # jitter
            else:
                return
        await self._try(changes, rise)

    async def _try(self, changes: Sequence[Change], rise: int) -> None:
        now, keys = self._clock.now(), list(map(key_of, changes))
        aliases = [alias for change in changes for alias in aliases_of(change)]
        schema = self._session.address.schema
        locks = sorted({lock_key(schema, *key) for key in keys} | {lock_key(schema, alias) for alias in aliases})
        async with self._turns, self._session.transaction() as link:
            await link.fetch("lock_documents", locks)
            stored, holders = await _look(link, keys, aliases)
            await _store(link, decide(changes, stored, holders, now=now, rise=rise))


async def _look(link: Link, keys: Sequence[Key], aliases: Sequence[str]) -> tuple[dict[Key, Kept], dict[str, Key]]:
    """What a write must know: the documents by their keys, and those that have the aliases."""
    stored: dict[Key, Kept] = {}
    holders: dict[str, Key] = {}
    for row in await link.fetch("documents_kept", *turned(keys, 3), aliases):
        alias, *key, version, names, expires_at = row
        stored[key[0], key[1], key[2]] = Kept(version, tuple(names.split()), expires_at)
        if alias is not None:
            holders[alias] = (key[0], key[1], key[2])
    return stored, holders


async def _store(link: Link, outcome: Outcome) -> None:
    puts = [
        (document.account, document.kind, document.id, document.version, joined(document.aliases), document.expires_at, document.body)
        for document in outcome.puts
    ]
    named = [(alias, document.account, document.kind, document.id) for document in outcome.puts for alias in document.aliases]
    if puts or outcome.removed or outcome.freed:
        await link.fetch("store_documents", *turned(puts, 7), *turned(outcome.removed, 3), *turned(named, 4), outcome.freed)


def document_of(row: Row) -> Document:
    """A row of `document`, `documents` and `archived_documents`."""
    account, kind, name, version, aliases, expires_at, body = row
    return Document(account=account, kind=kind, id=name, body=body, version=version, aliases=tuple(aliases.split()), expires_at=expires_at)
