"""Environments under ``/api/v2/environments`` (T): variables of runs, one set active at a time."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from functools import partial
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
from flowrunner.api.identify import actor_of
from flowrunner.api.preconditions import expected_of, tag
from flowrunner.api.workflows import Said
from flowrunner.core.variables import check_variables
from flowrunner.definitions.environments import MASK, Environment, secret_name
from flowrunner.definitions.records import Stored
from flowrunner.errors import AccessDenied, InvalidDocument, NotFound
from flowrunner.identity.permissions import Permission
from flowrunner.vault.writing import Write
from flowrunner.views.records import moment

ENVIRONMENTS = "/api/v2/environments"
ENVIRONMENT = f"{ENVIRONMENTS}/{{environment:str}}"
VARIABLE = f"{ENVIRONMENT}/variables/{{key:str}}"
_READ, _WRITE = Permission.MACHINES_READ, Permission.MACHINES_WRITE
MOST_NAME = 256  # characters
_SECRET_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")


class NewEnvironment(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A set of variables; an id is made up unless given. Those of the environment `parentId` hold where it has none of its own.

    The values of `secretVariables` are sealed, and shown by nothing.
    """

    name: str
    env_id: str | None = None
    description: str = ""
    parent_id: str | None = None
    variables: dict[str, Any] = {}
    secret_variables: dict[str, str] = {}


class EnvironmentChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """What is to be changed of an environment; `variables` are replaced as a whole. A secret variable is set by a text and removed by null; `***` leaves it."""

    env_id: str | None = None
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    parent_id: str | UnsetType | None = UNSET
    variables: dict[str, Any] | UnsetType = UNSET
    secret_variables: dict[str, str | None] = {}


class EnvironmentInfo(msgspec.Struct, kw_only=True, rename="camel"):
    """An environment with its own variables, secret ones masked. Times are RFC 3339 UTC."""

    env_id: str
    name: str
    description: str
    parent_id: str | None
    is_active: bool
    variables: dict[str, Any]
    secret_variables: dict[str, str]
    created_at: str
    updated_at: str


class EnvironmentList(msgspec.Struct):
    """All environments, by id."""

    data: list[EnvironmentInfo]
    total: int


class EnvironmentVariables(msgspec.Struct):
    """The variables of an environment and of its parents, secret ones masked."""

    variables: dict[str, Any]


class Variable(msgspec.Struct):
    """One variable; the value of a secret one is masked."""

    key: str
    value: Any
    secret: bool | UnsetType = UNSET


class VariableValue(msgspec.Struct, forbid_unknown_fields=True):
    """A value: any JSON, whose type is kept; of a secret variable a text. What is secret stays so unless `secret` is false."""

    value: Any
    secret: bool | UnsetType = UNSET


def shown(environment: Environment, active: str | None) -> EnvironmentInfo:
    """An environment as T shows it."""
    return EnvironmentInfo(
        env_id=environment.id,
        name=environment.name,
        description=environment.description,
        parent_id=environment.parent,
        is_active=environment.id == active,
        variables=environment.variables,
        secret_variables=dict.fromkeys(environment.secrets, MASK),
        created_at=moment(environment.created_at),
        updated_at=moment(environment.updated_at),
    )


def _checked(environment: Environment) -> Environment:
    if not 0 < len(environment.name) <= MOST_NAME:
        raise InvalidDocument(f"An environment has a name of 1 to {MOST_NAME} characters.", pointer="/name")
    if any(not 0 < len(name) <= MOST_NAME for name in environment.variables):
        raise InvalidDocument(f"The name of a variable has 1 to {MOST_NAME} characters.", pointer="/variables")
    return environment


def _may_seal(request: Caller, given: Mapping[str, Any]) -> None:
    """Raise AccessDenied, or InvalidDocument for what cannot be the secret variables of an environment; nothing has been changed then."""
    if given and Permission.SECRETS_WRITE not in request.user.permissions:
        raise AccessDenied(f"Secret variables need the permission {Permission.SECRETS_WRITE}.")
    for key, value in given.items():
        if _SECRET_KEY.fullmatch(key) is None:
            raise InvalidDocument("The name of a secret variable has 1 to 128 letters, digits, dashes and underscores.", pointer=f"/secretVariables/{key}")
        if value is not None and (not isinstance(value, str) or not value):
            raise InvalidDocument("The value of a secret variable is a text.", pointer=f"/secretVariables/{key}")


