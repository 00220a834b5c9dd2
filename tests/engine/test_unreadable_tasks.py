"""Activity tasks of executions that cannot be loaded, in front of others."""

import asyncio

from flowrunner.ports.executions import ActivityTask
from flowrunner.testing.conformance.examples import created

ACTIVITY = "arn:aws:states:us-east-1:000000000000:activity:work"
WORK = {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": ACTIVITY, "End": True}}}


async def test_a_task_that_cannot_be_loaded_keeps_nobody_waiting(bench):
    """It is left alone for a while: workers get what is behind it, a poll ends in time, and it is tried again later."""
    lost = f"{1:032x}"
    await created(bench.store, 1, write={"opened": (ActivityTask(activity=ACTIVITY, execution=lost, attempt=1, input="{}", scheduled_at=1),)})
    polls = [asyncio.ensure_future(bench.engine.next_activity_task(ACTIVITY, worker="w", wait_seconds=60)) for _ in range(2)]
    await bench.settle()
    assert {detail["execution"] for _, detail in bench.reports} == {lost}
    assert len(bench.reports) <= len(polls)
    await bench.engine.start_execution(await bench.machine(WORK), input="5")
    await bench.settle()
    bench.clock.jump(61)
    taken = await asyncio.gather(*polls)
    assert {given[1] if given else None for given in taken} == {None, "5"}
    bench.clock.jump(61)
    before = len(bench.reports)
    assert await bench.engine.next_activity_task(ACTIVITY, worker="w", wait_seconds=0) is None
    assert len(bench.reports) == before + 1
