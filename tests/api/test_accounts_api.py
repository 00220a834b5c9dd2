"""Accounts, users, keys and log-ins by REST."""

import asyncio

import pytest
from accountsworld import NONE, ONE, OPERATOR, PASSWORD, TWO, accounts_world

from flowrunner.errors import Unauthenticated
from flowrunner.identity.permissions import Permission, Role, role_permissions
from flowrunner.ports.documents import SYSTEM

OWNER, ADMIN, EDITOR, VIEWER, WORKER = ((ONE, role) for role in Role)
NEW = {"username": "eve", "password": PASSWORD}


@pytest.fixture
async def world():
    async with accounts_world() as made:
        yield made


async def test_log_in_and_out(world):
    """A name and a password give a token with the source's three members; it can be renewed, and log-out ends it and all others."""
    answer = await world("POST", "/login", {"username": "ONE-owner", "password": PASSWORD})
    assert answer.status_code == 200
    assert {"account_id": ONE, "username": "one-owner"}.items() <= answer.json().items()
    assert answer.headers["cache-control"] == "no-store"
    token = answer.json()["token"]
    again = (await world("POST", "/accounts/refresh-token", token=token)).json()["token"]
    assert again != token
    for one in (token, again):
        assert (await world("GET", "/accounts/me", token=one)).json()["id"] == ONE
    assert (await world("POST", "/logout", token=token)).status_code == 204
    for one in (token, again):
        assert (await world("GET", "/accounts/me", token=one)).status_code == 401
    assert (await world("GET", "/accounts/me", token=OWNER)).status_code == 200  # an API token is no log-in


async def test_basic(world):
    """User name and password work on each request, until the password changes."""
    assert (await world("GET", "/accounts/me", basic=("one-viewer", PASSWORD))).json()["id"] == ONE
    assert (await world("GET", "/accounts/me", basic=("one-viewer", "wrong"))).status_code == 401
    changed = {"current_password": PASSWORD, "new_password": "another good one"}
    assert (await world("PUT", "/accounts/me/password", changed, basic=("one-viewer", PASSWORD))).status_code == 204
    assert (await world("GET", "/accounts/me", basic=("one-viewer", PASSWORD))).status_code == 401
    assert (await world("GET", "/accounts/me", basic=("one-viewer", "another good one"))).status_code == 200


async def test_basic_after_a_change_elsewhere(world):
    """A password that another server changed is no good here after a moment, though this one remembers that it was right."""
    assert (await world("GET", "/accounts/me", basic=("one-viewer", PASSWORD))).status_code == 200
    await world.identity.users.change_password(ONE, world.users[VIEWER], "another good one", _server())  # as another server does: nobody tells the gate
    world.clock.jump(5)
    assert (await world("GET", "/accounts/me", basic=("one-viewer", PASSWORD))).status_code == 401


async def test_basic_after_a_role_elsewhere(world):
    """A role that another server changed counts here after a moment."""
    assert (await world("GET", "/accounts/me/users", basic=("one-viewer", PASSWORD))).status_code == 200
    await world.identity.users.change_role(ONE, world.users[VIEWER], Role.WORKER, _server())
    world.clock.jump(5)
    assert (await world("GET", "/accounts/me/users", basic=("one-viewer", PASSWORD))).status_code == 403


def _server():
    from flowrunner.identity.principal import SERVER

    return SERVER


async def test_wrong_log_ins_are_told_nothing(world):
    """An unknown name and a wrong password have the same answer, byte for byte but for the request's id."""
    answers = [(await world("POST", "/login", {"username": name, "password": "wrong wrong"})).json() for name in ("one-owner", "nobody")]
    for answer in answers:
        del answer["trace_id"]
    assert answers[0] == answers[1]
    assert answers[0]["code"] == "unauthenticated"


async def test_failed_log_ins_wait(world):
    """After a few failures 429 with how long to wait; the owner of the name gets in with a token meanwhile."""
    for _ in range(6):
        await world("POST", "/login", {"username": "one-owner", "password": "wrong wrong"})
    answer = await world("POST", "/login", {"username": "one-owner", "password": PASSWORD})
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "1"
    assert (await world("GET", "/accounts/me", token=OWNER)).status_code == 200
    world.clock.jump(1)
    assert (await world("POST", "/login", {"username": "one-owner", "password": PASSWORD})).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic",
        "Basic %",
        "Basic Og==",
        "Digest x",
        "Bearer flr_x",
        "Bearer é",
        "Bearer a b",
        "AWS4-HMAC-SHA256 x",
        "Bearer " + "x" * 20_000,
    ],
)
async def test_what_is_no_credential(world, authorization):
    """401 with what helps, never anything else."""
    answer = await world("GET", "/accounts/me", headers={"authorization": authorization.encode()})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"]


