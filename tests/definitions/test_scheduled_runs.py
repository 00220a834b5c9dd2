"""Schedules of a whole server: a flow schedules a flow, and its runs come about."""

import asyncio
from contextlib import AsyncExitStack

from flowrunner.config import Settings
from flowrunner.definitions.entries import About
from flowrunner.testing.clock import ManualClock
from flowrunner.wiring import build

ACCOUNT = "000000000000"
COUNTED = "metadata: {name: counted}\nnodes:\n  start: {type: transform, params: {script: 'return {seen: input.n}'}}\n"
PLANNING = """metadata: {name: planning}
nodes:
  start:
    type: cron
    params: {operation: schedule, id: every-minute, schedule: "* * * * *", flow_id: FLOW, payload: {n: 7}}
"""


async def test_a_flow_schedules_a_flow():
    """The node makes the schedule; each of its times is an execution with the payload as input, which the schedule names."""
    clock = ManualClock()
    application = build(Settings(store="memory:", dev=True), clock=clock)
    async with AsyncExitStack() as stack:
        await application.start(stack)
        flows = application.authoring.flows
        counted = (await flows.create(ACCOUNT, COUNTED, by="ada", about=About())).definition.id
        planning = (await flows.create(ACCOUNT, PLANNING.replace("FLOW", counted), by="ada", about=About())).definition.id
        head = await application.engine.start_execution(await flows.machine(ACCOUNT, planning))
        assert (await application.feed.ended(head.id)).status == "SUCCEEDED"
        while (await application.schedules.get(ACCOUNT, "every-minute")).fired < 2:
            clock.jump(1)
            await asyncio.sleep(0)
        firings = (await application.schedules.get(ACCOUNT, "every-minute")).firings[:2]
        ended = [await application.feed.ended(firing.execution) for firing in firings]
        assert [one.status for one in ended] == ["SUCCEEDED"] * 2
        assert ended[0].id != ended[1].id
        assert '"seen":7' in ended[0].output
