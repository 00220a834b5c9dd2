"""What the documents of this package hold, and how they are read and written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar
from urllib.parse import quote

import msgspec

from flowrunner.identity.permissions import Role
from flowrunner.ports.documents import SYSTEM, Document, DocumentStore, Put, Remove, Unchanged


class Account(msgspec.Struct, kw_only=True, frozen=True):
    """A tenant: `id` is 12 digits, `username` the log-in name it was opened with. One that is `deleting` is gone for callers; what it held is being removed."""

    id: str
    name: str
    created_at: int
    updated_at: int
    email: str | None = None
    username: str = ""  # of accounts from before this was kept
    status: Literal["active", "deleting"] = "active"


class User(msgspec.Struct, kw_only=True, frozen=True):
    """Somebody who can log in. `password` is an argon2id hash; `logins` counts what makes all earlier logins invalid."""

    id: str
    username: str
    password: str
    role: Role
    created_at: int
    updated_at: int
    operator: bool = False
    email: str | None = None
    logins: int = 0


class Token(msgspec.Struct, kw_only=True, frozen=True):
    """An API token of a user: `digest` is the SHA-256 of its secret part, `scopes` what it is limited to (None: nothing)."""

    id: str
    user: str
    name: str
    digest: str
    created_at: int
    scopes: tuple[str, ...] | None = None
    expires_at: int | None = None
    last_used: int | None = None


class AccessKey(msgspec.Struct, kw_only=True, frozen=True):
    """An AWS key pair of a user; the secret is sealed under the account's data key."""

    id: str
    user: str
    sealed: bytes
    created_at: int
    name: str = ""
    active: bool = True
    expires_at: int | None = None
    last_used: int | None = None


class Ticket(msgspec.Struct, kw_only=True, frozen=True):
    """Lets one socket open as its maker, once."""

    permissions: tuple[str, ...]
    name: str
    user: str
    credential: str
    expires_at: int | None


Entry = TypeVar("Entry", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Kept(Generic[Entry]):
    """An entry with the document it was read from."""

    entry: Entry
    document: Document

    @property
    def account(self) -> str:
        """The account that it belongs to."""
        return self.document.account

    def put(self, entry: Entry) -> Put:
        """The change that replaces the entry."""
        return Put(replace(self.document, body=encode(entry)))

    def unchanged(self) -> Unchanged:
        """The condition that it is still as it was read."""
        stored = self.document
        return Unchanged(account=stored.account, kind=stored.kind, id=stored.id, version=stored.version)

    def remove(self) -> Remove:
        """The change that removes it."""
        stored = self.document
        return Remove(account=stored.account, kind=stored.kind, id=stored.id, version=stored.version)


def encode(entry: msgspec.Struct) -> bytes:
    """An entry as the body of a document."""
    return msgspec.json.encode(entry)


class Kind(Generic[Entry]):
    """The documents of one kind."""

    def __init__(self, documents: DocumentStore, kind: str, entry: type[Entry]) -> None:
        self._documents = documents
        self.kind = kind
        self._decode = msgspec.json.Decoder(entry).decode

    async def get(self, account: str, name: str) -> Kept[Entry] | None:
        """The entry of this id."""
        return self._kept(await self._documents.get(account, self.kind, name))

    async def find(self, alias: str) -> Kept[Entry] | None:
        """The entry with this alias, in whatever account."""
        return self._kept(await self._documents.find(alias))

    async def page(self, account: str, *, after: str | None = None, limit: int = 100) -> list[Kept[Entry]]:
        """One page by id."""
        found = await self._documents.page(account, self.kind, after=after, limit=limit)
        return [Kept(self._decode(document.body), document) for document in found]

    async def all(self, account: str) -> list[Kept[Entry]]:
        """Every entry of an account."""
        found: list[Kept[Entry]] = []
        while page := await self.page(account, after=found[-1].document.id if found else None):
            found += page
        return found

    def new(self, account: str, name: str, entry: Entry, *, aliases: tuple[str, ...] = (), expires_at: int | None = None) -> Put:
        """The change that creates an entry."""
        return Put(Document(account=account, kind=self.kind, id=name, body=encode(entry), aliases=aliases, expires_at=expires_at))

    def _kept(self, document: Document | None) -> Kept[Entry] | None:
        return None if document is None or document.kind != self.kind else Kept(self._decode(document.body), document)


def username_alias(username: str) -> str:
    """The alias of a user: names are compared without regard to case; what is not visible ASCII is percent-encoded."""
    return f"username:{quote(username.casefold(), safe='@._-+')}"


class Entries:
    """All kinds of this package on one store."""

    def __init__(self, documents: DocumentStore) -> None:
        self.documents = documents
        self.accounts = Kind(documents, "account", Account)
        self.users = Kind(documents, "user", User)
        self.tokens = Kind(documents, "token", Token)
        self.access_keys = Kind(documents, "access-key", AccessKey)
        self.tickets = Kind(documents, "ticket", Ticket)

    async def account(self, account: str) -> Kept[Account] | None:
        """An account that is there and not being deleted."""
        kept = await self.accounts.get(SYSTEM, account)
        return kept if kept is not None and kept.entry.status == "active" else None