async def test_two_credentials_are_none(world):
    """Nobody guesses which one counts."""
    headers = [("authorization", f"Bearer {world.tokens[OWNER]}"), ("authorization", f"Bearer {world.tokens[VIEWER]}")]
    assert (await world.client.get("/api/v1/accounts/me", headers=headers)).status_code == 401


# --- accounts


async def test_accounts_are_the_operators_to_make(world):
    """With closed registration nobody else makes one; the shape is the source's."""
    assert (await world("POST", "/accounts", NEW)).status_code == 401
    assert (await world("POST", "/accounts", NEW, token=OWNER)).status_code == 403
    answer = await world("POST", "/accounts", NEW, token="operator")
    assert answer.status_code == 201
    assert {"id", "username", "created_at", "updated_at"} <= answer.json().keys()
    again = await world("POST", "/accounts", {**NEW, "username": "EVE"}, token="operator")
    assert (again.status_code, again.json()["detail"]) == (409, "username already exists: EVE")
    chosen = await world("POST", "/accounts", {"username": "fay", "password": PASSWORD, "id": NONE}, token="operator")
    assert chosen.json()["id"] == NONE


async def test_open_registration():
    """Anybody makes an account, and does not choose its number."""
    async with accounts_world("open") as world:
        assert (await world("POST", "/accounts", NEW)).status_code == 201
        assert (await world("POST", "/accounts", {**NEW, "username": "fay", "id": NONE})).status_code == 403


async def test_list_of_accounts(world):
    """All for an operator, page by page; one's own for everybody else."""
    answer = (await world("GET", "/accounts", token="operator")).json()
    assert [row["id"] for row in answer["accounts"]] == [OPERATOR, ONE, TWO]
    assert (answer["total"], answer["next_after"]) == (3, None)
    pages, after = [], ""
    while after is not None:
        page = (await world("GET", f"/accounts?limit=1&after={after}", token="operator")).json()
        pages += page["accounts"]
        after = page["next_after"]
    assert pages == answer["accounts"]
    assert [row["id"] for row in (await world("GET", "/accounts", token=VIEWER)).json()["accounts"]] == [ONE]


async def test_other_accounts_are_as_good_as_absent(world):
    """A foreign account and one that does not exist have the same answers, byte for byte."""
    for method, path, body in (
        ("GET", "", None), ("PUT", "", {"name": "x"}), ("DELETE", "", None), ("GET", "/users", None), ("POST", "/users", {**NEW, "role": "viewer"}),
        ("GET", "/tokens", None), ("POST", "/tokens", {}), ("GET", "/access-keys", None), ("POST", "/access-keys", {}), ("GET", "/audit", None),
    ):  # fmt: skip
        headers = {"x-request-id": "same"}
        foreign, absent = [await world(method, f"/accounts/{account}{path}", body, token=OWNER, headers=headers) for account in (TWO, NONE)]
        assert foreign.status_code == absent.status_code == 403, (method, path)
        assert foreign.content.replace(TWO.encode(), b"-") == absent.content.replace(NONE.encode(), b"-")


async def test_rename_and_delete(world):
    """The owner renames and deletes the account; then nobody of it gets in, and its names are free."""
    answer = await world("PUT", f"/accounts/{ONE}", {"name": "Engines", "email": "ada@example.com"}, token=OWNER)
    assert {"name": "Engines", "email": "ada@example.com"}.items() <= answer.json().items()
    assert (await world("DELETE", f"/accounts/{ONE}", token=ADMIN)).status_code == 403
    assert (await world("DELETE", f"/accounts/{ONE}", token=OWNER)).status_code == 204
    for token in (OWNER, VIEWER):
        assert (await world("GET", "/accounts/me", token=token)).status_code == 401
    assert (await world("POST", "/login", {"username": "one-owner", "password": PASSWORD})).status_code == 401
    assert (await world("POST", "/accounts", {"username": "one-owner", "password": PASSWORD}, token="operator")).status_code == 201


