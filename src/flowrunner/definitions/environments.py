"""Environments: named sets of variables, one of them active. What is active stands in one document, so there is never more than one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from flowrunner.clock import Clock
from flowrunner.definitions.records import TRIES, Records, Stored
from flowrunner.errors import Conflict, DocumentConflict, InvalidDocument, NotFound
from flowrunner.jsonvalue import JSONValue
from flowrunner.ports.documents import Change, Document, DocumentStore, Put, Unchanged

ENVIRONMENT, ACTIVE = "environment", "active-environment"
MOST_PARENTS = 8
_ONLY = "active"  # the id of the one document


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """A set of variables; those of its `parent` hold where it has none of its own. Times are milliseconds since 1970 UTC."""

    id: str
    name: str
    created_at: int
    updated_at: int
    description: str = ""
    parent: str | None = None
    variables: dict[str, Any] = {}


class Environments:
    """The environments of all accounts."""

    def __init__(self, documents: DocumentStore, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock
        self._records = Records(documents, ENVIRONMENT, "environment", Environment, reserved=frozenset({"active"}))

    async def get(self, account: str, name: str) -> Stored[Environment]:
        """One of them; raises NotFound."""
        return await self._records.get(account, name)

    async def all(self, account: str) -> list[Environment]:
        """All of them, by id."""
        return [stored.entry for stored in await self._records.all(account)]

    async def active(self, account: str) -> str | None:
        """The id of the active one."""
        document = await self._documents.get(account, ACTIVE, _ONLY)
        return None if document is None else document.body.decode()

    async def create(self, account: str, environment: Environment) -> Stored[Environment]:
        """A new one; raises Conflict, InvalidDocument."""
        await self._check_parents(account, environment)
        return await self._records.create(account, environment.id, environment)

    async def change(self, account: str, name: str, make: Callable[[Environment], Environment], *, expected: int | None = None) -> Stored[Environment]:
        """Replace one by what `make` makes of it; raises NotFound, PreconditionFailed, InvalidDocument (its parents), Conflict."""
        before = (await self._records.get(account, name)).entry
        await self._check_parents(account, make(before))
        now = self._clock.now()
        return await self._records.change(account, name, lambda entry: msgspec.structs.replace(make(entry), updated_at=now), expected=expected)

    async def activate(self, account: str, name: str) -> Stored[Environment]:
        """Make one the active one, in place of what was; raises NotFound, Conflict."""
        for _ in range(TRIES):
            stored = await self._records.get(account, name)
            active = await self._documents.get(account, ACTIVE, _ONLY)
            there = Unchanged(account=account, kind=ENVIRONMENT, id=name, version=stored.tag)
            put = Put(Document(account=account, kind=ACTIVE, id=_ONLY, body=name.encode(), version=0 if active is None else active.version))
            try:
                await self._documents.write([there, put])
            except DocumentConflict:
                continue
            return stored
        raise Conflict("The active environment is changed by others all the time; try again.")

    async def delete(self, account: str, name: str, *, expected: int | None = None) -> None:
        """Remove one that is not active; raises NotFound, Conflict, PreconditionFailed."""
        await self._records.get(account, name)
        active = await self._documents.get(account, ACTIVE, _ONLY)
        if active is not None and active.body.decode() == name:
            raise Conflict(f"The environment {name!r} is the active one: activate another one first.")
        same: Change = Unchanged(account=account, kind=ACTIVE, id=_ONLY, version=0 if active is None else active.version)
        await self._records.delete(account, name, expected=expected, also=[same])

    async def variables(self, account: str, name: str) -> dict[str, JSONValue]:
        """The variables of one and of its parents; its own win. Raises NotFound."""
        chain = [(await self._records.get(account, name)).entry]
        while (parent := chain[-1].parent) is not None and len(chain) <= MOST_PARENTS:
            found = await self._records.find(account, parent)
            if found is None:
                break
            chain.append(found.entry)
        merged: dict[str, JSONValue] = {}
        for environment in reversed(chain):
            merged |= environment.variables
        return merged

    async def active_variables(self, account: str) -> dict[str, JSONValue]:
        """The variables of the active environment; none without one."""
        name = await self.active(account)
        try:
            return {} if name is None else await self.variables(account, name)
        except NotFound:
            return {}

    async def _check_parents(self, account: str, environment: Environment) -> None:
        seen, parent = [environment.id], environment.parent
        while parent is not None:
            if parent in seen or len(seen) > MOST_PARENTS:
                way = " -> ".join((*seen, parent))
                raise InvalidDocument(f"Environments inherit over at most {MOST_PARENTS} others and never from themselves: {way}.", pointer="/parentId")
            found = await self._records.find(account, parent)
            if found is None:
                raise InvalidDocument(f"There is no environment {parent!r} to inherit from.", pointer="/parentId")
            seen.append(parent)
            parent = found.entry.parent
