"""YAML flows under ``/api/v1/flows`` (F): kept with their versions, described, searched, run."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, delete, get, patch, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import UNSET, UnsetType

from flowrunner.api.accounts import NO_STORE, answer
from flowrunner.api.authoring import Authoring, Caller, after_id, by_of, next_link, offset_of
from flowrunner.api.bodies import body_of
from flowrunner.api.checking import Checked, checked
from flowrunner.api.contract import PAGED, YAML, Contract, Media
from flowrunner.api.page import MAX_LIMIT, cursor, limit_of, place_of
from flowrunner.api.preconditions import expected_of, tag
from flowrunner.api.problems import ProblemError
from flowrunner.api.secretshapes import time_of
from flowrunner.definitions.entries import About, Definition, Kept, Status, Version
from flowrunner.definitions.search import Found, Search
from flowrunner.errors import InvalidDocument, NotFound
from flowrunner.identity.permissions import Permission
from flowrunner.ports.definitions import Revision
from flowrunner.views.records import moment

FLOWS = "/api/v1/flows"
FLOW = f"{FLOWS}/{{flow:str}}"
_READ, _WRITE, _START = Permission.MACHINES_READ, Permission.MACHINES_WRITE, Permission.EXECUTIONS_START
MOST_PAGES = 100_000


class NewFlow(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A flow: its YAML text, and the name that its id is made of (else the text's own)."""

    content: str
    name: str | None = None


class FlowId(msgspec.Struct, omit_defaults=True):
    """The id of a new flow, and what is doubtful about it."""

    id: str
    warnings: list[ProblemError] = []


class FlowContent(msgspec.Struct, forbid_unknown_fields=True):
    """Another YAML text."""

    content: str


class FlowInfo(msgspec.Struct, kw_only=True):
    """A flow without its text. Times are RFC 3339 UTC; `version` is its author's."""

    id: str
    account_id: str
    name: str
    description: str
    version: str
    created_at: str
    updated_at: str
    tags: list[str]
    category: str
    status: Status
    custom: dict[str, Any]


class FlowVersion(msgspec.Struct, kw_only=True):
    """One text that a flow had; versions are counted from 1."""

    version: int
    created_at: str
    created_by: str


