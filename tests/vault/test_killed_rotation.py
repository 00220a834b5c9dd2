"""Rotation in a process that is killed with SIGKILL, on a database file."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from flowrunner.clock import SystemClock
from flowrunner.stores.open import open_store
from flowrunner.vault.keys import KeySource
from flowrunner.vault.vault import Vault

ACCOUNT = "111111111111"
COUNT = 50


async def opened(stack, folder):
    store = open_store(f"sqlite:///{folder / 'flowrunner.db'}", clock=SystemClock())
    await store.start(stack)
    source = KeySource(randomness=os.urandom, own_file=folder / "master.key")
    vault = Vault(store.documents, source, clock=SystemClock(), randomness=os.urandom)
    await vault.start()
    return store, vault


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_killed_twenty_times(tmp_path):
    """Killed at 20 random moments of rotating, every secret is readable each time, and none is in clear in any file."""
    generator = random.Random(20)
    async with AsyncExitStack() as stack:
        _, vault = await opened(stack, tmp_path)
        for n in range(COUNT):
            await vault.secrets.set(ACCOUNT, f"s{n}", f"value {n}")
    unfinished = 0
    for _ in range(20):
        child = subprocess.Popen(  # noqa: ASYNC220 - as below
            [sys.executable, Path(__file__).with_name("rotating_child.py"), tmp_path, ACCOUNT], stdout=subprocess.PIPE
        )
        assert child.stdout.readline() == b"rotating\n"
        time.sleep(generator.uniform(0.0, 0.3))  # noqa: ASYNC251 - there is nothing else to do here
        child.kill()
        child.wait()
        child.stdout.close()
        async with AsyncExitStack() as stack:
            store, vault = await opened(stack, tmp_path)
            for n in range(COUNT):
                assert (await vault.secrets.get(ACCOUNT, f"s{n}")).data == f"value {n}"
            unfinished += len(await store.documents.page(ACCOUNT, "data-key")) > 1 or len((await vault.keyring.state()).ring.keys) > 1
    assert unfinished > 0
    async with AsyncExitStack() as stack:
        store, vault = await opened(stack, tmp_path)
        await vault.rotation.resume()
        assert len(await store.documents.page(ACCOUNT, "data-key")) == 1
        assert len((await vault.keyring.state()).ring.keys) == 1
    for path in tmp_path.rglob("*"):
        assert b"value 1" not in path.read_bytes(), path
