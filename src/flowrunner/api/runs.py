"""Runs: how executions look under ``/api/v2/workflows/runs``."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from flowrunner.api.accounts import answer
from flowrunner.api.arnpaths import arn_in
from flowrunner.api.authoring import Authoring, Caller, by_of, lines_of, listed, page_answer, page_of
from flowrunner.api.contract import CURSOR, LIMIT, PAGED, Contract, Parameter
from flowrunner.api.filters import level_of, statuses_of
from flowrunner.api.identify import RUNS_READ
from flowrunner.core.variables import is_variable
from flowrunner.engine.live import arn_of, name_of
from flowrunner.errors import NotFound
from flowrunner.identity.permissions import Permission
from flowrunner.identity.principal import Principal
from flowrunner.ids import parse_arn
from flowrunner.jsonvalue import loads
from flowrunner.ports.definitions import DefinitionStore
from flowrunner.ports.executions import ExecutionStore, Head
from flowrunner.views.lines import LEVELS
from flowrunner.views.records import ended_by, has_notes, moment, shown_definition
from flowrunner.views.run import read_context, read_logs, read_steps
from flowrunner.views.stream import V2_STATUS

RUNS = "/api/v2/workflows/runs"
RUN = f"{RUNS}/{{run:str}}"
ENDED = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"})
_HEX = re.compile(r"[0-9a-f]{32}")


class Run(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """One run. Times are RFC 3339 UTC, `duration` is milliseconds; `executionStatus` is the exact status, `context` the variables and outputs."""

    run_id: str
    workflow_id: str
    name: str
    execution_arn: str
    status: str
    execution_status: str
    start_time: str
    last_seq: int
    end_time: str | None = None
    duration: int | None = None
    error: str | None = None
    cause: str | None = None
    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    output: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    context: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class Step(msgspec.Struct, kw_only=True, rename="camel"):
    """One time that a step was entered. Times are RFC 3339 UTC, `duration` is milliseconds; `iteration` only of steps in loops."""

    run_id: str
    step_id: str
    step_name: str
    step_type: str
    status: Literal["pending", "running", "success", "failed", "skipped", "cancelled"]
    start_time: str
    end_time: str | None
    duration: int | None
    input_data: Any
    output_data: Any
    error: str | None
    attempts: int
    iteration: int | msgspec.UnsetType = msgspec.UNSET


class LogLine(msgspec.Struct, kw_only=True, rename="camel"):
    """What a step, or the run itself (`stepId` empty), has said."""

    run_id: str
    step_id: str
    level: Literal["debug", "info", "warn", "error"]
    message: str
    timestamp: str
    data: Any = msgspec.UNSET


class RunPage(msgspec.Struct, kw_only=True):
    """One page of runs, newest first; `next_cursor` is null on the last one."""

    items: list[Run]
    next_cursor: str | None


def run_of(head: Head, region: str, *, whole: bool) -> Run:
    """A head as a run; `whole` adds input and output."""
    error, cause = ended_by(head)
    return Run(
        run_id=head.id,
        workflow_id=shown_definition(head.machine),
        name=name_of(head),
        execution_arn=arn_of(head, region),
        status=V2_STATUS[head.status],
        execution_status=head.status,
        start_time=moment(head.started_at),
        last_seq=head.last_seq,
        end_time=None if head.stopped_at is None else moment(head.stopped_at),
        duration=None if head.stopped_at is None else head.stopped_at - head.started_at,
        error=error,
        cause=cause,
        input=msgspec.Raw(head.input.encode()) if whole and head.input else msgspec.UNSET,
        output=msgspec.Raw(head.output.encode()) if whole and head.output is not None else msgspec.UNSET,
    )


async def locate(executions: ExecutionStore, principal: Principal, name: str) -> Head:
    """The caller's execution by its id (32 hex digits, dashes allowed) or its ARN; raises NotFound."""
    identity = name.replace("-", "").lower()
    head: Head | None = None
    if _HEX.fullmatch(identity):
        head = await executions.head(identity)
    elif (arn := parse_arn(arn_in(name))) is not None and arn.execution is not None and arn.account == principal.account:
        head = await executions.find(arn.account, arn.name, arn.execution)
    if head is None or head.account != principal.account:
        raise NotFound("run", name)
    return head


