"""What somebody may try who has little: passwords behind a token, cursors of their own making, answers and names as large as may be."""

import pytest
from accountsworld import ONE, PASSWORD, accounts_world

from flowrunner.api import idempotency
from flowrunner.api.page import cursor
from flowrunner.clock import SystemClock
from flowrunner.identity.permissions import Role
from flowrunner.stores.memory.store import MemoryStore

VIEWER = (ONE, Role.VIEWER)


@pytest.fixture
async def world():
    async with accounts_world() as made:
        yield made


async def test_a_token_does_not_find_out_the_password(world):
    """Wrong current passwords make their sender wait as failed log-ins do; the right one is taken after the wait, and ends the counting."""

    async def change(current, new="another good one"):
        return await world("PUT", "/accounts/me/password", {"current_password": current, "new_password": new}, token=VIEWER)

    assert [(await change(f"wrong {number}")).status_code for number in range(6)] == [403] * 6
    waiting = await change(PASSWORD)
    assert (waiting.status_code, waiting.headers["retry-after"]) == (429, "1")
    assert (await world("POST", "/login", {"username": "one-viewer", "password": PASSWORD})).status_code == 429
    world.clock.jump(1)
    assert (await change(PASSWORD)).status_code == 204
    assert [(await change(f"wrong {number}")).status_code for number in range(5)] == [403] * 5
    assert (await change("another good one", PASSWORD)).status_code == 204


@pytest.mark.parametrize("place", ["abc", "", "-1", "9" * 5000, "1e3", "\u0661"])
async def test_cursors_of_ones_own_making(world, place):
    """A cursor whose tag is right and whose place is none is refused like any other that is wrong."""
    made = cursor(place, "x", f"{ONE}\nworkflow\nNone\n")
    answer = await world("GET", f"http://localhost/api/v2/workflows/runs?cursor={made}", token=VIEWER)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_nothing_is_taken_for_a_page(world):
    """Every answer says that its kind is the one that it names."""
    for path in ("http://localhost/healthz", "http://localhost/docs", "/accounts/me", "/nothing"):
        assert (await world("GET", path, token=VIEWER)).headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("size", [idempotency.MOST_BYTES, idempotency.MOST_BYTES + 1])
async def test_the_largest_answer_fits(size):
    """An answer of the largest size that is kept is; a larger one is sent without being kept."""
    store = MemoryStore(clock=SystemClock())
    kept = idempotency.Idempotency(store.documents, SystemClock())
    await kept._write(ONE, "id", idempotency._Remembered("f" * 48, "s" * 16), 0, idempotency.PENDING)
    scope = {"idempotency": idempotency._Open(ONE, "id", "f" * 48, parts=[])}
    headers = [(name.encode(), b"h" * 1000) for name in sorted(idempotency.SHOWN)]
    await kept.note({"type": "http.response.start", "status": 201, "headers": headers}, scope)
    await kept.note({"type": "http.response.body", "body": b"x" * size}, scope)
    assert (await store.documents.get(ONE, idempotency.KIND, "id") is not None) is (size == idempotency.MOST_BYTES)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/accounts/me/tokens", lambda long: {"name": long}),
        ("POST", "/accounts/me/access-keys", lambda long: {"name": long}),
        ("PUT", "/accounts/me", lambda long: {"name": long}),
        ("POST", "/accounts", lambda long: {"name": long, "username": "eve", "password": PASSWORD}),
        ("POST", "/accounts/me/structured-secrets/s", lambda long: {"schema": {"fields": {long: {}}}, "data": {}}),
    ],
)
async def test_what_is_too_long_to_be_kept(method, path, body):
    """Names and schemas have an end: beyond it they are refused with their place, and do not fill the store."""
    async with accounts_world(registration="open") as world:
        for size in (300_000, 1024 * 1024 - 200):
            answer = await world(method, path, body("n" * size), token=(ONE, Role.OWNER))
            assert answer.status_code == 400
            assert answer.json()["errors"][0]["pointer"] in ("/name", "/schema")
