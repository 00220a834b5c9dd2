"""Runs: how executions look under ``/api/v2/workflows/runs``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from flowrunner.api.identify import RUNS_READ
from flowrunner.api.messages import STATUSES
from flowrunner.api.page import cursor, limit_of, place_of
from flowrunner.api.problems import Refused, of_status
from flowrunner.engine.live import arn_of, name_of
from flowrunner.errors import NotFound
from flowrunner.identity.principal import Principal
from flowrunner.ids import parse_arn
from flowrunner.ports.executions import ExecutionQuery, ExecutionStore, Head, Status
from flowrunner.views.records import moment
from flowrunner.views.stream import V2_STATUS

RUNS = "/api/v2/workflows/runs"
ENDED = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"})
_HEX = re.compile(r"[0-9a-f]{32}")


class Run(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """One run. Times are RFC 3339 UTC, `duration` is milliseconds; `executionStatus` is the exact status."""

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


class RunPage(msgspec.Struct, kw_only=True):
    """One page of runs, newest first; `next_cursor` is null on the last one."""

    items: list[Run]
    next_cursor: str | None


def run_of(head: Head, region: str, *, whole: bool) -> Run:
    """A head as a run; `whole` adds input and output."""
    return Run(
        run_id=head.id,
        workflow_id=head.machine,
        name=name_of(head),
        execution_arn=arn_of(head, region),
        status=V2_STATUS[head.status],
        execution_status=head.status,
        start_time=moment(head.started_at),
        last_seq=head.last_seq,
        end_time=None if head.stopped_at is None else moment(head.stopped_at),
        duration=None if head.stopped_at is None else head.stopped_at - head.started_at,
        error=head.error,
        cause=head.cause,
        input=msgspec.Raw(head.input.encode()) if whole and head.input else msgspec.UNSET,
        output=msgspec.Raw(head.output.encode()) if whole and head.output is not None else msgspec.UNSET,
    )


async def locate(executions: ExecutionStore, principal: Principal, name: str) -> Head:
    """The caller's execution by its id (32 hex digits, dashes allowed) or its ARN; raises NotFound."""
    identity = name.replace("-", "").lower()
    head: Head | None = None
    if _HEX.fullmatch(identity):
        head = await executions.head(identity)
    elif (arn := parse_arn(name)) is not None and arn.execution is not None and arn.account == principal.account:
        head = await executions.find(arn.account, arn.name, arn.execution)
    if head is None or head.account != principal.account:
        raise NotFound("run", name)
    return head


def routes(*, executions: ExecutionStore, region: str) -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @get(RUNS, permission=RUNS_READ, operation_id="listRuns")
    async def list_runs(request: Request[Principal, Any, Any]) -> Response[bytes]:
        """Runs of the account, newest first: ``?workflow=&status=&limit=&cursor=``."""
        principal, query = request.user, request.query_params
        workflow, status = query.get("workflow"), query.get("status")
        question = f"{principal.account}\n{workflow}\n{status}"
        heads = await _page(
            executions,
            principal.account,
            workflow,
            statuses=_statuses(status),
            limit=limit_of(query.get("limit")),
            after=place_of(query.get("cursor"), question),
        )
        following = cursor(heads.rows[-1].started_at, heads.rows[-1].id, question) if heads.more else None
        page = RunPage(items=[run_of(head, region, whole=False) for head in heads.rows], next_cursor=following)
        headers = {} if following is None else {"link": f'<{_next_url(request, following)}>; rel="next"'}
        return Response(msgspec.json.encode(page), media_type="application/json", headers=headers)

    @get(f"{RUNS}/{{run:str}}", permission=RUNS_READ, operation_id="describeRun")
    async def describe_run(request: Request[Principal, Any, Any], run: FromPath[str]) -> Response[bytes]:
        """One run, with its input and output."""
        head = await locate(executions, request.user, run)
        return Response(msgspec.json.encode(run_of(head, region, whole=True)), media_type="application/json")

    return [list_runs, describe_run]


def _next_url(request: Request[Principal, Any, Any], following: str) -> str:
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return f"{RUNS}?{urlencode([*query, ('cursor', following)])}"


class _Heads(msgspec.Struct):
    rows: list[Head]
    more: bool


def _statuses(text: str | None) -> tuple[Status | None, ...]:
    """The statuses that a filter means: an exact one (``TIMED_OUT``) or a run's (``failed`` is two)."""
    if text is None:
        return (None,)
    found = tuple(exact for exact, shown in V2_STATUS.items() if text in (exact, shown))
    if not found:
        raise Refused(of_status(400, f"status must be one of {', '.join(STATUSES)}."))
    return found


async def _page(
    executions: ExecutionStore, account: str, workflow: str | None, *, statuses: Sequence[Status | None], limit: int, after: tuple[int, str] | None
) -> _Heads:
    rows: list[Head] = []
    for status in statuses:
        rows += await executions.list(ExecutionQuery(account=account, machine=workflow, status=status, limit=limit + 1, after=after))
    rows.sort(key=lambda head: (head.started_at, head.id), reverse=True)
    return _Heads(rows[:limit], len(rows) > limit)
