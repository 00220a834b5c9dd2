"""The secrets of accounts: kept sealed, found by name, opened for whoever may read them and for tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from flowrunner.clock import MINUTE, Clock
from flowrunner.errors import Conflict, DocumentConflict, InvalidSecret, NotFound, StoreError, UnknownKey
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.ports.documents import Change, Document, DocumentStore, Put, Remove
from flowrunner.ports.secrets import Revealed
from flowrunner.vault.seal import Sealer
from flowrunner.vault.secret import (
    SECRET,
    Plain,
    Secret,
    SecretInfo,
    SecretType,
    Stored,
    check_schema,
    check_value,
    checked_description,
    checked_name,
    checked_tags,
    document,
    document_id,
    plain_bytes,
    read,
    read_plain,
    sealed_bytes,
    sealed_text,
)
from flowrunner.vault.types import Schema, faults_of, sensitive_values
from flowrunner.vault.writing import Write

PAGE = 100
TRIES = 10  # of a write that others were quicker with
USED_EVERY = MINUTE  # `last_used` is written at most once in this time
Mode = Literal["create", "replace", "set"]


class StructuredChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a structured secret shall be; what is not set stays as it is (for a new one: as the type's defaults). None clears."""

    type: SecretType | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    tags: list[str] | UnsetType | None = UNSET
    expires_at: int | UnsetType | None = UNSET
    data: dict[str, JSONValue] | UnsetType = UNSET
    schema: Schema | UnsetType | None = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretQuery:
    """Which secrets: all conditions hold. Times are milliseconds; a secret that was never used is used before any time."""

    type: str | None = None
    tags: tuple[str, ...] = ()
    description: str | None = None
    expiring_within: int | None = None
    last_used_before: int | None = None
    structured_only: bool = True
    limit: int | None = None
    offset: int = 0


Edit = Callable[[Stored | None, Plain | None], tuple[Stored, Plain | None]]  # what is there -> what shall be; no Plain: the value stays sealed as it is


