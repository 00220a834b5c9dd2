"""What a node cannot do without goes on, whatever it meets."""

import asyncio

WAIT = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 60, "End": True}}}


async def test_timers_that_fail_begin_anew(bench, monkeypatch):
    """An error that nobody foresaw is told, and delays timers; before, none came about on this node any more."""
    head = await bench.engine.start_execution(await bench.machine(WAIT))
    await bench.settle()
    executions = bench.store.executions._part
    due = executions.due
    failed = []

    async def failing(*arguments, **options):
        if not failed:
            failed.append(True)
            raise KeyError("unforeseen")
        return await due(*arguments, **options)

    monkeypatch.setattr(executions, "due", failing)
    for _ in range(20):
        bench.clock.jump(10)
        await bench.settle()
    assert (await asyncio.wait_for(bench.engine.feed.ended(head.id), 10)).status == "SUCCEEDED"
    assert [event for event, _ in bench.reports] == ["service_failed"]
