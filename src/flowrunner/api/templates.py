"""Action templates under ``/api/v2/action-templates`` (T): steps made ready, copied, and who uses them."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
from litestar import Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import UNSET, UnsetType

from flowrunner.api.accounts import answer
from flowrunner.api.authoring import Authoring, Caller, by_of
from flowrunner.api.bodies import body_of
from flowrunner.api.checking import doubts_in
from flowrunner.api.contract import Contract
from flowrunner.api.preconditions import expected_of, tag
from flowrunner.api.problems import ProblemError
from flowrunner.api.workflows import Said
from flowrunner.definitions.records import Stored
from flowrunner.definitions.templates import ActionTemplate, Parameter, Scope, compiled, records, users
from flowrunner.errors import InvalidDocument
from flowrunner.identity.permissions import Permission
from flowrunner.views.records import moment
from flowrunner.workflow.actiontemplates import check_template

TEMPLATES = "/api/v2/action-templates"
TEMPLATE = f"{TEMPLATES}/{{template:str}}"
_READ, _WRITE = Permission.MACHINES_READ, Permission.MACHINES_WRITE
MOST_NAME = 256  # characters


class NewTemplate(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A step made ready; an id is made up unless given."""

    name: str
    type: str
    template_id: str | None = None
    description: str = ""
    scope: Scope = "project"
    category: str = ""
    config: dict[str, Any] = {}
    parameters: list[Parameter] = []
    outputs: dict[str, str] = {}


class TemplateChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """What is to be changed of a template; what is left out stays."""

    template_id: str | None = None
    name: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    scope: Scope | UnsetType = UNSET
    category: str | UnsetType = UNSET
    config: dict[str, Any] | UnsetType = UNSET
    parameters: list[Parameter] | UnsetType = UNSET
    outputs: dict[str, str] | UnsetType = UNSET


