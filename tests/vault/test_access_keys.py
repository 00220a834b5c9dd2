"""AWS secret keys of accounts and the rotation of what they are sealed under."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack

import pytest

from flowrunner.identity.principal import Actor
from flowrunner.identity.sealed import AccessKeyResealer
from flowrunner.identity.service import Identity
from flowrunner.stores.memory.documents import MemoryDocuments
from flowrunner.testing.clock import ManualClock
from flowrunner.testing.identities import LOGIN_KEY, quick_passwords
from flowrunner.vault.keys import KeySource
from flowrunner.vault.vault import Vault

ACTOR = Actor("user:ada", "", "")


@pytest.fixture
async def stack():
    async with AsyncExitStack() as opened:
        yield opened


async def server(documents, source, clock, stack):
    vault = Vault(documents, source, clock=clock, randomness=os.urandom, resealers=(AccessKeyResealer(),))
    await vault.start()
    identity = Identity(
        documents=documents, sealer=vault.sealer, clock=clock, randomness=os.urandom, login_key=LOGIN_KEY, passwords=quick_passwords(), relaxed=True
    )
    await identity.start(stack)
    return vault, identity


async def test_key_pairs_outlive_rotations(stack):
    """A key pair is sealed anew with everything else; one that another server issues afterwards, with the old key in memory, is sealed under the new one."""
    clock = ManualClock()
    documents = MemoryDocuments(clock)
    source = KeySource(randomness=os.urandom, value=os.urandom(32).hex())
    (vault, one), (_, two) = [await server(documents, source, clock, stack) for _ in range(2)]
    opened = await one.accounts.open("ada", "correct horse battery", ACTOR)
    account, user = opened.account.id, opened.owner.id
    issued = [await each.credentials.issue_access_key(account, user, ACTOR) for each in (one, two)]
    for _ in range(2):
        await vault.rotation.rotate(account)
        issued += [await each.credentials.issue_access_key(account, user, ACTOR) for each in (two, one)]
    assert len(await documents.page(account, "data-key")) == 1
    for each in (one, two):
        for key in issued:
            found = await each.credentials.of_access_key(key.entry.id)
            assert found.secret == key.secret
