"""Secrets of an account under ``/api/v1/accounts/{account}`` (F): simple, structured and typed ones, and the rotation of their keys.

Names may hold slashes: the last part of a path is a name, spelt with ``%2F`` or with slashes. No answer may be kept by anybody.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

import msgspec
from litestar import Response, delete, get, patch, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from flowrunner.api.accounts import ACCOUNT, Caller, answer, own
from flowrunner.api.bodies import body_of, object_of
from flowrunner.api.identify import actor_of
from flowrunner.api.preconditions import expected_of
from flowrunner.api.problems import Refused, of_status
from flowrunner.api.secretshapes import (
    METADATA,
    Metadata,
    RotationAsked,
    Search,
    Structured,
    Value,
    change_of,
    listed,
    name_of,
    query_of,
    rotated,
    segments_of,
    shown,
    tagged,
    time_of,
    type_of,
    whole,
)  # fmt: skip
from flowrunner.errors import InvalidDocument, InvalidSecret, NotFound
from flowrunner.identity.audit import AuditLog
from flowrunner.identity.permissions import Permission
from flowrunner.ports.secrets import OF_ENVIRONMENTS
from flowrunner.vault.secret import SecretType
from flowrunner.vault.secrets import SecretQuery, StructuredChange
from flowrunner.vault.vault import Vault
from flowrunner.vault.writing import Write

SECRETS = f"{ACCOUNT}/secrets"
STRUCTURED = f"{ACCOUNT}/structured-secrets"
KEY = "/{key:path}"
TYPED: dict[str, SecretType] = {"oauth-secrets": "oauth", "api-key-secrets": "api_key", "database-secrets": "database", "jwt-secrets": "jwt"}
_LIST, _READ, _WRITE = Permission.SECRETS_LIST, Permission.SECRETS_READ, Permission.SECRETS_WRITE


class _WriteOf(Protocol):
    """How a request's write is made: with the entry of the audit log in it."""

    def __call__(self, request: Caller, act: str, name: str, account: str) -> Write | None: ...


def routes(vault: Vault, audit: AuditLog | None = None) -> list[HTTPRouteHandler]:
    """The handlers of this module; changes are entered in `audit`, in the same write."""

    def write_of(request: Caller, act: str, name: str, account: str) -> Write | None:
        return None if audit is None else partial(audit.write, account, actor_of(request.scope, request.user), act, name)

    typed = [handler for path, kind in TYPED.items() for handler in _typed(vault, path, kind, write_of)]
    return [*_simple(vault, write_of), *_structured(vault, write_of), *typed, *_keys(vault, write_of, audit)]


def _simple(vault: Vault, write_of: _WriteOf) -> list[HTTPRouteHandler]:
    secrets = vault.secrets

    @get(SECRETS, permission=_LIST, operation_id="listSecrets")
    async def list_secrets(request: Caller, account: FromPath[str]) -> Response[bytes]:
        """Names and metadata of all secrets."""
        found = await secrets.infos(own(request, account))
        return answer({"secrets": [shown(info) for info in found], "total": len(found)})

    @get(f"{SECRETS}/keys", permission=_LIST, operation_id="listSecretKeys")
    async def list_keys(request: Caller, account: FromPath[str]) -> Response[bytes]:
        """Names only."""
        found = await secrets.infos(own(request, account))
        return answer({"keys": [info.name for info in found], "total": len(found)})

    @get(SECRETS + KEY, permission=_READ, operation_id="getSecret")
    async def get_secret(request: Caller, account: FromPath[str], key: FromPath[str]) -> Response[bytes]:
        """A secret's value; of a structured one its fields as JSON text."""
        mine, name = own(request, account), name_of(request, key)
        if name.startswith(OF_ENVIRONMENTS):
            raise Refused(of_status(403, f"{name} is a secret variable of an environment: it is used by steps, and shown to nobody."))
        secret = await secrets.use(mine, name)
        return tagged({"key": secret.info.name, "value": secret.text, "version": secret.info.version}, secret.info)

    async def set_simple(request: Caller, account: str, key: str, *, create: bool) -> Response[bytes]:
        mine, name = own(request, account), name_of(request, key)
        if name.startswith(OF_ENVIRONMENTS):
            raise InvalidDocument(f"Names that begin with {OF_ENVIRONMENTS} are those of environments' variables: set it there.", pointer="/key")
        given = await body_of(request, Value)
        write = write_of(request, "secret.create" if create else "secret.set", name, mine)
        info = await secrets.set(mine, name, given.value, mode="create" if create else "replace", expected=expected_of(request), write=write)
        return tagged(shown(info), info, 201 if create else 200)

    @post(SECRETS + KEY, permission=_WRITE, operation_id="createSecret")
    async def create_secret(request: Caller, account: FromPath[str], key: FromPath[str]) -> Response[bytes]:
        """Make a simple secret; 409 when the name is taken."""
        return await set_simple(request, account, key, create=True)

    @put(SECRETS + KEY, permission=_WRITE, operation_id="setSecret")
    async def set_secret(request: Caller, account: FromPath[str], key: FromPath[str]) -> Response[bytes]:
        """Change a simple secret's value; with ``If-Match: "VERSION"`` only that version's."""
        return await set_simple(request, account, key, create=False)

    @delete(SECRETS + KEY, permission=_WRITE, operation_id="deleteSecret", status_code=200)
    async def delete_secret(request: Caller, account: FromPath[str], key: FromPath[str]) -> Response[bytes]:
        """Delete a secret of either form."""
        return await _remove(vault, write_of, request, account, key)

    return [list_secrets, list_keys, get_secret, create_secret, set_secret, delete_secret]