class CopyAsked(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """How a copy is called."""

    template_id: str | None = None
    name: str | None = None


class TemplateInfo(msgspec.Struct, kw_only=True, rename="camel"):
    """An action template. Times are RFC 3339 UTC; `version` counts its changes. `warnings` say what is doubtful about one that has just been kept."""

    template_id: str
    name: str
    type: str
    description: str
    scope: Scope
    category: str
    version: int
    config: dict[str, Any]
    parameters: list[Parameter]
    outputs: dict[str, Any]
    created_by: str
    created_at: str
    updated_at: str
    warnings: list[ProblemError] | UnsetType = UNSET


class TemplateList(msgspec.Struct):
    """Action templates, by id."""

    data: list[TemplateInfo]
    total: int


class TemplateUsage(msgspec.Struct, kw_only=True, rename="camel"):
    """The workflows whose latest version names a template."""

    template_id: str
    usage_count: int
    workflows: list[str]


def shown(template: ActionTemplate) -> TemplateInfo:
    """A template as T shows it."""
    return TemplateInfo(
        template_id=template.id,
        name=template.name,
        type=template.type,
        description=template.description,
        scope=template.scope,
        category=template.category,
        version=template.version,
        config=template.config,
        parameters=list(template.parameters),
        outputs=template.outputs,
        created_by=template.created_by,
        created_at=moment(template.created_at),
        updated_at=moment(template.updated_at),
    )


def _told(stored: Stored[ActionTemplate], status: int = 200, warnings: list[ProblemError] | UnsetType = UNSET) -> Response[bytes]:
    made = answer(msgspec.structs.replace(shown(stored.entry), warnings=warnings), status)
    made.headers["etag"] = tag(stored.tag)
    return made


def routes(authoring: Authoring) -> list[HTTPRouteHandler]:
    """The handlers of this module."""
    templates = records(authoring.store.documents)
    kinds = {name: kind for kind in authoring.kinds for name in (kind.name, *kind.aliases)}

    def checked(template: ActionTemplate) -> ActionTemplate:
        if not 0 < len(template.name) <= MOST_NAME:
            raise InvalidDocument(f"An action template has a name of 1 to {MOST_NAME} characters.", pointer="/name")
        return template

    async def doubts_of(request: Caller, template: ActionTemplate) -> list[ProblemError] | UnsetType:
        return await doubts_in(request, "action template", check_template(compiled(template), kinds))

    async def list_all(request: Caller) -> Response[bytes]:
        found = [shown(stored.entry) for stored in await templates.all(request.user.account)]
        return answer(TemplateList(found, len(found)))

    @get(TEMPLATES, permission=_READ, operation_id="listTemplates", contract=Contract(gives={200: TemplateList}))
    async def list_templates(request: Caller) -> Response[bytes]:
        """All action templates, by id."""
        return await list_all(request)

    @get(f"{TEMPLATES}/accessible", permission=_READ, operation_id="listAccessibleTemplates", contract=Contract(gives={200: TemplateList}))
    async def list_accessible(request: Caller) -> Response[bytes]:
        """The action templates that the caller's workflows may name: all of the account."""
        return await list_all(request)

    @post(
        TEMPLATES,
        permission=_WRITE,
        operation_id="createTemplate",
        contract=Contract(takes=NewTemplate, gives={201: TemplateInfo}, fails=(409,), keyed=True),
    )
    async def create_template(request: Caller) -> Response[bytes]:
        """Make an action template."""
        given, now = await body_of(request, NewTemplate), authoring.clock.now()
        made = ActionTemplate(
            id=_new_id() if given.template_id is None else given.template_id,
            name=given.name,
            type=given.type,
            description=given.description,
            scope=given.scope,
            category=given.category,
            config=given.config,
            parameters=tuple(given.parameters),
            outputs=given.outputs,
            created_by=by_of(request.user),
            created_at=now,
            updated_at=now,
        )
        templates.check_id(made.id)
        doubtful = await doubts_of(request, checked(made))
        return _told(await templates.create(request.user.account, made.id, made), 201, doubtful)

    @get(TEMPLATE, permission=_READ, operation_id="getTemplate", contract=Contract(gives={200: TemplateInfo}, fails=(404,)))
    async def get_template(request: Caller, template: FromPath[str]) -> Response[bytes]:
        """One action template."""
        return _told(await templates.get(request.user.account, template))

    @put(
        TEMPLATE,
        permission=_WRITE,
        operation_id="updateTemplate",
        contract=Contract(takes=TemplateChange, gives={200: TemplateInfo}, fails=(404, 409, 412), tagged=True),
    )
    async def update_template(request: Caller, template: FromPath[str]) -> Response[bytes]:
        """Change an action template; workflows take the change when they are kept again."""
        given = await body_of(request, TemplateChange)
        if given.template_id not in (None, template):
            raise InvalidDocument("The id of an action template does not change.", pointer="/templateId")
        changes = {name: value for name in given.__struct_fields__ if name != "template_id" and (value := getattr(given, name)) is not UNSET}
        if "parameters" in changes:
            changes["parameters"] = tuple(changes["parameters"])

        def make(before: ActionTemplate) -> ActionTemplate:
            return checked(msgspec.structs.replace(before, **changes, version=before.version + 1, updated_at=authoring.clock.now()))

        doubtful = await doubts_of(request, make((await templates.get(request.user.account, template)).entry))
        return _told(await templates.change(request.user.account, template, make, expected=expected_of(request)), warnings=doubtful)

    @delete(
        TEMPLATE,
        permission=_WRITE,
        operation_id="deleteTemplate",
        status_code=200,
        contract=Contract(gives={200: Said}, fails=(404, 409, 412), tagged=True),
    )
    async def delete_template(request: Caller, template: FromPath[str]) -> Response[bytes]:
        """Remove an action template; versions of workflows that were made with it keep what it was."""
        await templates.delete(request.user.account, template, expected=expected_of(request))
        return answer(Said("Action template deleted successfully"))

    @post(
        f"{TEMPLATE}/copy",
        permission=_WRITE,
        operation_id="copyTemplate",
        contract=Contract(takes=CopyAsked, gives={201: TemplateInfo}, fails=(404, 409), keyed=True),
    )
    async def copy_template(request: Caller, template: FromPath[str]) -> Response[bytes]:
        """Make a copy of an action template, which goes its own way."""
        given, now = await body_of(request, CopyAsked), authoring.clock.now()
        source = (await templates.get(request.user.account, template)).entry
        name = f"{source.name} (copy)"[:MOST_NAME] if given.name is None else given.name
        copy_id = _new_id() if given.template_id is None else given.template_id
        copy = msgspec.structs.replace(source, id=copy_id, name=name, version=1, created_by=by_of(request.user), created_at=now, updated_at=now)
        return _told(await templates.create(request.user.account, copy_id, checked(copy)), 201)

    @get(f"{TEMPLATE}/usage", permission=_READ, operation_id="getTemplateUsage", contract=Contract(gives={200: TemplateUsage}, fails=(404,)))
    async def get_usage(request: Caller, template: FromPath[str]) -> Response[bytes]:
        """The workflows whose latest version names an action template."""
        await templates.get(request.user.account, template)
        found = await users(authoring.store, request.user.account, template)
        return answer(TemplateUsage(template_id=template, usage_count=len(found), workflows=found))

    return [list_templates, list_accessible, create_template, get_template, update_template, delete_template, copy_template, get_usage]


def _new_id() -> str:
    return f"action-{secrets.token_hex(8)}"
