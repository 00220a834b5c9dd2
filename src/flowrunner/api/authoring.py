"""What the routes of flows, workflows and their executions work with, and how an execution is begun, listed and stopped for a caller."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import urlencode

from litestar import Request, Response

from flowrunner.api.accounts import answer
from flowrunner.api.idempotency import is_resumed, key_of
from flowrunner.api.page import cursor, limit_of, place_of
from flowrunner.api.problems import Refused, of_status
from flowrunner.clock import Clock
from flowrunner.core.variables import check_variables
from flowrunner.definitions.entries import Format, delivers, machine_name
from flowrunner.definitions.environments import Environments
from flowrunner.definitions.service import Definitions
from flowrunner.definitions.testruns import TestRuns
from flowrunner.definitions.webhooks import Webhooks
from flowrunner.engine.feed import ENDED
from flowrunner.engine.live import ExecutionAlreadyExists
from flowrunner.errors import AlreadyEnded, LimitExceeded
from flowrunner.identity.audit import AuditLog
from flowrunner.identity.principal import Principal
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps
from flowrunner.kinds import KindInfo
from flowrunner.limits import AWS, Limits
from flowrunner.ports.definitions import Machine
from flowrunner.ports.executions import ExecutionQuery, ExecutionStore, Head, Status
from flowrunner.ports.schedules import ScheduleService
from flowrunner.ports.store import Store
from flowrunner.vault.secrets import Secrets

CANCELLED = "FlowRunner.Cancelled"
MOST_OFFSET = 10_000
RESERVED_IDS = frozenset({"runs", "validate"})  # what paths under /api/v2/workflows mean otherwise
_NAMES = uuid.UUID("6f1e4d52-7c0b-5b8e-9a57-3d2f0c1a8e44")  # of executions that an Idempotency-Key names
Caller = Request[Principal, Any, Any]
Row = TypeVar("Row")


class Runner(Protocol):
    """What begins and stops executions (engine.engine.Engine)."""

    async def start_execution(
        self,
        machine: Machine,
        *,
        name: str | None = None,
        input: str = "{}",  # noqa: A002 - the API's word
        extra: dict[str, Any] | None = None,
    ) -> Head:
        """Start an execution; its head once that is durable."""
        ...

    async def stop_execution(self, execution: str, *, error: str | None = None, cause: str | None = None) -> Head:
        """Stop an execution; an ended one stays as it is."""
        ...


@dataclass(frozen=True, slots=True)
class Beginner:
    """Begins executions whose names are given once (definitions.testruns.Starter)."""

    runner: Runner

    async def begin(self, machine: Machine, *, name: str, input: str) -> str:  # noqa: A002 - the engine's word
        """Begin the execution of this name, or give the one that was begun before."""
        try:
            return (await self.runner.start_execution(machine, name=name, input=input)).id
        except ExecutionAlreadyExists as taken:
            return taken.head.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Authoring:
    """The services behind the routes; `cases` are the texts of test cases, `secrets` where those of environments are kept, `audit` where changes of them are entered. `plugins` are the kinds that came from elsewhere, each with where from."""

    store: Store
    runner: Runner
    flows: Definitions
    workflows: Definitions
    cases: Definitions
    schedules: ScheduleService
    testruns: TestRuns
    webhooks: Webhooks
    clock: Clock
    region: str
    kinds: Sequence[KindInfo] = ()
    plugins: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = AWS
    secrets: Secrets | None = None
    audit: AuditLog | None = None

    @property
    def environments(self) -> Environments:
        """The environments of workflows."""
        return Environments(self.store.documents, self.clock, self.secrets)

    @property
    def executions(self) -> ExecutionStore:
        """Where executions are."""
        return self.store.executions

    async def input_of(self, account: str, given: Mapping[str, JSONValue]) -> JSONObject:
        """The input of a run: the caller's variables, and those of the active environment, which stand below all others and reach nested runs too.

        Raises InvalidDocument for a name that no variable has.
        """
        check_variables(given, "/variables")
        around = await self.environments.active_variables(account)
        return {"variables": dict(given), **({"environment": around} if around else {})}

    async def start(self, request: Caller, machine: Machine, given: JSONValue, extra: dict[str, Any] | None = None) -> Head:
        """Begin an execution, durably. With an Idempotency-Key the same one for the same key, whatever has died meanwhile.

        Raises LimitExceeded (input), InvalidDefinition (a text that this release cannot read), StoreUnavailable.
        """
        text = dumps(given)
        most = self.limits.of_flows().payload_bytes
        if most and len(text.encode()) > most:
            raise LimitExceeded(f"An input has at most {most} bytes.")
        key = key_of(request)
        name = None if key is None else str(uuid.uuid5(_NAMES, f"{request.user.account}\n{machine.name}\n{key}"))
        try:
            return await self.runner.start_execution(machine, name=name, input=text, extra=extra)
        except ExecutionAlreadyExists as taken:
            if name is None or (taken.head.input != text and not is_resumed(request)):
                raise
            return taken.head

    async def cancel(self, head: Head, by: str) -> Head:
        """Stop an execution; raises AlreadyEnded."""
        if head.status not in ENDED:
            head = await self.runner.stop_execution(head.id, error=CANCELLED, cause=f"Cancelled by {by}." if by else None)
            if head.status == "ABORTED":
                return head
        raise AlreadyEnded(f"The execution {head.id} has ended already: {head.status}.")


@dataclass(frozen=True, slots=True)
class Heads:
    """One page of executions, newest first; `following` is the cursor of the next."""

    rows: Sequence[Head]
    following: str | None


async def page_of(
    executions: ExecutionStore, request: Caller, *, form: Format, definition: str | None, statuses: Sequence[Status | None], marks: str = ""
) -> Heads:
    """A page by ``?limit=&cursor=&offset=``; `definition` is the id of one of this format, or the name of a state machine."""
    account, query = request.user.account, request.query_params
    limit, offset = limit_of(query.get("limit")), offset_of(query.get("offset"))
    machines = (None,) if definition is None else (machine_name(form, definition), definition)
    question = f"{account}\n{form}\n{definition}\n{marks}"
    after = place_of(query.get("cursor"), question)
    passed = offset if after is None else 0
    rows: list[Head] = []
    for machine in machines:
        for status in statuses:
            rows += await executions.list(ExecutionQuery(account=account, machine=machine, status=status, limit=passed + limit + 1, after=after))
    rows.sort(key=lambda head: (head.started_at, head.id), reverse=True)
    rows = rows[passed:]
    last = rows[limit - 1] if len(rows) > limit else None
    shown = [head for head in rows[:limit] if not delivers(head.machine)]  # deliveries have a list of their own
    return Heads(shown, None if last is None else cursor(last.started_at, last.id, question))


@dataclass(frozen=True, slots=True)
class Rows(Generic[Row]):
    """A part of a list; `following` is the cursor of the next."""

    rows: Sequence[Row]
    following: str | None


def rows_of(request: Caller, rows: Sequence[Row], name: Callable[[Row], str], marks: str, *, limit: int, newest_first: bool = False) -> Rows[Row]:
    """A part by ``?cursor=&offset=`` of rows in the order of their ids; `marks` are the list and its filters."""
    question = f"{request.user.account}\n{marks}"
    after = after_id(request, question)
    if after is None:
        rest = rows[offset_of(request.query_params.get("offset")) :]
    else:
        rest = [row for row in rows if (name(row) < after if newest_first else name(row) > after)]
    return Rows(rest[:limit], cursor(0, name(rest[limit - 1]), question) if len(rest) > limit else None)


def lines_of(request: Caller, lines: Sequence[Row], marks: str) -> Rows[Row]:
    """A part by ``?limit=&cursor=`` of a list that only grows; all of it for a request without both."""
    question = f"{request.user.account}\n{marks}"
    place, limit = place_of(request.query_params.get("cursor"), question), request.query_params.get("limit")
    if place is None and limit is None:
        return Rows(lines, None)
    passed, most = 0 if place is None else place[0], limit_of(limit)
    return Rows(lines[passed : passed + most], cursor(passed + most, "", question) if len(lines) > passed + most else None)


def offset_of(text: str | None) -> int:
    """Read ``?offset=``."""
    if text is None:
        return 0
    if re.fullmatch(r"[0-9]{1,5}", text) is None or int(text) > MOST_OFFSET:
        raise Refused(of_status(400, f"offset must be a whole number from 0 to {MOST_OFFSET}; use the cursor to go further."))
    return int(text)


def by_of(principal: Principal) -> str:
    """Who it is, for what is kept beside a version."""
    return principal.name or "anonymous"


def after_id(request: Caller, question: str) -> str | None:
    """The id in ``?cursor=``."""
    place = place_of(request.query_params.get("cursor"), question)
    return None if place is None else place[1]


def next_link(request: Caller, following: str | None) -> dict[str, str]:
    """The header Link to the next page."""
    if following is None:
        return {}
    query = [(name, value) for name, value in request.query_params.multi_items() if name not in ("cursor", "offset")]
    return {"link": f'<{request.scope["path"]}?{urlencode([*query, ("cursor", following)])}>; rel="next"'}


def listed(request: Caller, rows: object, following: str | None) -> Response[bytes]:
    """The answer with a bare list, and the header Link to the next part."""
    made = answer(rows)
    made.headers.update(next_link(request, following))
    return made


class Page(Protocol):
    """One page of a list; the cursor of the next one is null on the last."""

    next_cursor: str | None


def page_answer(request: Caller, page: Page) -> Response[bytes]:
    """The answer with a page, and the header Link to the next one."""
    made = answer(page)
    made.headers.update(next_link(request, page.next_cursor))
    return made
