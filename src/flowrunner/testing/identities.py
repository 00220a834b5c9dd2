"""An identity service on any document store, quick enough for thousands of tests."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack

import argon2

from flowrunner.clock import Clock
from flowrunner.identity.jwt import ForeignIssuer
from flowrunner.identity.passwords import Passwords
from flowrunner.identity.service import Identity
from flowrunner.ports.documents import Change, DocumentStore, Unchanged

LOGIN_KEY = b"k" * 32


class OpenSealer:
    """Seals nothing; only binds the value to its place."""

    async def seal(self, account: str, name: str, version: int, plain: bytes) -> bytes:
        """The value, turned round, behind its place."""
        return f"{account}/{name}/{version}:".encode() + plain[::-1]

    async def open(self, account: str, name: str, version: int, sealed: bytes) -> bytes:
        """The value."""
        place, _, plain = sealed.partition(b":")
        assert place.decode() == f"{account}/{name}/{version}"
        return plain[::-1]

    async def unchanged(self, account: str, sealed: bytes) -> Change:
        """A condition that holds: there are no keys."""
        del sealed
        return Unchanged(account=account, kind="data-key", id="none", version=0)

    def refresh(self, account: str) -> None:
        """There is nothing to read."""


def quick_passwords() -> Passwords:
    """argon2id with the least it takes."""
    return Passwords(argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


async def made_identity(
    documents: DocumentStore,
    stack: AsyncExitStack,
    *,
    clock: Clock,
    seed: int = 1,
    relaxed: bool = False,
    issuers: tuple[ForeignIssuer, ...] = (),
) -> Identity:
    """A started service with a seeded source of randomness."""
    identity = Identity(
        documents=documents,
        sealer=OpenSealer(),
        clock=clock,
        randomness=random.Random(seed).randbytes,  # noqa: S311 - tests repeat
        login_key=LOGIN_KEY,
        relaxed=relaxed,
        issuers=issuers,
        passwords=quick_passwords(),
    )
    await identity.start(stack)
    return identity