class Secrets:
    """The service. Implements `ports.secrets.SecretSource`.

    Every method raises StoreUnavailable; those that open or seal also UnknownKey and SealBroken. `write` makes the write (with an entry of the audit log in it).
    """

    def __init__(self, documents: DocumentStore, sealer: Sealer, clock: Clock) -> None:
        self._documents = documents
        self._sealer = sealer
        self._clock = clock

    # --- writing

    async def set(self, account: str, name: str, value: str, *, mode: Mode = "set", expected: int | None = None, write: Write | None = None) -> SecretInfo:
        """Store a simple secret; its description, tags and expiry stay.

        Raises InvalidSecret, NotFound (replace), Conflict: it is there (create), is a structured one, or has another version than `expected`.
        """
        name = checked_name(name)
        check_value(value)

        def edit(stored: Stored | None, _: Plain | None) -> tuple[Stored, Plain | None]:
            if stored is not None and stored.form != "simple":
                raise Conflict(f"The secret {name!r} is structured; delete it first, or change its fields.")
            return stored or self._fresh(name, "simple"), Plain(value)

        return await self._edit(account, name, edit, mode=mode, expected=expected, write=write)

    async def set_structured(
        self, account: str, name: str, change: StructuredChange, *, mode: Mode = "set", expected: int | None = None, write: Write | None = None
    ) -> SecretInfo:
        """Store a structured secret, or change the parts of one that `change` sets; `data` and `schema` are replaced as a whole.

        Raises InvalidSecret with the places that break the rules of its type or schema; NotFound and Conflict as `set`.
        """
        name = checked_name(name)
        if change.data is not UNSET:
            check_value(change.data)
        if isinstance(change.schema, Schema):
            check_schema(change.schema)

        def edit(stored: Stored | None, plain: Plain | None) -> tuple[Stored, Plain | None]:
            if stored is not None and stored.form != "structured":
                raise Conflict(f"The secret {name!r} is a simple one; delete it first, or set its value.")
            edited = _described(stored or self._fresh(name, "structured"), change)
            data: JSONObject = change.data if change.data is not UNSET else plain.data if plain is not None else {}
            schema = change.schema if change.schema is not UNSET else plain.schema if plain is not None else None
            faults = faults_of(edited.type, data, schema)
            if faults:
                raise InvalidSecret(f"The secret {name!r} breaks the rules of its type or schema.", tuple(faults))
            same = plain is not None and change.data is UNSET and change.schema is UNSET
            return edited, None if same else Plain(data, schema)

        return await self._edit(account, name, edit, mode=mode, expected=expected, write=write)

    async def describe(self, account: str, name: str, change: StructuredChange, *, write: Write | None = None) -> SecretInfo:
        """Change description, tags, expiry of a secret of either form; the value is not opened. Raises InvalidSecret, NotFound."""
        if change.data is not UNSET or change.schema is not UNSET or change.type is not UNSET:
            raise InvalidSecret("The metadata of a secret are description, tags and expires_at.", (("", "data, schema and type are no metadata"),))

        def edit(stored: Stored | None, _: Plain | None) -> tuple[Stored, Plain | None]:
            if stored is None:
                raise NotFound("secret", name)
            return _described(stored, change), None

        return await self._edit(account, checked_name(name), edit, mode="replace", expected=None, write=write, opens=False)

    async def delete(self, account: str, name: str, *, write: Write | None = None) -> None:
        """Remove a secret. Raises NotFound."""
        name = checked_name(name)
        for _ in range(TRIES):
            found = await self._documents.get(account, SECRET, document_id(name))
            if found is None:
                raise NotFound("secret", name)
            try:
                await (write or self._documents.write)([Remove(account=account, kind=SECRET, id=found.id, version=found.version)])
            except DocumentConflict:
                continue
            return
        raise _busy(name)

    # --- reading

    async def get(self, account: str, name: str) -> Secret:
        """A secret with its value. Raises NotFound."""
        found = await self._found(account, checked_name(name))
        for _ in range(2):
            stored = read(found)
            try:
                plain = await self._open(account, stored)
            except UnknownKey:  # a rotation may have sealed it anew since it was read
                self._sealer.refresh(account)
                again = await self._found(account, stored.name)
                if again.version == found.version:
                    raise
                found = again
                continue
            return Secret(info=stored.info(), data=plain.data, schema=plain.schema)
        raise _busy(name)

    async def info(self, account: str, name: str) -> SecretInfo:
        """What may be shown of a secret. Raises NotFound."""
        return read(await self._found(account, checked_name(name))).info()

    async def use(self, account: str, name: str) -> Secret:
        """`get`, and note that the secret was used."""
        secret = await self.get(account, name)
        await self.mark_used(account, secret.info)
        return secret

    async def mark_used(self, account: str, info: SecretInfo) -> None:
        """Write the time of use, at most once a minute; nobody waits for, or fails by, what could not be noted."""
        now = self._clock.now()
        if info.last_used is not None and now - info.last_used < USED_EVERY:
            return
        try:
            found = await self._documents.get(account, SECRET, document_id(info.name))
            if found is not None:
                stored = read(found)
                if stored.last_used is None or now - stored.last_used >= USED_EVERY:
                    await self._documents.write([Put(document(account, msgspec.structs.replace(stored, last_used=now), found.version))])
        except StoreError:
            return

    async def infos(self, account: str) -> list[SecretInfo]:
        """Every secret of the account, by name; no value is opened."""
        return [info async for info in self._all(account)]

    async def search(self, account: str, query: SecretQuery) -> list[SecretInfo]:
        """The secrets that the query means, by name."""
        now = self._clock.now()
        found = [info async for info in self._all(account) if _meant(info, query, now)]
        return found[query.offset : None if query.limit is None else query.offset + query.limit]

    async def names(self, account: str) -> list[str]:
        """See the contract."""
        return [info.name async for info in self._all(account)]

    async def reveal(self, account: str, name: str, path: str | None = None) -> Revealed:
        """See the contract."""
        secret = await self.use(account, name)
        info = secret.info
        if path is None:
            hidden = tuple(sensitive_values(info.type, secret.data, secret.schema))
            return Revealed(value=secret.data, hidden=hidden, type=info.type, version=info.version)
        value = secret.at(path)
        top = path.partition(".")[0]
        shown = isinstance(secret.data, dict) and not tuple(sensitive_values(info.type, {top: None}, secret.schema))
        return Revealed(value=value, hidden=() if shown else (value,), type=info.type, version=info.version)

    # --- within

    async def _all(self, account: str) -> AsyncIterator[SecretInfo]:
        after: str | None = None
        while True:
            page = await self._documents.page(account, SECRET, after=after, limit=PAGE)
            for found in page:
                yield read(found).info()
            if len(page) < PAGE:
                return
            after = page[-1].id
            await asyncio.sleep(0)  # thousands of secrets do not hold up everybody else

    async def _found(self, account: str, name: str) -> Document:
        found = await self._documents.get(account, SECRET, document_id(name))
        if found is None:
            raise NotFound("secret", name)
        return found

    async def _open(self, account: str, stored: Stored) -> Plain:
        return read_plain(await self._sealer.open(account, stored.name, stored.version, sealed_bytes(stored)))

    async def _edit(self, account: str, name: str, edit: Edit, *, mode: Mode, expected: int | None, write: Write | None, opens: bool = True) -> SecretInfo:
        for _ in range(TRIES):
            found = await self._documents.get(account, SECRET, document_id(name))
            stored = None if found is None else read(found)
            _check_mode(name, stored, mode, expected)
            try:
                plain = await self._open(account, stored) if stored is not None and opens and stored.form == "structured" else None
            except UnknownKey:
                now = await self._documents.get(account, SECRET, document_id(name))
                self._sealer.refresh(account)
                if now is not None and found is not None and now.version == found.version:
                    raise
                continue
            edited, value = edit(stored, plain)
            changes: list[Change] = []
            if value is not None:
                version = edited.version + 1
                sealed = await self._sealer.seal(account, name, version, plain_bytes(value.data, value.schema))
                edited = msgspec.structs.replace(edited, version=version, sealed=sealed_text(sealed))
                changes.append(await self._sealer.unchanged(account, sealed))
            edited = msgspec.structs.replace(edited, updated_at=max(self._clock.now(), edited.updated_at))
            changes.insert(0, Put(document(account, edited, 0 if found is None else found.version)))
            try:
                await (write or self._documents.write)(changes)
            except DocumentConflict as conflict:
                if conflict.change == 1 and value is not None:
                    self._sealer.refresh(account)
                continue
            return edited.info()
        raise _busy(name)

    def _fresh(self, name: str, form: Literal["simple", "structured"]) -> Stored:
        now = self._clock.now()
        return Stored(name=name, form=form, type="general", version=0, created_at=now, updated_at=now, sealed="")


