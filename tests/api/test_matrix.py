"""Every route and operation, generated from the router, asked by everybody: what the declared permission says is what happens."""

import pytest
from litestar import Request, Response, get, post
from litestar.params import FromPath
from matrixcases import NOBODYS, READING, READING_POSTS, aws_cases, isolation, permissions, rest_cases
from matrixpeople import AWS, HTTP, SOCKET
from matrixworld import matrix_world

from flowrunner.api import health
from flowrunner.api.aws.handlers import HANDLERS
from flowrunner.api.aws.operations import OPERATIONS
from flowrunner.api.contract import Contract
from flowrunner.api.identify import PUBLIC
from flowrunner.config import Settings
from flowrunner.identity.permissions import Permission
from flowrunner.wiring import build

LEAST_CASES = 2000
CONTRACT = Contract(gives={200: None})
PLANTED = "/api/v1/accounts/{account:str}/planted"


@pytest.fixture
async def world(monkeypatch):
    async with matrix_world(monkeypatch) as made:
        yield made


def cases_of(world):
    return [*rest_cases(world.application.asgi._rest), *aws_cases()]


def report(wrong):
    return f"{len(wrong)} of them:\n" + "\n".join(wrong[:60])


# --- the matrix


async def test_who_may_do_what_in_their_own_account(world):
    """Unknown credentials get 401, missing permissions 403, everybody else neither, and nobody a 5xx; what account one has is shown to its own people only."""
    cases = cases_of(world)
    asked, wrong = await permissions(world, cases)
    assert not wrong, report(wrong)
    declared = [case for case in cases if case.permission != NOBODYS]
    assert len(declared) * len(world.callers) >= LEAST_CASES
    assert asked == len(cases) * len(world.callers)


async def test_what_another_account_has_is_as_if_it_did_not_exist(world):
    """Paths, bodies, queries, ARNs, task and page tokens of another account are refused in the words for what is nowhere, and change nothing there."""
    asked, wrong = await isolation(world, cases_of(world))
    assert not wrong, report(wrong)
    assert asked >= LEAST_CASES


async def test_the_matrix_covers_every_route_and_every_operation(world):
    """Each method of each route of the router, each socket and each operation of the service model is a case, once."""
    cases = cases_of(world)
    routes = world.application.asgi._rest.routes
    routed = [method for route in routes for method in getattr(route, "methods", None) or ("CONNECT",)]
    asked = [case for case in cases if case.surface in (HTTP, SOCKET)]
    assert len({(case.method, case.path) for case in asked}) == len(asked) == len(routed)
    assert [case.operation for case in cases if case.surface is AWS] == list(OPERATIONS)
    assert set(HANDLERS) < set(OPERATIONS)


async def test_the_callers_are_who_they_are_said_to_be(world):
    """Each credential that counts somewhere opens something there, so that a refusal elsewhere is for want of the permission."""
    reads = {HTTP: ("GET", "/api/v2/workflows/runs/{run}"), SOCKET: ("CONNECT", "/api/v2/workflows/runs/{run}/stream"), AWS: ("POST", "/")}
    opened = 0
    for caller in world.callers:
        for surface in caller.surfaces if Permission.EXECUTIONS_READ in caller.permissions else ():
            method, path = reads[surface]
            things = world.things[caller.account]
            arn = "arn:aws:states:us-east-1:{account}:execution:{machine}:{execution}".format_map(things)
            body, target = ({"executionArn": arn}, "DescribeExecution") if surface is AWS else (None, None)
            answer = await world.ask(caller, surface, method, path.format_map(things), body, target=target)
            assert answer.status == (101 if surface is SOCKET else 200), (caller.name, surface, answer)
            assert b"said" in answer.body
            opened += 1
    assert opened > 30


async def test_nothing_is_changed_with_a_permission_to_read(world):
    """Whatever is not GET declares a permission to write, but for the searches and tickets that say so; operations that only read declare one to read."""
    assert not [str(case) for case in cases_of(world) if is_lax(case)]


def is_lax(case):
    if case.surface is AWS:
        return (case.permission in READING) != OPERATIONS[case.operation].reads
    return case.method not in ("GET", "CONNECT") and case.permission in READING and case.operation not in READING_POSTS


# --- the matrix can fail


