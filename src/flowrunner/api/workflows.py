"""Step workflows under ``/api/v2/workflows`` (T): kept with their versions, checked, executed."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import UNSET, UnsetType

from flowrunner.api.accounts import answer
from flowrunner.api.authoring import Authoring, Caller, after_id, by_of, offset_of, page_answer, page_of
from flowrunner.api.bodies import body_of
from flowrunner.api.checking import Checked, checked_in, refused, warnings_in
from flowrunner.api.contract import PAGED, Contract, Parameter
from flowrunner.api.filters import statuses_of
from flowrunner.api.page import cursor, limit_of
from flowrunner.api.preconditions import expected_of, tag
from flowrunner.api.problems import ProblemError, Refused, of_status
from flowrunner.api.runs import RUNS, Run, RunPage, run_of
from flowrunner.definitions.entries import About, Definition, Kept
from flowrunner.definitions.search import Search
from flowrunner.errors import InvalidDefinition, InvalidDocument
from flowrunner.identity.permissions import Permission
from flowrunner.jsonvalue import dumps, loads
from flowrunner.views.records import moment
from flowrunner.views.stream import V2_STATUS

WORKFLOWS = "/api/v2/workflows"
WORKFLOW = f"{WORKFLOWS}/{{workflow:str}}"
_READ, _WRITE, _START = Permission.MACHINES_READ, Permission.MACHINES_WRITE, Permission.EXECUTIONS_START
DEFAULT_LIMIT = 20


class NewWorkflow(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A workflow: `definition` is an object, or its JSON text. Without `workflowId` an id is made of the name."""

    definition: dict[str, Any] | str
    workflow_id: str | None = None
    name: str | UnsetType = UNSET
    version: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    is_test_case: bool | UnsetType = UNSET
    created_by: str | UnsetType = UNSET


class WorkflowChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """What is to be changed of a workflow; what is left out stays."""

    workflow_id: str | None = None
    definition: dict[str, Any] | str | None = None
    name: str | UnsetType = UNSET
    version: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    is_test_case: bool | UnsetType = UNSET
    created_by: str | UnsetType = UNSET


class Workflow(msgspec.Struct, kw_only=True, rename="camel"):
    """A workflow. Times are RFC 3339 UTC; `versionNumber` counts its texts, `definition` is left out of lists.

    `warnings` say what is doubtful about a definition that has just been kept; without doubts they are left out.
    """

    workflow_id: str
    name: str
    version: str
    description: str
    is_test_case: bool
    created_by: str
    created_at: str
    updated_at: str
    version_number: int
    definition: dict[str, Any] | UnsetType = UNSET
    warnings: list[ProblemError] | UnsetType = UNSET


class WorkflowPage(msgspec.Struct, kw_only=True):
    """One page of workflows, by id; `next_cursor` is null on the last one."""

    data: list[Workflow]
    total: int
    limit: int
    offset: int
    next_cursor: str | None


class Said(msgspec.Struct):
    """That something was done."""

    message: str


