"""Secrets by REST."""

from __future__ import annotations

import asyncio
import os
from urllib.parse import quote

import httpx
import pytest

from flowrunner.api.app import create_app
from flowrunner.clock import SystemClock
from flowrunner.engine.feed import Feed
from flowrunner.identity.audit import AuditLog
from flowrunner.identity.permissions import OPERATOR, Role, role_permissions
from flowrunner.identity.principal import Principal
from flowrunner.ports.observe import NullObserver
from flowrunner.stores.memory.store import MemoryStore
from flowrunner.testing.clock import ManualClock
from flowrunner.vault.keys import KeySource
from flowrunner.vault.vault import Vault

ONE, TWO = "111111111111", "222222222222"
BASE = f"/api/v1/accounts/{ONE}"


class Named:
    """Lets in by ``Authorization: ACCOUNT ROLE``."""

    async def identify(self, scope):
        given = dict(scope["headers"]).get(b"authorization")
        if given is None:
            return None
        account, role = given.decode().split()
        permissions = role_permissions(Role(role)) if role != "operator" else role_permissions(Role.OWNER) | OPERATOR
        return Principal(account, permissions, name=f"user:{role}")


async def aws(scope, receive, send):
    raise AssertionError


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def server(clock):
    store = MemoryStore(clock=clock)
    vault = Vault(store.documents, KeySource(randomness=os.urandom), clock=clock, randomness=os.urandom)
    await vault.start()
    application = create_app(
        store=store, feed=Feed(store.executions, SystemClock()), aws=aws, authenticator=Named(), region="us-east-1",
        observer=NullObserver(), stopping=asyncio.Event(), clock=clock, vault=vault,
    )  # fmt: skip
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://localhost") as client:
        client.vault, client.documents = vault, store.documents
        yield client


def who(role="owner", account=ONE):
    return {"authorization": f"{account} {role}"}


@pytest.fixture
def ask(server):
    async def asking(method, path, body=None, status=200, *, role="owner", account=ONE, **headers):
        answer = await server.request(method, path, json=body, headers=who(role, account) | headers)
        assert answer.status_code == status, answer.text
        assert answer.status_code >= 400 or answer.headers["cache-control"] == "no-store"
        return answer.json() if answer.content else None

    return asking


@pytest.mark.parametrize("key", ["API_KEY", "a.b", "prod/db", "ключ", "with blank", "50%", "a+b&c=d", "field", "keys!"])
async def test_simple(ask, key):
    """Made, read, changed, deleted; names of any kind."""
    path = f"{BASE}/secrets/{quote(key, safe='')}"
    made = await ask("POST", path, {"value": "v1"}, 201)
    assert (made["key"], made["version"], "value" in made) == (key, 1, False)
    assert await ask("GET", path) == {"key": key, "value": "v1", "version": 1}
    await ask("POST", path, {"value": "v"}, 409)
    assert (await ask("PUT", path, {"value": "v2"}))["version"] == 2
    assert (await ask("GET", f"{BASE}/secrets"))["secrets"][0]["key"] == key
    assert await ask("GET", f"{BASE}/secrets/keys") == {"keys": [key], "total": 1}
    await ask("DELETE", path, status=204)
    for method, body in (("GET", None), ("PUT", {"value": "x"}), ("DELETE", None)):
        await ask(method, path, body, 404)


async def test_slashes_need_no_spelling(ask):
    """A name with slashes may be spelt with slashes."""
    await ask("POST", f"{BASE}/secrets/prod/db", {"value": "v"}, 201)
    assert (await ask("GET", f"{BASE}/secrets/prod%2Fdb"))["key"] == "prod/db"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({}, ""), ({"value": 1}, "/value"), ({"value": "x", "more": 1}, ""), ([], ""), ({"value": "x" * 65_537}, "/value")],
)
async def test_bodies_that_are_refused(ask, body, pointer):
    """A body is exactly what is declared, and a value 64 KiB at most."""
    problem = await ask("POST", f"{BASE}/secrets/a", body, 400)
    assert pointer == "" or problem["errors"][0]["pointer"] == pointer


async def test_versions(ask):
    """If-Match changes only the version it names."""
    await ask("POST", f"{BASE}/secrets/a", {"value": "1"}, 201)
    await ask("PUT", f"{BASE}/secrets/a", {"value": "2"}, **{"if-match": '"1"'})
    await ask("PUT", f"{BASE}/secrets/a", {"value": "3"}, 409, **{"if-match": '"1"'})
    await ask("PUT", f"{BASE}/secrets/a", {"value": "3"}, 400, **{"if-match": "one"})
    assert (await ask("GET", f"{BASE}/secrets/a"))["value"] == "2"


