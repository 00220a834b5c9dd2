"""Everything a table holds. DynamoDB has no order across partitions, so each first page looks through the table and keeps the keys."""

from __future__ import annotations

import asyncio
import secrets
from bisect import bisect_right
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from flowrunner.errors import Fenced, StoreUnavailable
from flowrunner.ports.archive import Archive, ArchivedExecution
from flowrunner.ports.executions import Chunk, Delivery, NameTaken
from flowrunner.stores.dynamodb.actions import Action, put
from flowrunner.stores.dynamodb.definitions import activity_item, activity_key, activity_of, machine_item, machine_key, revision_item, revision_key
from flowrunner.stores.dynamodb.faults import Cancelled
from flowrunner.stores.dynamodb.heads import OPEN, execution_of, head_of, missing_parts
from flowrunner.stores.dynamodb.hold import held
from flowrunner.stores.dynamodb.keys import HEAD, epoch_of, head_key, number_of, partition, snapshot_key
from flowrunner.stores.dynamodb.queues import task_of, task_parts
from flowrunner.stores.dynamodb.steps import ABSENT, plan_archived
from flowrunner.stores.dynamodb.values import Parts, joined, part_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowrunner.ports.definitions import Activity, Machine, Revision
    from flowrunner.ports.documents import Document
    from flowrunner.stores.dynamodb.commits import Commits
    from flowrunner.stores.dynamodb.definitions import DynamoDefinitions
    from flowrunner.stores.dynamodb.documents import DynamoDocuments
    from flowrunner.stores.dynamodb.keys import Shards
    from flowrunner.stores.dynamodb.order import Order
    from flowrunner.stores.dynamodb.redo import Redo
    from flowrunner.stores.dynamodb.session import Session
    from flowrunner.stores.dynamodb.values import Plain

MOST_LOOKS = 50  # at an execution that others write to meanwhile
FREE_LOOKS = 2  # before it is held still
AT_ONCE = 8  # executions that are read at the same time
DOCUMENTS_AT_ONCE = 20  # of at most 1 MiB each

# Kind -> what its items' keys begin with.
KINDS = {"executions": ("x#", HEAD), "revisions": ("v#", "v"), "machines": ("m#", "n#"), "activities": ("a#", "n#"), "documents": ("d#", "d#")}