def plant(monkeypatch, handler):
    """Another handler among those of the real application."""
    routes = health.routes
    monkeypatch.setattr(health, "routes", lambda **given: [*routes(**given), handler])


def planted_cases(world):
    return [case for case in cases_of(world) if case.path.endswith("/planted") and case.method != "OPTIONS"]


@pytest.mark.parametrize(("enforced", "found"), [(Permission.CREDENTIALS_OWN, "needs"), (Permission.AUDIT_READ, "has"), (PUBLIC, "lets nobody in")])
async def test_a_handler_that_enforces_another_permission_is_found(monkeypatch, enforced, found):
    """A route that is laxer, stricter or more open than it declares makes the matrix fail."""

    @get(PLANTED, permission=Permission.SECRETS_LIST, operation_id="planted", contract=CONTRACT)
    async def handler(account: FromPath[str]) -> dict[str, str]:
        return {}

    plant(monkeypatch, handler)
    async with matrix_world(monkeypatch) as world:
        cases = planted_cases(world)
        assert (await permissions(world, cases))[1] == []
        (route,) = (route for route in world.application.asgi._rest.routes if route.path.endswith("/planted"))
        for routed in route.route_handlers:
            routed.opt["permission"] = enforced  # behind the back of what it declares
        _, wrong = await permissions(world, cases)
    assert any(found in one for one in wrong), report(wrong)


async def test_a_handler_that_looks_into_other_accounts_is_found(monkeypatch):
    """One that takes the account from the path shows, tells apart and answers what it must not."""
    worlds = []

    @get(PLANTED, permission=Permission.USERS_READ, operation_id="planted", contract=CONTRACT)
    async def handler(request: Request, account: FromPath[str]) -> list[str]:
        return [user.username for user in await worlds[0].application.identity.users.page(account)]

    plant(monkeypatch, handler)
    async with matrix_world(monkeypatch) as world:
        worlds.append(world)
        _, wrong = await isolation(world, planted_cases(world))
    assert {sign for sign in ("shows", "tells what is there", "answers 200") if any(sign in one for one in wrong)} == {
        "shows",
        "tells what is there",
        "answers 200",
    }


async def test_a_handler_that_changes_other_accounts_is_found(monkeypatch):
    """One that refuses in the right words, but only after it has done it, is found."""
    worlds = []

    @post(PLANTED, permission=Permission.USERS_WRITE, operation_id="planted", contract=CONTRACT)
    async def handler(account: FromPath[str]) -> Response:
        documents = worlds[0].application.store.documents._documents
        for key in [key for key in documents if key[:2] == (account, "user")]:
            del documents[key]
        return Response(b"", status_code=403)

    plant(monkeypatch, handler)
    async with matrix_world(monkeypatch) as world:
        worlds.append(world)
        _, wrong = await isolation(world, planted_cases(world))
    assert wrong
    assert all("changes account one" in one for one in wrong), report(wrong)


async def test_a_handler_that_breaks_is_found(monkeypatch):
    """A 500 is never right."""

    @get(PLANTED, permission=Permission.SECRETS_LIST, operation_id="planted", contract=CONTRACT)
    async def handler(account: FromPath[str]) -> None:
        raise RuntimeError

    plant(monkeypatch, handler)
    async with matrix_world(monkeypatch) as world:
        _, wrong = await permissions(world, planted_cases(world))
    assert any("fails with 500" in one for one in wrong), report(wrong)


async def test_a_change_that_declares_a_permission_to_read_is_found(monkeypatch):
    """The matrix believes what is declared; that a declaration fits its method is asked apart."""

    @post(PLANTED, permission=Permission.SECRETS_LIST, operation_id="planted", contract=CONTRACT)
    async def handler(account: FromPath[str]) -> None:
        return None

    plant(monkeypatch, handler)
    async with matrix_world(monkeypatch) as world:
        assert [is_lax(case) for case in planted_cases(world)] == [True]


@pytest.mark.parametrize("options", [{}, {"permission": "everything"}, {"permission": None}])
async def test_a_route_without_a_permission_that_exists_is_no_server(monkeypatch, options):
    """The real application is not built with it."""

    @get(PLANTED, operation_id="planted", contract=CONTRACT, **options)
    async def handler(account: FromPath[str]) -> None:
        return None

    plant(monkeypatch, handler)
    with pytest.raises(TypeError, match="declares no permission"):
        build(Settings(store="memory:"))
