"""``cron``: schedules, made and looked after by flows."""

from __future__ import annotations

from typing import Literal

from flowrunner.errors import ExpressionSyntaxError, FlowRunnerError, InvalidDocument, LimitExceeded, NotFound
from flowrunner.jsonvalue import JSONObject
from flowrunner.kinds import BUILT_IN
from flowrunner.lang.moment import format_timestamp
from flowrunner.ports.schedules import Schedule, ScheduleService
from flowrunner.ports.tasks import begin
from flowrunner.tasks.nodes.kind import NodeCall, NodeFailed, NodeKind, NodeResult
from flowrunner.tasks.nodes.reading import bad, choice, flag, given, optional_text, text, whole

NOT_FOUND = "FlowRunner.NotFound"
_OPERATIONS = {name: name for name in ("schedule", "list", "get", "delete")}


class CronKind(NodeKind):
    """Schedules of the account."""

    info = BUILT_IN["cron"]

    def __init__(self, schedules: ScheduleService) -> None:
        self._schedules = schedules

    def idempotent(self, call: NodeCall) -> bool:
        """Always: a schedule is set, not added, and deleting one that is gone is no failure."""
        del call
        return True

    async def run(self, call: NodeCall) -> NodeResult:
        """A schedule; ``{schedules, count}``; ``{id, deleted}``."""
        operation = choice(call.params, "operation", "op", among=_OPERATIONS, default="schedule")
        try:
            return NodeResult(await self._done(operation, call))
        except NotFound as error:
            raise NodeFailed(error.message, error=NOT_FOUND) from None
        except (ExpressionSyntaxError, InvalidDocument, LimitExceeded) as error:
            raise bad(str(error)) from None
        except FlowRunnerError as error:
            raise NodeFailed(str(error)) from None

    async def _done(self, operation: str, call: NodeCall) -> JSONObject:
        params = call.params
        if operation == "list":
            limit = whole(params, "limit", default=100, low=1, high=1000)
            found = await self._schedules.page(call.account, after=optional_text(params, "after"), limit=limit)
            return {"schedules": [shown(one) for one in found], "count": len(found)}
        if operation == "get":
            return shown(await self._schedules.get(call.account, text(params, "id")))
        await begin()
        if operation == "delete":
            name = text(params, "id")
            try:
                await self._schedules.delete(call.account, name)
            except NotFound:
                return {"id": name, "deleted": False}
            return {"id": name, "deleted": True}
        return shown(await self._put(call))

    async def _put(self, call: NodeCall) -> Schedule:
        params = call.params
        workflow = optional_text(params, "workflow_id")
        target = workflow or optional_text(params, "flow_id") or _own(call)
        form: Literal["flow", "workflow"] = "workflow" if workflow or (call.language == "workflow" and not params.get("flow_id")) else "flow"
        return await self._schedules.put(
            call.account,
            optional_text(params, "id"),
            expression=text(params, "schedule", "expression"),
            timezone=text(params, "timezone", default="UTC"),
            format=form,
            target=target,
            input=given(params, "payload", "input"),
            enabled=flag(params, "enabled", default=True),
            node=optional_text(params, "node_id"),
        )


def _own(call: NodeCall) -> str:
    execution = call.raw.get("execution")
    own = execution.get("flow_id") if isinstance(execution, dict) else None
    if not isinstance(own, str) or not own:
        raise bad("The parameter 'flow_id' is missing.")
    return own


def shown(schedule: Schedule) -> JSONObject:
    """A schedule as its account sees it; moments in RFC 3339."""

    def moment(at: int | None) -> str | None:
        return None if at is None else format_timestamp(at)

    executions = [
        {"scheduled_at": moment(one.planned), "started_at": moment(one.at), "execution_id": one.execution, "error": one.error} for one in schedule.firings
    ]
    target = "flow_id" if schedule.format == "flow" else "workflow_id"
    return {
        "id": schedule.id, "schedule": schedule.expression, "timezone": schedule.timezone, target: schedule.target, "node_id": schedule.node,
        "payload": schedule.input, "enabled": schedule.enabled, "next_run": moment(schedule.next_at), "fired": schedule.fired, "executions": executions,
        "created_at": moment(schedule.created_at), "updated_at": moment(schedule.updated_at),
    }  # fmt: skip