class FlowMetadata(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Metadata to change; `custom` is merged, null removes a member of it."""

    tags: list[str] | UnsetType = UNSET
    category: str | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    custom: dict[str, Any] = {}


class FlowSearch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which flows: all conditions hold, of `tags` any is enough. Times are RFC 3339, both ends included; pages are counted from 1."""

    name_contains: str | None = None
    description_contains: str | None = None
    tags: list[str] = []
    category: str | None = None
    status: Status | None = None
    created_after: str | None = None
    created_before: str | None = None
    updated_after: str | None = None
    updated_before: str | None = None
    page: int = 1
    page_size: int = 10
    cursor: str | None = None


class FlowInput(msgspec.Struct, forbid_unknown_fields=True):
    """What an execution begins with."""

    input: dict[str, Any] = {}


class Started(msgspec.Struct):
    """An execution that has begun."""

    execution_id: str
    status: str


def info_of(account: str, definition: Definition) -> FlowInfo:
    """A flow as F shows it."""
    return FlowInfo(
        id=definition.id,
        account_id=account,
        name=definition.name,
        description=definition.description,
        version=definition.version,
        created_at=moment(definition.created_at),
        updated_at=moment(definition.updated_at),
        tags=list(definition.tags),
        category=definition.category,
        status=definition.status,
        custom=definition.custom,
    )


def version_number(text: str, kind: str) -> int:
    """A version as a path names it; raises NotFound."""
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise NotFound(f"version of the {kind}", text)
    return int(text)


def search_of(given: FlowSearch) -> Search:
    """What the body of a search says."""
    times: dict[str, Any] = {name: time_of(getattr(given, name), f"/{name}") for name in ("created_after", "created_before", "updated_after", "updated_before")}
    if not 1 <= given.page <= MOST_PAGES:
        raise InvalidDocument(f"page is 1 to {MOST_PAGES}.", pointer="/page")
    if not 1 <= given.page_size <= MAX_LIMIT:
        raise InvalidDocument(f"page_size is 1 to {MAX_LIMIT}.", pointer="/page_size")
    return Search(
        name_contains=given.name_contains,
        description_contains=given.description_contains,
        tags=tuple(given.tags),
        category=given.category,
        status=given.status,
        **times,
    )


def _empty(kept: Kept | None = None) -> Response[bytes]:
    return Response(b"", status_code=204, headers=NO_STORE if kept is None else {**NO_STORE, "etag": tag(kept.tag)})


def _text(kept: Kept, version: Version, revision: Revision) -> Response[bytes]:
    """A version's text; the flow's tag only with the latest one, for who has read another has not read what a write would replace."""
    tagged = {"etag": tag(kept.tag)} if version.number == kept.definition.latest.number else {}
    headers = {**NO_STORE, **tagged, "x-version": str(version.number)}
    return Response(revision.definition.encode(), media_type=YAML, headers=headers)


def _listed(request: Caller, found: Found, following: str | None) -> Response[bytes]:
    made = answer([info_of(request.user.account, definition) for definition in found.rows])
    made.headers.update({"x-total-count": str(found.total), **next_link(request, following)})
    return made


def routes(authoring: Authoring) -> list[HTTPRouteHandler]:
    """The handlers of this module."""
    return [*_collection(authoring), *_one(authoring), *_versions(authoring)]


def _collection(authoring: Authoring) -> list[HTTPRouteHandler]:
    flows = authoring.flows

    @get(FLOWS, permission=_READ, operation_id="listFlows", contract=Contract(gives={200: list[FlowInfo]}, query=PAGED))
    async def list_flows(request: Caller) -> Response[bytes]:
        """Flows by id: ``?limit=&cursor=`` or ``?limit=&offset=``; the header ``Link`` has the next page."""
        query, question = request.query_params, f"{request.user.account}\nflows"
        limit, offset = limit_of(query.get("limit")), offset_of(query.get("offset"))
        found = await flows.search(request.user.account, Search(), limit=limit, offset=offset, after=after_id(request, question))
        return _listed(request, found, found.following and cursor(0, found.following, question))

    @post(FLOWS, permission=_WRITE, operation_id="createFlow", contract=Contract(takes=NewFlow, gives={201: FlowId}, fails=(409,), keyed=True))
    async def create_flow(request: Caller) -> Response[bytes]:
        """Keep a new flow."""
        given = await body_of(request, NewFlow)
        about = About() if given.name is None else About(name=given.name)
        kept = await flows.create(request.user.account, given.content, by=by_of(request.user), about=about)
        doubtful = checked(await flows.check(request.user.account, given.content)).warnings
        made = answer(FlowId(kept.definition.id, doubtful), 201)
        made.headers.update({"etag": tag(kept.tag), "location": f"{FLOWS}/{kept.definition.id}"})
        return made

    @post(f"{FLOWS}/search", permission=_READ, operation_id="searchFlows", status_code=200, contract=Contract(takes=FlowSearch, gives={200: list[FlowInfo]}))
    async def search_flows(request: Caller) -> Response[bytes]:
        """Flows that meet all conditions, by id; ``X-Total-Count`` says how many, ``X-Next-Cursor`` what `cursor` gives the next page."""
        given = await body_of(request, FlowSearch)
        search = search_of(given)
        question = f"{request.user.account}\n{search}"
        place = place_of(given.cursor, question)
        found = await flows.search(request.user.account, search, limit=given.page_size, offset=(given.page - 1) * given.page_size, after=place and place[1])
        made = _listed(request, found, None)
        if found.following is not None:
            made.headers["x-next-cursor"] = cursor(0, found.following, question)
        return made

    @post(f"{FLOWS}/validate", permission=_READ, operation_id="validateFlow", status_code=200, contract=Contract(takes=NewFlow, gives={200: Checked}))
    async def validate_flow(request: Caller) -> Response[bytes]:
        """Say what is wrong with a YAML text, without keeping it."""
        given = await body_of(request, NewFlow)
        return answer(checked(await flows.check(request.user.account, given.content)))

    return [list_flows, create_flow, search_flows, validate_flow]


def _one(authoring: Authoring) -> list[HTTPRouteHandler]:
    flows = authoring.flows

    @get(FLOW, permission=_READ, operation_id="getFlow", contract=Contract(gives={200: Media(YAML)}, fails=(404,)))
    async def get_flow(request: Caller, flow: FromPath[str]) -> Response[bytes]:
        """The YAML text of a flow, as it was given."""
        return _text(*await flows.revision(request.user.account, flow))

    @put(
        FLOW,
        permission=_WRITE,
        operation_id="updateFlow",
        status_code=200,
        contract=Contract(takes=FlowContent, gives={204: None}, fails=(404, 409, 412), tagged=True),
    )
    async def update_flow(request: Caller, flow: FromPath[str]) -> Response[bytes]:
        """Keep another text as the next version; the metadata that it says otherwise than the version before are taken, a name, too."""
        given = await body_of(request, FlowContent)
        return _empty(await flows.update(request.user.account, flow, by=by_of(request.user), text=given.content, expected=expected_of(request)))

    @delete(FLOW, permission=_WRITE, operation_id="deleteFlow", status_code=200, contract=Contract(gives={204: None}, fails=(404, 409, 412), tagged=True))
    async def delete_flow(request: Caller, flow: FromPath[str]) -> Response[bytes]:
        """Remove a flow; executions that run go on."""
        await flows.delete(request.user.account, flow, expected=expected_of(request))
        return _empty()

    @post(
        f"{FLOW}/run",
        permission=_START,
        counts_as="StartExecution",
        operation_id="runFlow",
        contract=Contract(takes=FlowInput, gives={201: Started}, fails=(404, 409), keyed=True, resumable=True),
    )
    async def run_flow(request: Caller, flow: FromPath[str]) -> Response[bytes]:
        """Begin an execution; answered as soon as that is durable."""
        given = await body_of(request, FlowInput)
        head = await authoring.start(request, await flows.machine(request.user.account, flow), given.input)
        made = answer(Started(head.id, "running"), 201)
        made.headers["location"] = f"/api/v1/executions/{head.id}"
        return made

    return [get_flow, update_flow, delete_flow, run_flow]


def _versions(authoring: Authoring) -> list[HTTPRouteHandler]:
    flows = authoring.flows

    @get(f"{FLOW}/versions", permission=_READ, operation_id="listFlowVersions", contract=Contract(gives={200: list[FlowVersion]}, fails=(404,)))
    async def list_versions(request: Caller, flow: FromPath[str]) -> Response[bytes]:
        """All versions, oldest first."""
        kept = await flows.get(request.user.account, flow)
        return answer([FlowVersion(version=one.number, created_at=moment(one.created_at), created_by=one.created_by) for one in kept.definition.versions])

    @get(f"{FLOW}/versions/{{version:str}}", permission=_READ, operation_id="getFlowVersion", contract=Contract(gives={200: Media(YAML)}, fails=(404,)))
    async def get_version(request: Caller, flow: FromPath[str], version: FromPath[str]) -> Response[bytes]:
        """The YAML text of one version."""
        return _text(*await flows.revision(request.user.account, flow, version_number(version, "flow")))

    @get(f"{FLOW}/metadata", permission=_READ, operation_id="getFlowMetadata", contract=Contract(gives={200: FlowInfo}, fails=(404,)))
    async def get_metadata(request: Caller, flow: FromPath[str]) -> Response[bytes]:
        """A flow without its text."""
        kept = await flows.get(request.user.account, flow)
        made = answer(info_of(request.user.account, kept.definition))
        made.headers["etag"] = tag(kept.tag)
        return made

    @patch(
        f"{FLOW}/metadata",
        permission=_WRITE,
        operation_id="changeFlowMetadata",
        status_code=200,
        contract=Contract(takes=FlowMetadata, gives={204: None}, fails=(404, 409, 412), tagged=True),
    )
    async def change_metadata(request: Caller, flow: FromPath[str]) -> Response[bytes]:
        """Change tags, category, status or custom members; what is left out stays."""
        given = await body_of(request, FlowMetadata)
        tags = given.tags if given.tags is UNSET else tuple(given.tags)
        about = About(tags=tags, category=given.category, status=given.status, custom=given.custom)
        return _empty(await flows.update(request.user.account, flow, by=by_of(request.user), about=about, expected=expected_of(request)))

    return [list_versions, get_version, get_metadata, change_metadata]
