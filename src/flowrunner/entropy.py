"""Reproducible randomness: the same seed and position always give the same draws, so replay repeats them."""

from __future__ import annotations

import hashlib
import uuid

_MULTIPLIER, _STATE = 0x5DEECE66D, (1 << 48) - 1  # of Java's linear congruential generator, as its documentation gives them


class Entropy:
    """A stream of draws from a 16-byte seed; ``position`` is all the state there is (kept in snapshots).

    Each draw is BLAKE2b(seed, position): independent draws, nothing to advance, no global generator.
    """

    __slots__ = ("position", "seed")

    def __init__(self, seed: bytes, position: int = 0) -> None:
        self.seed = seed
        self.position = position

    def draw(self) -> bytes:
        """The next 16 bytes."""
        self.position += 1
        return hashlib.blake2b(self.position.to_bytes(8, "big"), key=self.seed, digest_size=16).digest()

    def random(self) -> float:
        """The next number in [0, 1), 53 bits."""
        return (int.from_bytes(self.draw()[:8], "big") >> 11) / (1 << 53)

    def uuid(self) -> str:
        """The next version 4 UUID as text."""
        return str(uuid.UUID(bytes=self.draw(), version=4))


def java_random(seed: int) -> float:
    """``new java.util.Random(seed).nextDouble()``: in [0, 1). A seed beyond 64 bits is the nearest that fits, as Java casts a double."""
    state = (max(-(2**63), min(seed, 2**63 - 1)) ^ _MULTIPLIER) & _STATE
    state = (state * _MULTIPLIER + 0xB) & _STATE
    high = state >> 22  # 26 bits
    state = (state * _MULTIPLIER + 0xB) & _STATE
    return ((high << 27) + (state >> 21)) / (1 << 53)


def derived(seed: bytes, *parts: str | int) -> bytes:
    """16 bytes that belong to `parts` alone: the secret of a task token, the seed of a child."""
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), key=seed, digest_size=16).digest()
