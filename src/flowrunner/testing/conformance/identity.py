"""What accounts, keys and the audit log are on every store: the services of `flowrunner.identity` over its documents."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from flowrunner.clock import MINUTE, SECOND, SystemClock
from flowrunner.errors import AccessDenied, Conflict, InvalidDocument, NotFound, Overloaded, StoreUnavailable, Unauthenticated
from flowrunner.identity.audit import ALL_REFUSALS_A_MINUTE
from flowrunner.identity.permissions import OPERATOR, Permission, Role, role_permissions
from flowrunner.identity.principal import Actor
from flowrunner.identity.service import Identity
from flowrunner.identity.tokens import read_token
from flowrunner.ports.documents import APPEND_ONLY, SYSTEM, Put, Remove
from flowrunner.ports.store import Store
from flowrunner.testing.clock import ManualClock
from flowrunner.testing.identities import made_identity

ACTOR = Actor("user:test", "192.0.2.1", "request-1")
PASSWORD = "correct horse battery"  # noqa: S105 - of users that are made here
_numbers = itertools.count(1)


def fresh(name: str) -> str:
    """A user name that no other test has."""
    return f"{name}-{next(_numbers)}"


class _WithIdentity:
    @pytest.fixture
    async def identity(self, store: Store, identity_clock: ManualClock) -> AsyncIterator[Identity]:
        """The services on the store under test."""
        async with AsyncExitStack() as stack:
            yield await made_identity(store.documents, stack, clock=identity_clock, seed=next(_numbers))

    @pytest.fixture
    def identity_clock(self) -> ManualClock:
        """The services' clock: about that of the store, by which its documents expire."""
        return ManualClock(SystemClock().now())