async def _remove(vault: Vault, write_of: _WriteOf, request: Caller, account: str, key: str) -> Response[bytes]:
    mine, name = own(request, account), name_of(request, key)
    await vault.secrets.delete(mine, name, write=write_of(request, "secret.delete", name, mine))
    return Response(b"", status_code=204, headers={"cache-control": "no-store"})


def _structured(vault: Vault, write_of: _WriteOf) -> list[HTTPRouteHandler]:
    secrets = vault.secrets

    @get(STRUCTURED, permission=_LIST, operation_id="listStructuredSecrets")
    async def list_structured(request: Caller, account: FromPath[str]) -> Response[bytes]:
        """Names and metadata: ``?type=&tag=`` (repeated: all of them)."""
        query = SecretQuery(type=type_of(request.query_params.get("type")), tags=tuple(request.query_params.getall("tag", [])))
        return listed(await secrets.search(own(request, account), query))

    @post(f"{STRUCTURED}/search", permission=_LIST, operation_id="searchSecrets", status_code=200)
    async def search(request: Caller, account: FromPath[str]) -> Response[bytes]:
        """Names and metadata of those that meet all conditions."""
        mine = own(request, account)
        return listed(await secrets.search(mine, query_of(await body_of(request, Search))))

    @get(STRUCTURED + KEY, permission=_READ, operation_id="getStructuredSecret")
    async def get_structured(request: Caller, account: FromPath[str], key: FromPath[str]) -> Response[bytes]:
        """A structured secret, or one field of it: ``?field=a.b`` or ``/field/a.b``."""
        mine, parts = own(request, account), segments_of(request, key)
        field = request.query_params.get("field")
        if field is None and len(parts) > 2 and parts[-2] == "field":
            field, parts = parts[-1], parts[:-2]
        secret = await secrets.get(mine, "/".join(parts))
        if secret.info.form != "structured":
            raise NotFound("structured secret", secret.info.name)
        value = None if field is None else secret.at(field)
        await secrets.mark_used(mine, secret.info)
        if field is not None:
            return tagged({"key": secret.info.name, "field": field, "value": value}, secret.info)
        return tagged(whole(secret), secret.info)

    async def set_structured(request: Caller, account: str, key: str, *, create: bool) -> Response[bytes]:
        mine, name = own(request, account), name_of(request, key)
        change = change_of(await body_of(request, Structured))
        write = write_of(request, "secret.create" if create else "secret.set", name, mine)
        info = await secrets.set_structured(mine, name, change, mode="create" if create else "replace", expected=expected_of(request), write=write)
        return tagged(shown(info), info, 201 if create else 200)

    @post(STRUCTURED + KEY, permission=_WRITE, operation_id="createStructuredSecret")
    async def create_structured(request: Caller, account: FromPath[str], key: FromPath[str]) -> Response[bytes]:
        """Make a structured secret; 409 when the name is taken."""
        return await set_structured(request, account, key, create=True)

    @put(STRUCTURED + KEY, permission=_WRITE, operation_id="setStructuredSecret")
    async def change_structured(request: Caller, account: FromPath[str], key: FromPath[str]) -> Response[bytes]:
        """Change the parts that the body names; data and schema are replaced as a whole, everything else stays."""
        return await set_structured(request, account, key, create=False)

    @delete(STRUCTURED + KEY, permission=_WRITE, operation_id="deleteStructuredSecret", status_code=200)
    async def delete_structured(request: Caller, account: FromPath[str], key: FromPath[str]) -> Response[bytes]:
        """Delete a secret of either form."""
        return await _remove(vault, write_of, request, account, key)

    @patch(STRUCTURED + KEY, permission=_WRITE, operation_id="describeSecret")
    async def describe(request: Caller, account: FromPath[str], key: FromPath[str]) -> Response[bytes]:
        """Change description, tags or expiry: ``PATCH .../{key}/metadata``."""
        mine, parts = own(request, account), segments_of(request, key)
        if len(parts) < 2 or parts[-1] != "metadata":
            raise Refused(of_status(404, "Only the metadata of a secret can be patched: .../{key}/metadata."))
        name = "/".join(parts[:-1])
        given = await body_of(request, Metadata)
        change = StructuredChange(description=given.description, tags=given.tags, expires_at=time_of(given.expires_at, "/expires_at"))
        info = await secrets.describe(mine, name, change, write=write_of(request, "secret.describe", name, mine))
        return tagged(shown(info), info)

    return [list_structured, search, get_structured, create_structured, change_structured, delete_structured, describe]


