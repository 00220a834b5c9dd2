"""API tokens, AWS access keys and socket tickets under ``/api/v1``. A secret is shown in the answer that makes it, and never again."""

from __future__ import annotations

import contextlib
import difflib
from typing import Any

import msgspec
from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from flowrunner.api.accounts import ACCOUNT, Caller, answer, own
from flowrunner.api.bodies import body_of
from flowrunner.api.identify import actor_of
from flowrunner.api.users import check_user
from flowrunner.errors import AccessDenied, InvalidDocument, NotFound
from flowrunner.identity import entries
from flowrunner.identity.entries import Token, User
from flowrunner.identity.permissions import Permission
from flowrunner.identity.service import Identity
from flowrunner.identity.users import Users, permissions_of
from flowrunner.views.records import moment


class NewToken(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An API token; `scopes` are permissions, all of its user's unless given; `expires_in` is seconds. `user` is the caller unless given."""

    name: str = ""
    scopes: list[str] | None = None
    expires_in: int | None = None
    user: str | None = None


class NewAccessKey(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An AWS key pair; `expires_in` is seconds."""

    name: str = ""
    expires_in: int | None = None
    user: str | None = None


def shown_token(token: Token) -> dict[str, Any]:
    """A token without secret."""
    shape: dict[str, Any] = {"id": token.id, "user": token.user, "name": token.name, "scopes": token.scopes}
    return shape | {name: _moment(getattr(token, name)) for name in ("created_at", "expires_at", "last_used")}


def shown_key(key: entries.AccessKey) -> dict[str, Any]:
    """A key pair without secret."""
    shape: dict[str, Any] = {"id": key.id, "user": key.user, "name": key.name}
    return shape | {name: _moment(getattr(key, name)) for name in ("created_at", "expires_at", "last_used")}


def _moment(at: int | None) -> str | None:
    return None if at is None else moment(at)


def routes(identity: Identity) -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @post("/api/v1/socket-tickets", permission=Permission.EXECUTIONS_READ, operation_id="createSocketTicket")
    async def create_ticket(request: Caller) -> Response[bytes]:
        """Make a ticket: ``?ticket=`` opens one socket within a minute, so that no token stands in a URL."""
        return answer({"ticket": await identity.credentials.issue_ticket(request.user), "expires_in": 60}, 201)

    return [*_tokens(identity), *_key_pairs(identity), create_ticket]


async def _whose(request: Caller, users: Users, account: str, user: str | None) -> str:
    """The user a credential is for: the caller, or somebody who can do no more, if the caller manages credentials."""
    if user is None or user == request.user.user:
        if not request.user.user:
            raise InvalidDocument("This credential is no user's of the account: log in, or say whose the new one is.", pointer="/user")
        return request.user.user
    if Permission.CREDENTIALS_WRITE not in request.user.permissions:
        raise AccessDenied
    check_user(request, await users.get(account, user))
    return user


async def _check_revocation(request: Caller, users: Users, account: str, user: str) -> None:
    """Raise AccessDenied unless the credential of this user is the caller's to end: nobody locks out who can do more."""
    if user != request.user.user:
        with contextlib.suppress(NotFound):  # a user who is gone is nobody's better
            check_user(request, await users.get(account, user))


def _visible(request: Caller) -> str | None:
    """Whose credentials the caller sees; None: everybody's."""
    return None if Permission.CREDENTIALS_WRITE in request.user.permissions else request.user.user


def _tokens(identity: Identity) -> list[HTTPRouteHandler]:
    users, credentials, gate = identity.users, identity.credentials, identity.gate

    @get(f"{ACCOUNT}/tokens", permission=Permission.CREDENTIALS_OWN, operation_id="listTokens")
    async def list_tokens(request: Caller, account: FromPath[str]) -> Response[bytes]:
        """List the caller's API tokens; all of the account for who manages credentials."""
        found = await credentials.tokens(own(request, account), user=_visible(request))
        return answer({"tokens": [shown_token(token) for token in found], "total": len(found)})

    @post(f"{ACCOUNT}/tokens", permission=Permission.CREDENTIALS_OWN, operation_id="createToken")
    async def create_token(request: Caller, account: FromPath[str]) -> Response[bytes]:
        """Make an API token, which is in this answer only; it can do no more than the caller."""
        number, given = own(request, account), await body_of(request, NewToken)
        _check_scopes(given.scopes)
        await gate.check(request.user)
        user = await _whose(request, users, number, given.user)
        wanted = given.scopes
        if user == request.user.user:
            wanted = _within(request, wanted, await users.get(number, user))
        issued = await credentials.issue_token(
            number, user, actor_of(request.scope, request.user), name=given.name, scopes=wanted, seconds=_seconds(given.expires_in)
        )
        assert isinstance(issued.entry, Token)  # noqa: S101 - what was asked for
        return answer(shown_token(issued.entry) | {"token": issued.secret}, 201)

    @delete(f"{ACCOUNT}/tokens/{{token:str}}", permission=Permission.CREDENTIALS_OWN, operation_id="revokeToken", status_code=204)
    async def revoke_token(request: Caller, account: FromPath[str], token: FromPath[str]) -> None:
        """Revoke an API token."""
        number = own(request, account)
        await _check_revocation(request, users, number, (await credentials.token(number, token, user=_visible(request))).user)
        await credentials.revoke_token(number, token, actor_of(request.scope, request.user), user=_visible(request))
        gate.forget()

    return [list_tokens, create_token, revoke_token]


def _key_pairs(identity: Identity) -> list[HTTPRouteHandler]:
    users, credentials, gate = identity.users, identity.credentials, identity.gate

    @get(f"{ACCOUNT}/access-keys", permission=Permission.CREDENTIALS_OWN, operation_id="listAccessKeys")
    async def list_keys(request: Caller, account: FromPath[str]) -> Response[bytes]:
        """List AWS key pairs without their secrets."""
        found = await credentials.access_keys(own(request, account), user=_visible(request))
        return answer({"access_keys": [shown_key(key) for key in found], "total": len(found)})

    @post(f"{ACCOUNT}/access-keys", permission=Permission.CREDENTIALS_OWN, operation_id="createAccessKey")
    async def create_key(request: Caller, account: FromPath[str]) -> Response[bytes]:
        """Make an AWS key pair; its secret is in this answer only. A token with fewer permissions than its user makes none."""
        number, given = own(request, account), await body_of(request, NewAccessKey)
        await gate.check(request.user)
        user = await _whose(request, users, number, given.user)
        if user == request.user.user and not permissions_of(await users.get(number, user)) <= request.user.permissions:
            raise AccessDenied("A key pair can do all that its user can, and this credential cannot.")
        issued = await credentials.issue_access_key(number, user, actor_of(request.scope, request.user), name=given.name, seconds=_seconds(given.expires_in))
        assert isinstance(issued.entry, entries.AccessKey)  # noqa: S101 - what was asked for
        return answer(shown_key(issued.entry) | {"secret": issued.secret}, 201)

    @delete(f"{ACCOUNT}/access-keys/{{key:str}}", permission=Permission.CREDENTIALS_OWN, operation_id="revokeAccessKey", status_code=204)
    async def revoke_key(request: Caller, account: FromPath[str], key: FromPath[str]) -> None:
        """Revoke an AWS key pair."""
        number = own(request, account)
        await _check_revocation(request, users, number, (await credentials.key_pair(number, key, user=_visible(request))).user)
        await credentials.revoke_access_key(number, key, actor_of(request.scope, request.user), user=_visible(request))
        gate.forget()

    return [list_keys, create_key, revoke_key]


def _check_scopes(scopes: list[str] | None) -> None:
    """Raise InvalidDocument for a scope that is no permission: a typing error is no lack of rights."""
    known = [str(permission) for permission in Permission]
    for place, scope in enumerate(scopes or ()):
        if scope not in known:
            close = difflib.get_close_matches(scope, known, n=1)
            remedy = f"Did you mean {close[0]}?" if close else f"It must be one of {', '.join(known)}."
            raise InvalidDocument(f"There is no permission {scope[:100]!r}.", pointer=f"/scopes/{place}", remedy=remedy)


def _within(request: Caller, scopes: list[str] | None, user: User) -> list[str] | None:
    """Scopes that are no wider than the caller's own credential."""
    mine = request.user.permissions
    if scopes is None:
        return None if permissions_of(user) <= mine else sorted(mine)
    if not set(scopes) <= mine:
        raise AccessDenied(f"This credential does not have {', '.join(sorted(set(scopes) - mine))}.")
    return scopes


def _seconds(given: int | None) -> int | None:
    if given is not None and not 0 < given <= 10 * 366 * 86400:
        raise InvalidDocument("expires_in is seconds, from 1 to ten years.", pointer="/expires_in")
    return given