def _check_mode(name: str, stored: Stored | None, mode: Mode, expected: int | None) -> None:
    if stored is None:
        if mode == "replace" or expected:
            raise NotFound("secret", name)
    elif mode == "create":
        raise Conflict(f"There is a secret {name!r} already.")
    elif expected is not None and expected != stored.version:
        raise Conflict(f"The secret {name!r} has version {stored.version} now, not {expected}.")


def _described(stored: Stored, change: StructuredChange) -> Stored:
    return msgspec.structs.replace(
        stored,
        type=stored.type if change.type is UNSET else change.type,
        description=stored.description if change.description is UNSET else checked_description(change.description or ""),
        tags=stored.tags if change.tags is UNSET else checked_tags(change.tags or ()),
        expires_at=stored.expires_at if change.expires_at is UNSET else change.expires_at,
    )


def _meant(info: SecretInfo, query: SecretQuery, now: int) -> bool:
    return (
        (info.form == "structured" or not query.structured_only)
        and query.type in (None, info.type)
        and set(query.tags) <= set(info.tags)
        and (query.description is None or query.description.casefold() in info.description.casefold())
        and (query.expiring_within is None or (info.expires_at is not None and info.expires_at <= now + query.expiring_within))
        and (query.last_used_before is None or info.last_used is None or info.last_used < query.last_used_before)
    )


def _busy(name: str) -> Conflict:
    return Conflict(f"The secret {name!r} is being changed by others all the time; try again.")
