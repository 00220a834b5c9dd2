"""Moving everything between stores, directly or as JSON Lines.

The first line is a header, the last tells how many rows of each kind came before it, so a file that was cut is known. Each line
between them is one object with one member: ``revision``, ``machine``, ``activity``, ``document`` or ``execution``, in this order.
Bytes are base64. Files of version 1 had no documents.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from flowrunner.errors import Conflict, InvalidDocument
from flowrunner.ports.archive import Archive, ArchivedExecution
from flowrunner.ports.definitions import Activity, Machine, Revision
from flowrunner.ports.documents import Document
from flowrunner.stores.soundness import document_flaw, flaws

FORMAT = "flowrunner-archive"
VERSION = 2
READ = (1, 2)
PAGE_ROWS = 200  # read at once, and put at once: stores share transactions between writes
PUT_BYTES = 16 * 1024 * 1024  # put at once, roughly

Row = Revision | Machine | Activity | Document | ArchivedExecution
KINDS: dict[type, str] = {Revision: "revision", Machine: "machine", Activity: "activity", Document: "document", ArchivedExecution: "execution"}
PLURALS = {"revision": "revisions", "machine": "machines", "activity": "activities", "document": "documents", "execution": "executions"}
Thing = TypeVar("Thing")


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the file is, and when (milliseconds since 1970 UTC) it was begun."""

    format: str
    version: int
    created_at: int


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    header: Header | None = None
    revision: Revision | None = None
    machine: Machine | None = None
    activity: Activity | None = None
    document: Document | None = None
    execution: ArchivedExecution | None = None
    end: dict[str, int] | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Line)


# --- reading and writing stores


async def rows(archive: Archive) -> AsyncIterator[Row]:
    """Everything of a store, what others refer to first; of one moment if the caller holds one."""
    async for revision in _all(archive.revisions, lambda one: one.id):
        yield revision
    async for machine in _all(archive.machines, lambda one: (one.account, one.name)):
        yield machine
    async for activity in _all(archive.activities, lambda one: (one.account, one.name)):
        yield activity
    async for document in _all(archive.documents, lambda one: (one.account, one.kind, one.id)):
        yield document
    async for execution in _all(archive.executions, lambda one: one.head.id):
        yield execution


async def _all(read: Callable[[Any, int], Awaitable[Sequence[Thing]]], key: Callable[[Thing], object]) -> AsyncIterator[Thing]:
    after = None
    while page := await read(after, PAGE_ROWS):
        for thing in page:
            yield thing
        after = key(page[-1])


class Put:
    """Puts rows into a store, several at once. `added` and `skipped` count them by kind; with `strict` none may exist."""

    def __init__(self, archive: Archive, *, strict: bool = False) -> None:
        self.added: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self._archive = archive
        self._strict = strict
        self._waiting: list[Row] = []
        self._size = 0

    async def put(self, row: Row) -> None:
        """Put a row, perhaps later; raises Conflict if it exists and must not."""
        if self._waiting and type(row) is not type(self._waiting[0]):
            await self.flush()
        self._waiting.append(row)
        self._size += _size(row)
        if len(self._waiting) >= PAGE_ROWS or self._size >= PUT_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Put what waits."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        answers = await asyncio.gather(*map(self._one, waiting))
        for row, new in zip(waiting, answers, strict=True):
            (self.added if new else self.skipped)[PLURALS[KINDS[type(row)]]] += 1
        present = [name_of(row) for row, new in zip(waiting, answers, strict=True) if not new]
        if self._strict and present:
            raise Conflict(
                f"The {present[0]} exists already; {self.added.total()} rows were added before that was seen.",
                remedy="Without --strict what exists is left as it is.",
            )

    async def _one(self, row: Row) -> bool:
        archive = self._archive
        match row:
            case Revision():
                return await archive.put_revision(row)
            case Machine():
                await archive.put_revision(row.revision)  # it has come before, unless somebody edited the file
                return await archive.put_machine(row)
            case Activity():
                return await archive.put_activity(row)
            case Document():
                return await archive.put_document(row)
            case _:
                return await archive.put_execution(row)


def name_of(row: Row) -> str:
    """What people call it."""
    match row:
        case Revision():
            return f"revision {row.id}"
        case Document():
            return f"{row.kind} {row.id} of account {row.account}"
        case ArchivedExecution():
            return f"execution {row.head.id} ({row.head.machine}/{row.head.name})"
        case _:
            return f"{KINDS[type(row)]} {row.name}"


def _size(row: Row) -> int:
    if isinstance(row, ArchivedExecution):
        return len(row.head.input) + sum(len(chunk.body) for chunk in row.chunks)
    if isinstance(row, Document):
        return len(row.body)
    return len(row.definition) if isinstance(row, Revision) else 0


# --- lines


async def lines(archive: Archive, counts: Counter[str], *, now: int) -> AsyncIterator[bytes]:
    """A store as lines of a file, counted by kind; the last one tells that nothing is missing."""
    yield _encoder.encode({"header": Header(format=FORMAT, version=VERSION, created_at=now)}) + b"\n"
    async for row in rows(archive):
        kind = KINDS[type(row)]
        counts[PLURALS[kind]] += 1
        yield _encoder.encode({kind: row}) + b"\n"
    yield _encoder.encode({"end": dict(counts)}) + b"\n"


def parsed(given: Iterable[bytes], name: str) -> Iterator[Row]:
    """The rows of a file's lines; raises InvalidDocument, naming the line, for anything that is not whole and sound."""
    counts: Counter[str] = Counter()
    number, last = 0, None
    numbered = enumerate(given, 1)
    for number, text in numbered:
        last = _parse(text, name, number)
        if number == 1:
            _check_header(last.header, name)
            continue
        row = last.revision or last.machine or last.activity or last.document or last.execution
        if last.end is not None:
            break
        if row is None:
            raise _invalid(name, number, "it is no row of an archive")
        if isinstance(row, ArchivedExecution):
            for flaw in flaws(row, bodies=False):
                raise _invalid(name, number, f"the execution {row.head.id} is not sound: {flaw}")
        if isinstance(row, Document) and (why := document_flaw(row)) is not None:
            raise _invalid(name, number, f"it is no document: {why}")
        counts[PLURALS[KINDS[type(row)]]] += 1
        yield row
    if last is None or last.end is None:
        raise InvalidDocument(f"{name} ends after line {number} without its last line: it was cut.", remedy="Make the export again.")
    if last.end != counts:
        raise _invalid(name, number, f"it tells of {_told(last.end)}, but there were {_told(counts)}")
    for number, text in numbered:
        if text.strip():
            raise _invalid(name, number, "it comes after the last line of an export: take each export in by itself")


def _parse(text: bytes, name: str, number: int) -> _Line:
    if not text.strip():
        raise _invalid(name, number, "it is empty")
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        if number == 1:
            raise InvalidDocument(f"{name} is not an export of FlowRunner ({error}).") from None
        raise _invalid(name, number, str(error)) from None


def _check_header(header: Header | None, name: str) -> None:
    if header is None or header.format != FORMAT:
        raise InvalidDocument(f"{name} is not an export of FlowRunner.")
    if header.version not in READ:
        raise InvalidDocument(
            f"{name} is an export of version {header.version}; this release reads up to version {VERSION}.", remedy="Import it with the release that made it."
        )


def _invalid(name: str, number: int, why: str) -> InvalidDocument:
    return InvalidDocument(f"{name}:{number}: {why}.", line=number, column=1)


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing"
