"""The key ring: the document that says which master keys a store's data keys are wrapped with, and the register of accounts that have any.

It keeps a server without those keys from starting, and two servers from sealing under keys of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec

from flowrunner.clock import Clock
from flowrunner.errors import ConfigurationError, DocumentConflict, StoreRefused, UnknownKey
from flowrunner.lang.moment import format_timestamp
from flowrunner.ports.documents import SYSTEM, Document, DocumentStore, Put, Unchanged
from flowrunner.vault.keys import KeySource, MasterKey, MasterKeys

KIND = "keyring"
RING = "keyring"
ACCOUNT_PREFIX = "account-"  # documents of the register: account-123456789012
PAGE = 100


class RingKey(msgspec.Struct, frozen=True):
    """A master key in use: its id, its check value, and when it came into use (milliseconds since 1970 UTC)."""

    id: str
    check: str
    made_at: int


class Ring(msgspec.Struct, frozen=True):
    """The key ring. `keys[0]` wraps; the others still wrap data keys until a rotation has ended."""

    keys: tuple[RingKey, ...]
    v: int = 1


@dataclass(frozen=True, slots=True)
class RingState:
    """The ring as it is stored, with the version that a write depends on."""

    ring: Ring
    version: int

    def unchanged(self) -> Unchanged:
        """The condition that the ring is still this one."""
        return Unchanged(account=SYSTEM, kind=KIND, id=RING, version=self.version)


class Keyring:
    """The master keys of this server against the ring of the store."""

    def __init__(self, documents: DocumentStore, source: KeySource, clock: Clock, *, alone: bool = False) -> None:
        self._documents = documents
        self.source = source
        self._clock = clock
        self._alone = alone  # no other server is on the store: a ring that nothing was sealed under may be replaced
        self._keys: MasterKeys | None = None

    async def start(self) -> None:
        """Check that every master key in use is known; make the first one for a store that has none.

        Raises StoreRefused naming the key that is missing, when it came into use, and what to restore; ConfigurationError.
        """
        state = await self._read()
        if state is None:
            await self._refuse_orphans()
            self._keys = self.source.load() or self.source.create()
            first = self._keys.current
            ring = Ring(keys=(RingKey(first.id, first.check(), self._clock.now()),))
            try:
                await self._write(ring, 0)
            except DocumentConflict:  # another server was first: what it stored counts
                state = await self._read()
        if state is not None:
            self._keys = self.source.load()
            missing = [used for used in state.ring.keys if self._known(used) is None]
            if missing and not (self._alone and await self._unused()):
                raise self._missing(missing[0])
            if missing:  # a copy of a store without secrets: there is nothing that the key was needed for
                self._keys = self._keys or self.source.create()
                first = self._keys.current
                await self.replace(state, Ring(keys=(RingKey(first.id, first.check(), self._clock.now()),)))

    async def _unused(self) -> bool:
        async for _ in self.accounts():
            return False
        return True

    async def state(self) -> RingState:
        """The ring as it is stored now. Raises StoreRefused if it is gone."""
        found = await self._read()
        if found is None:
            raise StoreRefused("The key ring of the store is gone while a server runs on it.", remedy="Restore the store from a backup.")
        return found

    async def replace(self, state: RingState, ring: Ring) -> None:
        """Store another ring in place of `state`. Raises DocumentConflict when it has changed meanwhile."""
        await self._write(ring, state.version)

    def key(self, used: str | RingKey) -> MasterKey:
        """The master key of an id, looked for again where keys come from if it is new. Raises UnknownKey."""
        found = self._known(used)
        if found is None:
            self._keys = self._loaded()
            found = self._known(used)
        if found is None:
            name = used if isinstance(used, str) else used.id
            raise UnknownKey(f"This server does not have the master key {name}.", remedy=f"Copy it from a server that has it to {self.source.place}.")
        return found

    def newest(self) -> MasterKeys:
        """The keys as they are now where they come from. Raises ConfigurationError."""
        self._keys = self.source.load() or self._keys or self.source.create()
        return self._keys

    async def accounts(self) -> AsyncIterator[tuple[str, Document]]:
        """Every account that has data keys, with its document in the register."""
        after: str | None = None
        while True:
            page = await self._documents.page(SYSTEM, KIND, prefix=ACCOUNT_PREFIX, after=after, limit=PAGE)
            for document in page:
                yield document.id.removeprefix(ACCOUNT_PREFIX), document
            if len(page) < PAGE:
                return
            after = page[-1].id

    def _known(self, used: str | RingKey) -> MasterKey | None:
        if self._keys is None:
            return None
        if isinstance(used, str):
            return self._keys.find(used)
        found = self._keys.find(used.id)
        return found if found is not None and found.check() == used.check else None

    def _loaded(self) -> MasterKeys | None:
        try:
            return self.source.load() or self._keys
        except ConfigurationError:  # somebody is writing it; what is known stays known
            return self._keys

    def _missing(self, used: RingKey) -> StoreRefused:
        since = format_timestamp(used.made_at)
        have = "this server has none" if self._keys is None else f"this server has {', '.join(key.id for key in (self._keys.current, *self._keys.older))}"
        return StoreRefused(
            f"The secrets in the store are sealed under the master key {used.id}, in use since {since}, and {have}.",
            remedy=f"Restore it from a backup, or copy it from the server that made it, to {self.source.place}. Without it no secret can be read, by anybody.",
        )

    async def _refuse_orphans(self) -> None:
        if await self._documents.page(SYSTEM, KIND, prefix=ACCOUNT_PREFIX, limit=1):
            raise StoreRefused("The store has data keys but no key ring: it is not whole.", remedy="Restore the store from a backup.")

    async def _read(self) -> RingState | None:
        document = await self._documents.get(SYSTEM, KIND, RING)
        if document is None:
            return None
        try:
            return RingState(msgspec.json.decode(document.body, type=Ring), document.version)
        except msgspec.MsgspecError:
            raise StoreRefused("The key ring of the store cannot be read: it is damaged, or of a newer release.") from None

    async def _write(self, ring: Ring, version: int) -> None:
        await self._documents.write([Put(Document(account=SYSTEM, kind=KIND, id=RING, body=msgspec.json.encode(ring), version=version))])
