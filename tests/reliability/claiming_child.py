"""A process that claims executions of a store as fast as it can, and says what it has won: R15.

    python claiming_child.py URL TASKS LAST_EPOCH ID...

On standard output one JSON object: `won` has [execution, epoch] of each commit that was stored, `lost` how many were fenced off,
`due` the ids that the store gave this process as due.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from dataclasses import replace

from flowrunner.clock import SystemClock
from flowrunner.errors import Fenced
from flowrunner.ports.executions import StepWrite
from flowrunner.stores.open import open_store

HIDE_SECONDS = 60


async def main(url, tasks, last, ids):
    won, lost, due = [], 0, []
    async with AsyncExitStack() as stack:
        store = open_store(url, clock=SystemClock())
        await store.start(stack)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)  # all begin at once

        async def claim(execution):
            nonlocal lost
            while (head := await store.executions.head(execution)).epoch < last:
                try:
                    stored = await store.executions.commit(StepWrite(head=replace(head, output=None), before=head))
                except Fenced:
                    lost += 1
                else:
                    won.append([execution, stored.epoch])

        async def take():
            while found := await store.executions.due(1 << 50, 3, hide_seconds=HIDE_SECONDS):
                due.extend(found)

        await asyncio.gather(*(take() for _ in range(tasks)))
        sys.stdout.write("taken\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)  # a commit makes its row due again: nobody commits while others still take
        await asyncio.gather(*(claim(execution) for execution in ids for _ in range(tasks)))
    sys.stdout.write(json.dumps({"won": won, "lost": lost, "due": due}) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