async def test_operators_delete_and_rename_any(world):
    """That is what they are for; they see no users, keys or logs of others."""
    assert (await world("PUT", f"/accounts/{TWO}", {"name": "second"}, token="operator")).json()["name"] == "second"
    for path in ("/users", "/tokens", "/access-keys", "/audit"):
        assert (await world("GET", f"/accounts/{TWO}{path}", token="operator")).status_code == 403
    assert (await world("DELETE", f"/accounts/{TWO}", token="operator")).status_code == 204
    assert (await world("GET", f"/accounts/{TWO}", token="operator")).status_code == 404


# --- users


async def test_nobody_gives_more_than_they_have(world):
    """Each role by each role: made, changed, removed only by who can do as much."""
    for giver in Role:
        for given in Role:
            may = Permission.USERS_WRITE in role_permissions(giver) and role_permissions(given) <= role_permissions(giver)
            body = {"username": f"{giver}-makes-{given}", "password": PASSWORD, "role": given}
            made = await world("POST", f"/accounts/{ONE}/users", body, token=(ONE, giver))
            assert made.status_code == (201 if may else 403), (giver, given)
    answer = await world("PATCH", f"/accounts/{ONE}/users/{world.users[ADMIN]}", {"role": "owner"}, token=ADMIN)
    assert answer.status_code == 403
    for change in ({"role": "viewer"}, {"password": "another good one"}):
        assert (await world("PATCH", f"/accounts/{ONE}/users/{world.users[OWNER]}", change, token=ADMIN)).status_code == 403
    assert (await world("DELETE", f"/accounts/{ONE}/users/{world.users[OWNER]}", token=ADMIN)).status_code == 403


async def test_operators_are_more_than_owners(world):
    """Another owner of the operator's account sets no password of the operator, takes no role, ends and makes no credential of it."""
    (operator,) = await world.identity.users.page(OPERATOR)
    token = (await world("POST", f"/accounts/{OPERATOR}/tokens", {}, token="operator")).json()["id"]
    body = {"username": "second", "password": PASSWORD, "role": "owner"}
    assert (await world("POST", f"/accounts/{OPERATOR}/users", body, token="operator")).status_code == 201
    second = {"basic": ("second", PASSWORD)}
    for method, path, given in (
        ("PATCH", f"/users/{operator.id}", {"password": "another good one"}),
        ("PATCH", f"/users/{operator.id}", {"role": "viewer"}),
        ("DELETE", f"/users/{operator.id}", None),
        ("DELETE", f"/tokens/{token}", None),
        ("POST", "/tokens", {"user": operator.id}),
        ("POST", "/access-keys", {"user": operator.id}),
    ):
        assert (await world(method, f"/accounts/{OPERATOR}{path}", given, **second)).status_code == 403, path
    scopes = sorted(role_permissions(Role.OWNER))
    narrow = (await world("POST", f"/accounts/{OPERATOR}/tokens", {"scopes": scopes}, token="operator")).json()["token"]
    child = (await world("POST", f"/accounts/{OPERATOR}/tokens", {}, token=narrow)).json()
    assert child["scopes"] == scopes  # all of an owner, and not an operator's
    assert (await world("POST", f"/accounts/{OPERATOR}/access-keys", {}, token=narrow)).status_code == 403


async def test_the_last_owner_stays(world):
    """Conflict, for removal and for another role."""
    path = f"/accounts/{ONE}/users/{world.users[OWNER]}"
    assert (await world("DELETE", path, token=OWNER)).status_code == 409
    assert (await world("PATCH", path, {"role": "admin"}, token=OWNER)).status_code == 409


async def test_a_new_role_counts_at_once(world):
    """Tokens follow their user."""
    assert (await world("GET", f"/accounts/{ONE}/users", token=VIEWER)).status_code == 200
    await world("PATCH", f"/accounts/{ONE}/users/{world.users[VIEWER]}", {"role": "worker"}, token=OWNER)
    assert (await world("GET", f"/accounts/{ONE}/users", token=VIEWER)).status_code == 403


