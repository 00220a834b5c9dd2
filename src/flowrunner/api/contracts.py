"""Contracts of the routes of accounts, credentials, secrets and health; the other routes have theirs beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flowrunner.api.accounts import AccountChange, LogIn, NewAccount, PasswordChange
from flowrunner.api.contract import EVENTS, LIMIT, TEXT, Contract, Media, Parameter
from flowrunner.api.credentials import NewAccessKey, NewToken
from flowrunner.api.secretshapes import Metadata, RotationAsked, Search, Structured, Value
from flowrunner.api.users import NewUser, UserChange


class Status(msgspec.Struct):
    """How the server is."""

    status: str


class Polled(msgspec.Struct, kw_only=True, rename="camel"):
    """What a long poll gives: messages as of the stream; go on with `?after=` and `lastSeq`, until `ended` is true."""

    run_id: str
    messages: list[dict[str, Any]]
    last_seq: int
    ended: bool


class Entered(msgspec.Struct):
    """A token for who has logged in; `expires_in` is seconds."""

    token: str
    account_id: str
    username: str
    role: str
    expires_in: int


class AccountInfo(msgspec.Struct):
    """An account. Times are RFC 3339 UTC."""

    id: str
    username: str
    name: str
    email: str | None
    created_at: str
    updated_at: str


class AccountList(msgspec.Struct):
    """Accounts by id; `next_after` is what `after` gives the next page."""

    accounts: list[AccountInfo]
    total: int
    next_after: str | None


class AuditPage(msgspec.Struct):
    """Entries of the audit log, and the number and hash of the last there is."""

    entries: list[dict[str, Any]]
    head: dict[str, Any]


class UserInfo(msgspec.Struct):
    """A user without password."""

    id: str
    username: str
    role: str
    operator: bool
    email: str | None
    created_at: str
    updated_at: str


class UserList(msgspec.Struct):
    """Users by id; `next_after` is what `after` gives the next page."""

    users: list[UserInfo]
    total: int
    next_after: str | None


class TokenList(msgspec.Struct):
    """API tokens without their secrets."""

    tokens: list[dict[str, Any]]
    total: int


class AccessKeyList(msgspec.Struct):
    """AWS key pairs without their secrets."""

    access_keys: list[dict[str, Any]]
    total: int


class Ticket(msgspec.Struct):
    """What opens one socket; `expires_in` is seconds."""

    ticket: str
    expires_in: int


class SecretInfo(msgspec.Struct):
    """A secret without its value. Times are RFC 3339 UTC."""

    key: str
    form: str
    type: str
    description: str | None
    tags: list[str]
    version: int
    created_at: str
    updated_at: str
    expires_at: str | None
    last_used: str | None


class SecretList(msgspec.Struct):
    """Secrets by name, without values."""

    secrets: list[SecretInfo]
    total: int


class KeyList(msgspec.Struct):
    """Names of secrets."""

    keys: list[str]
    total: int


class SecretValue(msgspec.Struct):
    """The value of a secret."""

    key: str
    value: str
    version: int


class Rotated(msgspec.Struct):
    """What a rotation did: data keys made, values sealed anew, data keys wrapped anew, and the keys that are no longer needed."""

    made: int
    resealed: int
    rewrapped: int
    retired: list[str]


_AFTER = Parameter("after", "The last id of the page before.")
_READ, _CHANGED, _GONE = (404,), (404, 409), (404, 409)
_TYPED = {
    f"{verb}{kind}Secret": contract
    for kind in ("Oauth", "ApiKey", "Database", "Jwt")
    for verb, contract in (
        ("create", Contract(takes=dict[str, Any], gives={201: SecretInfo}, fails=(409,))),
        ("get", Contract(gives={200: dict[str, Any]}, fails=_READ)),
    )
}
CONTRACTS: Mapping[str, Contract] = {
    "health": Contract(gives={200: Status}),
    "ready": Contract(gives={200: Status}, fails=(503,)),
    "metrics": Contract(gives={200: Media(TEXT)}),
    "streamRun": Contract(
        gives={200: Media(EVENTS, Polled), 204: None},
        fails=(404, 406),
        query=(
            Parameter("after", "The sequence number to go on after.", "integer", least=0, most=10**15 - 1),
            Parameter("wait", "Answer once, as JSON, with what came within this time (`25s`)."),
            Parameter("history", "What of the history is told too."),
            Parameter("snapshot", "Begin with one message that tells how the run stands, instead of the messages so far."),
        ),
    ),
    "logIn": Contract(takes=LogIn, gives={200: Entered, 201: Entered}, fails=(401, 429)),
    "refreshToken": Contract(gives={200: Entered, 201: Entered}, fails=(404,)),
    "logOut": Contract(gives={204: None}, fails=(404, 409)),
    "changePassword": Contract(takes=PasswordChange, gives={204: None}, fails=_CHANGED),
    "createAccount": Contract(takes=NewAccount, gives={201: AccountInfo}, fails=(403, 409)),
    "listAccounts": Contract(gives={200: AccountList}, fails=(404,), query=(LIMIT, _AFTER)),
    "describeAccount": Contract(gives={200: AccountInfo}, fails=_READ),
    "changeAccount": Contract(takes=AccountChange, gives={200: AccountInfo}, fails=_CHANGED),
    "deleteAccount": Contract(gives={204: None}, fails=_GONE),
    "listAudit": Contract(
        gives={200: AuditPage}, fails=_READ, query=(LIMIT, Parameter("after", "The entry to go on after.", "integer", least=0, most=10**15 - 1))
    ),
    "listUsers": Contract(gives={200: UserList}, fails=_READ, query=(LIMIT, _AFTER)),
    "createUser": Contract(takes=NewUser, gives={201: UserInfo}, fails=(404, 409)),
    "describeUser": Contract(gives={200: UserInfo}, fails=_READ),
    "changeUser": Contract(takes=UserChange, gives={200: UserInfo}, fails=_CHANGED),
    "deleteUser": Contract(gives={204: None}, fails=_GONE),
    "listTokens": Contract(gives={200: TokenList}, fails=_READ),
    "createToken": Contract(takes=NewToken, gives={201: dict[str, Any]}, fails=(404, 409)),
    "revokeToken": Contract(gives={204: None}, fails=_GONE),
    "listAccessKeys": Contract(gives={200: AccessKeyList}, fails=_READ),
    "createAccessKey": Contract(takes=NewAccessKey, gives={201: dict[str, Any]}, fails=(404, 409)),
    "revokeAccessKey": Contract(gives={204: None}, fails=_GONE),
    "createSocketTicket": Contract(gives={201: Ticket}),
    "listSecrets": Contract(gives={200: SecretList}),
    "listSecretKeys": Contract(gives={200: KeyList}),
    "getSecret": Contract(gives={200: SecretValue}, fails=_READ),
    "createSecret": Contract(takes=Value, gives={201: SecretInfo}, fails=(409,)),
    "setSecret": Contract(takes=Value, gives={200: SecretInfo}, fails=_CHANGED, tagged=True),
    "deleteSecret": Contract(gives={204: None}, fails=_GONE),
    "listStructuredSecrets": Contract(
        gives={200: SecretList}, query=(Parameter("type", "Secrets of this type only."), Parameter("tag", "Secrets with this tag only."))
    ),
    "searchSecrets": Contract(takes=Search, gives={200: SecretList}),
    "getStructuredSecret": Contract(gives={200: dict[str, Any]}, fails=_READ, query=(Parameter("field", "One field, as a dotted path."),)),
    "createStructuredSecret": Contract(takes=Structured, gives={201: SecretInfo}, fails=(409,)),
    "setStructuredSecret": Contract(takes=Structured, gives={200: SecretInfo}, fails=_CHANGED, tagged=True),
    "deleteStructuredSecret": Contract(gives={204: None}, fails=_GONE),
    "describeSecret": Contract(takes=Metadata, gives={200: SecretInfo}, fails=_CHANGED),
    "rotateDataKey": Contract(gives={200: Rotated}, fails=(404, 409)),
    "rotateKeys": Contract(takes=RotationAsked, gives={200: Rotated}, fails=(409,)),
    **_TYPED,
}
