"""Rotation of keys while everybody works: resumable after a kill at any point, harmless beside writers and other rotations.

An account's data key: one atomic write makes the new key current and marks the old one as retiring. That write changes the old key's
document, so every write that still seals under it conflicts and is made again under the new one. Then whatever names the old key is
sealed anew, document by document, each if it has not changed meanwhile; when a whole pass finds nothing, the old key is removed.

The master key: the new one becomes the first of the key ring, every data key is wrapped anew, and when a whole pass finds none that
names an older one, the older ones leave the ring. Data keys are made only under a ring that is unchanged.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flowrunner.clock import Clock
from flowrunner.errors import Conflict, DocumentConflict, FlowRunnerError, SealBroken, StoreUnavailable, UnknownKey
from flowrunner.ports.documents import SYSTEM, Change, Document, DocumentStore, Put, Remove, Unchanged
from flowrunner.vault.datakeys import DATA_KEY, TRIES, DataKey, DataKeys
from flowrunner.vault.keyring import Keyring, Ring, RingKey, RingState
from flowrunner.vault.seal import Sealer
from flowrunner.vault.writing import Write

PAGE = 50


@dataclass(frozen=True, slots=True)
class Sealed:
    """One sealed value of a document, with the name and version it was sealed for."""

    name: str
    version: int
    value: bytes


class Resealer(Protocol):
    """A kind of documents that hold sealed values, for the rotation to find and replace them."""

    kind: str

    def sealed(self, document: Document) -> Sequence[Sealed]:
        """The sealed values of a document, in an order of its own."""
        ...

    def resealed(self, document: Document, values: Sequence[bytes]) -> Document:
        """The document with these values in place of those, and nothing else changed."""
        ...


@dataclass(slots=True)
class Report:
    """What a rotation did: data keys made, values sealed anew, data keys wrapped anew, keys that are no longer needed.

    `failures` is why it could not be finished, by account; under SYSTEM for the master key.
    """

    made: int = 0
    resealed: int = 0
    rewrapped: int = 0
    retired: list[str] = field(default_factory=list)
    failures: dict[str, FlowRunnerError] = field(default_factory=dict)


@contextlib.contextmanager
def _noted(report: Report, account: str) -> Iterator[None]:
    """Keep what goes wrong for the report; but without a store nothing else goes well either."""
    try:
        yield
    except StoreUnavailable:
        raise
    except FlowRunnerError as error:
        report.failures[account] = error


class Rotation:
    """Rotates data keys and the master key. `resealers` are all kinds that hold sealed values: one that is missing here keeps old keys alive."""

    def __init__(self, documents: DocumentStore, keyring: Keyring, keys: DataKeys, sealer: Sealer, *, resealers: Sequence[Resealer], clock: Clock) -> None:
        self._documents = documents
        self._keyring = keyring
        self._keys = keys
        self._sealer = sealer
        self._resealers = resealers
        self._clock = clock

    async def rotate(self, account: str, *, write: Write | None = None) -> Report:
        """Give the account a new data key and seal everything anew; a rotation that was broken off is finished instead.

        `write` makes the write that makes the new key (with an entry of the audit log in it). Raises Conflict when others keep changing the same keys,
        UnknownKey, SealBroken (naming what cannot be opened; its key stays), StoreUnavailable.
        """
        report = Report()
        if not await self._retiring(account):
            await self._begin(account, report, write or self._documents.write)
        await self.finish(account, report)
        return report

    async def rotate_all(self) -> Report:
        """`rotate` for every account that has secrets. Raises what one of them met, once the others are done; StoreUnavailable at once."""
        total = Report()
        async for account, registered in self._keyring.accounts():
            if await self._is_gone(account, registered):
                continue
            with _noted(total, account):
                report = await self.rotate(account)
                total.made += report.made
                total.resealed += report.resealed
                total.retired += report.retired
        for failure in total.failures.values():
            raise failure
        return total

    async def resume(self) -> Report:
        """Finish what was broken off, in every account; for the start of a server.

        What one account meets holds up no other: it stands in the report. Raises StoreUnavailable.
        """
        report = Report()
        async for account, _ in self._keyring.accounts():
            with _noted(report, account):
                await self.finish(account, report)
        with _noted(report, SYSTEM):
            if len((await self._keyring.state()).ring.keys) > 1:
                await self._rewrap_all(report)
        return report

    async def finish(self, account: str, report: Report) -> None:
        """Seal anew what names a retiring key of this account, then remove the key."""
        for document in await self._retiring(account):
            while await self._reseal_all(account, document.id, report):
                pass  # until a whole pass found nothing
            try:
                await self._documents.write([Remove(account=account, kind=DATA_KEY, id=document.id, version=document.version)])
                report.retired.append(document.id)
            except DocumentConflict:  # another rotation removed it, or wrapped it anew: then the next one removes it
                continue
            finally:
                self._keys.forget(account)

    async def rotate_master(self) -> Report:
        """Wrap every data key under a new master key: the newest one this server was given, or one that it makes itself.

        Raises ConfigurationError when an operator states the keys and has stated no new one.
        """
        report = Report()
        for _ in range(TRIES):
            state = await self._keyring.state()
            if len(state.ring.keys) > 1:
                break  # broken off: finish
            newest = self._keyring.newest()
            if newest.current.id == state.ring.keys[0].id:
                newest = self._keyring.source.add()
                self._keyring.newest()
                report.made += 1
            first = RingKey(newest.current.id, newest.current.check(), self._clock.now())
            try:
                await self._keyring.replace(state, Ring(keys=(first, *state.ring.keys)))
                break
            except DocumentConflict:
                continue
        await self._rewrap_all(report)
        return report

    # --- data keys

    async def _begin(self, account: str, report: Report, write: Write) -> None:
        for _ in range(TRIES):
            state = await self._keyring.state()
            current, version = await self._keys.registered(account)
            key_id, stored = self._keys.make(account, state)
            changes: list[Change] = [stored, self._keys.register(account, key_id, version), state.unchanged()]
            if current is not None:
                changes.append(await self._retired(account, current))
            try:
                await write(changes)
            except DocumentConflict:
                if await self._retiring(account):  # another rotation was quicker: it is this one's work to finish, too
                    return
                continue
            self._keys.forget(account)
            report.made += 1
            return
        raise Conflict(f"The keys of account {account} change all the time.")

    async def _retired(self, account: str, current: str) -> Change:
        """Mark the key as retiring; that it is absent, for one that was erased with its account."""
        document = await self._documents.get(account, DATA_KEY, current)
        if document is None:
            return Unchanged(account=account, kind=DATA_KEY, id=current, version=0)
        kept, key = self._keys.unwrap(document)
        master = self._keyring.key(kept.master)
        return self._keys.wrap(account, current, key.secret, master, made_at=kept.made_at, version=document.version, state="retiring")

    async def _is_gone(self, account: str, registered: Document) -> bool:
        """Whether the account was erased, with its data keys; then it leaves the register."""
        current, version = await self._keys.registered(account)
        if current is None or await self._documents.get(account, DATA_KEY, current) is not None:
            return current is None
        leaves = Remove(account=registered.account, kind=registered.kind, id=registered.id, version=version)
        with contextlib.suppress(DocumentConflict):  # somebody has just begun to use it again
            await self._documents.write([leaves, Unchanged(account=account, kind=DATA_KEY, id=current, version=0)])
        return True

    async def _retiring(self, account: str) -> list[Document]:
        return [document async for document in self._pages(account, DATA_KEY) if self._keys.read(document).state == "retiring"]

    async def _reseal_all(self, account: str, old: str, report: Report) -> int:
        """One pass over the account; how many documents named the old key."""
        found = 0
        for resealer in self._resealers:
            async for document in self._pages(account, resealer.kind):
                if any(self._sealer.key_id(part.value) == old for part in resealer.sealed(document)):
                    found += 1
                    await self._reseal(resealer, document, report)
        return found

    async def _reseal(self, resealer: Resealer, document: Document, report: Report) -> None:
        account = document.account
        key = await self._keys.current(account)
        try:
            values = [await self._again(key, part) for part in resealer.sealed(document)]
        except UnknownKey:
            now = await self._documents.get(account, resealer.kind, document.id)
            if now is not None and now.version == document.version:
                raise
            return  # another rotation was quicker, and has removed the key
        try:
            await self._documents.write([Put(resealer.resealed(document, values)), key.unchanged()])
            report.resealed += len(values)
        except DocumentConflict as conflict:  # changed or removed meanwhile: the next pass sees how it is now
            if conflict.change:
                self._keys.forget(account)

    async def _again(self, key: DataKey, part: Sealed) -> bytes:
        plain = await self._sealer.open(key.account, part.name, part.version, part.value)
        return self._sealer.seal_with(key, part.name, part.version, plain)

    async def _pages(self, account: str, kind: str) -> AsyncIterator[Document]:
        after: str | None = None
        while True:
            page = await self._documents.page(account, kind, after=after, limit=PAGE)
            for document in page:
                yield document
            if len(page) < PAGE:
                return
            after = page[-1].id

    # --- the master key

    async def _rewrap_all(self, report: Report) -> None:
        while True:
            state = await self._keyring.state()
            first = state.ring.keys[0].id
            if not await self._rewrap_pass(first, report) and await self._retire_masters(state, report):
                return

    async def _rewrap_pass(self, first: str, report: Report) -> int:
        """One pass over all accounts; how many data keys named another master key. Raises what cannot be opened, once the others are done."""
        found, broken = 0, None
        async for account, _ in self._keyring.accounts():
            async for document in self._pages(account, DATA_KEY):
                try:
                    stored, key = self._keys.unwrap(document)
                except (SealBroken, UnknownKey) as error:
                    broken = broken or error
                    continue
                if stored.master == first:
                    continue
                found += 1
                master = self._keyring.key(first)
                again = self._keys.wrap(account, key.id, key.secret, master, made_at=stored.made_at, version=document.version, state=stored.state)
                try:
                    await self._documents.write([again])
                    report.rewrapped += 1
                except DocumentConflict:  # the next pass sees how it is now
                    pass
                self._keys.forget(account)
        if broken is not None:
            raise broken
        return found

    async def _retire_masters(self, state: RingState, report: Report) -> bool:
        older = state.ring.keys[1:]
        if not older:
            return True
        try:
            await self._keyring.replace(state, Ring(keys=state.ring.keys[:1]))
        except DocumentConflict:
            return False
        report.retired += [key.id for key in older]
        return True
