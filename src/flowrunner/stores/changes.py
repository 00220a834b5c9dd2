"""What a write of documents comes to: one decision for every store, which only reads and writes rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flowrunner.errors import DocumentConflict
from flowrunner.ports.documents import Change, Document, Put, Remove, Unchanged, key_of

Key = tuple[str, str, str]
"""Account, kind and id."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a write must know of a document that is stored, expired or not."""

    version: int
    aliases: tuple[str, ...]
    expires_at: int | None

    def lives(self, now: int) -> bool:
        """Whether it counts at this time."""
        return lives(self.expires_at, now)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to be stored: `puts` with their new versions, `removed` for good, `freed` aliases that nobody has afterwards."""

    puts: tuple[Document, ...]
    removed: tuple[Key, ...]
    freed: tuple[str, ...]


def lives(expires_at: int | None, now: int) -> bool:
    """Whether a document that expires then is not yet as good as absent."""
    return expires_at is None or expires_at > now


def decide(changes: Sequence[Change], stored: Mapping[Key, Kept], holders: Mapping[str, Key], *, now: int, rise: int = 1) -> Outcome:
    """What becomes of a write, or DocumentConflict.

    `stored` are the documents that it changes or looks at, and those that have one of its aliases; `holders` tells whose
    those are. Versions are raised by `rise`.
    """
    for position, change in enumerate(changes):
        there = stored.get(key_of(change))
        wanted = change.document.version if isinstance(change, Put) else change.version
        if (there.version if there is not None and there.lives(now) else 0) != wanted:
            raise DocumentConflict(position)
    changed = {key_of(change) for change in changes if not isinstance(change, Unchanged)}
    taken: set[str] = set()
    expired: dict[Key, None] = {}
    for position, change in enumerate(changes):
        for alias in aliases_of(change):
            holder = holders.get(alias)
            if alias in taken or (holder is not None and holder not in changed and stored[holder].lives(now)):
                raise DocumentConflict(position)
            taken.add(alias)
            if holder is not None and holder not in changed:
                expired[holder] = None
    had = [alias for key in (*sorted(changed), *expired) if key in stored for alias in stored[key].aliases]
    return Outcome(
        puts=tuple(replace(change.document, version=change.document.version + rise) for change in changes if isinstance(change, Put)),
        removed=(*(key_of(change) for change in changes if isinstance(change, Remove) and key_of(change) in stored), *expired),
        freed=tuple(alias for alias in dict.fromkeys(had) if alias not in taken),
    )


def aliases_of(change: Change) -> tuple[str, ...]:
    """The aliases that a change brings."""
    return change.document.aliases if isinstance(change, Put) else ()


def size_of(changes: Sequence[Change]) -> int:
    """About how many bytes a write puts into a transaction."""
    return sum(len(change.document.body) for change in changes if isinstance(change, Put))


def joined(aliases: Sequence[str]) -> str:
    """Aliases as one text, as rows hold them; no alias has a space."""
    return " ".join(aliases)
