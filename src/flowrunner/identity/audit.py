"""The audit log: who changed what, from where, with what result; one chain of hashes for each account.

An entry is stored in the same write as the change it tells of. Entry N holds the hash of entry N-1, and a head document
the number and hash of the last: an entry that was altered, removed or put elsewhere breaks the chain (OWASP ASVS 5.0, 16.4).
What callers do to executions is not in it: their histories tell that.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from weakref import WeakValueDictionary

import msgspec

from flowrunner.clock import MINUTE, Clock
from flowrunner.errors import DocumentConflict
from flowrunner.identity.chain import AuditEntry, AuditHead, Chain, Fault
from flowrunner.identity.principal import Actor
from flowrunner.ports.documents import APPEND_ONLY, CHANGES, Change, Document, DocumentStore, Put

HEAD = "audit-head"
ROOM = CHANGES - 2  # changes that fit into a write beside its entry
TRIES = 100  # others append at the same time; each try that fails let one of them through
REFUSALS_A_MINUTE = 20  # entries about refusals, for each account and address; the rest is only counted
ALL_REFUSALS_A_MINUTE = 200  # for each account, from wherever: a log cannot be emptied, so it must not be filled either
EVERYBODY = "*"
KEPT_ADDRESSES = 10_000

_entry = msgspec.json.Decoder(AuditEntry).decode
_head = msgspec.json.Decoder(AuditHead).decode


class AuditLog:
    """The chains of every account in one store."""

    def __init__(self, documents: DocumentStore, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._refusals: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()  # (minute, how many)

    async def write(
        self, account: str, actor: Actor, action: str, target: str, changes: Sequence[Change] = (), *, result: str = "ok", detail: str = ""
    ) -> None:
        """Make these changes (of any account) and append to this account's chain, in one write.

        At most ROOM changes. Raises DocumentConflict with the position among `changes`; StoreUnavailable.
        """
        lock = self._locks.setdefault(account, asyncio.Lock())
        async with lock:  # of this process; against others the head's version decides
            for _ in range(TRIES):
                stored = await self._documents.get(account, HEAD, "head")
                head = AuditHead() if stored is None else _head(stored.body)
                entry = AuditEntry(
                    seq=head.seq + 1, at=self._clock.now(), who=actor.name, address=actor.address, request=actor.request,
                    action=action, target=target, result=result, detail=detail, previous=head.hash,
                ).sealed()  # fmt: skip
                added = [
                    Put(Document(account=account, kind=APPEND_ONLY, id=_id(entry.seq), body=msgspec.json.encode(entry))),
                    Put(_head_document(account, AuditHead(seq=entry.seq, hash=entry.hash), 0 if stored is None else stored.version)),
                ]
                try:
                    await self._documents.write([*changes, *added])
                except DocumentConflict as conflict:
                    if conflict.change < len(changes):
                        raise
                else:
                    return
        raise DocumentConflict(len(changes))

    async def refused(self, account: str, actor: Actor, action: str, target: str = "", *, detail: str = "", result: str = "denied") -> None:
        """Append a refusal, unless this address, or all of them together, had their share of the account's log this minute."""
        counts = [self._counted((account, address)) for address in (actor.address, EVERYBODY)]
        if counts[0] <= REFUSALS_A_MINUTE and counts[1] <= ALL_REFUSALS_A_MINUTE:
            last = counts[0] == REFUSALS_A_MINUTE or counts[1] == ALL_REFUSALS_A_MINUTE
            more = " Further refusals of this minute are not listed." if last else ""
            await self.write(account, actor, action, target, result=result, detail=detail + more)

    def _counted(self, key: tuple[str, str]) -> int:
        """How many refusals this is in its minute."""
        minute = self._clock.now() // MINUTE
        then, count = self._refusals.pop(key, (minute, 0))
        count = count + 1 if then == minute else 1
        self._refusals[key] = (minute, count)
        if len(self._refusals) > KEPT_ADDRESSES:
            self._refusals.popitem(last=False)
        return count

    async def page(self, account: str, *, after: int = 0, limit: int = 100) -> list[AuditEntry]:
        """Entries in order, numbers above `after`."""
        found = await self._documents.page(account, APPEND_ONLY, after=_id(after) if after else None, limit=limit)
        return [_entry(document.body) for document in found]

    async def verify(self, account: str) -> Fault | None:
        """The first fault of a chain, or None: every entry is there, unaltered and in its place, up to the head."""
        head = await self.head(account)
        chain = Chain({head.seq: head.hash})
        while page := await self.page(account, after=chain.last.seq):
            for entry in page:
                chain.add(entry)
            if chain.fault is not None:
                break
        if head.seq == 0 and chain.fault is None and chain.last.seq:
            return Fault(chain.last.seq, "The head of the chain is missing.")
        return chain.end()

    async def head(self, account: str) -> AuditHead:
        """The number and hash of the last entry."""
        stored = await self._documents.get(account, HEAD, "head")
        return AuditHead() if stored is None else _head(stored.body)


def _id(seq: int) -> str:
    return f"{seq:016d}"


def _head_document(account: str, head: AuditHead, version: int) -> Document:
    return Document(account=account, kind=HEAD, id="head", body=msgspec.json.encode(head), version=version)
