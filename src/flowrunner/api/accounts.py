"""Accounts and log-ins under ``/api/v1`` (F): made, renamed, deleted, entered and left."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Literal

import msgspec
from litestar import Request, Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from flowrunner.api.bodies import body_of
from flowrunner.api.identify import PUBLIC, actor_of, address_of
from flowrunner.api.page import limit_of
from flowrunner.errors import AccessDenied, InvalidDocument, Unauthenticated
from flowrunner.identity.entries import Account, User
from flowrunner.identity.gate import LOGIN
from flowrunner.identity.permissions import Permission
from flowrunner.identity.principal import Actor, Principal
from flowrunner.identity.service import Identity
from flowrunner.views.records import moment

ACCOUNTS = "/api/v1/accounts"
ACCOUNT = f"{ACCOUNTS}/{{account:str}}"
Caller = Request[Principal, Any, Any]
NO_STORE = {"cache-control": "no-store"}


class LogIn(msgspec.Struct, forbid_unknown_fields=True):
    """A name and its password."""

    username: str
    password: str


class NewAccount(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The first owner of a new account; `id` (12 digits) is the operator's to choose."""

    username: str
    password: str
    name: str | None = None
    email: str | None = None
    id: str | None = None


class AccountChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to be changed."""

    name: str | None = None
    email: str | None = None


class PasswordChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One's own password."""

    current_password: str
    new_password: str


def shown(account: Account, username: str) -> dict[str, Any]:
    """An account as F shows it: `username` is its first owner's, with which one can log in; `name` is for display."""
    shape = {"id": account.id, "username": username, "name": account.name, "email": account.email}
    return shape | {"created_at": moment(account.created_at), "updated_at": moment(account.updated_at)}


def answer(value: Any, status: int = 200) -> Response[bytes]:
    """JSON that nobody keeps a copy of."""
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json", headers=NO_STORE)


def own(request: Caller, account: str, operator: Permission | None = None) -> str:
    """The account of a path, if it is the caller's (or anybody's, for an operator with this permission); raises AccessDenied.

    Somebody else's account and one that does not exist are told apart by nothing.
    """
    principal = request.user
    if account in ("me", principal.account):
        return principal.account
    if operator is not None and operator in principal.permissions:
        return account
    raise AccessDenied


