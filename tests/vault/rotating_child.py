"""A process that rotates keys on an SQLite store for ever: by turns an account's data key and the master key; says when it has begun."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from flowrunner.clock import SystemClock
from flowrunner.stores.open import open_store
from flowrunner.vault.keys import KeySource
from flowrunner.vault.vault import Vault


async def main(folder, account):
    async with AsyncExitStack() as stack:
        store = open_store(f"sqlite:///{folder / 'flowrunner.db'}", clock=SystemClock())
        await store.start(stack)
        source = KeySource(randomness=os.urandom, own_file=folder / "master.key")
        vault = Vault(store.documents, source, clock=SystemClock(), randomness=os.urandom)
        await vault.start()
        sys.stdout.write("rotating\n")
        sys.stdout.flush()
        number = 0
        while True:
            number += 1
            await vault.rotation.rotate(account)
            await vault.secrets.set(account, f"s{number % 50}", f"value {number % 50}")
            await vault.rotation.rotate_master()


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
