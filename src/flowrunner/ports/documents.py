"""Records of an account that are found by id: accounts, users, keys, secrets, the audit log; later flows and schedules.

One contract serves them all, so that a new kind of record needs no new table: what a record means is the business of the
service that writes it; a store sees opaque bytes. What executions and definitions need is in their own ports.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

SYSTEM = "999999999999"  # nobody's account: the register of accounts, the key ring
BODY_BYTES = 1024 * 1024  # the longest body
CHANGES = 20  # the most changes of one write
ALIASES = 4  # the most aliases of one document
APPEND_ONLY = "audit"  # documents of this kind are created, never replaced and never removed
_ACCOUNT = re.compile(r"[0-9]{12}")
_KIND = re.compile(r"[a-z][a-z-]{0,31}")
_ID = re.compile(r"[!-~]{1,512}")
_STRANGE = re.compile(r"[^!-~]")  # what no id has
_PAST = "\x7f"  # sorts after every character that an id may have


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One record.

    `account` is 12 digits, never empty. `kind` is a short lower-case word, `id` up to 512 characters of visible ASCII,
    unique within (account, kind). `body` is opaque. `version` counts the writes, from 1; 0 for one that is not stored yet.
    `aliases` are further names, each unique over all accounts and kinds (``username:ada``, ``access-key:AKIA...``): the way
    from a credential to its account. From `expires_at` (milliseconds since 1970 UTC) on the document is as good as absent.
    """

    account: str
    kind: str
    id: str
    body: bytes
    version: int = 0
    aliases: tuple[str, ...] = ()
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """Store `document` if what is stored has `document.version` (0: if nothing is); it gets the next version."""

    document: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Remove the document if what is stored has this version (0: if nothing is, or only what has expired)."""

    account: str
    kind: str
    id: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """Let the write through only if what is stored still has this version (0: if nothing is stored)."""

    account: str
    kind: str
    id: str
    version: int


Change = Put | Remove | Unchanged


def key_of(change: Change) -> tuple[str, str, str]:
    """The (account, kind, id) that a change is about."""
    named = change.document if isinstance(change, Put) else change
    return (named.account, named.kind, named.id)


def check_changes(changes: Sequence[Change]) -> None:
    """Raise ValueError for a write that no store takes, before it reaches one."""
    if not 0 < len(changes) <= CHANGES:
        raise ValueError(f"a write has 1 to {CHANGES} changes, not {len(changes)}")
    if len({key_of(change) for change in changes}) != len(changes):
        raise ValueError("a write changes each document at most once")
    for change in changes:
        account, kind, name = key_of(change)
        if not _ACCOUNT.fullmatch(account) or not _KIND.fullmatch(kind) or not _ID.fullmatch(name):
            raise ValueError(f"not the key of a document: {(account, kind, name)!r}")
        if kind == APPEND_ONLY and not isinstance(change, Unchanged) and not (isinstance(change, Put) and change.document.version == 0):
            raise ValueError(f"a document of kind {kind!r} is never replaced and never removed")
        if isinstance(change, Put):
            document = change.document
            if len(document.body) > BODY_BYTES:
                raise ValueError(f"a body has at most {BODY_BYTES} bytes, not {len(document.body)}")
            aliases = document.aliases
            if len(aliases) > ALIASES or len(set(aliases)) < len(aliases) or not all(_ID.fullmatch(alias) for alias in aliases):
                raise ValueError(f"not the aliases of a document: {aliases!r}")
            if kind == APPEND_ONLY and document.expires_at is not None:
                raise ValueError(f"a document of kind {kind!r} does not expire")


def is_name(text: str) -> bool:
    """Whether a document can have this id or this alias; none has one that is not of this form."""
    return _ID.fullmatch(text) is not None


def id_range(prefix: str, after: str | None, *, reverse: bool = False) -> tuple[str, str] | None:
    """The first id and the end (not included) of the ids that a page is about; None if there can be none. Any texts are taken."""
    if _STRANGE.search(prefix):
        return None
    low, high = prefix, prefix + _PAST
    if after is not None and reverse:
        high = min(high, _cut(after) or after)
    elif after is not None:
        low = max(low, _cut(after) or after + "!")
    return (low, high) if low < high else None


def _cut(after: str) -> str | None:
    """Where a text with characters that no id has stands among ids: below every id that is above it; None for one without them."""
    strange = _STRANGE.search(after)
    if strange is None:
        return None
    return after[: strange.start()] + ("!" if strange[0] < "!" else _PAST)


class DocumentStore(ABC):
    """The documents of every account on one database.

    All methods raise StoreUnavailable when the database does not answer; after one from `write` the outcome is unknown, and
    the caller reads to learn it. Reads see every write that was answered before they began, never half of one.
    """

    @abstractmethod
    async def get(self, account: str, kind: str, id: str) -> Document | None:  # noqa: A002 - what it is called everywhere
        """The document, or None."""

    @abstractmethod
    async def find(self, alias: str) -> Document | None:
        """The document of an alias, in whatever account it is; the only way to one without knowing the account."""

    @abstractmethod
    async def page(self, account: str, kind: str, *, prefix: str = "", after: str | None = None, limit: int = 100, reverse: bool = False) -> Sequence[Document]:
        """One page by id, ascending (bytes of the id), ids that begin with `prefix` and are above `after`; `reverse`: descending, below it.

        Each document is whole; of a write that is made meanwhile a page may show one document before it and one after it.
        """

    @abstractmethod
    async def write(self, changes: Sequence[Change]) -> None:
        """Make all changes durably, or none; each document at most once.

        Raises DocumentConflict, with the position of one change that did not find the version it named or whose alias is
        another document's. An alias may move within one write, from a document that it removes or replaces without it to
        another one. Raises ValueError for more than CHANGES changes, a body above BODY_BYTES, and anything but a creation,
        for ever, of an APPEND_ONLY document.
        """
