"""A write of documents as the actions of one transaction. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowrunner.ports.documents import Change, Document, Put, Remove, Unchanged, key_of
from flowrunner.stores.changes import Kept, Outcome
from flowrunner.stores.changes import joined as one_text
from flowrunner.stores.dynamodb.actions import MOST_ACTIONS, MOST_BYTES, Action, check, delete, put
from flowrunner.stores.dynamodb.keys import alias_key, document_key
from flowrunner.stores.dynamodb.values import BODY_BYTES, TEXT_BYTES, Parts, item_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flowrunner.stores.dynamodb.keys import Key
    from flowrunner.stores.dynamodb.values import Item, Plain

ABSENT = "attribute_not_exists(pk)"
SEEN = "stamp = :stamp"
NAMES = ("account", "kind", "id", "version", "aliases", "expires_at", "expires", "stamp", "body@")
LATER_SECONDS = 3600  # between the moment from which an item is as good as absent and the one at which DynamoDB may remove it: clocks differ


class Plan:
    """What one write does: `actions` at once, after `parts`, the bodies that are too long for it, were sent ahead.

    `found` are the items as they were seen; the write holds only if they are still so. At most 100 actions: 20 documents with
    four aliases each. Aliases that nobody has afterwards are removed as far as there is room; the others count no longer.
    """

    def __init__(self, changes: Sequence[Change], outcome: Outcome, found: Mapping[Key, Plain], stamp: bytes) -> None:
        self._found = found
        self._stamp = stamp
        self.parts, self.actions = self._made(changes, outcome, BODY_BYTES)
        if sum(action.size for action in self.actions) > MOST_BYTES:
            self.parts, self.actions = self._made(changes, outcome, TEXT_BYTES)
        own = {document_key(*key_of(change)) for change in changes}
        had = [alias for key in own if key in found for alias in kept_of(found[key]).aliases]
        freed = [alias for alias in outcome.freed if alias in had]
        self.actions += [delete(alias_key(alias)) for alias in freed[: MOST_ACTIONS - len(self.actions)]]

    def _made(self, changes: Sequence[Change], outcome: Outcome, inline: int) -> tuple[Parts, list[Action]]:
        puts = iter(outcome.puts)
        all_parts, actions = Parts(""), []
        for change in changes:
            key = document_key(*key_of(change))
            there = self._found.get(key)
            match change:
                case Put():
                    parts, document = Parts(key[0]), next(puts)
                    actions.append(self._put(item_of_document(document, self._stamp, parts, inline), there))
                    actions += self._aliases(document, there)
                    all_parts.items += parts.items
                case Remove() if there is not None:
                    actions.append(self.removal(key, there))
                case Remove() | Unchanged():
                    actions.append(check(key, ABSENT, {}) if there is None else check(key, SEEN, {"stamp": there["stamp"]}))
        return all_parts, actions

    def _aliases(self, document: Document, there: Plain | None) -> Iterator[Action]:
        """Every alias that the document did not have, or not for as long."""
        had = kept_of(there).aliases if there is not None else ()
        for alias in document.aliases:
            named = self._found.get(alias_key(alias))
            item = _alias_item(alias, document, self._stamp)
            own = named is not None and (named["account"], named["kind"], named["id"]) == (document.account, document.kind, document.id)
            if not own or alias not in had or (named or {}).get("expires") != _removed_at(document):
                yield self._put(item, named)

    def _put(self, item: Item, there: Plain | None) -> Action:
        return put(item, condition=ABSENT) if there is None else put(item, condition=SEEN, values={"stamp": there["stamp"]})

    @staticmethod
    def removal(key: Key, there: Plain) -> Action:
        """Remove an item if it is still the one that was seen."""
        return delete(key, condition=SEEN, values={"stamp": there["stamp"]})


def item_of_document(document: Document, stamp: bytes, parts: Parts, inline: int) -> Item:
    """A document as an item; a body above `inline` bytes goes into `parts`."""
    pk, sk = document_key(document.account, document.kind, document.id)
    values: dict[str, object] = {name: getattr(document, name) for name in ("account", "kind", "id", "version", "expires_at")}
    removed_at = _removed_at(document)
    before = len(parts.items)
    body = parts.put("body", document.body, inline)
    if removed_at is not None:
        for part in parts.items[before:]:
            part["expires"] = {"N": str(removed_at)}
    return item_of({"pk": pk, "sk": sk, **values, "aliases": one_text(document.aliases) or None, "expires": removed_at, "stamp": stamp, **body})


def kept_of(item: Plain) -> Kept:
    """What a write must know of a document's item."""
    return Kept(item["version"], tuple(item.get("aliases", "").split()), item.get("expires_at"))


def _alias_item(alias: str, document: Document, stamp: bytes) -> Item:
    pk, sk = alias_key(alias)
    named = {"account": document.account, "kind": document.kind, "id": document.id}
    return item_of({"pk": pk, "sk": sk, **named, "expires": _removed_at(document), "stamp": stamp})


def _removed_at(document: Document) -> int | None:
    """When DynamoDB may remove the item, in seconds since 1970; None for never."""
    return None if document.expires_at is None else max(0, document.expires_at // 1000 + LATER_SECONDS)