class AccountStoreConformance(_WithIdentity):
    """Accounts and users."""

    async def test_an_account_and_its_owner(self, identity: Identity) -> None:
        """An account is made with an owner, whom the name and the password let in."""
        name = fresh("ada")
        opened = await identity.accounts.open(name, PASSWORD, ACTOR, email="ada@example.com")
        assert (opened.account.name, opened.account.email, opened.owner.role) == (name, "ada@example.com", Role.OWNER)
        assert await identity.accounts.get(opened.account.id) == opened.account
        kept = await identity.gate.password(name.upper(), PASSWORD, ACTOR)  # names have no case
        assert (kept.account, kept.entry.id) == (opened.account.id, opened.owner.id)
        assert PASSWORD not in str(kept.document.body)

    async def test_a_name_is_taken_once(self, identity: Identity) -> None:
        """Of many who ask for one name at once, one gets it, and there are no accounts without owner."""
        name = fresh("bob")
        answers = await asyncio.gather(*(identity.accounts.open(name, PASSWORD, ACTOR) for _ in range(8)), return_exceptions=True)
        assert sorted(type(answer).__name__ for answer in answers) == ["Conflict"] * 7 + ["Opened"]
        with pytest.raises(Conflict, match="username already exists"):
            await identity.accounts.open(name.title(), PASSWORD, ACTOR)
        for account in await identity.accounts.page(limit=1000):
            assert await identity.users.page(account.id)

    async def test_an_id_is_taken_once(self, identity: Identity) -> None:
        """An account id that was asked for is there or refused."""
        number = f"{next(_numbers):012d}"
        assert (await identity.accounts.open(fresh("eve"), PASSWORD, ACTOR, account=number)).account.id == number
        with pytest.raises(Conflict, match=number):
            await identity.accounts.open(fresh("eve"), PASSWORD, ACTOR, account=number)
        for wrong in (SYSTEM, "12", "x" * 12):
            with pytest.raises(InvalidDocument):
                await identity.accounts.open(fresh("eve"), PASSWORD, ACTOR, account=wrong)

    async def test_names_and_passwords_that_are_refused(self, identity: Identity) -> None:
        """Each with its place."""
        for name, password, pointer in (
            ("", PASSWORD, "/username"), ("a:b", PASSWORD, "/username"), ("a\nb", PASSWORD, "/username"), ("a" * 129, PASSWORD, "/username"),
            ("carol", "short", "/password"), ("carol", "password123", "/password"), ("carolcarol", "CarolCarol", "/password"), ("carol", "aaaabbbb", "/password"),
        ):  # fmt: skip
            with pytest.raises(InvalidDocument) as refused:
                await identity.accounts.open(name, password, ACTOR)
            assert refused.value.pointer == pointer

    async def test_users_and_roles(self, identity: Identity) -> None:
        """Users come, change and go; the last owner stays."""
        opened = await identity.accounts.open(fresh("owner"), PASSWORD, ACTOR)
        account, owner = opened.account.id, opened.owner.id
        user = await identity.users.create(account, fresh("user"), PASSWORD, Role.VIEWER, ACTOR)
        assert {one.id for one in await identity.users.page(account)} == {owner, user.id}
        for action in (identity.users.delete(account, owner, ACTOR), identity.users.change_role(account, owner, Role.ADMIN, ACTOR)):
            with pytest.raises(Conflict, match="keeps an owner"):
                await action
        assert (await identity.users.change_role(account, user.id, Role.OWNER, ACTOR)).role is Role.OWNER
        left = await asyncio.gather(identity.users.delete(account, owner, ACTOR), identity.users.delete(account, user.id, ACTOR), return_exceptions=True)
        assert sorted(type(one).__name__ for one in left) == ["Conflict", "NoneType"]
        with pytest.raises(NotFound):
            await identity.users.get("000000000009", user.id)

    async def test_a_new_password_ends_log_ins(self, identity: Identity) -> None:
        """The old password and the tokens of log-ins are no use after it."""
        name = fresh("dan")
        opened = await identity.accounts.open(name, PASSWORD, ACTOR)
        login = identity.logins.issue(opened.account.id, opened.owner)
        principal = await identity.gate.bearer(login)
        assert principal.permissions == role_permissions(Role.OWNER)
        with pytest.raises(AccessDenied):
            await identity.users.change_password(opened.account.id, opened.owner.id, "another good one", ACTOR, current="wrong")
        await identity.users.change_password(opened.account.id, opened.owner.id, "another good one", ACTOR, current=PASSWORD)
        identity.gate.forget()
        for attempt in (identity.gate.bearer(login), identity.gate.password(name, PASSWORD, ACTOR)):
            with pytest.raises(Unauthenticated):
                await attempt
        assert not await identity.gate.still(principal)
        await identity.gate.password(name, "another good one", ACTOR)

    async def test_an_account_is_deleted_with_all_it_holds(self, identity: Identity) -> None:
        """From the first moment on nobody gets in; a deletion that was cut short is finished later."""
        name = fresh("fay")
        opened = await identity.accounts.open(name, PASSWORD, ACTOR)
        account = opened.account.id
        token = await identity.credentials.issue_token(account, opened.owner.id, ACTOR)
        cut = asyncio.CancelledError()

        async def cut_short(_: str) -> None:
            raise cut

        identity.accounts.erase = cut_short
        with pytest.raises(asyncio.CancelledError):
            await identity.accounts.delete(account, ACTOR)
        for attempt in (identity.gate.bearer(token.secret), identity.gate.password(name, PASSWORD, ACTOR)):
            with pytest.raises(Unauthenticated):
                await attempt
        with pytest.raises(NotFound):
            await identity.accounts.get(account)
        identity.accounts.erase = None
        assert (await identity.accounts.finish_deletions()).finished >= 1
        assert await identity.users.page(account) == []
        assert await identity.credentials.tokens(account) == []
        assert await identity.audit.verify(account) is None
        await identity.accounts.open(name, PASSWORD, ACTOR)  # the name is free again

    async def test_a_deletion_that_fails_holds_up_no_other(self, identity: Identity) -> None:
        """Of three that were cut short the second fails, for a reason of ours or of the store's: the others are finished, and it is told; later it is finished, too."""
        accounts = [(await identity.accounts.open(fresh("gus"), PASSWORD, ACTOR)).account.id for _ in range(3)]
        reasons: list[BaseException] = [asyncio.CancelledError()]

        async def fails(account: str) -> None:
            if len(reasons) == 1 or account == sorted(accounts)[1]:
                raise reasons[-1]

        identity.accounts.erase = fails
        for account in accounts:
            with pytest.raises(asyncio.CancelledError):
                await identity.accounts.delete(account, ACTOR)
        for reason in (StoreUnavailable(), RuntimeError("a defect")):
            reasons.append(reason)
            told = await identity.accounts.finish_deletions()
            assert told.failures == {sorted(accounts)[1]: reason}
        assert [len(await identity.users.page(account)) for account in sorted(accounts)] == [0, 1, 0]
        identity.accounts.erase = None
        assert not (await identity.accounts.finish_deletions()).failures
        assert await identity.users.page(sorted(accounts)[1]) == []

    async def test_first_run(self, identity: Identity) -> None:
        """A store without accounts gets one, once, with an operator whose token is told once."""
        if await identity.accounts.page(limit=1):
            pytest.skip("The store under test has accounts already")
        runs = await asyncio.gather(*(identity.first_run("123456789012") for _ in range(4)))
        (first,) = [run for run in runs if run is not None]
        principal = await identity.gate.bearer(first.token.secret)
        assert (principal.account, principal.permissions) == ("123456789012", role_permissions(Role.OWNER) | OPERATOR)
        assert await identity.first_run("123456789012") is None


