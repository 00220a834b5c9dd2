"""Sealing small values: AES-256-GCM under the account's data key, bound to the account, the name and the version.

A sealed value is ``FRS1``, the data key's id (8 bytes), a random nonce (12 bytes), the ciphertext and its tag. Swapped between
accounts, names or versions, or altered in any bit, it does not open. Nonces are random: NIST SP 800-38D, 8.3, allows 2^32
values under one key; a rotation brings a new key long before.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag

from flowrunner.errors import SealBroken
from flowrunner.ports.documents import Unchanged
from flowrunner.vault.datakeys import ID_BYTES, NONCE_BYTES, DataKey, DataKeys, aad
from flowrunner.vault.keys import Randomness

MAGIC = b"FRS1"
_HEAD = len(MAGIC) + ID_BYTES
OVERHEAD_BYTES = _HEAD + NONCE_BYTES + 16


class Sealer:
    """Seals and opens values of all accounts."""

    def __init__(self, keys: DataKeys, randomness: Randomness) -> None:
        self.keys = keys
        self._randomness = randomness

    async def seal(self, account: str, name: str, version: int, plain: bytes) -> bytes:
        """Seal `plain` under the account's current data key.

        The write that stores the result must hold `unchanged` for it among its changes; when that conflicts, call `refresh` and seal again.
        Raises UnknownKey, StoreUnavailable.
        """
        return self.seal_with(await self.keys.current(account), name, version, plain)

    def seal_with(self, key: DataKey, name: str, version: int, plain: bytes) -> bytes:
        """Seal under this data key."""
        head, nonce = MAGIC + bytes.fromhex(key.id), self._randomness(NONCE_BYTES)
        return head + nonce + key.cipher.encrypt(nonce, plain, aad(head, key.account, name, str(version)))

    async def open(self, account: str, name: str, version: int, sealed: bytes) -> bytes:
        """Open what was sealed for exactly this account, name and version. Raises SealBroken, UnknownKey, StoreUnavailable."""
        key_id = self.key_id(sealed)
        if key_id is None:
            raise SealBroken(f"The sealed value of {name!r} is not one of ours.")
        key = await self.keys.find(account, key_id)
        head, nonce, content = sealed[:_HEAD], sealed[_HEAD : _HEAD + NONCE_BYTES], sealed[_HEAD + NONCE_BYTES :]
        try:
            return key.cipher.decrypt(nonce, content, aad(head, account, name, str(version)))
        except (InvalidTag, ValueError):
            raise SealBroken(f"The sealed value of {name!r} was altered, or it is another's.", remedy="Restore the store from a backup.") from None

    @staticmethod
    def key_id(sealed: bytes) -> str | None:
        """The id of the data key that sealed this; None for what is no sealed value."""
        return sealed[len(MAGIC) : _HEAD].hex() if sealed.startswith(MAGIC) and len(sealed) >= OVERHEAD_BYTES else None

    async def unchanged(self, account: str, sealed: bytes) -> Unchanged:
        """The condition of a write that stores `sealed`: its data key is not being retired. Raises UnknownKey."""
        return (await self.keys.find(account, self.key_id(sealed) or "")).unchanged()

    def refresh(self, account: str) -> None:
        """Read the account's keys anew: a write met a rotation."""
        self.keys.forget(account)
