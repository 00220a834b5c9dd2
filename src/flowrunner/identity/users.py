"""Users of an account: what they are called, what they may do, their passwords."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from flowrunner.clock import Clock
from flowrunner.errors import AccessDenied, Conflict, DocumentConflict, InvalidDocument, NotFound
from flowrunner.identity.audit import AuditLog
from flowrunner.identity.entries import Entries, Kept, User, username_alias
from flowrunner.identity.passwords import Passwords, check_password
from flowrunner.identity.permissions import OPERATOR, Permission, Role, role_permissions
from flowrunner.identity.principal import Actor
from flowrunner.identity.tokens import Randomness, new_id
from flowrunner.ports.documents import Change, Put

LONGEST_NAME = 128
LONGEST_LABEL = 256
LONGEST_EMAIL = 254  # RFC 5321: a path has 256 with its angle brackets
Check = Callable[[User], None]  # raises what keeps somebody from changing this user, as it is when it is changed


class Users:
    """The users of every account. With `any_password` (development) passwords only must not be empty."""

    def __init__(self, entries: Entries, passwords: Passwords, audit: AuditLog, clock: Clock, randomness: Randomness, *, any_password: bool = False) -> None:
        self._entries = entries
        self._passwords = passwords
        self._audit = audit
        self._clock = clock
        self._randomness = randomness
        self._any_password = any_password

    async def made(self, username: str, password: str, role: Role, *, email: str | None = None, operator: bool = False) -> User:
        """A user that is not stored yet. Raises InvalidDocument, Overloaded."""
        if not username.strip() or len(username_alias(username)) > LONGEST_NAME * 3 or len(username) > LONGEST_NAME or not username.isprintable():
            raise InvalidDocument(f"A user name has 1 to {LONGEST_NAME} characters.", pointer="/username")
        if ":" in username:
            raise InvalidDocument("A user name has no colon: HTTP Basic puts one behind it.", pointer="/username")
        check_email(email)
        self._check(password, username)
        now = self._clock.now()
        return User(
            id=new_id(self._randomness, "usr_"), username=username, password=await self._passwords.hash(password), role=role,
            created_at=now, updated_at=now, operator=operator, email=email,
        )  # fmt: skip

    def creation(self, account: str, user: User) -> Put:
        """The change that stores a new user."""
        return self._entries.users.new(account, user.id, user, aliases=(username_alias(user.username),))

    async def create(self, account: str, username: str, password: str, role: Role, actor: Actor, *, email: str | None = None) -> User:
        """A new user of an account. Raises InvalidDocument, Conflict (the name is taken), Overloaded."""
        user = await self.made(username, password, role, email=email)
        await self._write(account, actor, "user:create", user.id, [self.creation(account, user)], taken=f"username already exists: {username}")
        return user

    async def get(self, account: str, user: str) -> User:
        """A user; raises NotFound."""
        return (await self._kept(account, user)).entry

    async def page(self, account: str, *, after: str | None = None, limit: int = 100) -> list[User]:
        """Users by id."""
        return [kept.entry for kept in await self._entries.users.page(account, after=after, limit=limit)]

    async def named(self, username: str) -> Kept[User] | None:
        """The user of this name, in whatever account, if the account is there."""
        kept = await self._entries.users.find(username_alias(username))
        return None if kept is None or await self._entries.account(kept.account) is None else kept

    async def change_role(self, account: str, user: str, role: Role, actor: Actor, *, check: Check = lambda _: None) -> User:
        """Another role; everything that was issued to the user follows it. Raises NotFound, Conflict (the last owner), and what `check` does."""
        kept = await self._kept(account, user, check)
        guard = await self._other_owner(account, kept) if kept.entry.role is Role.OWNER and role is not Role.OWNER else []
        changed = msgspec.structs.replace(kept.entry, role=role, updated_at=self._clock.now())
        await self._write(account, actor, "user:role", user, [kept.put(changed), *guard], detail=role)
        return changed

    async def change_password(self, account: str, user: str, password: str, actor: Actor, *, current: str | None = None, check: Check = lambda _: None) -> User:
        """Another password; with `current` only if that is the old one. All log-ins end. Raises NotFound, AccessDenied, InvalidDocument, Overloaded."""
        kept = await self._kept(account, user, check)
        if current is not None and not await self._passwords.check(kept.entry.password, current):
            raise AccessDenied("The current password is another one.")
        self._check(password, kept.entry.username)
        hashed = await self._passwords.hash(password)
        changed = msgspec.structs.replace(kept.entry, password=hashed, logins=kept.entry.logins + 1, updated_at=self._clock.now())
        await self._write(account, actor, "user:password", user, [kept.put(changed)])
        return changed

    async def end_logins(self, account: str, user: str, actor: Actor) -> None:
        """Make every log-in of a user invalid. Raises NotFound."""
        kept = await self._kept(account, user)
        changed = msgspec.structs.replace(kept.entry, logins=kept.entry.logins + 1)
        await self._write(account, actor, "user:logout", user, [kept.put(changed)])

    async def rehash(self, kept: Kept[User], password: str) -> None:
        """Keep a hash with today's parameters, if the kept one has others; what somebody else stores meanwhile wins."""
        if self._passwords.outdated(kept.entry.password):
            changed = msgspec.structs.replace(kept.entry, password=await self._passwords.hash(password))
            try:
                await self._entries.documents.write([kept.put(changed)])
            except DocumentConflict:
                return

    async def delete(self, account: str, user: str, actor: Actor, *, check: Check = lambda _: None) -> None:
        """Remove a user with its tokens and keys. Raises NotFound, Conflict (the last owner, the operator), and what `check` does."""
        kept = await self._kept(account, user, check)
        if kept.entry.operator:
            raise Conflict("The operator stays: without this user nobody could look after the accounts.")
        guard = await self._other_owner(account, kept) if kept.entry.role is Role.OWNER else []
        await self._write(account, actor, "user:delete", user, [kept.remove(), *guard])
        for token in await self._entries.tokens.all(account):
            if token.entry.user == user:
                await self._drop(token.remove())
        for key in await self._entries.access_keys.all(account):
            if key.entry.user == user:
                await self._drop(key.remove())

    async def _drop(self, change: Change) -> None:
        try:
            await self._entries.documents.write([change])
        except DocumentConflict:  # somebody removes it at the same time; without its user it lets nobody in anyway
            return

    async def _other_owner(self, account: str, leaving: Kept[User]) -> list[Change]:
        """The condition that another owner stays one; raises Conflict if there is none."""
        for kept in await self._entries.users.all(account):
            if kept.entry.role is Role.OWNER and kept.entry.id != leaving.entry.id:
                return [kept.unchanged()]
        raise Conflict("An account keeps an owner: make somebody else one first, or delete the account.")

    async def _kept(self, account: str, user: str, check: Check = lambda _: None) -> Kept[User]:
        kept = await self._entries.users.get(account, user)
        if kept is None:
            raise NotFound("user", user)
        check(kept.entry)
        return kept

    async def _write(self, account: str, actor: Actor, action: str, user: str, changes: list[Change], *, taken: str | None = None, detail: str = "") -> None:
        try:
            await self._audit.write(account, actor, action, user, changes, detail=detail)
        except DocumentConflict:
            raise Conflict(taken or "The user was changed by somebody else at the same time.") from None

    def _check(self, password: str, username: str) -> None:
        if self._any_password:
            if not password:
                raise InvalidDocument("A password is not empty.", pointer="/password")
        else:
            check_password(password, username)


def permissions_of(user: User) -> frozenset[Permission]:
    """What a user may do."""
    return role_permissions(user.role) | (OPERATOR if user.operator else frozenset())


def may_grant(granting: frozenset[str], role: Role) -> bool:
    """Whether who has these permissions may make somebody this: nobody gives more than they have."""
    return role_permissions(role) <= granting


def check_label(name: str) -> None:
    """Raise InvalidDocument for what an account, a token or a key pair is not called."""
    if len(name) > LONGEST_LABEL:
        raise InvalidDocument(f"A name has at most {LONGEST_LABEL} characters.", pointer="/name")


def check_email(email: str | None) -> None:
    """Raise InvalidDocument for what cannot be an e-mail address; only a message to it would prove more."""
    if email is None:
        return
    local, _, domain = email.rpartition("@")
    if not local or not domain or len(email) > LONGEST_EMAIL or not email.isprintable() or any(map(str.isspace, email)):
        raise InvalidDocument("This is no e-mail address: it has a name, an @ and a domain.", pointer="/email")