def _keys(vault: Vault, write_of: _WriteOf, audit: AuditLog | None) -> list[HTTPRouteHandler]:
    @post(f"{ACCOUNT}/vault/rotation", permission=Permission.CREDENTIALS_WRITE, operation_id="rotateDataKey", status_code=200)
    async def rotate(request: Caller, account: FromPath[str]) -> Response[bytes]:
        """Give the account a new data key and seal everything under it."""
        mine = own(request, account)
        return rotated(await vault.rotation.rotate(mine, write=write_of(request, "secret.rotate", "data-key", mine)))

    @post("/api/v1/vault/rotation", permission=Permission.ACCOUNTS_WRITE, operation_id="rotateKeys", status_code=200)
    async def rotate_all(request: Caller) -> Response[bytes]:
        """Rotate the master key, or the data key of every account: the operator's."""
        asked = await body_of(request, RotationAsked)
        if audit is not None:
            await audit.write(request.user.account, actor_of(request.scope, request.user), "vault.rotate", "master-key" if asked.master else "data-keys")
        return rotated(await (vault.rotation.rotate_master() if asked.master else vault.rotation.rotate_all()))

    return [rotate, rotate_all]


def _typed(vault: Vault, path: str, kind: SecretType, write_of: _WriteOf) -> list[HTTPRouteHandler]:
    title = "".join(word.capitalize() for word in kind.split("_"))

    @post(f"{ACCOUNT}/{path}{KEY}", permission=_WRITE, operation_id=f"create{title}Secret")
    async def create(request: Caller, account: FromPath[str], key: FromPath[str]) -> Response[bytes]:
        """Make a secret of this type: its fields, and beside them description, tags and expires_at."""
        mine, name = own(request, account), name_of(request, key)
        fields = await object_of(request)
        if not isinstance(fields, dict):
            raise InvalidDocument("The body must be a JSON object.")
        about = msgspec.convert({part: fields.pop(part) for part in METADATA if part in fields}, Metadata)
        expires_at = time_of(about.expires_at, "/expires_at")
        change = StructuredChange(type=kind, data=fields, description=about.description, tags=about.tags, expires_at=expires_at)
        try:
            info = await vault.secrets.set_structured(mine, name, change, mode="create", write=write_of(request, "secret.create", name, mine))
        except InvalidSecret as error:
            raise InvalidSecret(error.message, tuple((pointer.removeprefix("/data"), text) for pointer, text in error.faults)) from None
        return tagged(shown(info), info, 201)

    @get(f"{ACCOUNT}/{path}{KEY}", permission=_READ, operation_id=f"get{title}Secret")
    async def read(request: Caller, account: FromPath[str], key: FromPath[str]) -> Response[bytes]:
        """A secret of this type: its fields, and its metadata."""
        mine = own(request, account)
        secret = await vault.secrets.get(mine, name_of(request, key))
        if secret.info.type != kind or secret.info.form != "structured":
            raise NotFound(f"secret of the type {kind}", secret.info.name)
        await vault.secrets.mark_used(mine, secret.info)
        return tagged({"key": secret.info.name, **secret.data, "metadata": shown(secret.info)}, secret.info)

    return [create, read]
