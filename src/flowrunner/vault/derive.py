"""Keys for other purposes, derived from the master key: who has one of them learns nothing of the others (RFC 5869)."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from flowrunner.vault.keyring import Keyring

KEY_BYTES = 32


async def derived_key(keyring: Keyring, purpose: str) -> bytes:
    """32 bytes for this purpose, the same on every server of the store until its master key is rotated. Raises StoreRefused, UnknownKey."""
    state = await keyring.state()
    master = keyring.key(state.ring.keys[0])
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=f"flowrunner {purpose}".encode()).derive(master.secret)
