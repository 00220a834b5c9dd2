"""What lets programs in: API tokens, AWS key pairs, and tickets for sockets."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Protocol

import msgspec

from flowrunner.clock import MINUTE, SECOND, Clock
from flowrunner.errors import Conflict, DocumentConflict, InvalidDocument, NotFound
from flowrunner.identity import entries as kinds
from flowrunner.identity.audit import AuditLog
from flowrunner.identity.entries import Entries, Kept, Token, User, encode
from flowrunner.identity.principal import Actor, Principal
from flowrunner.identity.tokens import ApiToken, Randomness, new_access_key, new_id, new_token
from flowrunner.identity.users import check_label, permissions_of
from flowrunner.ports.documents import Change, Put

TICKET_SECONDS = 60
TRIES = 10  # of a write that meets rotations


class Sealer(Protocol):
    """Keeps small values secret (``flowrunner.vault``)."""

    async def seal(self, account: str, name: str, version: int, plain: bytes) -> bytes:
        """The sealed value, bound to account, name and version."""
        ...

    async def open(self, account: str, name: str, version: int, sealed: bytes) -> bytes:
        """The value; raises if it was altered or moved."""
        ...

    async def unchanged(self, account: str, sealed: bytes) -> Change:
        """The condition of a write that stores `sealed`: its key is not being retired."""
        ...

    def refresh(self, account: str) -> None:
        """That condition did not hold: read the account's keys anew before sealing again."""
        ...


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An AWS key pair with what its signature lets its bearer do."""

    id: str
    secret: str = field(repr=False)
    principal: Principal

    @property
    def expires_at(self) -> int | None:
        """When it ends to hold (milliseconds since 1970 UTC); None: never."""
        return self.principal.expires_at

    @property
    def revoked(self) -> bool:
        """One that was revoked is not found."""
        return False


@dataclass(frozen=True, slots=True)
class Issued:
    """A new credential and its secret, which is shown this once."""

    entry: Token | kinds.AccessKey
    secret: str = field(repr=False)


class Credentials:
    """Issues, finds and revokes."""

    def __init__(self, entries: Entries, audit: AuditLog, sealer: Sealer, clock: Clock, randomness: Randomness) -> None:
        self._entries = entries
        self._audit = audit
        self._sealer = sealer
        self._clock = clock
        self._randomness = randomness

    # --- API tokens

    async def issue_token(
        self, account: str, user: str, actor: Actor, *, name: str = "", scopes: Collection[str] | None = None, seconds: int | None = None
    ) -> Issued:
        """A new token of a user, limited to `scopes` and to this many seconds. Raises NotFound, InvalidDocument (a scope the user does not have)."""
        check_label(name)
        owner = await self._user(account, user)
        unknown = sorted(set(scopes or ()) - permissions_of(owner.entry))
        if unknown:
            raise InvalidDocument(
                f"The user does not have {', '.join(unknown)}.", pointer="/scopes", remedy=f"It has {', '.join(sorted(permissions_of(owner.entry)))}."
            )
        issued, created = self.new_token(account, user, name=name, scopes=scopes, seconds=seconds)
        await self._audit.write(account, actor, "token:create", issued.entry.id, [created, owner.unchanged()])
        return issued

    def new_token(self, account: str, user: str, *, name: str = "", scopes: Collection[str] | None = None, seconds: int | None = None) -> tuple[Issued, Put]:
        """A token that is not stored yet, and the change that stores it."""
        token, now = new_token(self._randomness), self._clock.now()
        expires_at = None if seconds is None else now + seconds * SECOND
        entry = Token(
            id=token.id, user=user, name=name, digest=token.digest, created_at=now, expires_at=expires_at,
            scopes=None if scopes is None else tuple(sorted(scopes)),
        )  # fmt: skip
        return Issued(entry, token.text), self._entries.tokens.new(account, token.id, entry, aliases=(f"token:{token.id}",), expires_at=expires_at)

    async def tokens(self, account: str, *, user: str | None = None) -> list[Token]:
        """The tokens of an account, or of one of its users; never their secrets."""
        return [kept.entry for kept in await self._entries.tokens.all(account) if user in (None, kept.entry.user)]

    async def token(self, account: str, token: str, *, user: str | None = None) -> Token:
        """A token (of this user, if given), never its secret. Raises NotFound."""
        return (await self._kept_token(account, token, user)).entry

    async def _kept_token(self, account: str, token: str, user: str | None) -> Kept[Token]:
        kept = await self._entries.tokens.get(account, token)
        if kept is None or user not in (None, kept.entry.user):
            raise NotFound("token", token)
        return kept

    async def revoke_token(self, account: str, token: str, actor: Actor, *, user: str | None = None) -> None:
        """Remove a token (of this user, if given). Raises NotFound."""
        await self._remove(account, actor, "token:revoke", await self._kept_token(account, token, user))

    async def of_token(self, token: ApiToken) -> Principal | None:
        """Whom a token lets in, if it does now."""
        kept = await self._entries.tokens.find(f"token:{token.id}")
        if not hmac.compare_digest("" if kept is None else kept.entry.digest, token.digest) or kept is None:
            return None
        return await self._principal(kept.account, kept.entry.user, f"token:{token.id}", kept.entry.scopes, kept.entry.expires_at)

    async def used_token(self, token: str) -> None:
        """Note that a token was used, once a minute at most."""
        await self._used(await self._entries.tokens.find(f"token:{token}"))

    # --- AWS key pairs

    async def issue_access_key(self, account: str, user: str, actor: Actor, *, name: str = "", seconds: int | None = None) -> Issued:
        """A new key pair of a user. Raises NotFound, InvalidDocument (its name)."""
        check_label(name)
        owner = await self._user(account, user)
        identity, secret = new_access_key(self._randomness)
        now = self._clock.now()
        expires_at = None if seconds is None else now + seconds * SECOND
        for _ in range(TRIES):
            sealed = await self._sealer.seal(account, f"access-key/{identity}", 1, secret.encode())
            entry = kinds.AccessKey(id=identity, user=user, sealed=sealed, created_at=now, name=name, expires_at=expires_at)
            created = self._entries.access_keys.new(account, identity, entry, aliases=(f"access-key:{identity}",), expires_at=expires_at)
            changes: list[Change] = [created, owner.unchanged(), await self._sealer.unchanged(account, sealed)]
            try:
                await self._audit.write(account, actor, "access-key:create", identity, changes)
            except DocumentConflict as conflict:
                if conflict.change != len(changes) - 1:
                    raise
                self._sealer.refresh(account)  # the account's data key has been rotated
                continue
            return Issued(entry, secret)
        raise Conflict("The keys of the account change all the time; try again.")

    async def access_keys(self, account: str, *, user: str | None = None) -> list[kinds.AccessKey]:
        """The key pairs of an account, or of one of its users; never their secrets in clear."""
        return [kept.entry for kept in await self._entries.access_keys.all(account) if user in (None, kept.entry.user)]

    async def key_pair(self, account: str, key: str, *, user: str | None = None) -> kinds.AccessKey:
        """A key pair (of this user, if given), its secret sealed. Raises NotFound."""
        return (await self._kept_key(account, key, user)).entry

    async def _kept_key(self, account: str, key: str, user: str | None) -> Kept[kinds.AccessKey]:
        kept = await self._entries.access_keys.get(account, key)
        if kept is None or user not in (None, kept.entry.user):
            raise NotFound("access key", key)
        return kept

    async def revoke_access_key(self, account: str, key: str, actor: Actor, *, user: str | None = None) -> None:
        """Remove a key pair (of this user, if given). Raises NotFound."""
        await self._remove(account, actor, "access-key:revoke", await self._kept_key(account, key, user))

    async def of_access_key(self, key: str) -> AccessKey | None:
        """A key pair with its principal, if it lets somebody in now."""
        kept = await self._entries.access_keys.find(f"access-key:{key}")
        if kept is None or not kept.entry.active:
            return None
        principal = await self._principal(kept.account, kept.entry.user, f"access-key:{key}", None, kept.entry.expires_at)
        if principal is None:
            return None
        secret = await self._sealer.open(kept.account, f"access-key/{key}", 1, kept.entry.sealed)
        return AccessKey(key, secret.decode(), principal)

    async def used_access_key(self, key: str) -> None:
        """Note that a key pair was used, once a minute at most."""
        await self._used(await self._entries.access_keys.find(f"access-key:{key}"))

    async def _used(self, kept: Kept[Token] | Kept[kinds.AccessKey] | None) -> None:
        now = self._clock.now()
        if kept is None or (kept.entry.last_used or 0) + MINUTE > now:
            return
        used = Put(replace(kept.document, body=encode(msgspec.structs.replace(kept.entry, last_used=now))))
        with contextlib.suppress(DocumentConflict):  # another server notes it
            await self._entries.documents.write([used])

    # --- tickets

    async def issue_ticket(self, principal: Principal) -> str:
        """A ticket that opens one socket as this principal within a minute (so that no token stands in a URL)."""
        identity = new_id(self._randomness, "tkt_") + new_token(self._randomness).secret
        until = self._clock.now() + TICKET_SECONDS * SECOND
        entry = kinds.Ticket(
            permissions=tuple(sorted(principal.permissions)),
            name=principal.name,
            user=principal.user,
            credential=principal.credential,
            expires_at=principal.expires_at,
        )
        await self._entries.documents.write([self._entries.tickets.new(principal.account, identity, entry, aliases=(f"ticket:{identity}",), expires_at=until)])
        return identity

    async def of_ticket(self, ticket: str) -> Principal | None:
        """Whom a ticket lets in; only the first who asks is told."""
        if not ticket.isascii() or (not ticket.isalnum() and not ticket.replace("_", "").isalnum()):
            return None
        kept = await self._entries.tickets.find(f"ticket:{ticket}")
        if kept is None:
            return None
        try:
            await self._entries.documents.write([kept.remove()])
        except DocumentConflict:
            return None
        entry = kept.entry
        return Principal(kept.account, frozenset(entry.permissions), entry.name, entry.user, entry.credential, entry.expires_at)

    # --- all of them

    async def _principal(self, account: str, user: str, credential: str, scopes: Collection[str] | None, expires_at: int | None) -> Principal | None:
        owner = await self._entries.users.get(account, user)
        if owner is None or await self._entries.account(account) is None:
            return None
        permissions: frozenset[str] = permissions_of(owner.entry)
        if scopes is not None:
            permissions &= frozenset(scopes)
        return Principal(account, permissions, credential, user, credential, expires_at)

    async def _user(self, account: str, user: str) -> Kept[User]:
        kept = await self._entries.users.get(account, user)
        if kept is None:
            raise NotFound("user", user)
        return kept

    async def _remove(self, account: str, actor: Actor, action: str, kept: Kept[Token] | Kept[kinds.AccessKey]) -> None:
        try:
            await self._audit.write(account, actor, action, kept.document.id, [kept.remove()])
        except DocumentConflict:
            fresh = await self._entries.documents.get(account, kept.document.kind, kept.document.id)
            if fresh is not None:  # its use was noted meanwhile
                await self._audit.write(account, actor, action, fresh.id, [Kept(kept.entry, fresh).remove()])