async def test_users_of_other_accounts_are_absent(world):
    """Whoever's id is given, the account is one's own."""
    foreign = world.users[TWO, Role.VIEWER]
    headers = {"x-request-id": "same"}
    for method, body in (("GET", None), ("PATCH", {"role": "viewer"}), ("DELETE", None)):
        answers = [await world(method, f"/accounts/{ONE}/users/{user}", body, token=OWNER, headers=headers) for user in (foreign, "usr_000000000000")]
        assert {answer.status_code for answer in answers} == {404}
        assert answers[0].content.replace(foreign.encode(), b"-") == answers[1].content.replace(b"usr_000000000000", b"-")


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("users", {"username": "x", "password": PASSWORD, "role": "king"}, "It must be one of owner, admin, editor, viewer, worker."),
        ("tokens", {"scopes": ["executions:raed"]}, "Did you mean executions:read?"),
        ("tokens", {"scopes": ["xyzzy"]}, "It must be one of machines:read, machines:write, "),
    ],
)
async def test_values_that_are_none_of_a_few(world, path, body, said):
    """Who mistypes a role or a permission is told the right ones, and no lack of rights."""
    answer = await world("POST", f"/accounts/{ONE}/{path}", body, token=OWNER)
    assert answer.status_code == 400
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("users", {"username": "x", "password": PASSWORD, "operator": True}, ""),
        ("users", {"username": "x", "password": PASSWORD, "role": "operator"}, "/role"),
        ("users", {"username": "x"}, ""),
        ("users", {"username": 7, "password": PASSWORD}, "/username"),
        ("users", {"username": "x:y", "password": PASSWORD}, "/username"),
        ("users", {"username": "x", "password": "short"}, "/password"),
        ("users", {"username": "x", "password": PASSWORD, "email": "not-an-email"}, "/email"),
        ("users", {"username": "x", "password": PASSWORD, "email": "a b@c"}, "/email"),
        ("users", {"username": "x", "password": PASSWORD, "email": "@c"}, "/email"),
        ("users", [], ""),
        ("tokens", {"scopes": "all"}, "/scopes"),
        ("tokens", {"scopes": ["executions:read", "nope:read"]}, "/scopes/1"),
        ("tokens", {"expires_in": 0}, "/expires_in"),
        ("tokens", {"expires_in": 10**12}, "/expires_in"),
        ("tokens", {"expires_in": 1.5}, "/expires_in"),
        ("tokens", {"digest": "x"}, ""),
        ("access-keys", {"secret": "x"}, ""),
    ],
)
async def test_bodies_that_are_refused(world, path, body, pointer):
    """400 (403 for a scope one does not have) with the place; a member that nobody declared is not taken over."""
    answer = await world("POST", f"/accounts/{ONE}/{path}", body, token=OWNER)
    assert answer.status_code in (400, 403), answer.text
    if pointer:
        assert answer.json()["errors"][0]["pointer"] == pointer


# --- credentials


async def test_tokens_are_no_wider_than_their_maker(world):
    """A token with scopes makes none with others, no key pair, and without scopes one with its own."""
    scopes = [Permission.CREDENTIALS_OWN, Permission.ACCOUNT_READ]
    made = (await world("POST", f"/accounts/{ONE}/tokens", {"scopes": scopes}, token=OWNER)).json()
    assert made["token"].startswith(f"flr_{made['id']}_")
    assert (await world("POST", f"/accounts/{ONE}/tokens", {"scopes": ["secrets:read"]}, token=made["token"])).status_code == 403
    child = (await world("POST", f"/accounts/{ONE}/tokens", {}, token=made["token"])).json()
    assert set(child["scopes"]) == set(scopes)
    assert (await world("POST", f"/accounts/{ONE}/access-keys", {}, token=made["token"])).status_code == 403
    assert (await world("POST", "/accounts/refresh-token", token=made["token"])).status_code == 403  # no way round by a log-in
    changed = {"current_password": PASSWORD, "new_password": "another good one"}
    assert (await world("PUT", "/accounts/me/password", changed, token=made["token"])).status_code in (204, 403)


async def test_secrets_are_shown_once(world):
    """Neither lists nor single answers have them again."""
    token = (await world("POST", f"/accounts/{ONE}/tokens", {"name": "ci"}, token=VIEWER)).json()
    pair = (await world("POST", f"/accounts/{ONE}/access-keys", {"name": "boto3"}, token=VIEWER)).json()
    for path in ("tokens", "access-keys", "audit", "users"):
        text = (await world("GET", f"/accounts/{ONE}/{path}", token=OWNER)).text
        assert token["token"] not in text
        assert token["token"].rpartition("_")[2][:43] not in text
        assert pair["secret"] not in text
        assert PASSWORD not in text
        assert "$argon2" not in text