def logins(identity: Identity) -> list[HTTPRouteHandler]:
    """The handlers of log-ins."""
    gate = identity.gate

    def entered(account: str, user: User) -> Response[bytes]:
        token = identity.logins.issue(account, user)
        return answer({"token": token, "account_id": account, "username": user.username, "role": user.role, "expires_in": identity.logins.seconds})

    @post("/api/v1/login", permission=PUBLIC, operation_id="logIn")
    async def log_in(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Give a token for a user name and a password."""
        given = await body_of(request, LogIn)
        actor = Actor(f"user:{given.username}", address_of(request.scope), str(request.scope.get("trace_id", "")))
        kept = await gate.password(given.username, given.password, actor)
        return entered(kept.account, kept.entry)

    @post(f"{ACCOUNTS}/refresh-token", permission=Permission.CREDENTIALS_OWN, operation_id="refreshToken")
    async def refresh(request: Caller) -> Response[bytes]:
        """Give another token to who has logged in; an API token is no log-in, and may be narrower than its user."""
        if not request.user.credential.startswith(LOGIN):
            raise AccessDenied("Only a log-in is renewed.")
        user = await identity.users.get(request.user.account, request.user.user)
        if request.user.credential != f"{LOGIN}{user.logins}":  # it ended a moment ago, and is still remembered here
            raise Unauthenticated("The log-in has ended.")
        return entered(request.user.account, user)

    @post("/api/v1/logout", permission=Permission.CREDENTIALS_OWN, operation_id="logOut")
    async def log_out(request: Caller) -> Response[bytes]:
        """End every log-in of the caller."""
        await identity.users.end_logins(request.user.account, request.user.user, actor_of(request.scope, request.user))
        gate.forget()
        return Response(b"", status_code=204)

    @put(f"{ACCOUNTS}/me/password", permission=Permission.CREDENTIALS_OWN, operation_id="changePassword")
    async def change_password(request: Caller) -> Response[bytes]:
        """Change the caller's password; its log-ins end."""
        given = await body_of(request, PasswordChange)
        who, actor = request.user, actor_of(request.scope, request.user)
        user = await identity.users.get(who.account, who.user)
        with gate.guessed(user.username, actor):  # who has only a token is not to find out the password by trying
            await identity.users.change_password(who.account, who.user, given.new_password, actor, current=given.current_password)
        gate.forget()
        return Response(b"", status_code=204)

    return [log_in, refresh, log_out, change_password]


def routes(identity: Identity, *, registration: Literal["open", "closed"]) -> list[HTTPRouteHandler]:
    """The handlers of this module. Without open `registration` only an operator makes accounts."""
    accounts, gate = identity.accounts, identity.gate

    async def create(request: Request[Any, Any, Any], principal: Principal | None) -> Response[bytes]:
        given = await body_of(request, NewAccount)
        if given.id is not None and (principal is None or Permission.ACCOUNTS_WRITE not in principal.permissions):
            raise AccessDenied("The id of an account is the operator's to choose.")
        actor = actor_of(request.scope, principal)
        opened = await accounts.open(given.username, given.password, actor, name=given.name, email=given.email, account=given.id)
        return answer(shown(opened.account, opened.owner.username), 201)

    if registration == "open":

        @post(ACCOUNTS, permission=PUBLIC, operation_id="createAccount")
        async def create_account(request: Request[Any, Any, Any]) -> Response[bytes]:
            """Make an account with its first owner."""
            return await create(request, None)
    else:

        @post(ACCOUNTS, permission=Permission.ACCOUNTS_WRITE, operation_id="createAccount")
        async def create_account(request: Request[Any, Any, Any]) -> Response[bytes]:
            """Make an account with its first owner."""
            return await create(request, request.user)

    @get(ACCOUNTS, permission=Permission.ACCOUNT_READ, operation_id="listAccounts")
    async def list_accounts(request: Caller) -> Response[bytes]:
        """List the accounts: all of them for an operator, otherwise the caller's own. ``?limit=&after=``."""
        query, everybody = request.query_params, Permission.ACCOUNTS_READ in request.user.permissions
        limit = limit_of(query.get("limit"))
        found = await accounts.page(after=query.get("after"), limit=limit) if everybody else [await accounts.get(request.user.account)]
        more = found[-1].id if everybody and len(found) == limit else None
        names = await asyncio.gather(*map(accounts.username, found))
        return answer({"accounts": list(map(shown, found, names)), "total": len(found), "next_after": more})

    @get(ACCOUNT, permission=Permission.ACCOUNT_READ, operation_id="describeAccount")
    async def describe_account(request: Caller, account: FromPath[str]) -> Response[bytes]:
        """One account; ``me`` is the caller's."""
        found = await accounts.get(own(request, account, Permission.ACCOUNTS_READ))
        return answer(shown(found, await accounts.username(found)))

    @put(ACCOUNT, permission=Permission.USERS_WRITE, operation_id="changeAccount")
    async def change_account(request: Caller, account: FromPath[str]) -> Response[bytes]:
        """Change the name or the e-mail address."""
        given = await body_of(request, AccountChange)
        number = own(request, account, Permission.ACCOUNTS_WRITE)
        changed = await accounts.change(number, actor_of(request.scope, request.user), name=given.name, email=given.email)
        return answer(shown(changed, await accounts.username(changed)))

    @delete(ACCOUNT, permission=Permission.ACCOUNT_DELETE, operation_id="deleteAccount", status_code=204)
    async def delete_account(request: Caller, account: FromPath[str]) -> None:
        """Delete an account with everything it holds."""
        await accounts.delete(own(request, account, Permission.ACCOUNTS_WRITE), actor_of(request.scope, request.user))
        gate.forget()

    @get(f"{ACCOUNT}/audit", permission=Permission.AUDIT_READ, operation_id="listAudit")
    async def list_audit(request: Caller, account: FromPath[str]) -> Response[bytes]:
        """The audit log in order: ``?after=SEQ&limit=``."""
        query = request.query_params
        after = query.get("after", "0")
        if re.fullmatch(r"[0-9]{1,15}", after) is None:
            raise InvalidDocument("after must be the number of an entry.", pointer="/after")
        number = own(request, account)
        head = await identity.audit.head(number)
        return answer({"entries": await identity.audit.page(number, after=int(after), limit=limit_of(query.get("limit"))), "head": head})

    return [*logins(identity), create_account, list_accounts, describe_account, change_account, delete_account, list_audit]
