from __future__ import annotations

import pytest
from nodes_calls import ACCOUNT, node_call

from flowrunner.errors import ExpressionSyntaxError, NotFound
from flowrunner.lang.cron import Cron
from flowrunner.ports.schedules import Firing, Schedule
from flowrunner.tasks.nodes.cron import CronKind
from flowrunner.tasks.nodes.kind import NodeFailed


class Schedules:
    def __init__(self):
        self.kept = {}

    async def put(self, account, name, **fields):
        Cron(fields["expression"], fields["timezone"])
        fired = Firing(planned=0, at=1, execution="e")
        made = Schedule(id=name or fields["target"], created_at=0, updated_at=0, next_at=60_000, fired=1, firings=(fired,), **fields)
        self.kept[account, made.id] = made
        return made

    async def get(self, account, name):
        if (account, name) not in self.kept:
            raise NotFound("schedule", name)
        return self.kept[account, name]

    async def page(self, account, *, after=None, limit=100):
        return [one for (whose, _), one in self.kept.items() if whose == account]

    async def delete(self, account, name):
        await self.get(account, name)
        del self.kept[account, name]


@pytest.fixture
def run():
    schedules = Schedules()
    kind = CronKind(schedules)

    async def runner(language="flow", **params):
        call = node_call(params)
        return (await kind.run(node_call(params, raw={**call.raw, "language": language}))).output

    runner.kept = schedules.kept
    return runner


async def test_a_flow_schedules_itself(run):
    """Without a flow's id the flow that runs is scheduled."""
    made = await run(schedule="@hourly", payload={"a": 1}, node_id="n", timezone="Europe/Berlin")
    assert (made["id"], made["flow_id"], made["next_run"], made["payload"]) == ("f1", "f1", "1970-01-01T00:01:00.000Z", {"a": 1})
    assert made["executions"] == [{"scheduled_at": "1970-01-01T00:00:00.000Z", "started_at": "1970-01-01T00:00:00.001Z", "execution_id": "e", "error": None}]
    assert (await run("workflow", schedule="@hourly", id="w"))["workflow_id"] == "f1"
    assert (await run(schedule="@hourly", id="x", workflow_id="w1"))["workflow_id"] == "w1"


async def test_schedules_are_looked_after(run):
    """Listed, shown and deleted."""
    await run(schedule="* * * * *", id="a", flow_id="f", enabled=False)
    assert run.kept[ACCOUNT, "a"].enabled is False
    assert [one["id"] for one in (await run(operation="list"))["schedules"]] == ["a"]
    assert (await run(operation="get", id="a"))["schedule"] == "* * * * *"
    assert [await run(operation="delete", id="a") for _ in range(2)] == [{"id": "a", "deleted": True}, {"id": "a", "deleted": False}]


@pytest.mark.parametrize(
    ("params", "error"),
    [({"schedule": "* *"}, "FlowRunner.InvalidParameters"), ({}, "FlowRunner.InvalidParameters"), ({"operation": "get", "id": "x"}, "FlowRunner.NotFound")],
)
async def test_schedules_that_are_none(run, params, error):
    """What cannot be scheduled, and what is not there."""
    with pytest.raises(NodeFailed) as caught:
        await run(**params)
    assert caught.value.error == error
    assert ExpressionSyntaxError.code == "expression_syntax"