async def test_structured(ask, clock):
    """Whole, by field in both spellings, changed in part, described."""
    body = {"type": "database", "description": "d", "tags": ["t"], "expires_at": "2030-01-02T03:04:05Z"}
    data = {"type": "postgres", "host": "h", "username": "u", "password": "p", "options": {"a.b": {"c": [7]}}}
    path = f"{BASE}/structured-secrets/prod%2Fdb"
    await ask("POST", path, {**body, "data": data}, 201)
    found = await ask("GET", path)
    assert found.pop("metadata")["version"] == 1
    assert found == {"key": "prod/db", **body, "expires_at": "2030-01-02T03:04:05.000Z", "data": data, "schema": None}
    for spelt in (f"{path}?field=password", f"{path}/field/password", f"{BASE}/structured-secrets/prod/db/field/password"):
        assert (await ask("GET", spelt))["value"] == "p"
    await ask("GET", f"{path}/field/nope", status=404)
    changed = await ask("PUT", path, {"description": "e"})
    assert (changed["version"], changed["tags"], changed["description"]) == (1, ["t"], "e")
    assert (await ask("GET", path))["data"] == data
    described = await ask("PATCH", f"{path}/metadata", {"tags": None, "expires_at": None})
    assert (described["tags"], described["expires_at"], described["description"]) == ([], None, "e")
    await ask("PATCH", path, {"tags": []}, 404)
    await ask("PATCH", f"{path}/metadata", {"data": {}}, 400)
    assert (await ask("GET", f"{BASE}/secrets/prod%2Fdb"))["value"].startswith('{"type":"postgres"')
    await ask("PUT", f"{BASE}/secrets/prod%2Fdb", {"value": "x"}, 409)
    await ask("DELETE", path, status=204)


async def test_faults_have_places(ask):
    """A secret that breaks its type or schema names every place, and shows no value."""
    schema = {"fields": {"pin": {"type": "string", "pattern": "[0-9]{4}"}, "age": {"type": "integer"}}, "required": ["name"]}
    problem = await ask("POST", f"{BASE}/structured-secrets/s", {"data": {"pin": "hunter2", "age": "hunter2"}, "schema": schema}, 400)
    assert {error["pointer"] for error in problem["errors"]} == {"/data/pin", "/data/age", "/data/name"}
    assert "hunter2" not in str(problem)
    problem = await ask("POST", f"{BASE}/structured-secrets/s", {"data": {}, "schema": {"fields": {"a/b": {"pattern": "("}}}}, 400)
    assert problem["errors"][0]["pointer"] == "/schema/fields/a~1b/pattern"
    for body in ({"type": "odd"}, {"expires_at": "soon"}, {"schema": {"fields": {"a": {"type": "odd"}}}}, {"tags": ["\n"]}):
        await ask("POST", f"{BASE}/structured-secrets/s", body, 400)


@pytest.mark.parametrize(
    ("route", "fields"),
    [
        ("oauth-secrets", {"client_id": "i", "client_secret": "s"}),
        ("api-key-secrets", {"key": "k"}),
        ("database-secrets", {"type": "mysql", "host": "h", "username": "u", "password": "p"}),
        ("jwt-secrets", {"token": "t"}),
    ],
)
async def test_typed(ask, route, fields):
    """Each type has its own route; required fields are named."""
    made = await ask("POST", f"{BASE}/{route}/one", {**fields, "description": "d"}, 201)
    assert made["description"] == "d"
    found = await ask("GET", f"{BASE}/{route}/one")
    assert {name: found[name] for name in fields} == fields
    problem = await ask("POST", f"{BASE}/{route}/two", {}, 400)
    assert {error["pointer"] for error in problem["errors"]} == {f"/{name}" for name in fields}
    other = "jwt-secrets" if route != "jwt-secrets" else "oauth-secrets"
    await ask("GET", f"{BASE}/{other}/one", status=404)


