"""Every route by every kind of caller, generated from the router: who may, may; everybody else is refused and learns nothing.

OWASP ASVS 5.0 8.2, API Security Top 10 2023: API1, API5. A route that nobody listed here fails the test, so none is forgotten.
"""

import itertools
import re
from dataclasses import dataclass

import pytest
from accountsworld import NONE, ONE, OPERATOR, TWO
from flowsworld import flows_world

from flowrunner.api.identify import PUBLIC
from flowrunner.identity.permissions import OPERATOR as OPERATORS
from flowrunner.identity.permissions import Permission, Role, role_permissions
from flowrunner.identity.principal import SERVER

ABSENT_RUN = "0" * 32
# What path parameters become: (of one's own account, of somebody else's, of nobody)
PARAMETERS = {
    "account": (ONE, TWO, NONE),
    "user": ("usr_none", "usr_none", "usr_none"),
    "token": ("none", "none", "none"),
    "key": ("AKIANONE", "AKIANONE", "AKIANONE"),
    "run": (ABSENT_RUN, ABSENT_RUN, ABSENT_RUN),
}
NOTHING = ("none",) * 3  # flows, workflows, schedules and the like are in the caller's own account, whatever the path says: test_matrix
BODIES = {"POST": {}, "PUT": {}, "PATCH": {}}
ENDING = {("POST", "/api/v1/logout"), ("DELETE", "/api/v1/accounts/{account}"), ("PUT", "/api/v1/accounts/{account}")}
OPERATED = {"/api/v1/accounts", "/api/v1/accounts/{account}"}  # what an operator does with the accounts of others


def routes_of(app):
    """(method, path, permission) of every handler that the framework answers with."""
    found = set()
    for route in app._rest.routes:
        for handler in getattr(route, "route_handlers", None) or [route.route_handler]:
            methods = getattr(handler, "http_methods", None) or {"WEBSOCKET"}
            found |= {(method, route.path_format, handler.opt.get("permission")) for method in methods if method not in ("OPTIONS", "HEAD")}
    return sorted(found)


def filled(path, whose):
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda part: PARAMETERS.get(part[1], NOTHING)[whose], path)


@pytest.fixture
async def world():
    async with flows_world() as made:
        yield made


@dataclass(frozen=True)
class Visitor:
    """A caller: `permissions` is None for who is not let in at all."""

    name: str
    authorization: str | None
    home: str = ""
    permissions: frozenset = None

    def admitted(self, permission):
        return permission == PUBLIC or (self.permissions is not None and permission in self.permissions)


async def visitors(world):
    """Everybody there is: nobody, every role of two accounts, the operator, one token for each permission, what no longer counts."""
    identity, owner = world.identity, world.users[ONE, Role.OWNER]

    async def token(**limits):
        return await identity.credentials.issue_token(ONE, owner, SERVER, **limits)

    found = [Visitor("nobody", None), Visitor("nonsense", "Bearer flr_nonsense"), Visitor("other scheme", "Digest x")]
    for key, secret in world.tokens.items():
        account, role = key if isinstance(key, tuple) else (OPERATOR, "operator")
        permissions = role_permissions(Role.OWNER) | OPERATORS if role == "operator" else role_permissions(role)
        found.append(Visitor(f"{account} {role}", f"Bearer {secret}", account, permissions))
    narrow = {permission: await token(scopes=[permission]) for permission in sorted(role_permissions(Role.OWNER))}
    found += [Visitor(f"only {permission}", f"Bearer {issued.secret}", ONE, frozenset({permission})) for permission, issued in narrow.items()]
    found.append(Visitor("without scopes", f"Bearer {(await token(scopes=[])).secret}", ONE, frozenset()))
    revoked, expired = await token(), await token(seconds=1)
    await identity.credentials.revoke_token(ONE, revoked.entry.id, SERVER)
    world.clock.jump(2)
    return [*found, Visitor("revoked", f"Bearer {revoked.secret}"), Visitor("expired", f"Bearer {expired.secret}")]


async def test_every_route_by_every_caller(world):
    """Without its permission a route answers 401 or 403 and nothing else; with it, only for one's own account."""
    cases, everybody = 0, await visitors(world)
    for method, path, permission in routes_of(world.app):
        assert permission == PUBLIC or permission in set(Permission), path
        if method == "WEBSOCKET":
            continue  # its upgrade goes through the same guard: test_watch
        for visitor, whose in itertools.product(everybody, range(3 if "{account" in path else 1)):
            target = (ONE, TWO, NONE)[whose] if "{account" in path else visitor.home
            operating = visitor.home == OPERATOR and path in OPERATED
            if visitor.admitted(permission) and (target == visitor.home or operating) and (method, path) in ENDING:
                continue  # the other tests do: whoever goes through all routes must not end what they stand on
            headers = {} if visitor.authorization is None else {"authorization": visitor.authorization}
            answer = await world.client.request(method, filled(path, whose), json=BODIES.get(method), headers=headers)
            where = (method, path, visitor.name, whose, answer.status_code, answer.text[:200])
            cases += 1
            assert answer.status_code < 500, where
            if not visitor.admitted(permission):
                assert answer.status_code == (401 if visitor.permissions is None else 403), where
            elif permission != PUBLIC and target != visitor.home and not operating:
                assert answer.status_code in (403, 404), where
            if visitor.home != ONE and permission != PUBLIC and not operating:
                assert "one-" not in answer.text, where  # names of account one begin so
    assert cases >= 5000
    assert any(path.startswith("/api/v1/schedules") for _, path, _ in routes_of(world.app))


async def test_foreign_and_absent_are_the_same(world):
    """With the permission, on somebody else's account and on one that does not exist: the same bytes."""
    owner = {"authorization": f"Bearer {world.tokens[ONE, Role.OWNER]}", "x-request-id": "same"}
    for method, path, permission in routes_of(world.app):
        if "{account" not in path or permission == PUBLIC or method == "WEBSOCKET":
            continue
        foreign, absent = [await world.client.request(method, filled(path, whose), json=BODIES.get(method), headers=owner) for whose in (1, 2)]
        assert foreign.status_code == absent.status_code
        assert foreign.content.replace(TWO.encode(), b"-") == absent.content.replace(NONE.encode(), b"-"), (method, path)