async def test_credentials_of_others(world):
    """One sees and ends one's own; who manages credentials those of the account; nobody those of another account."""
    mine = (await world("POST", f"/accounts/{ONE}/tokens", {}, token=VIEWER)).json()
    assert mine["id"] not in (await world("GET", f"/accounts/{ONE}/tokens", token=EDITOR)).text
    assert (await world("DELETE", f"/accounts/{ONE}/tokens/{mine['id']}", token=EDITOR)).status_code == 404
    assert (await world("DELETE", f"/accounts/{TWO}/tokens/{mine['id']}", token=(TWO, Role.OWNER))).status_code == 404
    assert mine["id"] in (await world("GET", f"/accounts/{ONE}/tokens", token=ADMIN)).text
    for_viewer = await world("POST", f"/accounts/{ONE}/tokens", {"user": world.users[VIEWER]}, token=ADMIN)
    assert for_viewer.json()["user"] == world.users[VIEWER]
    assert (await world("POST", f"/accounts/{ONE}/tokens", {"user": world.users[OWNER]}, token=ADMIN)).status_code == 403
    assert (await world("POST", f"/accounts/{ONE}/tokens", {"user": world.users[OWNER]}, token=VIEWER)).status_code == 403
    assert (await world("POST", f"/accounts/{ONE}/tokens", {"user": world.users[TWO, Role.VIEWER]}, token=OWNER)).status_code == 404
    assert (await world("DELETE", f"/accounts/{ONE}/tokens/{mine['id']}", token=ADMIN)).status_code == 204
    assert (await world("GET", "/accounts/me", token=mine["token"])).status_code == 401


async def test_admins_do_not_reach_what_owners_have(world):
    """An admin revokes no owner's credentials: that would lock out who can do more."""
    tokens = (await world("GET", f"/accounts/{ONE}/tokens", token=ADMIN)).json()["tokens"]
    (owners,) = [token for token in tokens if token["user"] == world.users[OWNER]]
    assert (await world("DELETE", f"/accounts/{ONE}/tokens/{owners['id']}", token=ADMIN)).status_code == 403
    assert (await world("GET", "/accounts/me", token=OWNER)).status_code == 200


async def test_the_log_in_name_of_an_account(world):
    """It is its first owner's in every answer, whatever the account is called; without that user the next owner's."""
    made = (await world("POST", "/accounts", {**NEW, "name": "Acme"}, token="operator")).json()
    assert (made["username"], made["name"]) == ("eve", "Acme")
    await world("PUT", f"/accounts/{made['id']}", {"name": "Acme & Sons"}, token="operator")
    listed = (await world("GET", "/accounts?limit=100", token="operator")).json()["accounts"]
    for shown in ((await world("GET", f"/accounts/{made['id']}", token="operator")).json(), *(one for one in listed if one["id"] == made["id"])):
        assert (shown["username"], shown["name"]) == ("eve", "Acme & Sons")
        assert (await world("POST", "/login", {**NEW, "username": shown["username"]})).status_code == 200
    mine = (await world("POST", "/login", NEW)).json()["token"]
    second = await world("POST", f"/accounts/{made['id']}/users", {"username": "second-owner", "password": PASSWORD, "role": "owner"}, token=mine)
    assert second.status_code == 201
    (eve,) = [user for user in (await world("GET", f"/accounts/{made['id']}/users", token=mine)).json()["users"] if user["username"] == "eve"]
    login = (await world("POST", "/login", {**NEW, "username": "second-owner"})).json()["token"]
    assert (await world("DELETE", f"/accounts/{made['id']}/users/{eve['id']}", token=login)).status_code == 204
    assert (await world("GET", "/accounts/me", token=login)).json()["username"] == "second-owner"


async def test_addresses_of_accounts(world):
    """They have a name, an @ and a domain, when an account is made and when it is changed."""
    for email in ("not-an-email", "a@", "@b", "a" * 251 + "@b.c", "a\n@b"):
        made = await world("POST", "/accounts", {**NEW, "email": email}, token="operator")
        changed = await world("PUT", f"/accounts/{ONE}", {"email": email}, token=OWNER)
        for answer in (made, changed):
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/email")
    assert (await world("PUT", f"/accounts/{ONE}", {"email": "größe@b"}, token=OWNER)).json()["email"] == "größe@b"