class ToCheck(NewWorkflow, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A workflow that is checked only."""


class Variables(msgspec.Struct, forbid_unknown_fields=True):
    """What a run begins with, beside the definition's own variables."""

    variables: dict[str, Any] = {}


def text_of(definition: dict[str, Any] | str) -> str:
    """The text that is kept: as it was given, or that of the object."""
    return definition if isinstance(definition, str) else dumps(definition)


def shown(definition: Definition, text: str | None = None) -> Workflow:
    """A workflow as T shows it."""
    return Workflow(
        workflow_id=definition.id,
        name=definition.name,
        version=definition.version,
        description=definition.description,
        is_test_case=definition.test_case,
        created_by=definition.created_by,
        created_at=moment(definition.created_at),
        updated_at=moment(definition.updated_at),
        version_number=definition.latest.number,
        definition=UNSET if text is None else loads(text),
    )


def _tagged(kept: Kept, text: str, status: int = 200, warnings: list[ProblemError] | UnsetType = UNSET) -> Response[bytes]:
    made = answer(msgspec.structs.replace(shown(kept.definition, text), warnings=warnings), status)
    made.headers["etag"] = tag(kept.tag)
    return made


def _about(given: NewWorkflow | WorkflowChange) -> About:
    return About(name=given.name, version=given.version, description=given.description, created_by=given.created_by, test_case=given.is_test_case)


def _boolean(text: str | None) -> bool | None:
    if text not in (None, "true", "false"):
        raise Refused(of_status(400, "isTestCase must be true or false."))
    return None if text is None else text == "true"


def routes(authoring: Authoring) -> list[HTTPRouteHandler]:
    """The handlers of this module."""
    return [*_collection(authoring), *_one(authoring), *_running(authoring)]


def _collection(authoring: Authoring) -> list[HTTPRouteHandler]:
    workflows = authoring.workflows

    @get(
        WORKFLOWS,
        permission=_READ,
        operation_id="listWorkflows",
        contract=Contract(gives={200: WorkflowPage}, query=(*PAGED, Parameter("isTestCase", "Only those that are test cases, or are none.", "boolean"))),
    )
    async def list_workflows(request: Caller) -> Response[bytes]:
        """Workflows by id, without their definitions: ``?isTestCase=&limit=&offset=`` or ``&cursor=``."""
        query, account = request.query_params, request.user.account
        test_case = _boolean(query.get("isTestCase"))
        question = f"{account}\nworkflows\n{test_case}"
        limit, offset = limit_of(query.get("limit", str(DEFAULT_LIMIT))), offset_of(query.get("offset"))
        found = await workflows.search(account, Search(test_case=test_case), limit=limit, offset=offset, after=after_id(request, question))
        following = found.following and cursor(0, found.following, question)
        return page_answer(request, WorkflowPage(data=[shown(one) for one in found.rows], total=found.total, limit=limit, offset=offset, next_cursor=following))

    @post(
        WORKFLOWS,
        permission=_WRITE,
        operation_id="createWorkflow",
        contract=Contract(takes=NewWorkflow, gives={201: Workflow}, fails=(409,), keyed=True),
    )
    async def create_workflow(request: Caller) -> Response[bytes]:
        """Keep a new workflow."""
        given = await body_of(request, NewWorkflow)
        text = text_of(given.definition)
        try:
            kept = await workflows.create(request.user.account, text, by=by_of(request.user), about=_about(given), name=given.workflow_id)
        except InvalidDefinition as error:
            raise await refused(request, "workflow", error, "/definition") from None
        made = _tagged(kept, text, 201, await warnings_in(request, await workflows.check(request.user.account, text)))
        made.headers["location"] = f"{WORKFLOWS}/{kept.definition.id}"
        return made

    @post(f"{WORKFLOWS}/validate", permission=_READ, operation_id="validateWorkflow", status_code=200, contract=Contract(takes=ToCheck, gives={200: Checked}))
    async def validate_workflow(request: Caller) -> Response[bytes]:
        """Say what is wrong with a definition, without keeping it."""
        given = await body_of(request, ToCheck)
        parsed = await workflows.check(request.user.account, text_of(given.definition))
        return answer(await checked_in(request, parsed))

    return [list_workflows, create_workflow, validate_workflow]


def _one(authoring: Authoring) -> list[HTTPRouteHandler]:
    workflows = authoring.workflows

    @get(WORKFLOW, permission=_READ, operation_id="getWorkflow", contract=Contract(gives={200: Workflow}, fails=(404,)))
    async def get_workflow(request: Caller, workflow: FromPath[str]) -> Response[bytes]:
        """One workflow with its definition."""
        kept, _, revision = await workflows.revision(request.user.account, workflow)
        return _tagged(kept, revision.definition)

    @put(
        WORKFLOW,
        permission=_WRITE,
        operation_id="updateWorkflow",
        contract=Contract(takes=WorkflowChange, gives={200: Workflow}, fails=(404, 409, 412), tagged=True),
    )
    async def update_workflow(request: Caller, workflow: FromPath[str]) -> Response[bytes]:
        """Change a workflow; another definition is its next version."""
        given = await body_of(request, WorkflowChange)
        if given.workflow_id not in (None, workflow):
            raise InvalidDocument("The id of a workflow does not change.", pointer="/workflowId")
        text = None if given.definition is None else text_of(given.definition)
        try:
            await workflows.update(request.user.account, workflow, by=by_of(request.user), text=text, about=_about(given), expected=expected_of(request))
        except InvalidDefinition as error:
            raise await refused(request, "workflow", error, "/definition") from None
        kept, _, revision = await workflows.revision(request.user.account, workflow)
        doubtful = UNSET if text is None else await warnings_in(request, await workflows.check(request.user.account, text))
        return _tagged(kept, revision.definition, warnings=doubtful)

    @delete(
        WORKFLOW,
        permission=_WRITE,
        operation_id="deleteWorkflow",
        status_code=200,
        contract=Contract(gives={200: Said}, fails=(404, 409, 412), tagged=True),
    )
    async def delete_workflow(request: Caller, workflow: FromPath[str]) -> Response[bytes]:
        """Remove a workflow; runs go on."""
        await workflows.delete(request.user.account, workflow, expected=expected_of(request))
        return answer(Said("Workflow deleted successfully"))

    return [get_workflow, update_workflow, delete_workflow]


def _running(authoring: Authoring) -> list[HTTPRouteHandler]:
    workflows = authoring.workflows

    @post(
        f"{WORKFLOW}/execute",
        permission=_START,
        counts_as="StartExecution",
        operation_id="executeWorkflow",
        status_code=202,
        contract=Contract(takes=Variables, gives={202: Run}, fails=(404, 409), keyed=True, resumable=True),
    )
    async def execute_workflow(request: Caller, workflow: FromPath[str]) -> Response[bytes]:
        """Begin a run; answered as soon as that is durable, so that it can be watched from its first step."""
        given = await body_of(request, Variables)
        machine = await workflows.machine(request.user.account, workflow)
        head = await authoring.start(request, machine, await authoring.input_of(request.user.account, given.variables))
        made = answer(msgspec.structs.replace(run_of(head, authoring.region, whole=False), status="running"), 202)
        made.headers["location"] = f"{RUNS}/{head.id}"
        return made

    @get(
        f"{WORKFLOW}/runs",
        permission=Permission.EXECUTIONS_READ,
        counts_as="ListExecutions",
        operation_id="listRunsOfWorkflow",
        contract=Contract(gives={200: RunPage}, fails=(404,), query=(*PAGED, Parameter("status", "Runs in this status only."))),
    )
    async def list_runs(request: Caller, workflow: FromPath[str]) -> Response[bytes]:
        """Runs of one workflow, newest first: ``?status=&limit=&cursor=`` or ``&offset=``."""
        await workflows.get(request.user.account, workflow)
        status = request.query_params.get("status")
        found = await page_of(authoring.executions, request, form="workflow", definition=workflow, statuses=statuses_of(status, V2_STATUS), marks=status or "")
        return page_answer(request, RunPage(items=[run_of(head, authoring.region, whole=False) for head in found.rows], next_cursor=found.following))

    return [execute_workflow, list_runs]
