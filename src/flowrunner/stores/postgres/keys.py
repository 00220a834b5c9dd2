"""Short keys for names of any length, which are as good as the names themselves: 128 bits of BLAKE2b."""

from __future__ import annotations

from hashlib import blake2b


def machine_key(account: str, machine: str) -> str:
    """What `heads.machine_key` holds, as 32 hex digits."""
    return _hash(account, machine)


def name_key(account: str, machine: str, name: str) -> str:
    """What `heads.name_key` holds, as 32 hex digits."""
    return _hash(account, machine, name)


def lock_key(*names: str) -> int:
    """The number of an advisory lock, 64 bits: two names that share one only wait for each other."""
    return int.from_bytes(bytes.fromhex(_hash(*names))[:8], "big", signed=True)


def _hash(*names: str) -> str:
    text = b"\xff".join(name.encode() for name in names)  # a byte that UTF-8 never has
    return blake2b(text, digest_size=16).hexdigest()