async def test_expiry_and_last_use(world):
    """A token ends at its time; when it was last used is noted to the minute."""
    made = (await world("POST", f"/accounts/{ONE}/tokens", {"expires_in": 3600}, token=OWNER)).json()
    assert made["last_used"] is None
    await world("GET", "/accounts/me", token=made["token"])

    async def shown():
        rows = (await world("GET", f"/accounts/{ONE}/tokens", token=OWNER)).json()["tokens"]
        return next((row for row in rows if row["id"] == made["id"]), None)

    first = (await shown())["last_used"]
    assert first is not None
    world.clock.jump(30)
    await world("GET", "/accounts/me", token=made["token"])
    assert (await shown())["last_used"] == first
    world.clock.jump(40)
    await world("GET", "/accounts/me", token=made["token"])
    assert (await shown())["last_used"] > first
    world.clock.jump(3600)
    assert (await world("GET", "/accounts/me", token=made["token"])).status_code == 401
    assert await shown() is None


async def test_last_use_of_a_key_pair(world):
    """It is noted to the minute, with one write however many requests there are, and never for a key that is gone."""
    made = (await world("POST", f"/accounts/{ONE}/access-keys", {}, token=OWNER)).json()
    assert made["last_used"] is None
    gate, writes, write = world.identity.gate, [], world.identity.gate._entries.documents.write

    async def counted(changes):
        writes.append(changes)
        await write(changes)

    world.identity.gate._entries.documents.write = counted

    async def shown():
        rows = (await world("GET", f"/accounts/{ONE}/access-keys", token=OWNER)).json()["access_keys"]
        return next(row["last_used"] for row in rows if row["id"] == made["id"])

    await shown()  # notes the use of the token that asks
    writes.clear()
    await asyncio.gather(*(gate.used_access_key(made["id"]) for _ in range(50)))
    assert len(writes) == 1
    first = await shown()
    assert first is not None
    world.clock.jump(59)
    await gate.used_access_key(made["id"])
    assert await shown() == first
    world.clock.jump(1)
    await gate.used_access_key(made["id"])
    assert await shown() > first
    assert (await gate.access_key(made["id"])).secret == made["secret"]
    await world("DELETE", f"/accounts/{ONE}/access-keys/{made['id']}", token=OWNER)
    world.clock.jump(60)
    writes.clear()
    await gate.used_access_key(made["id"])
    assert writes == []


# --- audit


async def test_every_change_leaves_one_entry(world):
    """Each mutating route, exactly one row, with who, from where and the request's id; reads leave none."""
    entries = world.identity.audit

    async def last(account=ONE):
        head = await entries.head(account)
        return head.seq, (await entries.page(account, after=head.seq - 1))[0]

    user = (await world("POST", f"/accounts/{ONE}/users", {**NEW, "role": "viewer"}, token=OWNER)).json()["id"]
    token = (await world("POST", f"/accounts/{ONE}/tokens", {}, token=OWNER)).json()["id"]
    key = (await world("POST", f"/accounts/{ONE}/access-keys", {}, token=OWNER)).json()["id"]
    steps = [
        ("PUT", f"/accounts/{ONE}", {"name": "x"}, "account:change"),
        ("POST", f"/accounts/{ONE}/users", {"username": "gil", "password": PASSWORD}, "user:create"),
        ("PATCH", f"/accounts/{ONE}/users/{user}", {"role": "editor"}, "user:role"),
        ("PATCH", f"/accounts/{ONE}/users/{user}", {"password": "another good one"}, "user:password"),
        ("DELETE", f"/accounts/{ONE}/users/{user}", None, "user:delete"),
        ("POST", f"/accounts/{ONE}/tokens", {}, "token:create"),
        ("DELETE", f"/accounts/{ONE}/tokens/{token}", None, "token:revoke"),
        ("POST", f"/accounts/{ONE}/access-keys", {}, "access-key:create"),
        ("DELETE", f"/accounts/{ONE}/access-keys/{key}", None, "access-key:revoke"),
        ("POST", "/logout", None, "user:logout"),
        ("DELETE", f"/accounts/{ONE}/users/usr_none", None, None),
        ("GET", f"/accounts/{ONE}/users", None, None),
        ("GET", f"/accounts/{ONE}/audit", None, None),
    ]
    for number, (method, path, body, action) in enumerate(steps):
        before, _ = await last()
        answer = await world(method, path, body, token=OWNER, headers={"x-request-id": f"request-{number}"})
        after, entry = await last()
        assert after - before == (action is not None), (method, path, answer.text)
        if action is not None:
            assert (entry.action, entry.request, entry.result) == (action, f"request-{number}", "ok")
            assert entry.who.startswith("token:")
            assert entry.address == "127.0.0.1"
    assert await entries.verify(ONE) is None


