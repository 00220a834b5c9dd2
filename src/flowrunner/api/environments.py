"""Environments under ``/api/v2/environments`` (T): variables of runs, one set active at a time."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
from litestar import Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import UNSET, UnsetType

from flowrunner.api.accounts import answer
from flowrunner.api.authoring import Authoring, Caller
from flowrunner.api.bodies import body_of
from flowrunner.api.contract import Contract
from flowrunner.api.preconditions import expected_of, tag
from flowrunner.api.workflows import Said
from flowrunner.definitions.environments import Environment
from flowrunner.definitions.records import Stored
from flowrunner.errors import InvalidDocument, NotFound
from flowrunner.identity.permissions import Permission
from flowrunner.views.records import moment

ENVIRONMENTS = "/api/v2/environments"
ENVIRONMENT = f"{ENVIRONMENTS}/{{environment:str}}"
VARIABLE = f"{ENVIRONMENT}/variables/{{key:str}}"
_READ, _WRITE = Permission.MACHINES_READ, Permission.MACHINES_WRITE
MOST_NAME = 256  # characters


class NewEnvironment(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A set of variables; an id is made up unless given. Those of the environment `parentId` hold where it has none of its own."""

    name: str
    env_id: str | None = None
    description: str = ""
    parent_id: str | None = None
    variables: dict[str, Any] = {}


class EnvironmentChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """What is to be changed of an environment; `variables` are replaced as a whole."""

    env_id: str | None = None
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    parent_id: str | UnsetType | None = UNSET
    variables: dict[str, Any] | UnsetType = UNSET


class EnvironmentInfo(msgspec.Struct, kw_only=True, rename="camel"):
    """An environment with its own variables. Times are RFC 3339 UTC."""

    env_id: str
    name: str
    description: str
    parent_id: str | None
    is_active: bool
    variables: dict[str, Any]
    created_at: str
    updated_at: str


class EnvironmentList(msgspec.Struct):
    """All environments, by id."""

    data: list[EnvironmentInfo]
    total: int


class EnvironmentVariables(msgspec.Struct):
    """The variables of an environment and of its parents."""

    variables: dict[str, Any]


class Variable(msgspec.Struct):
    """One variable."""

    key: str
    value: Any


class VariableValue(msgspec.Struct, forbid_unknown_fields=True):
    """A value: any JSON, whose type is kept."""

    value: Any


def shown(environment: Environment, active: str | None) -> EnvironmentInfo:
    """An environment as T shows it."""
    return EnvironmentInfo(
        env_id=environment.id,
        name=environment.name,
        description=environment.description,
        parent_id=environment.parent,
        is_active=environment.id == active,
        variables=environment.variables,
        created_at=moment(environment.created_at),
        updated_at=moment(environment.updated_at),
    )


def _checked(environment: Environment) -> Environment:
    if not 0 < len(environment.name) <= MOST_NAME:
        raise InvalidDocument(f"An environment has a name of 1 to {MOST_NAME} characters.", pointer="/name")
    if any(not 0 < len(name) <= MOST_NAME for name in environment.variables):
        raise InvalidDocument(f"The name of a variable has 1 to {MOST_NAME} characters.", pointer="/variables")
    return environment


