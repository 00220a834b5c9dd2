"""State machines, revisions and activities in DynamoDB."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import orjson

from flowrunner.errors import NotFound, StoreUnavailable
from flowrunner.jsonvalue import dumps
from flowrunner.ports.definitions import Activity, DefinitionStore, Machine, Revision
from flowrunner.stores.dynamodb.actions import Action, fits, put, update
from flowrunner.stores.dynamodb.faults import CONDITION_FAILED, Cancelled
from flowrunner.stores.dynamodb.heads import update as expression
from flowrunner.stores.dynamodb.values import TEXT_BYTES, Parts, item_of, joined, part_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flowrunner.stores.dynamodb.keys import Key
    from flowrunner.stores.dynamodb.session import Session
    from flowrunner.stores.dynamodb.values import Item, Plain

ABSENT = "attribute_not_exists(pk)"
THERE = "attribute_exists(pk)"
KEPT_BYTES = 16 * 1024 * 1024  # of revisions in memory; they never change
MOST_ROUNDS = 50


def machine_key(account: str, name: str) -> Key:
    """A state machine."""
    return f"m#{account}", f"n#{name}"


def activity_key(account: str, name: str) -> Key:
    """An activity."""
    return f"a#{account}", f"n#{name}"


def revision_key(revision: str) -> Key:
    """A revision."""
    return f"v#{revision}", "v"


class DynamoDefinitions(DefinitionStore):
    """The definitions of one table."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._kept: OrderedDict[str, Revision] = OrderedDict()
        self._kept_bytes = 0

    async def create_machine(self, machine: Machine) -> Machine:
        """See the contract."""
        parts = Parts(machine_key(machine.account, machine.name)[0])
        item = machine_item(machine, parts)
        for attempt in range(1, MOST_ROUNDS):
            await self._put(put(item, condition=ABSENT), parts, machine.revision)
            stored = await self.machine(machine.account, machine.name)
            if stored is not None:  # else it was deleted in between
                return stored
            await self._session.pause(attempt)
        raise StoreUnavailable(f"State machine {machine.name} is created and deleted all the time.")

    async def update_machine(self, account: str, name: str, revision: Revision) -> Machine:
        """See the contract."""
        changed = {"revision": revision.id, "updated_at": revision.created_at}
        action = update(machine_key(account, name), expression(changed, {}, THERE, {}))
        if not await self._put(action, Parts(""), revision):
            raise NotFound("state machine", name)
        machine = await self.machine(account, name)
        if machine is None:
            raise NotFound("state machine", name)
        return machine

    async def _put(self, first: Action, parts: Parts, revision: Revision) -> bool:
        """Do `first` and store the revision unless its id is there; False if the condition of `first` does not hold."""
        own = Parts(revision_key(revision.id)[0])
        kept = put(revision_item(revision, own), condition=ABSENT)
        items = [*parts.items, *own.items]
        actions = [first, kept, *map(put, items)]
        if not fits(actions):
            await self._session.write_all(items)
            actions = [first, kept]
        while True:
            try:
                await self._session.transact([action.wire for action in actions])
            except Cancelled as cancelled:
                if cancelled.reasons[0].code == CONDITION_FAILED:
                    return False
                actions = [first, *map(put, parts.items)]  # revisions never change: the first one stored under an id stays
            else:
                return True

    async def tag_machine(self, account: str, name: str, tags: Mapping[str, str]) -> None:
        """See the contract."""
        await self._tag("state machine", machine_key(account, name), name, tags)

    async def machine(self, account: str, name: str) -> Machine | None:
        """See the contract."""
        found = await self.read([machine_key(account, name)], ("tags",))
        return (await self.machines_of(found))[0] if found else None

    async def machines(self, account: str, *, limit: int = 100, after: str | None = None) -> Sequence[Machine]:
        """See the contract."""
        return await self.machines_of(await self._page(machine_key(account, "")[0], limit, after, ("tags",)))

    async def delete_machine(self, account: str, name: str) -> None:
        """See the contract."""
        await self._session.write_all(deletes=[machine_key(account, name)])

    async def revision(self, revision: str) -> Revision | None:
        """See the contract."""
        return (await self.revisions([revision])).get(revision)

    async def create_activity(self, activity: Activity) -> Activity:
        """See the contract."""
        parts = Parts(activity_key(activity.account, activity.name)[0])
        action = put(activity_item(activity, parts), condition=ABSENT)
        for attempt in range(1, MOST_ROUNDS):
            try:
                await self._session.write_all(parts.items)
                await self._session.transact([action.wire])
            except Cancelled:  # it exists
                pass
            stored = await self.activity(activity.account, activity.name)
            if stored is not None:  # else it was deleted in between
                return stored
            await self._session.pause(attempt)
        raise StoreUnavailable(f"Activity {activity.name} is created and deleted all the time.")

    async def tag_activity(self, account: str, name: str, tags: Mapping[str, str]) -> None:
        """See the contract."""
        await self._tag("activity", activity_key(account, name), name, tags)

    async def activity(self, account: str, name: str) -> Activity | None:
        """See the contract."""
        found = await self.read([activity_key(account, name)], ("tags", "settings"))
        return activity_of(found[0]) if found else None

    async def activities(self, account: str, *, limit: int = 100, after: str | None = None) -> Sequence[Activity]:
        """See the contract."""
        return [activity_of(item) for item in await self._page(activity_key(account, "")[0], limit, after, ("tags", "settings"))]

    async def delete_activity(self, account: str, name: str) -> None:
        """See the contract."""
        await self._session.write_all(deletes=[activity_key(account, name)])

    async def _tag(self, kind: str, key: Key, name: str, tags: Mapping[str, str]) -> None:
        parts = Parts(key[0])
        changed = {"tags": None, "tags@": None} | parts.put("tags", dumped(tags), TEXT_BYTES)
        await self._session.write_all(parts.items)
        try:
            await self._session.transact([update(key, expression(changed, {}, THERE, {})).wire])
        except Cancelled:
            await self._session.write_all(deletes=[(part["pk"]["S"], part["sk"]["S"]) for part in parts.items])
            raise NotFound(kind, name) from None

    # --- reading

    async def _page(self, pk: str, limit: int, after: str | None, texts: Sequence[str]) -> list[Plain]:
        bounds = {"after": f"n#{after or ''}", "end": "n$"}
        found = await self._session.query(pk, "sk BETWEEN :after AND :end", bounds, limit=limit + 1)
        return await self.completed([item for item in found if after is None or item["name"] > after][:limit], texts)

    async def read(self, keys: Sequence[Key], texts: Sequence[str]) -> list[Plain]:
        """These definitions, those that are there, in this order."""
        found = await self._session.get_all(keys) if len(keys) > 1 else {keys[0]: await self._session.get(keys[0])}
        return await self.completed([item for item in (found.get(key) for key in keys) if item is not None], texts)

    async def completed(self, items: Sequence[Plain], texts: Sequence[str]) -> list[Plain]:
        """These items with their long texts in place; one whose texts are being replaced is read again."""
        parts = await self._session.get_all(key for item in items for key in part_keys(item, texts))
        return [{**item, **{text: joined(item, text, parts, text=True) for text in texts}} for item in items]

    async def machines_of(self, items: Sequence[Plain]) -> list[Machine]:
        """Machines with their current revisions."""
        revisions = await self.revisions([item["revision"] for item in items])
        return [machine_of(item, revisions[item["revision"]]) for item in items]

    async def revisions(self, wanted: Iterable[str]) -> dict[str, Revision]:
        """Revisions by id, from memory where they are."""
        found = {revision: self._kept[revision] for revision in wanted if revision in self._kept}
        missing = [revision for revision in dict.fromkeys(wanted) if revision not in found]
        if missing:
            for item in await self.read([revision_key(revision) for revision in missing], ("definition", "settings")):
                revision = revision_of(item)
                found[revision.id] = revision
                self._keep(revision)
        return found

    def _keep(self, revision: Revision) -> None:
        if revision.id not in self._kept:
            self._kept[revision.id] = revision
            self._kept_bytes += len(revision.definition)
            while self._kept_bytes > KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1].definition)


