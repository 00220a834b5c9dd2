"""Executions as version 1 of the API shows them: ``/api/v1/executions`` (F)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from litestar import Response, delete, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from flowrunner.api.accounts import NO_STORE, answer
from flowrunner.api.authoring import Authoring, Caller, by_of, page_answer, page_of
from flowrunner.api.contract import PAGED, Contract, Parameter
from flowrunner.api.filters import level_of, statuses_of
from flowrunner.api.runs import locate
from flowrunner.identity.permissions import Permission
from flowrunner.ports.executions import Head
from flowrunner.views.flow import V1_LEVELS, V1_STATUS, read_log_entries, read_status
from flowrunner.views.records import ended_by, failure_text, moment, shown_definition

EXECUTIONS = "/api/v1/executions"
EXECUTION = f"{EXECUTIONS}/{{execution:str}}"
LEVELS = tuple(dict.fromkeys(V1_LEVELS.values()))
_READ = Permission.EXECUTIONS_READ


class ExecutionInfo(msgspec.Struct, kw_only=True):
    """An execution in a list. Times are RFC 3339 UTC."""

    id: str
    flow_id: str
    status: Literal["running", "completed", "failed", "canceled"]
    start_time: str
    end_time: str | None
    error: str | None


class ExecutionPage(msgspec.Struct, kw_only=True):
    """One page, newest first; `next_cursor` is null on the last one."""

    items: list[ExecutionInfo]
    next_cursor: str | None


class ExecutionStatus(ExecutionInfo, kw_only=True):
    """One execution. `progress` is a percentage that never falls; `results` is what each node has returned."""

    results: dict[str, Any]
    progress: float
    current_node: str
    metadata: dict[str, Any]


class LogEntry(msgspec.Struct, kw_only=True):
    """What a node, or the execution itself (`node_id` empty), has said."""

    timestamp: str
    node_id: str
    level: Literal["info", "warning", "error", "debug"]
    message: str
    data: Any


def _info(head: Head) -> ExecutionInfo:
    return ExecutionInfo(
        id=head.id,
        flow_id=shown_definition(head.machine),
        status=V1_STATUS[head.status],  # type: ignore[arg-type]  # the table's values are these
        start_time=moment(head.started_at),
        end_time=None if head.stopped_at is None else moment(head.stopped_at),
        error=failure_text(*ended_by(head)),
    )


def routes(authoring: Authoring) -> list[HTTPRouteHandler]:
    """The handlers of this module."""
    executions = authoring.executions

    @get(
        EXECUTIONS,
        permission=_READ,
        counts_as="ListExecutions",
        operation_id="listExecutions",
        contract=Contract(
            gives={200: ExecutionPage},
            query=(*PAGED, Parameter("flow_id", "Executions of this flow only."), Parameter("status", "Executions in this status only.")),
        ),
    )
    async def list_executions(request: Caller) -> Response[bytes]:
        """Executions of the account, newest first: ``?flow_id=&status=&limit=&cursor=`` or ``&offset=``."""
        query = request.query_params
        flow, status = query.get("flow_id"), query.get("status")
        found = await page_of(executions, request, form="flow", definition=flow, statuses=statuses_of(status, V1_STATUS), marks=status or "")
        return page_answer(request, ExecutionPage(items=[_info(head) for head in found.rows], next_cursor=found.following))

    @get(
        EXECUTION,
        permission=_READ,
        counts_as="DescribeExecution",
        operation_id="getExecution",
        contract=Contract(gives={200: ExecutionStatus}, fails=(404,)),
    )
    async def get_execution(request: Caller, execution: FromPath[str]) -> Response[bytes]:
        """One execution: status, progress, current node, and what its nodes have returned."""
        return answer(await read_status(executions, await locate(executions, request.user, execution)))

    @get(
        f"{EXECUTION}/logs",
        permission=_READ,
        counts_as="GetExecutionHistory",
        operation_id="getExecutionLogs",
        contract=Contract(
            gives={200: list[LogEntry]},
            fails=(404,),
            query=(Parameter("level", "Entries of this level only.", choices=LEVELS), Parameter("node_id", "Entries of this node only.")),
        ),
    )
    async def get_logs(request: Caller, execution: FromPath[str]) -> Response[bytes]:
        """What was logged, in order: ``?level=&node_id=``."""
        query = request.query_params
        level, node = level_of(query.get("level"), LEVELS), query.get("node_id")
        head = await locate(executions, request.user, execution)
        entries = await read_log_entries(executions, head.id)
        return answer([entry for entry in entries if level in (None, entry["level"]) and node in (None, entry["node_id"])])

    @delete(
        EXECUTION,
        permission=Permission.EXECUTIONS_STOP,
        counts_as="StopExecution",
        operation_id="cancelExecution",
        status_code=200,
        contract=Contract(gives={204: None}, fails=(404, 409)),
    )
    async def cancel_execution(request: Caller, execution: FromPath[str]) -> Response[bytes]:
        """Cancel an execution; 409 for one that has ended."""
        await authoring.cancel(await locate(executions, request.user, execution), by_of(request.user))
        return Response(b"", status_code=204, headers=NO_STORE)

    return [list_executions, get_execution, get_logs, cancel_execution]