class DynamoArchive(Archive):
    """The whole of one table."""

    def __init__(
        self, session: Session, shards: Shards, order: Order, *, redo: Redo, commits: Commits, definitions: DynamoDefinitions, documents: DynamoDocuments
    ) -> None:
        self._session = session
        self._shards = shards
        self._order = order
        self._redo = redo
        self._commits = commits
        self._definitions = definitions
        self._documents = documents
        self._keys: dict[str, list[Any]] = {}

    async def _page(self, kind: str, after: object | None, limit: int) -> list[Any]:
        """The next keys of a kind; the first page looks for all of them."""
        if after is None or kind not in self._keys:
            self._keys[kind] = sorted(_name(kind, item) for item in await self._scan(kind))
        keys = self._keys[kind]
        start = 0 if after is None else bisect_right(keys, after)
        return keys[start : start + limit]

    async def _scan(self, kind: str) -> list[Plain]:
        pk, sk = KINDS[kind]
        request = {
            "FilterExpression": "begins_with(pk, :pk) AND begins_with(sk, :sk)",
            "ExpressionAttributeValues": {":pk": {"S": pk}, ":sk": {"S": sk}},
            "ProjectionExpression": "pk, sk, gone",
            "ConsistentRead": True,
        }
        return [item for item in await self._session.pages("Scan", request) if "gone" not in item]

    async def executions(self, after: str | None, limit: int) -> Sequence[ArchivedExecution]:
        """See the contract."""
        while page := await self._page("executions", after, limit):
            found: list[ArchivedExecution] = []
            for start in range(0, len(page), AT_ONCE):
                whole = await asyncio.gather(*map(self._whole, page[start : start + AT_ONCE]))
                found += (one for one in whole if one is not None)
            if found:
                return found
            after = page[-1]  # all of them have been forgotten meanwhile
        return []

    async def _whole(self, execution: str) -> ArchivedExecution | None:
        """One execution; read again until no step has fallen in between, and held still if need be."""
        for attempt in range(1, MOST_LOOKS):
            async with nullcontext() if attempt <= FREE_LOOKS else held(self._session, execution):
                whole, known = await self._look(execution)
            if known:
                return whole
            await self._session.pause(attempt)
        raise StoreUnavailable(f"Execution {execution} cannot be read: others write to it all the time.")

    async def _look(self, execution: str) -> tuple[ArchivedExecution | None, bool]:
        """One execution, and whether it is one moment's."""
        before = await self._session.get(head_key(execution))
        if before is None or "gone" in before:
            return None, True
        items = await self._session.query(partition(execution))
        for item in items:
            if item["sk"].startswith("r#"):
                await self._redo.finish(execution, item["epoch"])
        whole = await self._put_together(items)
        after = await self._session.get(head_key(execution))
        return whole, whole is not None and after is not None and before["token"] == after["token"]

    async def _put_together(self, items: Sequence[Plain]) -> ArchivedExecution | None:
        found = {item["sk"]: item for item in items}
        parts = {(item["pk"], item["sk"]): item for item in items if item["sk"].startswith("b#")}
        head = found.get(HEAD)
        if head is None or any(key not in parts for item in items for key in part_keys(item, ("body", "fact"))) or not parts.keys() >= set(missing_parts(head)):
            return None
        chunks = tuple(Chunk(int(sk[2:]), item["count"], joined(item, "body", parts, text=False)) for sk, item in found.items() if sk.startswith("c#"))
        if head["status"] not in OPEN:
            return ArchivedExecution(head=head_of(head, parts), chunks=chunks, snapshot=None, facts=(), inbox=(), tasks=())
        base = head.get("base", 0)
        facts = [(number_of(sk), joined(item, "body", parts, text=False)) for sk, item in found.items() if sk.startswith("f#") and epoch_of(sk) > base]
        snapshot = found.get(snapshot_key("", head["snapshot"])[1]) if "snapshot" in head else None
        inbox = sorted((item for sk, item in found.items() if sk.startswith("i#")), key=lambda item: (item["arrived"], item["sk"]))
        queued = await self._session.get_all((item["queue"], item["place"]) for sk, item in found.items() if sk.startswith("k#"))
        waiting = sorted(queued.values(), key=lambda item: int(item["sk"].split("#")[1]))
        inputs = await self._session.get_all(key for item in waiting for key in task_parts(item))
        if len(facts) != head.get("facts", 0) or (snapshot is None and "snapshot" in head):
            return None
        return ArchivedExecution(
            head=head_of(head, parts),
            chunks=chunks,
            snapshot=joined(snapshot, "body", parts, text=False) if snapshot is not None else None,
            facts=tuple(sorted(facts)),
            inbox=tuple(Delivery(item["id"], execution_of(item), joined(item, "fact", parts, text=False)) for item in inbox),
            tasks=tuple(task_of(item, inputs) for item in waiting),
        )

    async def revisions(self, after: str | None, limit: int) -> Sequence[Revision]:
        """See the contract."""
        page = await self._page("revisions", after, limit)
        found = await self._definitions.revisions(page)
        return [found[revision] for revision in page]

    async def machines(self, after: tuple[str, str] | None, limit: int) -> Sequence[Machine]:
        """See the contract."""
        while page := await self._page("machines", after, limit):
            items = await self._definitions.read([machine_key(*names) for names in page], ("tags",))
            if items:
                return await self._definitions.machines_of(items)
            after = page[-1]
        return []

    async def activities(self, after: tuple[str, str] | None, limit: int) -> Sequence[Activity]:
        """See the contract."""
        while page := await self._page("activities", after, limit):
            items = await self._definitions.read([activity_key(*names) for names in page], ("tags", "settings"))
            if items:
                return [activity_of(item) for item in items]
            after = page[-1]
        return []

    async def documents(self, after: tuple[str, str, str] | None, limit: int) -> Sequence[Document]:
        """See the contract."""
        while page := await self._page("documents", after, min(limit, DOCUMENTS_AT_ONCE)):
            found = await self._documents.read_all(page)
            if found:
                return found
            after = page[-1]
        return []

    async def put_execution(self, execution: ArchivedExecution) -> bool:
        """See the contract. What one transaction cannot hold is sent ahead, if there is no such execution."""
        head = execution.head
        plan = plan_archived(execution, shards=self._shards, token=secrets.token_bytes(12), order=self._order.next)
        if await self._session.get(head_key(head.id)) is not None:
            return False
        try:
            return not isinstance(await self._commits.store(plan, sweep=False), NameTaken)
        except Fenced:
            return False

    async def put_revision(self, revision: Revision) -> bool:
        """See the contract."""
        parts = Parts(revision_key(revision.id)[0])
        return await self._put(put(revision_item(revision, parts), condition=ABSENT), parts)

    async def put_machine(self, machine: Machine) -> bool:
        """See the contract."""
        parts = Parts(machine_key(machine.account, "")[0])
        return await self._put(put(machine_item(machine, parts), condition=ABSENT), parts)

    async def put_activity(self, activity: Activity) -> bool:
        """See the contract."""
        parts = Parts(activity_key(activity.account, "")[0])
        return await self._put(put(activity_item(activity, parts), condition=ABSENT), parts)

    async def put_document(self, document: Document) -> bool:
        """See the contract."""
        return await self._documents.put(document)

    async def expired(self, before: int, after: tuple[str, str, str] | None, limit: int) -> Sequence[tuple[str, str, str]]:
        """See the contract. DynamoDB removes them by itself too, in its own time."""
        if after is None or "expired" not in self._keys:
            request = {
                "FilterExpression": "begins_with(pk, :pk) AND expires_at <= :before",
                "ExpressionAttributeValues": {":pk": {"S": "d#"}, ":before": {"N": str(before)}},
                "ProjectionExpression": "pk, sk",
                "ConsistentRead": True,
            }
            self._keys["expired"] = sorted(_name("documents", item) for item in await self._session.pages("Scan", request))
        keys = self._keys["expired"]
        start = 0 if after is None else bisect_right(keys, after)
        return keys[start : start + limit]

    async def _put(self, action: Action, parts: Parts) -> bool:
        """Put a definition; False if it is there."""
        await self._session.write_all(parts.items)
        try:
            await self._session.transact([action.wire])
        except Cancelled:
            await self._session.write_all(deletes=[(item["pk"]["S"], item["sk"]["S"]) for item in parts.items])
            return False
        return True

    async def ended(self, before: int, after: str | None, limit: int) -> Sequence[str]:
        """See the contract. The ids come from an index, which is small; each is looked up as it is now.

        One whose forgetting was cut short is named again.
        """
        if after is None or "ended" not in self._keys:
            entries = await self._session.pages("Scan", {"IndexName": "by_account", "ProjectionExpression": "pk"})
            self._keys["ended"] = sorted(execution_of(item) for item in entries)
        found: list[str] = []
        while len(found) < limit and (page := await self._page("ended", after or "", limit)):
            items = await self._session.get_all(map(head_key, page), ("status", "stopped_at", "gone"))
            heads = {execution_of(item): item for item in items.values()}
            found += (execution for execution in page if execution in heads and _is_over(heads[execution], before))
            after = page[-1]
        return found[:limit]

    async def size(self) -> Mapping[str, int]:
        """See the contract; looks through the whole table. ``bytes`` is what DynamoDB counted last, up to six hours ago."""
        counts = await asyncio.gather(*map(self._scan, KINDS))
        table = await self._session.call("DescribeTable", TableName=self._session.settings.table)
        return {kind: len(items) for kind, items in zip(KINDS, counts, strict=True)} | {"bytes": table["Table"].get("TableSizeBytes", 0)}


def _is_over(head: Plain, before: int) -> bool:
    return "gone" in head or (head["status"] not in OPEN and head.get("stopped_at") is not None and head["stopped_at"] < before)


def _name(kind: str, item: Plain) -> Any:
    """The key of an item as the contract has it."""
    owner: str = item["pk"].partition("#")[2]
    name: str = item["sk"].partition("#")[2]
    if kind == "documents":
        return (*owner.split("#"), name)
    return owner if kind in ("executions", "revisions") else (owner, name)