def routes(
    *, executions: ExecutionStore, region: str, definitions: DefinitionStore | None = None, authoring: Authoring | None = None
) -> list[HTTPRouteHandler]:
    """The handlers of this module; `definitions` have what a workflow's variables begin as, `authoring` brings the route that cancels."""

    @get(
        RUNS,
        permission=RUNS_READ,
        operation_id="listRuns",
        contract=Contract(
            gives={200: RunPage}, query=(*PAGED, Parameter("workflow", "Runs of this workflow only."), Parameter("status", "Runs in this status only."))
        ),
    )
    async def list_runs(request: Caller) -> Response[bytes]:
        """Runs of the account, newest first: ``?workflow=&status=&limit=&cursor=``."""
        query = request.query_params
        workflow, status = query.get("workflow"), query.get("status")
        found = await page_of(executions, request, form="workflow", definition=workflow, statuses=statuses_of(status, V2_STATUS), marks=status or "")
        return page_answer(request, RunPage(items=[run_of(head, region, whole=False) for head in found.rows], next_cursor=found.following))

    @get(
        RUN,
        permission=RUNS_READ,
        operation_id="describeRun",
        contract=Contract(gives={200: Run}, fails=(404,)),
    )
    async def describe_run(request: Caller, run: FromPath[str]) -> Response[bytes]:
        """One run, with its input and output, its variables and what its steps have given."""
        head = await locate(executions, request.user, run)
        shown = run_of(head, region, whole=True)
        if has_notes(head):
            shown = msgspec.structs.replace(shown, context=await read_context(executions, head, await _first_variables(definitions, head)))
        return answer(shown)

    @get(
        f"{RUN}/steps",
        permission=RUNS_READ,
        counts_as="GetExecutionHistory",
        operation_id="listSteps",
        contract=Contract(gives={200: list[Step]}, fails=(404,), query=(LIMIT, CURSOR)),
    )
    async def list_steps(request: Caller, run: FromPath[str]) -> Response[bytes]:
        """The steps of a run, each time one was entered, in that order: all, or ``?limit=&cursor=``; the header ``Link`` has the next page."""
        head = await locate(executions, request.user, run)
        found = lines_of(request, await read_steps(executions, head), f"steps\n{head.id}")
        return listed(request, found.rows, found.following)

    @get(
        f"{RUN}/logs",
        permission=RUNS_READ,
        counts_as="GetExecutionHistory",
        operation_id="listLogs",
        contract=Contract(
            gives={200: list[LogLine]},
            fails=(404,),
            query=(LIMIT, CURSOR, Parameter("stepId", "Lines of this step only."), Parameter("level", "Lines of this level only.", choices=LEVELS)),
        ),
    )
    async def list_logs(request: Caller, run: FromPath[str]) -> Response[bytes]:
        """What was logged, in order: ``?stepId=&level=``, all, or ``?limit=&cursor=``; the header ``Link`` has the next page."""
        query = request.query_params
        level = level_of(query.get("level"), LEVELS)
        head = await locate(executions, request.user, run)
        lines = await read_logs(executions, head, step=query.get("stepId"), level=level)
        found = lines_of(request, lines, f"logs\n{head.id}\n{query.get('stepId')}\n{level}")
        return listed(request, found.rows, found.following)

    return [list_runs, describe_run, list_steps, list_logs, *([] if authoring is None else [_cancel(authoring)])]


def _cancel(authoring: Authoring) -> HTTPRouteHandler:
    @post(
        f"{RUN}/cancel",
        permission=Permission.EXECUTIONS_STOP,
        counts_as="StopExecution",
        operation_id="cancelRun",
        status_code=200,
        contract=Contract(gives={200: Run}, fails=(404, 409)),
    )
    async def cancel_run(request: Caller, run: FromPath[str]) -> Response[bytes]:
        """Cancel a run; 409 for one that has ended."""
        head = await authoring.cancel(await locate(authoring.executions, request.user, run), by_of(request.user))
        return answer(run_of(head, authoring.region, whole=False))

    return cancel_run


async def _first_variables(definitions: DefinitionStore | None, head: Head) -> dict[str, Any]:
    """The variables that a run began with: its environment's, its definition's over them, and those of its input over both."""
    revision = None if definitions is None else await definitions.revision(head.revision)
    own = loads(revision.definition) if revision is not None and revision.settings.get("format") in ("workflow", "test") else {}
    embedded = own.get("workflowDef") if isinstance(own, dict) else None  # of a test case
    given = loads(head.input)
    found: dict[str, Any] = {}
    for level, name in ((given, "environment"), (embedded, "variables"), (own, "variables"), (given, "variables")):
        members = level.get(name) if isinstance(level, dict) else None
        found |= members if isinstance(members, dict) else {}
    return {name: value for name, value in found.items() if is_variable(name)}
