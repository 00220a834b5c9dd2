"""Accounts: made with their first owner, renamed, and removed with all that they hold."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from flowrunner.clock import Clock
from flowrunner.errors import Conflict, DocumentConflict, InvalidDocument, NotFound
from flowrunner.identity.audit import AuditLog
from flowrunner.identity.entries import Account, Entries, Kept, User
from flowrunner.identity.permissions import Role
from flowrunner.identity.principal import SERVER, Actor
from flowrunner.identity.tokens import Randomness
from flowrunner.identity.users import Users, check_email, check_label
from flowrunner.ids import is_account
from flowrunner.ports.documents import CHANGES, SYSTEM, Change, Remove

Eraser = Callable[[str], Awaitable[None]]  # removes what an account has beside its documents
ERASED_KINDS = ("token", "access-key", "ticket", "user")  # whatever lets somebody in goes first
TRIES = 20


@dataclass(frozen=True, slots=True)
class Opened:
    """A new account and its owner."""

    account: Account
    owner: User


@dataclass(frozen=True, slots=True)
class Deletions:
    """How many deletions that were begun are finished now, and why others are not, by account."""

    finished: int
    failures: Mapping[str, Exception]


class Accounts:
    """The accounts of a store. `erase` removes what else an account has (executions, definitions); `kinds` are more kinds of documents to remove."""

    def __init__(self, entries: Entries, users: Users, audit: AuditLog, clock: Clock, randomness: Randomness, *, kinds: tuple[str, ...] = ()) -> None:
        self._entries = entries
        self._users = users
        self._audit = audit
        self._clock = clock
        self._randomness = randomness
        self._kinds = (*ERASED_KINDS, *kinds)
        self.erase: Eraser | None = None

    async def open(
        self,
        username: str,
        password: str,
        actor: Actor,
        *,
        name: str | None = None,
        email: str | None = None,
        account: str | None = None,
        operator: bool = False,
        also: Callable[[str, str], Sequence[Change]] | None = None,
    ) -> Opened:
        """A new account whose owner has this user name; its id is random unless given. `also` makes changes of the same write, from the ids of both.

        Raises InvalidDocument (name, password), Conflict (the user name or the id is taken), Overloaded.
        """
        if account is not None and (not is_account(account) or account == SYSTEM):
            raise InvalidDocument("An account id has 12 digits, not all of them 0.", pointer="/id")
        check_label(name or username)
        now = self._clock.now()
        owner = await self._users.made(username, password, Role.OWNER, email=email, operator=operator)
        for _ in range(TRIES):
            opened = Account(id=account or self._number(), name=name or username, username=username, email=email, created_at=now, updated_at=now)
            changes: list[Change] = [self._entries.accounts.new(SYSTEM, opened.id, opened), self._users.creation(opened.id, owner)]
            changes += also(opened.id, owner.id) if also is not None else ()
            try:
                await self._audit.write(opened.id, actor, "account:create", opened.id, changes)
            except DocumentConflict as conflict:
                if conflict.change == 1:
                    raise Conflict(f"username already exists: {username}") from None
                if account is not None:
                    raise Conflict(f"There is an account {account} already.") from None
                continue
            return Opened(opened, owner)
        raise Conflict("No free account id was found.")

    async def get(self, account: str) -> Account:
        """An account; raises NotFound."""
        return (await self._kept(account)).entry

    async def username(self, account: Account) -> str:
        """The log-in name of an account: its first owner's, or where that user is gone, the one's who is an owner for longest."""
        named = await self._users.named(account.username) if account.username else None
        if named is not None and named.account == account.id:
            return named.entry.username
        owners = [kept.entry for kept in await self._entries.users.all(account.id) if kept.entry.role == Role.OWNER]
        return min(owners, key=lambda user: (user.created_at, user.id)).username if owners else ""

    async def page(self, *, after: str | None = None, limit: int = 100) -> list[Account]:
        """Accounts of the whole store by id; those that are being deleted are left out."""
        found: list[Account] = []
        while len(found) < limit and (page := await self._entries.accounts.page(SYSTEM, after=after, limit=limit)):
            found += [kept.entry for kept in page if kept.entry.status == "active"]
            after = page[-1].document.id
        return found[:limit]

    async def change(self, account: str, actor: Actor, *, name: str | None = None, email: str | None = None) -> Account:
        """Another display name or e-mail address; raises NotFound, Conflict, InvalidDocument."""
        check_email(email)
        check_label(name or "")
        kept = await self._kept(account)
        changed = msgspec.structs.replace(kept.entry, name=name or kept.entry.name, email=email or kept.entry.email, updated_at=self._clock.now())
        try:
            await self._audit.write(account, actor, "account:change", account, [kept.put(changed)])
        except DocumentConflict:
            raise Conflict("The account was changed by somebody else at the same time.") from None
        return changed

    async def delete(self, account: str, actor: Actor) -> None:
        """Remove an account with everything it holds; from the first write on nobody gets into it.

        Raises NotFound, Conflict (the operator's own: nobody could look after the others any more). A crash in the middle leaves it marked: `finish_deletions` goes on. Its audit log stays.
        """
        kept = await self._kept(account)
        if any(user.entry.operator for user in await self._entries.users.all(account)):
            raise Conflict("The operator's own account stays: without it nobody could look after the others.", remedy="To be rid of the store, remove it.")
        gone = msgspec.structs.replace(kept.entry, status="deleting", updated_at=self._clock.now())
        try:
            await self._audit.write(account, actor, "account:delete", account, [kept.put(gone)])
        except DocumentConflict:
            raise Conflict("The account was changed by somebody else at the same time.") from None
        await self._remove(account)

    async def finish_deletions(self) -> Deletions:
        """Go on with accounts whose deletion was begun; one that fails holds up no other. Raises StoreUnavailable when they cannot be listed."""
        begun = [kept.entry.id for kept in await self._entries.accounts.all(SYSTEM) if kept.entry.status == "deleting"]
        failures: dict[str, Exception] = {}
        for account in begun:
            try:
                await self._remove(account)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and is no reason to keep what others want gone
                failures[account] = error
        return Deletions(len(begun) - len(failures), failures)

    async def _remove(self, account: str) -> None:
        documents = self._entries.documents
        if self.erase is not None:
            await self.erase(account)
        for kind in self._kinds:
            while page := await documents.page(account, kind, limit=CHANGES):
                try:
                    await documents.write([Remove(account=account, kind=kind, id=found.id, version=found.version) for found in page])
                except DocumentConflict:
                    continue
        kept = await self._entries.accounts.get(SYSTEM, account)
        if kept is not None:
            with contextlib.suppress(DocumentConflict):  # another server has come to this point first
                await self._audit.write(account, SERVER, "account:deleted", account, [kept.remove()])

    async def _kept(self, account: str) -> Kept[Account]:
        kept = await self._entries.account(account)
        if kept is None:
            raise NotFound("account", account)
        return kept

    def _number(self) -> str:
        return f"{int.from_bytes(self._randomness(8), 'big') % 899_999_999_999 + 100_000_000_000:012d}"
