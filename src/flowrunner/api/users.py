"""The users of an account under ``/api/v1``."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from flowrunner.api.accounts import ACCOUNT, Caller, answer, own
from flowrunner.api.bodies import body_of
from flowrunner.api.identify import actor_of
from flowrunner.api.page import limit_of
from flowrunner.errors import AccessDenied
from flowrunner.identity.entries import User
from flowrunner.identity.permissions import Permission, Role
from flowrunner.identity.service import Identity
from flowrunner.identity.users import may_grant, permissions_of
from flowrunner.views.records import moment


class NewUser(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Somebody who may log in to the account."""

    username: str
    password: str
    role: Role = Role.VIEWER
    email: str | None = None


class UserChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to be changed: the role, or the password (set by an admin)."""

    role: Role | None = None
    password: str | None = None


def shown_user(user: User) -> dict[str, Any]:
    """A user without password."""
    shape = {"id": user.id, "username": user.username, "role": user.role, "operator": user.operator, "email": user.email}
    return shape | {"created_at": moment(user.created_at), "updated_at": moment(user.updated_at)}


def check_grant(request: Caller, role: Role) -> None:
    """Raise AccessDenied unless the caller can do all that this role can: nobody gives or takes away more than they have."""
    if not may_grant(request.user.permissions, role):
        raise AccessDenied(f"Only who can do all that {'an' if role[0] in 'aeo' else 'a'} {role} can may do this.")


def check_user(request: Caller, user: User) -> None:
    """Raise AccessDenied unless the caller can do all that this user can (an operator can more than its role says)."""
    if not permissions_of(user) <= request.user.permissions:
        raise AccessDenied("Only who can do all that this user can may do this.")


def routes(identity: Identity) -> list[HTTPRouteHandler]:
    """The handlers of this module."""
    users, gate = identity.users, identity.gate

    @get(f"{ACCOUNT}/users", permission=Permission.USERS_READ, operation_id="listUsers")
    async def list_users(request: Caller, account: FromPath[str]) -> Response[bytes]:
        """List the users: ``?limit=&after=``."""
        query = request.query_params
        limit = limit_of(query.get("limit"))
        found = await users.page(own(request, account), after=query.get("after"), limit=limit)
        more = found[-1].id if len(found) == limit else None
        return answer({"users": [shown_user(user) for user in found], "total": len(found), "next_after": more})

    @post(f"{ACCOUNT}/users", permission=Permission.USERS_WRITE, operation_id="createUser")
    async def create_user(request: Caller, account: FromPath[str]) -> Response[bytes]:
        """Make a user; nobody gives a role that can do more than they can."""
        number, given = own(request, account), await body_of(request, NewUser)
        check_grant(request, given.role)
        user = await users.create(number, given.username, given.password, given.role, actor_of(request.scope, request.user), email=given.email)
        return answer(shown_user(user), 201)

    @get(f"{ACCOUNT}/users/{{user:str}}", permission=Permission.USERS_READ, operation_id="describeUser")
    async def describe_user(request: Caller, account: FromPath[str], user: FromPath[str]) -> Response[bytes]:
        """One user."""
        return answer(shown_user(await users.get(own(request, account), user)))

    @patch(f"{ACCOUNT}/users/{{user:str}}", permission=Permission.USERS_WRITE, operation_id="changeUser")
    async def change_user(request: Caller, account: FromPath[str], user: FromPath[str]) -> Response[bytes]:
        """Change role or password of a user who can do no more than the caller."""
        number, given = own(request, account), await body_of(request, UserChange)
        changed = await users.get(number, user)
        check_user(request, changed)
        actor, check = actor_of(request.scope, request.user), partial(check_user, request)
        if given.role is not None:
            check_grant(request, given.role)
            changed = await users.change_role(number, user, given.role, actor, check=check)
        if given.password is not None:
            changed = await users.change_password(number, user, given.password, actor, check=check)
        gate.forget()
        return answer(shown_user(changed))

    @delete(f"{ACCOUNT}/users/{{user:str}}", permission=Permission.USERS_WRITE, operation_id="deleteUser", status_code=204)
    async def delete_user(request: Caller, account: FromPath[str], user: FromPath[str]) -> None:
        """Remove a user with its tokens and keys."""
        await users.delete(own(request, account), user, actor_of(request.scope, request.user), check=partial(check_user, request))
        gate.forget()

    return [list_users, create_user, describe_user, change_user, delete_user]
