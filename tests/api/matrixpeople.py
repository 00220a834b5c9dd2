"""Everybody who might call: each role, narrow tokens, every kind of credential, strangers of another account, and nobodies."""

import base64
from dataclasses import dataclass

from flowrunner.identity.permissions import OPERATOR as OPERATORS
from flowrunner.identity.permissions import Permission, Role, role_permissions
from flowrunner.identity.principal import SERVER

PASSWORD = "correct horse battery"
OPERATOR, ONE, TWO, NOWHERE = "000000000001", "111111111111", "222222222222", "333333333333"
MARK = "0nly-0ne"  # in everything that account one has, but for what its things are called by
HTTP, SOCKET, AWS = "http", "socket", "aws"
EVERYWHERE = frozenset({HTTP, SOCKET, AWS})
NARROW = frozenset({Permission.EXECUTIONS_READ})


@dataclass(frozen=True)
class Caller:
    """Who asks: no `account` is nobody; a credential of one surface lets nobody in at the others."""

    name: str
    account: str = ""
    permissions: frozenset = frozenset()
    surfaces: frozenset = frozenset()
    authorization: str | None = None
    key: tuple | None = None  # id and secret, to sign with
    ticket: str | None = None  # the API token that gets a ticket for each socket
    login: bool = False

    def known(self, surface):
        return surface in self.surfaces


class _Maker:
    """Makes users and their credentials."""

    def __init__(self, identity):
        self.identity, self.credentials, self.users = identity, identity.credentials, identity.users

    async def user(self, account, role, name):
        name = f"{MARK if account == ONE else 'two'}-{name}"
        return await self.users.create(account, name, PASSWORD, role, SERVER, email=f"{name}@example.com")

    async def of_role(self, account, role):
        found = [one for one in await self.users.page(account) if one.role is role]
        return found[0] if found else await self.user(account, role, role)

    async def bearer(self, name, account, role, *, scopes=None):
        issued = await self.credentials.issue_token(account, (await self.of_role(account, role)).id, SERVER, scopes=scopes)
        return Caller(name, account, scopes or role_permissions(role), EVERYWHERE, f"Bearer {issued.secret}")

    def login(self, account, user):
        return f"Bearer {self.identity.logins.issue(account, user)}"


async def people(application):
    """All callers; the first of each account is its owner."""
    maker = _Maker(application.identity)
    for account, name in ((ONE, MARK), (TWO, "two")):
        await maker.identity.accounts.open(f"{name}-owner", PASSWORD, SERVER, account=account, name=f"{name} Ltd", email=f"{name}@example.com")
    made = [await maker.bearer(role.value, ONE, role) for role in Role]
    made += [await maker.bearer("narrow", ONE, Role.OWNER, scopes=NARROW)]
    made += [await maker.bearer(f"other {role}", TWO, role) for role in (Role.OWNER, Role.ADMIN)]
    (admin,) = await maker.users.page(OPERATOR)
    await maker.users.change_password(OPERATOR, admin.id, PASSWORD, SERVER)
    first = f"Bearer {application.first_run.token.secret}"
    made += [Caller("operator", OPERATOR, role_permissions(Role.OWNER) | OPERATORS, EVERYWHERE, first)]
    made += [*await _otherwise(maker, ONE, "", Role.EDITOR), *await _otherwise(maker, TWO, "other ", Role.OWNER)]
    return [*made, *await _nobodies(maker, made)]


async def _otherwise(maker, account, prefix, signing):
    """The other ways in: log-in, HTTP Basic, socket ticket, key pair."""
    editor, admin = await maker.user(account, Role.EDITOR, "login"), await maker.user(account, Role.ADMIN, "basic")
    basic = base64.b64encode(f"{admin.username}:{PASSWORD}".encode()).decode()
    viewer = await maker.bearer("", account, Role.VIEWER)
    pair = await maker.credentials.issue_access_key(account, (await maker.of_role(account, signing)).id, SERVER)
    return [
        Caller(f"{prefix}log-in", account, role_permissions(Role.EDITOR), EVERYWHERE, maker.login(account, editor), login=True),
        Caller(f"{prefix}Basic", account, role_permissions(Role.ADMIN), frozenset({HTTP, SOCKET}), f"Basic {basic}", login=True),
        Caller(f"{prefix}ticket", account, role_permissions(Role.VIEWER), frozenset({SOCKET}), ticket=viewer.authorization.partition(" ")[2]),
        Caller(f"{prefix}key", account, role_permissions(signing), frozenset({AWS}), key=(pair.entry.id, pair.secret)),
    ]


async def _nobodies(maker, known):
    """Credentials that never were, are no more, or were altered; all would be good for account one."""
    credentials, users, identity = maker.credentials, maker.users, maker.identity
    owner = await maker.of_role(ONE, Role.OWNER)
    revoked = await credentials.issue_token(ONE, owner.id, SERVER)
    await credentials.revoke_token(ONE, revoked.entry.id, SERVER)
    expired = await credentials.issue_token(ONE, owner.id, SERVER, seconds=-1)
    leaving, ending = await maker.user(ONE, Role.ADMIN, "leaving"), await maker.user(ONE, Role.ADMIN, "ending")
    left, left_key, left_login = (
        await credentials.issue_token(ONE, leaving.id, SERVER),
        await credentials.issue_access_key(ONE, leaving.id, SERVER),
        maker.login(ONE, leaving),
    )
    await users.delete(ONE, leaving.id, SERVER)
    ended = maker.login(ONE, ending)
    await users.end_logins(ONE, ending.id, SERVER)
    identity.logins.seconds, seconds = -1, identity.logins.seconds
    late = maker.login(ONE, await users.get(ONE, ending.id))
    identity.logins.seconds = seconds
    good, pair = known[0].authorization, next(caller.key for caller in known if caller.name == "key")
    bearers = {
        "garbage": "Bearer garbage", "revoked": f"Bearer {revoked.secret}", "expired": f"Bearer {expired.secret}", "deleted user": f"Bearer {left.secret}",
        "log-in of a deleted user": left_login, "ended log-in": ended, "expired log-in": late, "altered": good[:-1] + ("a" if good[-1] != "a" else "b"),
    }  # fmt: skip
    return [
        Caller("none"),
        *(Caller(name, authorization=text) for name, text in bearers.items()),
        Caller("key of a deleted user", key=(left_key.entry.id, left_key.secret)),
        Caller("wrong signature", key=(pair[0], "another secret")),
    ]
