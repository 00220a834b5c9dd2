"""Data keys: 32 random bytes for each account, wrapped by a master key, unwrapped once and kept in memory.

An account's current data key is named by its document in the register of the key ring. Whoever stores a sealed value makes the
write depend on the data key's document (`DataKey.unchanged`): a rotation changes that document first, so that nothing can be
sealed under a key that is being retired after the rotation has begun to look for what is.
"""

from __future__ import annotations

import asyncio
import base64
import weakref
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from flowrunner.clock import Clock
from flowrunner.errors import DocumentConflict, SealBroken, StoreRefused, UnknownKey
from flowrunner.ports.documents import SYSTEM, Document, DocumentStore, Put, Unchanged
from flowrunner.vault.keyring import ACCOUNT_PREFIX, KIND, Keyring, RingState
from flowrunner.vault.keys import KEY_BYTES, MasterKey, Randomness

DATA_KEY = "data-key"
ID_BYTES = 8  # of a data key's id; 16 hex digits
NONCE_BYTES = 12
NEVER = -1  # a version that no document has
TRIES = 10  # of a write that others were quicker with


class Wrapped(msgspec.Struct, frozen=True):
    """A data key as it is stored. `made_at` is milliseconds since 1970 UTC; a retiring one opens, and seals nothing more."""

    master: str
    wrapped: str
    made_at: int
    state: Literal["current", "retiring"] = "current"
    v: int = 1


class Registered(msgspec.Struct, frozen=True):
    """An account in the register: the id of its current data key."""

    current: str
    v: int = 1


@dataclass(frozen=True, slots=True)
class DataKey:
    """An account's data key, unwrapped; `version` is its document's."""

    account: str
    id: str
    secret: bytes = field(repr=False)
    version: int
    retiring: bool
    cipher: AESGCM = field(repr=False)

    def unchanged(self) -> Unchanged:
        """The condition that the key is still as it was, which never holds for a retiring one: part of every write that stores what it sealed."""
        return Unchanged(account=self.account, kind=DATA_KEY, id=self.id, version=NEVER if self.retiring else self.version)


def aad(purpose: bytes, *parts: str) -> bytes:
    """Associated data: each part with its length before it, so that no two lists of parts look alike."""
    encoded = [part.encode() for part in parts]
    return purpose + b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


class DataKeys:
    """The data keys of all accounts."""

    def __init__(self, documents: DocumentStore, keyring: Keyring, *, clock: Clock, randomness: Randomness) -> None:
        self._documents = documents
        self._keyring = keyring
        self._clock = clock
        self._randomness = randomness
        self._found: dict[tuple[str, str], DataKey] = {}
        self._current: dict[str, DataKey] = {}
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def current(self, account: str) -> DataKey:
        """The key that seals for this account now; made when it has none. Raises UnknownKey, StoreUnavailable."""
        found = self._current.get(account)
        if found is not None:
            return found
        lock = self._locks.setdefault(account, asyncio.Lock())  # one creation at a time in this process
        async with lock:
            if account not in self._current:
                self._current[account] = await self._open_current(account)
            return self._current[account]

    async def find(self, account: str, key_id: str) -> DataKey:
        """The key of this id, also one that is being retired. Raises UnknownKey."""
        found = self._found.get((account, key_id))
        return await self._load(account, key_id) if found is None else found

    def forget(self, account: str) -> None:
        """Read this account's keys anew: somebody changed them."""
        self._current.pop(account, None)
        for key in [key for key in self._found if key[0] == account]:
            del self._found[key]

    async def registered(self, account: str) -> tuple[str | None, int]:
        """The id of the account's current data key and the version of its document in the register; (None, 0) without one."""
        document = await self._documents.get(SYSTEM, KIND, ACCOUNT_PREFIX + account)
        if document is None:
            return None, 0
        return msgspec.json.decode(document.body, type=Registered).current, document.version

    def register(self, account: str, key_id: str, version: int) -> Put:
        """Make this the account's current key, if its document in the register still has this version."""
        return Put(Document(account=SYSTEM, kind=KIND, id=ACCOUNT_PREFIX + account, body=msgspec.json.encode(Registered(key_id)), version=version))

    def make(self, account: str, state: RingState) -> tuple[str, Put]:
        """A new data key, wrapped by the ring's first master key: its id, and the change that stores it. Raises UnknownKey."""
        key_id = self._randomness(ID_BYTES).hex()
        return key_id, self.wrap(account, key_id, self._randomness(KEY_BYTES), self._keyring.key(state.ring.keys[0]), made_at=self._clock.now())

    def wrap(
        self,
        account: str,
        key_id: str,
        secret: bytes,
        master: MasterKey,
        *,
        made_at: int,
        version: int = 0,
        state: Literal["current", "retiring"] = "current",
    ) -> Put:
        """The change that stores a data key wrapped by this master key."""
        nonce = self._randomness(NONCE_BYTES)
        wrapped = nonce + AESGCM(master.secret).encrypt(nonce, secret, aad(b"FRW1", master.id, account, key_id))
        body = Wrapped(master.id, base64.b64encode(wrapped).decode(), made_at, state)
        return Put(Document(account=account, kind=DATA_KEY, id=key_id, body=msgspec.json.encode(body), version=version))

    @staticmethod
    def read(document: Document) -> Wrapped:
        """A stored data key, still wrapped. Raises SealBroken for what is none."""
        try:
            return msgspec.json.decode(document.body, type=Wrapped)
        except msgspec.MsgspecError:
            raise _broken(document) from None

    def unwrap(self, document: Document) -> tuple[Wrapped, DataKey]:
        """A stored data key, opened. Raises UnknownKey, SealBroken."""
        stored = self.read(document)
        master = self._keyring.key(stored.master)
        try:
            raw = base64.b64decode(stored.wrapped, validate=True)
            secret = AESGCM(master.secret).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], aad(b"FRW1", master.id, document.account, document.id))
        except (InvalidTag, ValueError):
            raise _broken(document) from None
        return stored, DataKey(document.account, document.id, secret, document.version, stored.state == "retiring", AESGCM(secret))

    async def _load(self, account: str, key_id: str) -> DataKey:
        document = await self._documents.get(account, DATA_KEY, key_id)
        if document is None:
            raise UnknownKey(f"Account {account} has no data key {key_id}.", remedy="Restore the store from a backup.")
        _, key = self.unwrap(document)
        self._found[account, key_id] = key
        return key

    async def _open_current(self, account: str) -> DataKey:
        for _ in range(TRIES):
            key_id, version = await self.registered(account)
            document = None if key_id is None else await self._documents.get(account, DATA_KEY, key_id)
            if document is None:  # there is none yet, or it was erased with the account that had this number before
                state = await self._keyring.state()
                absent = [] if key_id is None else [Unchanged(account=account, kind=DATA_KEY, id=key_id, version=0)]
                key_id, stored = self.make(account, state)
                try:
                    await self._documents.write([stored, self.register(account, key_id, version), state.unchanged(), *absent])
                except DocumentConflict:  # another server made one, or a key is being rotated
                    continue
            try:
                return await self._load(account, str(key_id))
            except UnknownKey:  # rotated meanwhile, unless it is the master key that is missing
                if await self.registered(account) == (key_id, version):
                    raise
        raise StoreRefused(f"The data key of account {account} changes all the time.", remedy="Is more than one rotation running?")


def _broken(document: Document) -> SealBroken:
    return SealBroken(f"The data key {document.id} of account {document.account} was altered or moved.", remedy="Restore the store from a backup.")
