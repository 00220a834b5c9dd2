"""From what a request brings to who it is from: API tokens, log-in tokens, foreign tokens, HTTP Basic, tickets.

What was found out is remembered for a moment (`REMEMBERED_SECONDS`): a change made by this process is seen at once, one made by another
server of the same store after that moment.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from flowrunner.clock import Clock
from flowrunner.errors import AccessDenied, Unauthenticated
from flowrunner.identity.audit import AuditLog
from flowrunner.identity.backoff import Backoff
from flowrunner.identity.credentials import AccessKey, Credentials
from flowrunner.identity.entries import Entries, Kept, User
from flowrunner.identity.jwt import ForeignIssuer, Logins
from flowrunner.identity.passwords import Passwords
from flowrunner.identity.permissions import role_permissions
from flowrunner.identity.principal import Actor, Principal
from flowrunner.identity.tokens import PREFIX, Randomness, read_token
from flowrunner.identity.users import LONGEST_NAME, Users, permissions_of
from flowrunner.ports.documents import SYSTEM

Key = TypeVar("Key")
Value = TypeVar("Value")

REMEMBERED_SECONDS = 2.0
PASSWORD_SECONDS = 60.0  # a password that was right: checking it costs a tenth of a second, and HTTP Basic sends it each time
NOTED_SECONDS = 60.0
REMEMBERED = 10_000
LOGIN = "login:"


class Gate:
    """Lets callers in. Everything raises Unauthenticated for a credential that is wrong, and StoreUnavailable."""

    def __init__(
        self,
        *,
        entries: Entries,
        users: Users,
        credentials: Credentials,
        passwords: Passwords,
        logins: Logins,
        audit: AuditLog,
        clock: Clock,
        randomness: Randomness,
        issuers: tuple[ForeignIssuer, ...] = (),
    ) -> None:
        self._entries = entries
        self._users = users
        self._credentials = credentials
        self._passwords = passwords
        self._logins = logins
        self._audit = audit
        self._clock = clock
        self._issuers = issuers
        self._backoff = Backoff(clock)
        self._key = randomness(32)  # so that what is remembered of passwords is no use elsewhere
        self._remembered: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        self._right: OrderedDict[bytes, tuple[float, str]] = OrderedDict()  # passwords that were right for this hash
        self._keys: OrderedDict[str, tuple[float, AccessKey | None]] = OrderedDict()
        self._noted: OrderedDict[str, float] = OrderedDict()  # until when the use of a key pair needs no note
        self.changed = asyncio.Event()  # set, and replaced, when this process changed what lets somebody in

    # --- the ways in

    async def bearer(self, text: str) -> Principal:
        """``Authorization: Bearer``: an API token or a JWT."""
        return await self._recalled(text, lambda: self._token(text) if text.startswith(PREFIX) else self._jwt(text))

    async def basic(self, text: str, address: str) -> Principal:
        """``Authorization: Basic`` (RFC 7617). Raises Overloaded after too many failures."""
        try:
            username, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise Unauthenticated("The Authorization header is no HTTP Basic.") from None
        if not colon:
            raise Unauthenticated("The Authorization header is no HTTP Basic.")

        async def check() -> Principal:
            known, kept = self._right.get(key), await self._users.named(username)
            if known is None or known[0] <= self._clock.monotonic() or kept is None or kept.entry.password != known[1]:
                kept = await self.password(username, password, Actor(f"user:{username}", address))
                _remember(self._right, key, (self._clock.monotonic() + PASSWORD_SECONDS, kept.entry.password))
            return _of_login(kept, kept.entry.logins, None)

        key = self._fingerprint(f"{username}:{password}")
        return await self._recalled(f"{username}:{password}", check)

    async def password(self, username: str, password: str, actor: Actor) -> Kept[User]:
        """The user of this name and password. Raises Overloaded; failures are counted and noted in the audit log."""
        if len(username) > LONGEST_NAME:  # nobody's: what is remembered and written down of a stranger's text has an end
            username = username[: LONGEST_NAME + 1]
            actor = replace(actor, name=f"user:{username}")
        self._backoff.admit(username, actor.address)
        kept = await self._users.named(username)
        if not await self._passwords.check(None if kept is None else kept.entry.password, password) or kept is None:
            self._backoff.failed(username, actor.address)
            await self._audit.refused(SYSTEM if kept is None else kept.account, actor, "login", username, result="failed")
            raise Unauthenticated("The user name or the password is wrong.")
        self._backoff.succeeded(username, actor.address)
        await self._users.rehash(kept, password)
        return kept

    @contextlib.contextmanager
    def guessed(self, username: str, actor: Actor) -> Iterator[None]:
        """A password is asked for within: AccessDenied counts as a failed log-in. Raises Overloaded after too many."""
        self._backoff.admit(username, actor.address)
        try:
            yield
        except AccessDenied:
            self._backoff.failed(username, actor.address)
            raise
        self._backoff.succeeded(username, actor.address)

    async def ticket(self, text: str) -> Principal:
        """A socket's ticket; it is used up."""
        principal = await self._credentials.of_ticket(text)
        if principal is None or not await self.still(principal):
            raise Unauthenticated("The ticket is used, expired or unknown.")
        return principal

    async def access_key(self, key: str) -> AccessKey | None:
        """An AWS key pair that lets somebody in now."""
        now = self._clock.monotonic()
        known = self._keys.get(key)
        if known is None or known[0] <= now:
            unchanged = self.changed
            known = (now + REMEMBERED_SECONDS, await self._credentials.of_access_key(key))
            if self.changed is unchanged:  # what was read before a change must not be remembered after it
                _remember(self._keys, key, known)
        found = known[1]
        return None if found is None or self._expired(found.principal) else found

    async def used_access_key(self, key: str) -> None:
        """Note that a key pair was used. May be called for every request: the store is asked once a minute."""
        now = self._clock.monotonic()
        if self._noted.get(key, now) <= now:
            _remember(self._noted, key, now + NOTED_SECONDS)
            await self._credentials.used_access_key(key)

    # --- open sockets

    async def check(self, principal: Principal) -> None:
        """Ask the store itself before something lasting is issued: what is remembered of a credential may have ended elsewhere. Raises Unauthenticated."""
        if not await self.still(principal):
            raise Unauthenticated("The credential is no longer good.")

    async def still(self, principal: Principal) -> bool:
        """Whether a caller who was let in would be let in now."""
        if self._expired(principal):
            return False
        kind, _, name = principal.credential.partition(":")
        if not principal.credential:
            return True  # development
        if await self._entries.account(principal.account) is None:
            return False
        if kind == "jwt":
            return True
        user = await self._entries.users.get(principal.account, principal.user)
        if user is None or not principal.permissions <= permissions_of(user.entry):
            return False
        if kind == "login":
            return name == str(user.entry.logins)
        table = self._entries.tokens if kind == "token" else self._entries.access_keys
        return await table.get(principal.account, name) is not None

    def forget(self) -> None:
        """Something that lets people in was changed: nothing remembered counts any more, open sockets are asked about."""
        self._remembered.clear()
        self._keys.clear()
        self.changed.set()
        self.changed = asyncio.Event()

    # --- within

    async def _token(self, text: str) -> Principal:
        token = read_token(text)
        principal = None if token is None else await self._credentials.of_token(token)
        if token is None or principal is None:
            raise Unauthenticated("The token is unknown, expired or revoked.")
        await self._credentials.used_token(token.id)
        return principal

    async def _jwt(self, text: str) -> Principal:
        for issuer in self._issuers:
            if issuer.issued(text):
                visitor = issuer.read(text)
                if await self._entries.account(visitor.account) is None:
                    raise Unauthenticated("The token's account is not here.")
                name = f"jwt:{visitor.subject}"
                return Principal(visitor.account, role_permissions(visitor.role), name, "", name, visitor.expires_at)
        login = self._logins.read(text)
        user = await self._entries.users.get(login.account, login.user)
        if user is None or user.entry.logins != login.logins or await self._entries.account(login.account) is None:
            raise Unauthenticated("The log-in has ended.")
        return _of_login(user, login.logins, login.expires_at)

    def _fingerprint(self, credential: str) -> bytes:
        return hmac.digest(self._key, credential.encode(), "sha256")

    async def _recalled(self, credential: str, find: Callable[[], Awaitable[Principal]]) -> Principal:
        key = self._fingerprint(credential)
        now = self._clock.monotonic()
        known = self._remembered.get(key)
        if known is not None and known[0] > now:
            principal = known[1]
        else:
            unchanged = self.changed
            principal = await find()
            if self.changed is unchanged:  # as above
                _remember(self._remembered, key, (now + REMEMBERED_SECONDS, principal))
        if self._expired(principal):
            raise Unauthenticated("The credential has expired.")
        return principal

    def _expired(self, principal: Principal) -> bool:
        return principal.expires_at is not None and principal.expires_at <= self._clock.now()


def _of_login(kept: Kept[User], logins: int, expires_at: int | None) -> Principal:
    user = kept.entry
    return Principal(kept.account, permissions_of(user), f"user:{user.username}", user.id, f"{LOGIN}{logins}", expires_at)


def _remember(kept: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > REMEMBERED:
        kept.popitem(last=False)
