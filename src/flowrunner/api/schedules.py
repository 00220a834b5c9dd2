"""Schedules under ``/api/v1/schedules`` (F): when flows and workflows start by themselves, and when they did."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from flowrunner.api.accounts import NO_STORE, answer
from flowrunner.api.authoring import Authoring, Caller, after_id, page_answer
from flowrunner.api.bodies import body_of
from flowrunner.api.contract import CURSOR, LIMIT, Contract
from flowrunner.api.page import cursor, limit_of, place_of
from flowrunner.api.preconditions import expected_of, tag
from flowrunner.errors import InvalidDocument
from flowrunner.identity.permissions import Permission
from flowrunner.ports.schedules import Firing, Format, Schedule, ScheduleService
from flowrunner.views.records import moment

SCHEDULES = "/api/v1/schedules"
SCHEDULE = f"{SCHEDULES}/{{schedule:str}}"
_READ, _WRITE = Permission.SCHEDULES_READ, Permission.SCHEDULES_WRITE


class ScheduleAsked(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """When what is started: `schedule` is a cron expression in a time zone, the target a flow or a workflow, `payload` its input or variables."""

    schedule: str
    flow_id: str | None = None
    workflow_id: str | None = None
    timezone: str = "UTC"
    payload: dict[str, Any] = {}
    node_id: str | None = None
    enabled: bool = True

    def target(self) -> tuple[Format, str]:
        """The format and the id of what it starts; raises InvalidDocument unless one is named."""
        if (self.flow_id is None) is (self.workflow_id is None):
            raise InvalidDocument("A schedule starts either a flow or a workflow: give flow_id or workflow_id.", pointer="/flow_id")
        return ("workflow", self.workflow_id) if self.workflow_id is not None else ("flow", str(self.flow_id))


class NewSchedule(ScheduleAsked, forbid_unknown_fields=True, kw_only=True):
    """A new schedule, called as its target unless an id is given."""

    id: str | None = None


class Fired(msgspec.Struct, kw_only=True):
    """One time that a schedule came about: the execution that it started, or why it started none. Times are RFC 3339 UTC."""

    scheduled_at: str
    started_at: str
    execution_id: str | None
    error: str | None


class ScheduleInfo(msgspec.Struct, kw_only=True):
    """A schedule. Times are RFC 3339 UTC; `fired` counts all times that it came about, `last_run` is the last of them."""

    id: str
    schedule: str
    timezone: str
    flow_id: str | None
    workflow_id: str | None
    payload: Any
    node_id: str | None
    enabled: bool
    next_run: str | None
    fired: int
    last_run: Fired | None
    created_at: str
    updated_at: str


class SchedulePage(msgspec.Struct, kw_only=True):
    """One page, by id; `next_cursor` is null on the last one."""

    items: list[ScheduleInfo]
    next_cursor: str | None


class FiredPage(msgspec.Struct, kw_only=True):
    """One page, newest first; `next_cursor` is null on the last one."""

    items: list[Fired]
    next_cursor: str | None


def fired(firing: Firing) -> Fired:
    """A firing as F shows it."""
    return Fired(scheduled_at=moment(firing.planned), started_at=moment(firing.at), execution_id=firing.execution, error=firing.error)


def shown(schedule: Schedule) -> ScheduleInfo:
    """A schedule as F shows it."""
    return ScheduleInfo(
        id=schedule.id,
        schedule=schedule.expression,
        timezone=schedule.timezone,
        flow_id=schedule.target if schedule.format == "flow" else None,
        workflow_id=schedule.target if schedule.format == "workflow" else None,
        payload=schedule.input,
        node_id=schedule.node,
        enabled=schedule.enabled,
        next_run=None if schedule.next_at is None else moment(schedule.next_at),
        fired=schedule.fired,
        last_run=fired(schedule.firings[-1]) if schedule.firings else None,
        created_at=moment(schedule.created_at),
        updated_at=moment(schedule.updated_at),
    )


def _told(schedule: Schedule, status: int = 200) -> Response[bytes]:
    made = answer(shown(schedule), status)
    made.headers["etag"] = tag(schedule.revision)
    return made


async def _kept(request: Caller, schedules: ScheduleService, name: str | None, given: ScheduleAsked, *, there: bool) -> Schedule:
    form, target = given.target()
    return await schedules.put(
        request.user.account,
        name,
        expression=given.schedule,
        timezone=given.timezone,
        format=form,
        target=target,
        input=given.payload,
        enabled=given.enabled,
        node=given.node_id,
        there=there,
        expected=expected_of(request),
    )


def routes(authoring: Authoring) -> list[HTTPRouteHandler]:
    """The handlers of this module."""
    return [*_collection(authoring.schedules), *_one(authoring.schedules), *_life(authoring.schedules)]


def _collection(schedules: ScheduleService) -> list[HTTPRouteHandler]:
    @get(SCHEDULES, permission=_READ, operation_id="listSchedules", contract=Contract(gives={200: SchedulePage}, query=(LIMIT, CURSOR)))
    async def list_schedules(request: Caller) -> Response[bytes]:
        """Schedules by id: ``?limit=&cursor=``."""
        limit, question = limit_of(request.query_params.get("limit")), f"{request.user.account}\nschedules"
        found = await schedules.page(request.user.account, after=after_id(request, question), limit=limit + 1)
        following = cursor(0, found[limit - 1].id, question) if len(found) > limit else None
        return page_answer(request, SchedulePage(items=[shown(one) for one in found[:limit]], next_cursor=following))

    @post(
        SCHEDULES,
        permission=_WRITE,
        operation_id="createSchedule",
        contract=Contract(takes=NewSchedule, gives={201: ScheduleInfo}, fails=(404, 409), keyed=True),
    )
    async def create_schedule(request: Caller) -> Response[bytes]:
        """Make a schedule, which comes about from now on."""
        given = await body_of(request, NewSchedule)
        made = await _kept(request, schedules, given.id, given, there=False)
        told = _told(made, 201)
        told.headers["location"] = f"{SCHEDULES}/{made.id}"
        return told

    return [list_schedules, create_schedule]


def _one(schedules: ScheduleService) -> list[HTTPRouteHandler]:
    @get(SCHEDULE, permission=_READ, operation_id="getSchedule", contract=Contract(gives={200: ScheduleInfo}, fails=(404,)))
    async def get_schedule(request: Caller, schedule: FromPath[str]) -> Response[bytes]:
        """One schedule."""
        return _told(await schedules.get(request.user.account, schedule))

    @put(
        SCHEDULE,
        permission=_WRITE,
        operation_id="replaceSchedule",
        contract=Contract(takes=ScheduleAsked, gives={200: ScheduleInfo}, fails=(404, 409, 412), tagged=True),
    )
    async def replace_schedule(request: Caller, schedule: FromPath[str]) -> Response[bytes]:
        """Replace a schedule; what has fired stays, and what is left out is as in a new one."""
        return _told(await _kept(request, schedules, schedule, await body_of(request, ScheduleAsked), there=True))

    @delete(
        SCHEDULE, permission=_WRITE, operation_id="deleteSchedule", status_code=200, contract=Contract(gives={204: None}, fails=(404, 409, 412), tagged=True)
    )
    async def delete_schedule(request: Caller, schedule: FromPath[str]) -> Response[bytes]:
        """Remove a schedule with its history; executions that run go on."""
        await schedules.delete(request.user.account, schedule, expected=expected_of(request))
        return Response(b"", status_code=204, headers=NO_STORE)

    return [get_schedule, replace_schedule, delete_schedule]


def _life(schedules: ScheduleService) -> list[HTTPRouteHandler]:
    changed = Contract(gives={200: ScheduleInfo}, fails=(404, 409, 412), tagged=True)

    @post(f"{SCHEDULE}/pause", permission=_WRITE, operation_id="pauseSchedule", status_code=200, contract=changed)
    async def pause_schedule(request: Caller, schedule: FromPath[str]) -> Response[bytes]:
        """Let a schedule not come about until it is resumed."""
        return _told(await schedules.enable(request.user.account, schedule, enabled=False, expected=expected_of(request)))

    @post(f"{SCHEDULE}/resume", permission=_WRITE, operation_id="resumeSchedule", status_code=200, contract=changed)
    async def resume_schedule(request: Caller, schedule: FromPath[str]) -> Response[bytes]:
        """Let a schedule come about again; the times that have passed are not made up for."""
        return _told(await schedules.enable(request.user.account, schedule, enabled=True, expected=expected_of(request)))

    @get(
        f"{SCHEDULE}/executions",
        permission=_READ,
        operation_id="listScheduleExecutions",
        contract=Contract(gives={200: FiredPage}, fails=(404,), query=(LIMIT, CURSOR)),
    )
    async def list_fired(request: Caller, schedule: FromPath[str]) -> Response[bytes]:
        """The last 100 times that a schedule came about, newest first: ``?limit=&cursor=``."""
        query, question = request.query_params, f"{request.user.account}\nschedule\n{schedule}"
        limit, place = limit_of(query.get("limit")), place_of(query.get("cursor"), question)
        kept = (await schedules.get(request.user.account, schedule)).firings[::-1]
        found = [one for one in kept if place is None or one.planned < place[0]]
        following = cursor(found[limit - 1].planned, "", question) if len(found) > limit else None
        return page_answer(request, FiredPage(items=[fired(one) for one in found[:limit]], next_cursor=following))

    return [pause_schedule, resume_schedule, list_fired]