class KeyStoreConformance(_WithIdentity):
    """API tokens, AWS key pairs and tickets."""

    async def test_tokens(self, identity: Identity) -> None:
        """A token lets in as its user, no further than its scopes, until it is revoked; it is kept as a digest only."""
        account, user = await _opened(identity)
        whole = await identity.credentials.issue_token(account, user, ACTOR, name="ci")
        narrow = await identity.credentials.issue_token(account, user, ACTOR, scopes=[Permission.EXECUTIONS_READ])
        assert (await identity.gate.bearer(whole.secret)).permissions == role_permissions(Role.OWNER)
        assert (await identity.gate.bearer(narrow.secret)).permissions == {Permission.EXECUTIONS_READ}
        parts = read_token(whole.secret)
        assert parts is not None
        for document in await identity.entries.documents.page(account, "token"):
            assert parts.secret.encode() not in document.body
        await identity.credentials.revoke_token(account, parts.id, ACTOR)
        identity.gate.forget()
        with pytest.raises(Unauthenticated):
            await identity.gate.bearer(whole.secret)
        await identity.gate.bearer(narrow.secret)
        with pytest.raises(NotFound):
            await identity.credentials.revoke_token(account, parts.id, ACTOR)
        with pytest.raises(InvalidDocument, match="accounts:read"):
            await identity.credentials.issue_token(account, user, ACTOR, scopes=[Permission.ACCOUNTS_READ])

    async def test_tokens_follow_their_user(self, identity: Identity) -> None:
        """What a user may no longer do its tokens may not either; a user who is gone takes them along."""
        account, _ = await _opened(identity)
        user = await identity.users.create(account, fresh("user"), PASSWORD, Role.EDITOR, ACTOR)
        token = await identity.credentials.issue_token(account, user.id, ACTOR)
        await identity.users.change_role(account, user.id, Role.VIEWER, ACTOR)
        principal = await identity.gate.bearer(token.secret)
        assert principal.permissions == role_permissions(Role.VIEWER)
        assert await identity.gate.still(principal)
        await identity.users.delete(account, user.id, ACTOR)
        identity.gate.forget()
        with pytest.raises(Unauthenticated):
            await identity.gate.bearer(token.secret)
        assert not await identity.gate.still(principal)
        assert await identity.credentials.tokens(account, user=user.id) == []

    async def test_key_pairs(self, identity: Identity) -> None:
        """An AWS key pair is found by its id, in its account, until it is revoked; lists never hold a secret."""
        account, user = await _opened(identity)
        issued = await identity.credentials.issue_access_key(account, user, ACTOR, name="boto3")
        found = await identity.gate.access_key(issued.entry.id)
        assert found is not None
        assert (found.secret, found.principal.account, found.principal.permissions) == (issued.secret, account, role_permissions(Role.OWNER))
        assert issued.secret not in repr(found)
        assert issued.secret not in repr(issued)
        assert [key.id for key in await identity.credentials.access_keys(account)] == [issued.entry.id]
        assert await identity.gate.access_key("AKIA" + "A" * 16) is None
        with pytest.raises(NotFound):
            await identity.credentials.revoke_access_key("000000000009", issued.entry.id, ACTOR)
        await identity.credentials.revoke_access_key(account, issued.entry.id, ACTOR)
        identity.gate.forget()
        assert await identity.gate.access_key(issued.entry.id) is None

    async def test_tickets_are_used_once(self, identity: Identity) -> None:
        """Of many who show one ticket, one gets in, as its maker."""
        account, user = await _opened(identity)
        token = await identity.credentials.issue_token(account, user, ACTOR)
        principal = await identity.gate.bearer(token.secret)
        ticket = await identity.credentials.issue_ticket(principal)
        answers = await asyncio.gather(*(identity.gate.ticket(ticket) for _ in range(6)), return_exceptions=True)
        assert [answer for answer in answers if not isinstance(answer, Unauthenticated)] == [principal]
        for wrong in (ticket, "", "tkt_x", "a/b", "é"):
            with pytest.raises(Unauthenticated):
                await identity.gate.ticket(wrong)

    async def test_log_ins_and_basic(self, identity: Identity) -> None:
        """A user name and a password let in by HTTP Basic; too many failures make that caller wait, and nobody else."""
        name = fresh("gil")
        await identity.accounts.open(name, PASSWORD, ACTOR)
        good, bad = _basic(name, PASSWORD), _basic(name, "wrong wrong")
        assert (await identity.gate.basic(good, "192.0.2.1")).name == f"user:{name}"
        for _ in range(6):
            with pytest.raises(Unauthenticated):
                await identity.gate.basic(bad, "192.0.2.2")
        with pytest.raises(Overloaded) as waits:
            await identity.gate.basic(_basic(name, "other wrong"), "192.0.2.2")
        assert 0 < waits.value.retry_after <= 1
        assert (await identity.gate.basic(_basic(name, PASSWORD), "192.0.2.3")).name == f"user:{name}"
        for broken in ("", "%", "YQ==", "gA=="):
            with pytest.raises(Unauthenticated):
                await identity.gate.basic(broken, "192.0.2.1")


