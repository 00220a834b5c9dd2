"""Flows or workflows of all accounts: made, changed, found.

The text of each version is a revision, which never changes; a document says which versions there are and is what decides: whoever
writes it has won. The machine of the same definition only follows, so that nested executions find it by name.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from flowrunner.clock import Clock
from flowrunner.core.diagnostics import Diagnostic
from flowrunner.definitions.entries import About, Definition, Format, Kept, Version, machine_name, merged
from flowrunner.definitions.said import said, said_otherwise
from flowrunner.definitions.search import Found, Search, cut, matches
from flowrunner.errors import Conflict, DocumentConflict, InvalidDefinition, InvalidDocument, LimitExceeded, NotFound, PreconditionFailed
from flowrunner.ports.definitions import Machine, Revision
from flowrunner.ports.documents import Document, Put, Remove
from flowrunner.ports.store import Store
from flowrunner.reading.metadata import beyond_bounds
from flowrunner.reading.parsed import Parsed
from flowrunner.reading.scripts import Problem

MOST_VERSIONS = 1000  # of one definition; all of them are named in one document
PAGE = 500
TRIES = 20
THREAD_CHARACTERS = 32_768  # texts longer than this are read beside the event loop
_UNLISTED = uuid.UUID("0d6f5c0e-3c3f-5a0e-8a7b-51f0d5c1b2aa")  # of revisions that texts make
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NOT_IN_IDS = re.compile(r"[^a-z0-9]+")
_definition = msgspec.json.Decoder(Definition).decode


Around = Mapping[str, Any]
Parser = Callable[[str, Around], Parsed]
Surroundings = Callable[[str, str], Awaitable[Around]]
CheckScripts = Callable[[Sequence[str]], Awaitable[Mapping[str, Problem]]]  # sources -> what is wrong with some of them


async def alone(account: str, text: str) -> Around:
    """Nothing beside the text counts."""
    del account, text
    return {}


class Definitions:
    """The definitions of one format. `reserved` ids are refused, because paths of the API mean something else by them.

    `around` says what else of an account a text is read with. It is kept with the text, so that a version never changes its meaning.
    `check_scripts` says which scripts of a text do not compile, without running them; without it nobody looks.
    """

    def __init__(
        self,
        store: Store,
        *,
        form: Format,
        parse: Parser,
        clock: Clock,
        randomness: Callable[[int], bytes],
        reserved: frozenset[str] = frozenset(),
        around: Surroundings = alone,
        check_scripts: CheckScripts | None = None,
    ) -> None:
        self.form: Format = form
        self._store = store
        self._documents = store.documents
        self._parse = parse
        self._clock = clock
        self._randomness = randomness
        self._reserved = reserved
        self._around = around
        self._check_scripts = check_scripts

    # --- reading

    async def get(self, account: str, name: str) -> Kept:
        """A definition by its id; raises NotFound."""
        kept = await self._find(account, name)
        if kept is None:
            raise NotFound(self.form, name)
        return kept

    async def revision(self, account: str, name: str, number: int | None = None) -> tuple[Kept, Version, Revision]:
        """The text of a version, the latest unless said otherwise; raises NotFound."""
        kept = await self.get(account, name)
        versions = kept.definition.versions
        if number is None:
            version = versions[-1]
        elif 1 <= number <= len(versions):
            version = versions[number - 1]
        else:
            raise NotFound(f"version of the {self.form}", str(number))
        revision = await self._store.definitions.revision(version.revision)
        if revision is None:
            raise NotFound(f"version of the {self.form}", str(version.number))
        return kept, version, revision

    async def machine(self, account: str, name: str) -> Machine:
        """What an execution of the latest version takes; raises NotFound."""
        kept, _, revision = await self.revision(account, name)
        return self._machine(account, kept.definition, revision)

    async def unlisted(self, account: str, name: str, text: str, *, kept: bool = False) -> Machine:
        """What an execution of a text takes that is not kept among the definitions; the same for the same text.

        Raises InvalidDefinition; not for one that was `kept`, perhaps by a release that refused less: whether it can be read, its start tells.
        """
        around = await self._around(account, text) if kept else (await self._accepted(account, text))[1]
        machine = machine_name(self.form, name)
        number = str(uuid.uuid5(_UNLISTED, f"{account}\n{machine}\n{msgspec.json.encode(around).hex()}\n{text}"))
        revision = Revision(
            id=number, account=account, machine=machine, definition=text, role_arn="", created_at=self._clock.now(), settings={**around, "format": self.form}
        )
        await self._store.archive.put_revision(revision)
        return Machine(account=account, name=machine, type="STANDARD", created_at=revision.created_at, revision=revision)

    async def publish(self, account: str, name: str, text: str) -> None:
        """Let nested executions find a text by this name, as it is now; it was accepted."""
        machine = await self.unlisted(account, name, text, kept=True)
        while (await self._store.definitions.create_machine(machine)).revision.id != machine.revision.id:
            try:
                await self._store.definitions.update_machine(account, machine.name, machine.revision)
            except NotFound:  # it was deleted in between
                continue
            return

    async def withdraw(self, account: str, name: str) -> None:
        """Take back what was published; nothing happens where nothing was."""
        await self._store.definitions.delete_machine(account, machine_name(self.form, name))

    async def search(self, account: str, search: Search, *, limit: int, offset: int = 0, after: str | None = None) -> Found:
        """Definitions by id that the search means: those after an id, or else after the first `offset`."""
        found: list[Definition] = []
        last: str | None = None
        while page := await self._documents.page(account, self.form, after=last, limit=PAGE):
            found += [definition for document in page if matches(definition := _definition(document.body), search)]
            last = page[-1].id
        return cut(found, limit=limit, offset=offset, after=after)

    async def check(self, account: str, text: str) -> Parsed:
        """Read a text without keeping it."""
        return (await self._checked(account, text))[0]

    async def accept(self, account: str, text: str) -> None:
        """Return for a text that could be executed; raises InvalidDefinition."""
        await self._accepted(account, text)

    async def _checked(self, account: str, text: str) -> tuple[Parsed, Around]:
        around = await self._around(account, text)
        parsed = await self._read(text, around)
        if self._check_scripts is not None and parsed.scripts.found:
            problems = await self._check_scripts(parsed.scripts.sources())
            parsed = parsed.with_problems(problems) if problems else parsed
        return parsed, around

    async def _read(self, text: str, around: Around) -> Parsed:
        large = len(text) > THREAD_CHARACTERS
        return await asyncio.to_thread(self._parse, text, around) if large else self._parse(text, around)

    # --- writing

    async def create(self, account: str, text: str, *, by: str, about: About, name: str | None = None) -> Kept:
        """A new definition with the metadata that its text has, and `about` over them; `name` is its id, made of its name unless given.

        Raises InvalidDefinition, InvalidDocument (metadata, id), Conflict (the id is taken).
        """
        parsed, around = await self._accepted(account, text)
        given = {"name": "", "created_by": by, **said(parsed)}
        values = checked({**given, **about.changes(), "custom": merged(given.get("custom", {}), about.custom)})
        if not values["name"]:
            raise InvalidDocument(f"A {self.form} needs a name.", pointer="/name")
        now = self._clock.now()
        number = self._new_id(values["name"], now) if name is None else self._own_id(name)
        if await self._find(account, number) is not None:
            raise Conflict(f"There is a {self.form} {number!r} already.")
        revision = await self._kept_revision(account, number, text, around, now)
        first = Version(1, revision.id, now, by)
        definition = Definition(id=number, created_at=now, updated_at=now, versions=(first,), **values)
        try:
            await self._put(account, definition, 0)
        except DocumentConflict:
            raise Conflict(f"There is a {self.form} {number!r} already.") from None
        await self._follow(account, number)
        return Kept(definition, 1)

    async def update(self, account: str, name: str, *, by: str, text: str | None = None, about: About | None = None, expected: int | None = None) -> Kept:
        """Change text or metadata; another text is a new version, the same text none, and what changes nothing is not written. `expected` is the tag that must be stored.

        Of the text's own metadata those are taken that it says otherwise than the version before; `about` is over them.

        Raises NotFound, InvalidDefinition, InvalidDocument, PreconditionFailed, LimitExceeded (versions), Conflict.
        """
        about = about or About()
        parsed, around = (None, {}) if text is None else await self._accepted(account, text)
        revision: Revision | None = None
        for _ in range(TRIES):
            kept, now = await self.get(account, name), self._clock.now()
            if expected is not None and kept.tag != expected:
                raise PreconditionFailed(f'The {self.form} is at "{kept.tag}", not at "{expected}": read it again.')
            before = kept.definition
            changes: dict[str, Any] = {}
            latest = None if text is None else await self._store.definitions.revision(before.latest.revision)
            if text is not None and parsed is not None and not self._is_same(latest, text, around):
                if len(before.versions) >= MOST_VERSIONS:
                    raise LimitExceeded(f"A {self.form} has at most {MOST_VERSIONS} versions.", remedy="Create another one.")
                revision = revision or await self._kept_revision(account, name, text, around, now)
                changes = said(parsed) if latest is None else said_otherwise(await self._read(latest.definition, latest.settings), parsed)
                changes["versions"] = (*before.versions, Version(before.latest.number + 1, revision.id, now, by))
            custom = merged(merged(before.custom, changes.get("custom", {})), about.custom)
            changes |= about.changes() | {"custom": custom}
            after = msgspec.structs.replace(before, **checked(changes))
            if after == before:
                return kept
            after = msgspec.structs.replace(after, updated_at=now)
            try:
                await self._put(account, after, kept.tag)
            except DocumentConflict:
                continue
            if "versions" in changes:
                await self._follow(account, name)
            return Kept(after, kept.tag + 1)
        raise Conflict(f"The {self.form} is changed by others all the time; try again.")

    async def delete(self, account: str, name: str, *, expected: int | None = None) -> None:
        """Remove a definition; what runs goes on. Raises NotFound, PreconditionFailed, Conflict."""
        for _ in range(TRIES):
            kept = await self.get(account, name)
            if expected is not None and kept.tag != expected:
                raise PreconditionFailed(f'The {self.form} is at "{kept.tag}", not at "{expected}": read it again.')
            try:
                await self._documents.write([Remove(account=account, kind=self.form, id=name, version=kept.tag)])
            except DocumentConflict:
                continue
            await self._follow(account, name)
            return
        raise Conflict(f"The {self.form} is changed by others all the time; try again.")

    # --- parts

    async def _find(self, account: str, name: str) -> Kept | None:
        document = await self._documents.get(account, self.form, name) if _ID.fullmatch(name) else None
        return None if document is None else Kept(_definition(document.body), document.version)

    async def _put(self, account: str, definition: Definition, tag: int) -> None:
        body = msgspec.json.encode(definition)
        await self._documents.write([Put(Document(account=account, kind=self.form, id=definition.id, body=body, version=tag))])

    async def _accepted(self, account: str, text: str) -> tuple[Parsed, Around]:
        parsed, around = await self._checked(account, text)
        if parsed.program is None:
            raise invalid(self.form, parsed.diagnostics)
        return parsed, around

    def _is_same(self, revision: Revision | None, text: str, around: Around) -> bool:
        return revision is not None and revision.definition == text and revision.settings == {**around, "format": self.form}

    async def _kept_revision(self, account: str, name: str, text: str, around: Around, now: int) -> Revision:
        revision = Revision(
            id=str(uuid.UUID(bytes=self._randomness(16), version=4)),
            account=account,
            machine=machine_name(self.form, name),
            definition=text,
            role_arn="",
            created_at=now,
            settings={**around, "format": self.form},
        )
        await self._store.archive.put_revision(revision)
        return revision

    def _machine(self, account: str, definition: Definition, revision: Revision) -> Machine:
        return Machine(account=account, name=machine_name(self.form, definition.id), type="STANDARD", created_at=definition.created_at, revision=revision)

    async def _follow(self, account: str, name: str) -> None:
        """Make the machine what the document says, until nobody has changed that meanwhile."""
        definitions, machine = self._store.definitions, machine_name(self.form, name)
        kept = await self._find(account, name)
        while True:
            revision = None if kept is None else await definitions.revision(kept.definition.latest.revision)
            if kept is None or revision is None:
                await definitions.delete_machine(account, machine)
            else:
                stored = await definitions.create_machine(self._machine(account, kept.definition, revision))
                if stored.revision.id != revision.id:
                    try:
                        await definitions.update_machine(account, machine, revision)
                    except NotFound:  # it was deleted in between
                        continue
            now = await self._find(account, name)
            if (now and now.definition.latest.revision) == (kept and kept.definition.latest.revision):
                return
            kept = now

    def _new_id(self, name: str, now: int) -> str:
        slug = _NOT_IN_IDS.sub("-", name.lower()).strip("-")[:60].strip("-") or self.form
        return f"{slug}-{now:x}{self._randomness(3).hex()}"

    def _own_id(self, name: str) -> str:
        if not _ID.fullmatch(name) or name in self._reserved:
            raise InvalidDocument(
                "An id has 1 to 128 letters, digits, dots, dashes and underscores, and begins with a letter or digit"
                + (f"; {', '.join(sorted(self._reserved))} are taken." if self._reserved else "."),
                pointer=f"/{self.form}Id",
            )
        return name


def invalid(form: str, diagnostics: tuple[Diagnostic, ...]) -> InvalidDefinition:
    """The refusal of a text: its first error, and how many more there are."""
    wrong = [found for found in diagnostics if found.severity == "ERROR"]
    rest = len(wrong) - 1
    more = "" if rest < 1 else " There is 1 more error." if rest == 1 else f" There are {rest} more errors."
    return InvalidDefinition(f"The {form} is not valid: {wrong[0] if wrong else 'no reason given'}.{more}", diagnostics)


def checked(values: dict[str, Any]) -> dict[str, Any]:
    """Metadata within bounds; raises InvalidDocument."""
    for name, wrong in beyond_bounds(values):
        raise InvalidDocument(wrong, pointer=f"/{name}")
    return values
