"""Documents in DynamoDB: an item each, in one partition for each account and kind, and an item for each alias.

A document is known by the `stamp` of the write that stored it, and every write says which it has seen. An alias counts if the
document that its item names has it, so who replaces or removes a document need not touch its aliases at once; who takes an alias
over says which item it has seen.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowrunner.errors import DocumentConflict, StoreError, StoreUnavailable
from flowrunner.ports.documents import Change, Document, DocumentStore, Put, Unchanged, check_changes, id_range, is_name, key_of
from flowrunner.stores.changes import Kept, aliases_of, decide, lives
from flowrunner.stores.dynamodb.documentplan import NAMES, Plan, item_of_document, kept_of
from flowrunner.stores.dynamodb.faults import CONDITION_FAILED, Cancelled, code_of
from flowrunner.stores.dynamodb.keys import alias_key, document_key
from flowrunner.stores.dynamodb.keys import key_of as key_of_item
from flowrunner.stores.dynamodb.values import BODY_BYTES, Parts, attribute, joined, part_keys, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowrunner.clock import Clock
    from flowrunner.stores.changes import Key
    from flowrunner.stores.dynamodb.session import Session
    from flowrunner.stores.dynamodb.sweep import Sweeper
    from flowrunner.stores.dynamodb.values import Plain

MOST_ROUNDS = 50  # of one write, or of reading what others replace all the time
LIVES = "(attribute_not_exists(expires_at) OR expires_at > :now)"


class DynamoDocuments(DocumentStore):
    """The documents of one table."""

    def __init__(self, session: Session, sweeper: Sweeper, clock: Clock) -> None:
        self._session = session
        self._sweeper = sweeper
        self._clock = clock

    async def get(self, account: str, kind: str, id: str) -> Document | None:  # noqa: A002
        """See the contract."""
        return await self._read((account, kind, id)) if is_name(id) else None

    async def find(self, alias: str) -> Document | None:
        """See the contract; two reads, and again if the alias has moved in between."""
        if not is_name(alias):
            return None
        seen = None
        for attempt in range(1, MOST_ROUNDS):
            there = await self._session.get(alias_key(alias))
            if there is None:
                return None
            document = await self._read((there["account"], there["kind"], there["id"]))
            if document is not None and alias in document.aliases:
                return document
            if there["stamp"] == seen:
                return None
            seen = there["stamp"]
            if attempt > 1:
                await self._session.pause(attempt)
        raise _busy(alias)

    async def page(self, account: str, kind: str, *, prefix: str = "", after: str | None = None, limit: int = 100, reverse: bool = False) -> Sequence[Document]:
        """See the contract."""
        ids = id_range(prefix, after, reverse=reverse)
        if ids is None:
            return []
        pk, low = document_key(account, kind, ids[0])
        _, end = document_key(account, kind, ids[1])
        request = {
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :low AND :end",
            "FilterExpression": f"#id <> :without AND {LIVES}",
            "ExpressionAttributeNames": {"#id": "id"},
            "ExpressionAttributeValues": {
                ":pk": attribute(pk),
                ":low": attribute(low),
                ":end": attribute(end),
                ":without": attribute(ids[1]),
                ":now": attribute(self._clock.now()),
            },
            "ConsistentRead": True,
            "ScanIndexForward": not reverse,
        }
        return await self._whole(await self._session.pages("Query", request, limit))

    async def write(self, changes: Sequence[Change]) -> None:
        """See the contract."""
        await self._write(changes)

    # --- the archive's

    async def put(self, document: Document) -> bool:
        """Store a document as it is; return whether its key and its aliases were free."""
        try:
            await self._write([Put(replace(document, version=0))], rise=document.version)
        except DocumentConflict:
            return False
        return True

    async def read_all(self, keys: Iterable[Key]) -> list[Document]:
        """These documents, those that live, in this order."""
        wanted = [document_key(*key) for key in keys]
        found = await self._session.get_all(wanted)
        now = self._clock.now()
        return await self._whole([found[key] for key in wanted if key in found and lives(found[key].get("expires_at"), now)])

    # --- reading

    async def _read(self, key: Key) -> Document | None:
        for attempt in range(1, MOST_ROUNDS):
            item = await self._session.get(document_key(*key))
            if item is None or not lives(item.get("expires_at"), self._clock.now()):
                return None
            wanted = part_keys(item, ("body",))
            parts = await self._session.get_all(wanted) if wanted else {}
            if len(parts) == len(wanted):
                return _document_of(item, parts)
            await self._session.pause(attempt)  # it has just been replaced, and its parts are gone
        raise _busy(key[2])

    async def _whole(self, items: Sequence[Plain]) -> list[Document]:
        """Items with their bodies; one that has just been replaced is read again."""
        parts = await self._session.get_all(key for item in items for key in part_keys(item, ("body",)))
        found = [
            _document_of(item, parts)
            if all(key in parts for key in part_keys(item, ("body",)))
            else await self._read((item["account"], item["kind"], item["id"]))
            for item in items
        ]
        return [document for document in found if document is not None]

    # --- writing

    async def _write(self, changes: Sequence[Change], *, rise: int = 1) -> None:
        check_changes(changes)
        first = changes[0]
        if len(changes) == 1 and isinstance(first, Put) and not first.document.aliases:
            await self._put_one(first.document, rise)
            return
        stamp = secrets.token_bytes(12)
        for attempt in range(1, MOST_ROUNDS):
            if await self._transact(changes, rise, stamp):
                return
            await self._session.pause(attempt)
        raise _busy(key_of(first)[2])

    async def _put_one(self, document: Document, rise: int) -> None:
        """One document without aliases: one request. Aliases that it had name what does not have them, and count no longer."""
        pk, _ = document_key(document.account, document.kind, document.id)
        parts, stamp = Parts(pk), secrets.token_bytes(12)
        item = item_of_document(replace(document, version=document.version + rise), stamp, parts, BODY_BYTES)
        values: dict[str, Any] = {":now": attribute(self._clock.now())}
        if document.version:
            condition = f"version = :version AND {LIVES}"
            values[":version"] = attribute(document.version)
        else:
            condition = "attribute_not_exists(pk) OR expires_at <= :now"
        doubts: list[bool] = []
        await self._send_ahead(parts)
        try:
            answer = await self._session.call(
                "PutItem",
                on_doubt=lambda: doubts.append(True),
                TableName=self._session.settings.table,
                Item=item,
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
                ReturnValues="ALL_OLD",
            )
        except StoreError as error:
            if not isinstance(error.__cause__, Exception) or code_of(error.__cause__) != "ConditionalCheckFailedException":
                raise
            there = await self._session.get(key_of_item(item))
            if there is not None and there["stamp"] == stamp:
                return  # it was done, and the answer lost
            self._sweeper.drop(map(key_of_item, parts.items))
            if doubts:  # it may have been done all the same, and replaced since
                raise StoreUnavailable(f"Whether {document.kind} {document.id} was stored is not known.", remedy="Read it, then try again.") from error
            raise DocumentConflict(0) from error
        if "Attributes" in answer:
            self._sweeper.drop(part_keys(plain(answer["Attributes"]), ("body",)))

    async def _transact(self, changes: Sequence[Change], rise: int, stamp: bytes) -> bool:
        """One try: look, decide, write what was decided if nothing has changed meanwhile; False if something has."""
        keys = {document_key(*key_of(change)): key_of(change) for change in changes}
        aliases = {alias_key(alias): alias for change in changes for alias in aliases_of(change)}
        found = await self._session.get_all([*keys, *aliases], NAMES)
        named = {alias: (there["account"], there["kind"], there["id"]) for key, alias in aliases.items() if (there := found.get(key)) is not None}
        others = {document_key(*key): key for key in named.values() if document_key(*key) not in keys}
        found |= await self._session.get_all(others, NAMES)
        stored: dict[Key, Kept] = {name: kept_of(found[key]) for key, name in (keys | others).items() if key in found}
        holders = {alias: key for alias, key in named.items() if key in stored and alias in stored[key].aliases}
        outcome = decide(changes, stored, holders, now=self._clock.now(), rise=rise)
        if not await self._drop_expired([document_key(*key) for key in outcome.removed if document_key(*key) in others], found):
            return False
        plan = Plan(changes, outcome, found, stamp)
        await self._send_ahead(plan.parts)
        try:
            await self._session.transact([action.wire for action in plan.actions])
        except Cancelled as cancelled:
            failed = [reason.item for reason in cancelled.reasons if reason.code == CONDITION_FAILED]
            if any(item is not None and plain(item).get("stamp") == stamp for item in failed):
                return True  # it was done, and the answer lost
            self._sweeper.drop(map(key_of_item, plan.parts.items))
            return False
        changed = (found[key] for key, change in zip(keys, changes, strict=True) if key in found and not isinstance(change, Unchanged))
        self._sweeper.drop(key for item in changed for key in part_keys(item, ("body",)))
        return True

    async def _drop_expired(self, keys: Sequence[tuple[str, str]], found: dict[tuple[str, str], Plain]) -> bool:
        """Remove documents that have expired, before their aliases are another's; False if one of them is stored anew."""
        for key in keys:
            try:
                await self._session.transact([Plan.removal(key, found[key]).wire])
            except Cancelled:
                return False
            self._sweeper.drop(part_keys(found[key], ("body",)))
        return True

    async def _send_ahead(self, parts: Parts) -> None:
        if parts.items:
            await self._session.write_all(parts.items)


def _document_of(item: Plain, parts: dict[tuple[str, str], Plain]) -> Document:
    return Document(
        account=item["account"],
        kind=item["kind"],
        id=item["id"],
        body=joined(item, "body", parts, text=False),
        version=item["version"],
        aliases=tuple(item.get("aliases", "").split()),
        expires_at=item.get("expires_at"),
    )


def _busy(name: str) -> StoreUnavailable:
    return StoreUnavailable(f"Others write to {name} all the time.", remedy="Try again.")