class AuditStoreConformance(_WithIdentity):
    """The audit log."""

    async def test_every_change_leaves_one_entry(self, identity: Identity) -> None:
        """Who, from where, what, on what, with what result; numbered from 1, each linked to the one before."""
        account, user = await _opened(identity)
        token = await identity.credentials.issue_token(account, user, ACTOR)
        await identity.credentials.revoke_token(account, token.entry.id, ACTOR)
        await identity.audit.refused(account, ACTOR, "login", "gil")
        entries = await identity.audit.page(account)
        assert [(entry.seq, entry.action, entry.target, entry.result) for entry in entries] == [
            (1, "account:create", account, "ok"),
            (2, "token:create", token.entry.id, "ok"),
            (3, "token:revoke", token.entry.id, "ok"),
            (4, "login", "gil", "denied"),
        ]
        assert {(entry.who, entry.address, entry.request) for entry in entries} == {("user:test", "192.0.2.1", "request-1")}
        assert await identity.audit.verify(account) is None
        assert token.secret not in str(entries)

    async def test_many_at_once(self, identity: Identity) -> None:
        """Entries that come at the same time from several servers stand one after the other."""
        account, _ = await _opened(identity)
        async with AsyncExitStack() as stack:
            other = await made_identity(identity.entries.documents, stack, clock=ManualClock(), seed=next(_numbers))
            await asyncio.gather(*(one.audit.write(account, ACTOR, "test", str(number)) for number in range(10) for one in (identity, other)))
        entries = await identity.audit.page(account, after=1)
        assert [entry.seq for entry in entries] == list(range(2, 22))
        assert sorted(entry.target for entry in entries) == sorted(str(number) for number in range(10) for _ in range(2))
        assert await identity.audit.verify(account) is None

    async def test_pages(self, identity: Identity) -> None:
        """Pages begin after a number."""
        account, _ = await _opened(identity)
        for number in range(5):
            await identity.audit.write(account, ACTOR, "test", str(number))
        assert [entry.seq for entry in await identity.audit.page(account, after=2, limit=3)] == [3, 4, 5]

    async def test_refusals_are_bounded(self, identity: Identity, identity_clock: ManualClock) -> None:
        """A stranger cannot fill the store with failures: the first of each minute are listed."""
        account, _ = await _opened(identity)
        for _ in range(30):
            await identity.audit.refused(account, ACTOR, "login")
        assert len(await identity.audit.page(account)) == 1 + 20
        identity_clock.jump(MINUTE / SECOND)
        await identity.audit.refused(account, ACTOR, "login")
        assert len(await identity.audit.page(account)) == 1 + 21

    async def test_refusals_from_many_addresses_are_bounded(self, identity: Identity) -> None:
        """Nor can many strangers."""
        account, _ = await _opened(identity)
        for number in range(ALL_REFUSALS_A_MINUTE + 20):
            await identity.audit.refused(account, Actor("", f"192.0.2.{number}"), "login")
        entries = await identity.audit.page(account, limit=1000)
        assert len(entries) == 1 + ALL_REFUSALS_A_MINUTE
        assert "not listed" in entries[-1].detail
        assert await identity.audit.verify(account) is None

    async def test_what_is_written_stays(self, identity: Identity) -> None:
        """The store refuses to change or remove an entry."""
        account, _ = await _opened(identity)
        (document,) = await identity.entries.documents.page(account, APPEND_ONLY)
        for change in (Put(document), Remove(account=account, kind=APPEND_ONLY, id=document.id, version=document.version)):
            with pytest.raises(ValueError, match="never replaced"):
                await identity.entries.documents.write([change])


def _basic(name: str, password: str) -> str:
    return base64.b64encode(f"{name}:{password}".encode()).decode()


async def _opened(identity: Identity) -> tuple[str, str]:
    opened = await identity.accounts.open(fresh("owner"), PASSWORD, ACTOR)
    return opened.account.id, opened.owner.id
