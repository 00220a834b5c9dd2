"""Environments: named sets of variables, one of them active. What is active stands in one document, so there is never more than one.

The value of a secret variable is a secret of the account, which no document, run or answer shows. A run knows only where it is
(`ALIASES`), and a task resolves it at the last moment, where a step says ``{{secrets.NAME}}``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from flowrunner.clock import Clock
from flowrunner.core.variables import ENVIRONMENT_SECRETS
from flowrunner.definitions.records import TRIES, Records, Stored
from flowrunner.errors import Conflict, DocumentConflict, InvalidDocument, NotFound
from flowrunner.jsonvalue import JSONValue
from flowrunner.ports.documents import Change, Document, DocumentStore, Put, Unchanged
from flowrunner.ports.secrets import OF_ENVIRONMENTS
from flowrunner.vault.secrets import Secrets
from flowrunner.vault.writing import Write

ENVIRONMENT, ACTIVE = "environment", "active-environment"
MASK = "***"
ALIASES = ENVIRONMENT_SECRETS  # the variable of a run, by a name that no author can give: secret variables to names of secrets
MOST_PARENTS = 8
_ONLY = "active"  # the id of the one document
Removal = Callable[[str], Write | None]  # how the secret of this name is removed: with an entry of the audit log in the write


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """A set of variables; those of its `parent` hold where it has none of its own. `secrets` are the names of secret ones. Times are milliseconds."""

    id: str
    name: str
    created_at: int
    updated_at: int
    description: str = ""
    parent: str | None = None
    variables: dict[str, Any] = {}
    secrets: tuple[str, ...] = ()


def secret_name(environment: str, variable: str) -> str:
    """The name of the secret that a secret variable's value is."""
    return f"{OF_ENVIRONMENTS}{environment}/{variable}"


def _unnoted(name: str) -> None:
    del name


class Environments:
    """The environments of all accounts."""

    def __init__(self, documents: DocumentStore, clock: Clock, secrets: Secrets | None = None) -> None:
        self._documents = documents
        self._secrets = secrets
        self._clock = clock
        self._records = Records(documents, ENVIRONMENT, "environment", Environment, reserved=frozenset({"active"}), member="envId")

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

    async def change(
        self, account: str, name: str, make: Callable[[Environment], Environment], *, expected: int | None = None, removal: Removal = _unnoted
    ) -> Stored[Environment]:
        """Replace one by what `make` makes of it; raises NotFound, PreconditionFailed, InvalidDocument (its parents), Conflict."""
        before = (await self._records.get(account, name)).entry
        await self._check_parents(account, make(before))
        now = self._clock.now()
        kept = await self._records.change(account, name, lambda entry: msgspec.structs.replace(make(entry), updated_at=now), expected=expected)
        await self._forget(account, name, set(before.secrets) - set(kept.entry.secrets), removal)
        return kept

    async def set_secret(self, account: str, name: str, variable: str, value: str, write: Write | None = None) -> Stored[Environment]:
        """Seal a value, and make the variable a secret one. Raises NotFound, InvalidDocument (no vault), InvalidSecret, Conflict."""
        await self._records.get(account, name)
        if self._secrets is None:
            raise InvalidDocument("This server keeps no secrets.", pointer=f"/{variable}")
        await self._secrets.set(account, secret_name(name, variable), value, write=write)

        def marked(before: Environment) -> Environment:
            plain = {other: part for other, part in before.variables.items() if other != variable}
            return msgspec.structs.replace(before, variables=plain, secrets=tuple(sorted({*before.secrets, variable})))

        return await self.change(account, name, marked)

    async def _forget(self, account: str, name: str, variables: Iterable[str], removal: Removal) -> None:
        for variable in sorted(variables):
            if self._secrets is not None:
                secret = secret_name(name, variable)
                with contextlib.suppress(NotFound):
                    await self._secrets.delete(account, secret, write=removal(secret))

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

    async def delete(self, account: str, name: str, *, expected: int | None = None, removal: Removal = _unnoted) -> None:
        """Remove one that is not active and that none inherits from; raises NotFound, Conflict, PreconditionFailed."""
        stored = await self._records.get(account, name)
        active = await self._documents.get(account, ACTIVE, _ONLY)
        if active is not None and active.body.decode() == name:
            raise Conflict(f"The environment {name!r} is the active one: activate another one first.")
        heirs = [other.entry.id for other in await self._records.all(account) if other.entry.parent == name]
        if heirs:
            raise Conflict(
                f"The environment {name!r} has heirs, which would lose its variables: {', '.join(heirs[:10])}. Take its id out of their parentId first."
            )
        same: Change = Unchanged(account=account, kind=ACTIVE, id=_ONLY, version=0 if active is None else active.version)
        await self._records.delete(account, name, expected=expected, also=[same])
        await self._forget(account, name, stored.entry.secrets, removal)

    async def variables(self, account: str, name: str) -> dict[str, JSONValue]:
        """The variables of one and of its parents; its own win, secret ones are masked. Raises NotFound."""
        return (await self.merged(account, name))[0]

    async def merged(self, account: str, name: str) -> tuple[dict[str, JSONValue], dict[str, JSONValue]]:
        """The variables, and the names of the secrets that secret ones are."""
        chain = [(await self._records.get(account, name)).entry]
        while (parent := chain[-1].parent) is not None and len(chain) <= MOST_PARENTS:
            found = await self._records.find(account, parent)
            if found is None:
                break
            chain.append(found.entry)
        merged: dict[str, JSONValue] = {}
        secrets: dict[str, JSONValue] = {}
        for environment in reversed(chain):
            merged |= environment.variables | dict.fromkeys(environment.secrets, MASK)
            secrets = {variable: there for variable, there in secrets.items() if variable not in environment.variables}
            secrets |= {variable: secret_name(environment.id, variable) for variable in environment.secrets}
        return merged, secrets

    async def active_variables(self, account: str) -> dict[str, JSONValue]:
        """The variables of the active environment, as a run is given them; none without one."""
        name = await self.active(account)
        try:
            merged, secrets = ({}, {}) if name is None else await self.merged(account, name)
        except NotFound:
            return {}
        return {**merged, ALIASES: secrets} if secrets else merged

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