def machine_item(machine: Machine, parts: Parts) -> Item:
    """A machine as an item."""
    pk, sk = machine_key(machine.account, machine.name)
    values: dict[str, object] = {name: getattr(machine, name) for name in ("account", "name", "type", "created_at", "updated_at")}
    return item_of({"pk": pk, "sk": sk, **values, "revision": machine.revision.id, **parts.put("tags", dumped(machine.tags), TEXT_BYTES)})


def revision_item(revision: Revision, parts: Parts) -> Item:
    """A revision as an item."""
    pk, sk = revision_key(revision.id)
    values: dict[str, object] = {name: getattr(revision, name) for name in ("id", "account", "machine", "role_arn", "created_at")}
    texts = parts.put("definition", revision.definition, TEXT_BYTES) | parts.put("settings", dumped(revision.settings), TEXT_BYTES)
    return item_of({"pk": pk, "sk": sk, **values, **texts})


def activity_item(activity: Activity, parts: Parts) -> Item:
    """An activity as an item."""
    pk, sk = activity_key(activity.account, activity.name)
    texts = parts.put("tags", dumped(activity.tags), TEXT_BYTES) | parts.put("settings", dumped(activity.settings), TEXT_BYTES)
    return item_of({"pk": pk, "sk": sk, "account": activity.account, "name": activity.name, "created_at": activity.created_at, **texts})


def dumped(value: Mapping[str, object]) -> str:
    """JSON text."""
    return dumps(dict(value))


def machine_of(item: Plain, revision: Revision) -> Machine:
    """The machine that an item is."""
    values: dict[str, Any] = {name: item.get(name) for name in ("account", "name", "type", "created_at", "updated_at")}
    return Machine(**values, tags=orjson.loads(item["tags"]), revision=revision)


def revision_of(item: Plain) -> Revision:
    """The revision that an item is."""
    values: dict[str, Any] = {name: item[name] for name in ("id", "account", "machine", "role_arn", "created_at", "definition")}
    return Revision(**values, settings=orjson.loads(item["settings"]))


def activity_of(item: Plain) -> Activity:
    """The activity that an item is."""
    values: dict[str, Any] = {name: item[name] for name in ("account", "name", "created_at")}
    return Activity(**values, tags=orjson.loads(item["tags"]), settings=orjson.loads(item["settings"]))
