"""Small things of an account that are kept whole in one document each: environments, action templates, tests and their groups."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from flowrunner.errors import Conflict, DocumentConflict, InvalidDocument, LimitExceeded, NotFound, PreconditionFailed
from flowrunner.ports.documents import Change, Document, DocumentStore, Put, Remove

Entry = TypeVar("Entry", bound=msgspec.Struct)
MOST_BYTES = 256 * 1024  # of one entry
PAGE = 500
TRIES = 20
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Stored(Generic[Entry]):
    """An entry as it is stored; `tag` counts its writes, from 1."""

    entry: Entry
    tag: int


class Records(Generic[Entry]):
    """The entries of one kind. `label` is what they are called; `reserved` ids are refused, because paths of the API mean something else by them.

    `member` is what a body calls the id.
    """

    def __init__(
        self, documents: DocumentStore, kind: str, label: str, shape: type[Entry], *, reserved: frozenset[str] = frozenset(), member: str = ""
    ) -> None:
        self.kind = kind
        self.label = label
        self._pointer = member and f"/{member}"
        self._documents = documents
        self._reserved = reserved
        self._read = msgspec.json.Decoder(shape).decode

    async def find(self, account: str, name: str) -> Stored[Entry] | None:
        """An entry by its id, or None."""
        document = await self._documents.get(account, self.kind, name) if _ID.fullmatch(name) else None
        return None if document is None else Stored(self._read(document.body), document.version)

    async def get(self, account: str, name: str) -> Stored[Entry]:
        """An entry by its id; raises NotFound."""
        found = await self.find(account, name)
        if found is None:
            raise NotFound(self.label, name)
        return found

    async def all(self, account: str, *, prefix: str = "") -> Sequence[Stored[Entry]]:
        """Every entry whose id begins so, by id."""
        found: list[Stored[Entry]] = []
        last: str | None = None
        while page := await self._documents.page(account, self.kind, prefix=prefix, after=last, limit=PAGE):
            found += [Stored(self._read(document.body), document.version) for document in page]
            last = page[-1].id
        return found

    async def create(self, account: str, name: str, entry: Entry) -> Stored[Entry]:
        """Keep a new entry; raises Conflict (the id is taken), InvalidDocument (it is none), LimitExceeded."""
        self.check_id(name)
        try:
            await self._documents.write([self.put(account, name, entry, 0)])
        except DocumentConflict:
            raise Conflict(f"There is a {self.label} {name!r} already.") from None
        return Stored(entry, 1)

    async def change(self, account: str, name: str, make: Callable[[Entry], Entry], *, expected: int | None = None) -> Stored[Entry]:
        """Replace an entry by what `make` makes of it, which may be asked again; raises NotFound, PreconditionFailed, Conflict, and what `make` does."""
        for _ in range(TRIES):
            stored = await self.get(account, name)
            self._expect(stored.tag, expected)
            entry = make(stored.entry)
            try:
                await self._documents.write([self.put(account, name, entry, stored.tag)])
            except DocumentConflict:
                continue
            return Stored(entry, stored.tag + 1)
        raise Conflict(f"The {self.label} is changed by others all the time; try again.")

    async def delete(self, account: str, name: str, *, expected: int | None = None, also: Sequence[Change] = ()) -> None:
        """Remove an entry, with other changes in the same write; raises NotFound, PreconditionFailed, Conflict."""
        for _ in range(TRIES):
            stored = await self.get(account, name)
            self._expect(stored.tag, expected)
            try:
                await self._documents.write([Remove(account=account, kind=self.kind, id=name, version=stored.tag), *also])
            except DocumentConflict as conflict:
                if conflict.change:
                    break
                continue
            return
        raise Conflict(f"The {self.label} is changed by others all the time; try again.")

    def check_id(self, name: str) -> None:
        """Raise InvalidDocument for what is no id."""
        if not _ID.fullmatch(name) or name in self._reserved:
            taken = f"; {', '.join(sorted(self._reserved))} are taken." if self._reserved else "."
            raise InvalidDocument(
                f"An id has 1 to 128 letters, digits, dots, dashes and underscores, and begins with a letter or digit{taken}", pointer=self._pointer
            )

    def put(self, account: str, name: str, entry: Entry, tag: int) -> Put:
        """The write of an entry; raises LimitExceeded for one that is too long."""
        body = msgspec.json.encode(entry)
        if len(body) > MOST_BYTES:
            raise LimitExceeded(f"A {self.label} takes at most {MOST_BYTES} bytes.")
        return Put(Document(account=account, kind=self.kind, id=name, body=body, version=tag))

    def _expect(self, tag: int, expected: int | None) -> None:
        if expected is not None and tag != expected:
            raise PreconditionFailed(f'The {self.label} is at "{tag}", not at "{expected}": read it again.')
