"""A process that writes as fast as it can and says what was acknowledged, until it is killed."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from flowrunner.clock import SystemClock
from flowrunner.ports.executions import ActivityTask, Delivery
from flowrunner.stores.sqlite import SqliteStore
from flowrunner.testing.conformance.examples import created, records, stepped


async def one(store, number):
    """An execution of three steps, each acknowledged on standard output."""
    body = "x" * (number * 977 % 9000)
    at = await created(store, number, last_seq=2, input=body, write={"chunk": records(1, 2), "facts": b"1", "fact_number": 1})
    os.write(1, f"{number} {at.epoch}\n".encode())
    task = ActivityTask(activity="a", execution=at.id, attempt=1, input=body, scheduled_at=number)
    delivery = Delivery(f"d{number}", f"{1 << 60:032x}", body.encode())
    at = await stepped(store, at, last_seq=5, write={"chunk": records(3, 3), "facts": b"2", "fact_number": 2, "opened": (task,), "deliveries": (delivery,)})
    os.write(1, f"{number} {at.epoch}\n".encode())
    if number % 2:
        at = await stepped(store, at, last_seq=6, status="SUCCEEDED", output=body, write={"chunk": records(6, 1)})
        os.write(1, f"{number} {at.epoch}\n".encode())


async def main(path, first):
    async with AsyncExitStack() as stack:
        store = SqliteStore(Path(path), clock=SystemClock())
        await store.start(stack)

        async def forever(number):
            while True:
                await one(store, number)
                number += 20

        await asyncio.gather(*(forever(first + place) for place in range(20)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