async def test_failures_are_in_the_log(world):
    """A failed log-in and a denied request are, in the account that they were aimed at and from; strangers' names are not."""
    await world("POST", "/login", {"username": "one-owner", "password": "wrong wrong"})
    await world("POST", f"/accounts/{ONE}/users", NEW, token=VIEWER)
    await world("GET", f"/accounts/{TWO}", token=VIEWER)
    rows = (await world("GET", f"/accounts/{ONE}/audit?limit=1000", token=OWNER)).json()["entries"][-3:]
    assert [(row["action"], row["result"]) for row in rows] == [("login", "failed"), ("POST", "denied"), ("GET", "denied")]
    assert rows[1]["detail"] == "needs users:write"
    assert rows[1]["target"] == f"/api/v1/accounts/{ONE}/users"


async def test_the_log_is_paged(world):
    """By number, with the head; what is no number is refused."""
    page = (await world("GET", f"/accounts/{ONE}/audit?after=2&limit=2", token=ADMIN)).json()
    assert [row["seq"] for row in page["entries"]] == [3, 4]
    assert page["head"]["seq"] >= 6
    for wrong in ("x", "-1", "²", "9" * 30):
        assert (await world("GET", f"/accounts/{ONE}/audit?after={wrong}", token=ADMIN)).status_code == 400
    assert (await world("GET", f"/accounts/{ONE}/audit", token=EDITOR)).status_code == 403


async def test_names_without_end(world):
    """A log-in under a name that nobody can have is refused as any other, and little is kept of it: not in the memory of failures, not in the log."""
    for length in (129, 500_000, 1024 * 1024 - 60):
        answer = await world("POST", "/login", {"username": "n" * length, "password": "x"})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    entries = await world.identity.audit.page(SYSTEM)
    assert [(entry.action, entry.result) for entry in entries] == [("login", "failed")] * 3
    assert max(len(entry.who) + len(entry.target) for entry in entries) < 300


async def test_a_log_in_that_has_ended_makes_nothing_that_lasts(world):
    """Another server ended it, and this one remembers it for a moment: in that moment it gets no new token, no API token and no key pair."""
    for method, path in (("POST", "/accounts/refresh-token"), ("POST", "/accounts/me/tokens"), ("POST", "/accounts/me/access-keys")):
        token = (await world("POST", "/login", {"username": "one-editor", "password": PASSWORD})).json()["token"]
        assert (await world("GET", "/accounts/me", token=token)).status_code == 200
        await world.identity.users.end_logins(ONE, world.users[EDITOR], _server())
        assert (await world(method, path, {}, token=token)).status_code == 401


@pytest.mark.parametrize("ways", ["of_token", "of_access_key"])
async def test_a_change_during_a_look_counts(world, monkeypatch, ways):
    """A credential that was read before it was revoked, and let in after that, is not remembered: the next request is refused."""
    credentials, gate = world.identity.credentials, world.identity.gate
    issue, revoke, ask = {
        "of_token": (credentials.issue_token, credentials.revoke_token, lambda one: gate.bearer(one.secret)),
        "of_access_key": (credentials.issue_access_key, credentials.revoke_access_key, lambda one: gate.access_key(one.entry.id)),
    }[ways]
    issued = await issue(ONE, world.users[EDITOR], _server())
    look, was_read, goes_on = getattr(credentials, ways), asyncio.Event(), asyncio.Event()

    async def slow(given):
        found = await look(given)
        was_read.set()
        await goes_on.wait()
        return found

    monkeypatch.setattr(credentials, ways, slow)
    asked = asyncio.create_task(ask(issued))
    await was_read.wait()
    await revoke(ONE, issued.entry.id, _server())
    gate.forget()
    goes_on.set()
    assert await asked is not None
    if ways == "of_token":
        with pytest.raises(Unauthenticated):
            await ask(issued)
    else:
        assert await ask(issued) is None