def routes(authoring: Authoring) -> list[HTTPRouteHandler]:
    """The handlers of this module."""
    environments = authoring.environments

    async def told(request: Caller, stored: Stored[Environment], status: int = 200) -> Response[bytes]:
        made = answer(shown(stored.entry, await environments.active(request.user.account)), status)
        made.headers["etag"] = tag(stored.tag)
        return made

    @get(ENVIRONMENTS, permission=_READ, operation_id="listEnvironments", contract=Contract(gives={200: EnvironmentList}))
    async def list_environments(request: Caller) -> Response[bytes]:
        """All environments, by id."""
        active = await environments.active(request.user.account)
        found = [shown(environment, active) for environment in await environments.all(request.user.account)]
        return answer(EnvironmentList(found, len(found)))

    @post(
        ENVIRONMENTS,
        permission=_WRITE,
        operation_id="createEnvironment",
        contract=Contract(takes=NewEnvironment, gives={201: EnvironmentInfo}, fails=(409,), keyed=True),
    )
    async def create_environment(request: Caller) -> Response[bytes]:
        """Make an environment."""
        given, now = await body_of(request, NewEnvironment), authoring.clock.now()
        made = Environment(
            id=f"env-{secrets.token_hex(8)}" if given.env_id is None else given.env_id,
            name=given.name,
            description=given.description,
            parent=given.parent_id,
            variables=given.variables,
            created_at=now,
            updated_at=now,
        )
        return await told(request, await environments.create(request.user.account, _checked(made)), 201)

    @get(f"{ENVIRONMENTS}/active", permission=_READ, operation_id="getActiveEnvironment", contract=Contract(gives={200: EnvironmentInfo}, fails=(404,)))
    async def get_active(request: Caller) -> Response[bytes]:
        """The active environment."""
        name = await environments.active(request.user.account)
        if name is None:
            raise NotFound("environment", "active")
        return await told(request, await environments.get(request.user.account, name))

    @get(ENVIRONMENT, permission=_READ, operation_id="getEnvironment", contract=Contract(gives={200: EnvironmentInfo}, fails=(404,)))
    async def get_environment(request: Caller, environment: FromPath[str]) -> Response[bytes]:
        """One environment."""
        return await told(request, await environments.get(request.user.account, environment))

    @put(
        ENVIRONMENT,
        permission=_WRITE,
        operation_id="updateEnvironment",
        contract=Contract(takes=EnvironmentChange, gives={200: EnvironmentInfo}, fails=(404, 409, 412), tagged=True),
    )
    async def update_environment(request: Caller, environment: FromPath[str]) -> Response[bytes]:
        """Change an environment; what is left out stays."""
        given = await body_of(request, EnvironmentChange)
        if given.env_id not in (None, environment):
            raise InvalidDocument("The id of an environment does not change.", pointer="/envId")
        parts = {"name": given.name, "description": given.description, "parent": given.parent_id, "variables": given.variables}
        changes: dict[str, Any] = {name: value for name, value in parts.items() if value is not UNSET}
        changed = await environments.change(
            request.user.account, environment, lambda before: _checked(msgspec.structs.replace(before, **changes)), expected=expected_of(request)
        )
        return await told(request, changed)

    @delete(
        ENVIRONMENT,
        permission=_WRITE,
        operation_id="deleteEnvironment",
        status_code=200,
        contract=Contract(gives={200: Said}, fails=(404, 409, 412), tagged=True),
    )
    async def delete_environment(request: Caller, environment: FromPath[str]) -> Response[bytes]:
        """Remove an environment; 409 for the active one."""
        await environments.delete(request.user.account, environment, expected=expected_of(request))
        return answer(Said("Environment deleted successfully"))

    @post(
        f"{ENVIRONMENT}/activate",
        permission=_WRITE,
        operation_id="activateEnvironment",
        status_code=200,
        contract=Contract(gives={200: EnvironmentInfo}, fails=(404, 409)),
    )
    async def activate(request: Caller, environment: FromPath[str]) -> Response[bytes]:
        """Make an environment the active one, in place of what was."""
        return await told(request, await environments.activate(request.user.account, environment))

    return [
        list_environments,
        create_environment,
        get_active,
        get_environment,
        update_environment,
        delete_environment,
        activate,
        *_variables(authoring),
    ]


def _variables(authoring: Authoring) -> list[HTTPRouteHandler]:
    environments = authoring.environments

    @get(f"{ENVIRONMENT}/variables", permission=_READ, operation_id="listVariables", contract=Contract(gives={200: EnvironmentVariables}, fails=(404,)))
    async def list_variables(request: Caller, environment: FromPath[str]) -> Response[bytes]:
        """The variables that runs get: those of the environment, and of its parents where it has none of its own."""
        return answer(EnvironmentVariables(await environments.variables(request.user.account, environment)))

    @get(VARIABLE, permission=_READ, operation_id="getVariable", contract=Contract(gives={200: Variable}, fails=(404,)))
    async def get_variable(request: Caller, environment: FromPath[str], key: FromPath[str]) -> Response[bytes]:
        """One variable, a parent's too."""
        found = await environments.variables(request.user.account, environment)
        if key not in found:
            raise NotFound("variable", key)
        return answer(Variable(key, found[key]))

    @put(VARIABLE, permission=_WRITE, operation_id="setVariable", contract=Contract(takes=VariableValue, gives={200: Variable}, fails=(404, 409)))
    async def set_variable(request: Caller, environment: FromPath[str], key: FromPath[str]) -> Response[bytes]:
        """Set a variable of the environment itself."""
        given = await body_of(request, VariableValue)
        await environments.change(
            request.user.account,
            environment,
            lambda before: _checked(msgspec.structs.replace(before, variables={**before.variables, key: given.value})),
        )
        return answer(Variable(key, given.value))

    @delete(VARIABLE, permission=_WRITE, operation_id="deleteVariable", status_code=200, contract=Contract(gives={200: Said}, fails=(404, 409)))
    async def delete_variable(request: Caller, environment: FromPath[str], key: FromPath[str]) -> Response[bytes]:
        """Remove a variable of the environment itself."""

        def without(before: Environment) -> Environment:
            if key not in before.variables:
                raise NotFound("variable", key)
            return msgspec.structs.replace(before, variables={name: value for name, value in before.variables.items() if name != key})

        await environments.change(request.user.account, environment, without)
        return answer(Said("Variable deleted successfully"))

    return [list_variables, get_variable, set_variable, delete_variable]