async def test_lists_and_search(ask, clock):
    """Names and metadata, never values, for who may list but not read."""
    for n in range(3):
        await ask("POST", f"{BASE}/structured-secrets/s{n}", {"tags": ["t", f"t{n}"], "type": "custom" if n else "general", "data": {"v": "hidden-value"}}, 201)
    await ask("POST", f"{BASE}/secrets/simple", {"value": "hidden-value"}, 201)

    async def keys(method, path, body=None):
        found = await ask(method, path, body, role="viewer")
        assert "hidden-value" not in str(found)
        assert found["total"] == len(found["secrets"])
        return [one["key"] for one in found["secrets"]]

    assert await keys("GET", f"{BASE}/secrets") == ["s0", "s1", "s2", "simple"]
    assert await keys("GET", f"{BASE}/structured-secrets") == ["s0", "s1", "s2"]
    assert await keys("GET", f"{BASE}/structured-secrets?type=custom&tag=t&tag=t2") == ["s2"]
    search = f"{BASE}/structured-secrets/search"
    assert await keys("POST", search, {"tags": ["t1"]}) == ["s1"]
    assert await keys("POST", search, {"limit": 1, "offset": 1}) == ["s1"]
    await ask("PATCH", f"{BASE}/structured-secrets/s2/metadata", {"expires_at": "2023-11-20T00:00:00Z"})
    for within in (7 * 86400, "7d", "168h", "167h60m0.5s"):
        assert await keys("POST", search, {"expiring_within": within}) == ["s2"]
    assert await keys("POST", search, {"expiring_within": "1h"}) == []
    await ask("GET", f"{BASE}/structured-secrets/s0")
    clock.jump(60)
    assert await keys("POST", search, {"last_used_before": "2023-01-01T00:00:00Z"}) == ["s1", "s2"]
    for body in ({"type": "odd"}, {"limit": -1}, {"offset": -1}, {"expiring_within": "soon"}, {"last_used_before": "x"}, {"more": 1}):
        await ask("POST", search, body, 400, role="viewer")
    await ask("GET", f"{BASE}/structured-secrets?type=odd", status=400)


ROUTES = [
    ("GET", "/secrets", "viewer"), ("GET", "/secrets/keys", "viewer"), ("GET", "/secrets/a", "admin"), ("POST", "/secrets/a", "editor"), ("PUT", "/secrets/a", "editor"),
    ("DELETE", "/secrets/a", "editor"), ("GET", "/structured-secrets", "viewer"), ("POST", "/structured-secrets/search", "viewer"),
    ("GET", "/structured-secrets/a", "admin"), ("GET", "/structured-secrets/a/field/b", "admin"), ("POST", "/structured-secrets/a", "editor"),
    ("PUT", "/structured-secrets/a", "editor"), ("DELETE", "/structured-secrets/a", "editor"), ("PATCH", "/structured-secrets/a/metadata", "editor"),
    ("POST", "/oauth-secrets/a", "editor"), ("GET", "/oauth-secrets/a", "admin"), ("GET", "/jwt-secrets/a", "admin"), ("POST", "/vault/rotation", "admin"),
]  # fmt: skip
RANKS = ["worker", "viewer", "editor", "admin", "owner"]


@pytest.mark.parametrize(("method", "path", "least"), ROUTES)
async def test_who_may_what(server, method, path, least):
    """Roles below the least are refused; another account's owner and an operator are, too; nobody is asked for a credential."""
    for role in RANKS:
        answer = await server.request(method, BASE + path, json={}, headers=who(role))
        assert (answer.status_code == 403) == (RANKS.index(role) < RANKS.index(least)), (role, answer.text)
    for role in ("owner", "operator"):
        answer = await server.request(method, BASE + path, json={}, headers=who(role, TWO))
        assert answer.status_code == 403
    assert (await server.request(method, BASE + path, json={})).status_code == 401


async def test_ones_own_account(ask):
    """`me` is the caller's account."""
    await ask("POST", "/api/v1/accounts/me/secrets/a", {"value": "x"}, 201)
    assert (await ask("GET", f"{BASE}/secrets/a"))["value"] == "x"


async def test_rotation(ask, server):
    """An admin rotates the account's key, an operator every key and the master key; everything stays readable."""
    for account in (ONE, TWO):
        for n in range(3):
            await ask("POST", f"/api/v1/accounts/me/secrets/s{n}", {"value": f"{account} {n}"}, 201, account=account)
    report = await ask("POST", f"{BASE}/vault/rotation")
    assert (report["made"], report["resealed"], len(report["retired"])) == (1, 3, 1)
    await ask("POST", "/api/v1/vault/rotation", {}, 403)
    assert (await ask("POST", "/api/v1/vault/rotation", {}, role="operator"))["resealed"] == 6
    assert (await ask("POST", "/api/v1/vault/rotation", {"master": True}, role="operator"))["rewrapped"] == 2
    for account in (ONE, TWO):
        assert (await ask("GET", "/api/v1/accounts/me/secrets/s2", account=account))["value"] == f"{account} 2"


async def test_audited(server, clock):
    """Changes are entered with who made them and the secret's name, in the same write."""
    from flowrunner.api import secrets

    audit = AuditLog(server.documents, clock)
    handlers = {handler.operation_id: handler for handler in secrets.routes(server.vault, audit)}
    assert len(handlers) == 23
    from functools import partial

    from flowrunner.identity.principal import Actor

    await server.vault.secrets.set(ONE, "a", "x", write=partial(audit.write, ONE, Actor("user:ada", "", ""), "secret.set", "a"))
    [entry] = await audit.page(ONE)
    assert (entry.who, entry.action, entry.target) == ("user:ada", "secret.set", "a")
    assert await audit.verify(ONE) is None