async def seal(authoring: Authoring, request: Caller, environment: str, key: str, value: str) -> Stored[Environment]:
    """Keep the value of a secret variable."""
    account, audit = request.user.account, authoring.audit
    write = None if audit is None else partial(audit.write, account, actor_of(request.scope, request.user), "secret.set", secret_name(environment, key))
    return await authoring.environments.set_secret(account, environment, key, value, write)


def removal(authoring: Authoring, request: Caller) -> Callable[[str], Write | None]:
    """How a request removes secrets, by their names."""

    def write_of(secret: str) -> Write | None:
        audit, account = authoring.audit, request.user.account
        return None if audit is None else partial(audit.write, account, actor_of(request.scope, request.user), "secret.delete", secret)

    return write_of


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
        check_variables(given.variables, "/variables")
        made = Environment(
            id=f"env-{secrets.token_hex(8)}" if given.env_id is None else given.env_id,
            name=given.name,
            description=given.description,
            parent=given.parent_id,
            variables=given.variables,
            created_at=now,
            updated_at=now,
        )
        _may_seal(request, given.secret_variables)
        stored = await environments.create(request.user.account, _checked(made))
        for key, value in given.secret_variables.items():
            stored = await seal(authoring, request, made.id, key, value)
        return await told(request, stored, 201)

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
        if given.variables is not UNSET:
            check_variables(given.variables, "/variables")
        parts = {"name": given.name, "description": given.description, "parent": given.parent_id, "variables": given.variables}
        changes: dict[str, Any] = {name: value for name, value in parts.items() if value is not UNSET}
        asked = given.secret_variables
        _may_seal(request, asked)
        gone = {key for key, value in asked.items() if value is None}

        def made(before: Environment) -> Environment:
            after = msgspec.structs.replace(before, **changes)
            return _checked(msgspec.structs.replace(after, secrets=tuple(key for key in after.secrets if key not in gone and key not in after.variables)))

        changed = await environments.change(request.user.account, environment, made, expected=expected_of(request), removal=removal(authoring, request))
        for key, value in asked.items():
            if value is not None and not (value == MASK and key in changed.entry.secrets):
                changed = await seal(authoring, request, environment, key, value)
        return await told(request, changed)

    @delete(
        ENVIRONMENT,
        permission=_WRITE,
        operation_id="deleteEnvironment",
        status_code=200,
        contract=Contract(gives={200: Said}, fails=(404, 409, 412), tagged=True),
    )
    async def delete_environment(request: Caller, environment: FromPath[str]) -> Response[bytes]:
        """Remove an environment; 409 for the active one, and for one that others inherit from."""
        await environments.delete(request.user.account, environment, expected=expected_of(request), removal=removal(authoring, request))
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
        found, secrets = await environments.merged(request.user.account, environment)
        if key not in found:
            raise NotFound("variable", key)
        return answer(Variable(key, found[key], secret=True if key in secrets else UNSET))

    @put(VARIABLE, permission=_WRITE, operation_id="setVariable", contract=Contract(takes=VariableValue, gives={200: Variable}, fails=(404, 409)))
    async def set_variable(request: Caller, environment: FromPath[str], key: FromPath[str]) -> Response[bytes]:
        """Set a variable of the environment itself."""
        given, account = await body_of(request, VariableValue), request.user.account
        if given.secret is True or (given.secret is UNSET and key in (await environments.get(account, environment)).entry.secrets):
            _may_seal(request, {key: given.value})
            await seal(authoring, request, environment, key, given.value)
            return answer(Variable(key, MASK, secret=True))
        check_variables((key,), "")

        def made(before: Environment) -> Environment:
            secrets = tuple(other for other in before.secrets if other != key)
            return _checked(msgspec.structs.replace(before, variables={**before.variables, key: given.value}, secrets=secrets))

        await environments.change(account, environment, made, removal=removal(authoring, request))
        return answer(Variable(key, given.value))

    @delete(VARIABLE, permission=_WRITE, operation_id="deleteVariable", status_code=200, contract=Contract(gives={200: Said}, fails=(404, 409)))
    async def delete_variable(request: Caller, environment: FromPath[str], key: FromPath[str]) -> Response[bytes]:
        """Remove a variable of the environment itself."""

        def without(before: Environment) -> Environment:
            if key not in before.variables and key not in before.secrets:
                raise NotFound("variable", key)
            kept = {name: value for name, value in before.variables.items() if name != key}
            return msgspec.structs.replace(before, variables=kept, secrets=tuple(name for name in before.secrets if name != key))

        await environments.change(request.user.account, environment, without, removal=removal(authoring, request))
        return answer(Said("Variable deleted successfully"))

    return [list_variables, get_variable, set_variable, delete_variable]
