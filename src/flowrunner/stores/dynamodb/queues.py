"""Who must be looked at: wake-ups, owners, deliveries, open tasks, nodes. All read as they are now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flowrunner.ports.executions import ActivityTask, Delivery
from flowrunner.stores.dynamodb.heads import OPEN, statuses
from flowrunner.stores.dynamodb.keys import AFTER, NODES, inbox_key, node_key, node_prefix, number, partition, wire
from flowrunner.stores.dynamodb.values import is_whole, joined, part_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowrunner.stores.dynamodb.keys import Key, Shards
    from flowrunner.stores.dynamodb.order import Order
    from flowrunner.stores.dynamodb.session import Session
    from flowrunner.stores.dynamodb.sweep import Sweeper
    from flowrunner.stores.dynamodb.values import Plain

PAGE = 100  # deliveries or tasks that are looked up at a time


class Queues:
    """The lists that all executions of a table share."""

    def __init__(self, session: Session, shards: Shards, order: Order, sweeper: Sweeper) -> None:
        self._session = session
        self._shards = shards
        self._order = order
        self._sweeper = sweeper

    async def _all(self, kind: str, condition: str = "", values: Mapping[str, str] | None = None, *, limit: int | None = None) -> list[Plain]:
        """What all partitions of a kind have, up to `limit` of each."""
        found = await asyncio.gather(*(self._session.query(pk, condition, values, limit=limit) for pk in self._shards.all(kind)))
        return [item for part in found for item in part]

    async def due(self, now: int, limit: int) -> list[str]:
        """See ExecutionStore.due."""
        found = await self._all("due", "sk <= :now", {"now": f"{number(now)}#{AFTER}"}, limit=limit)
        return [item["execution"] for item in sorted(found, key=_place)[:limit]]

    async def next_wake(self) -> int | None:
        """See ExecutionStore.next_wake."""
        return min((item["wake_at"] for item in await self._all("due", limit=1)), default=None)

    async def owners(self) -> list[str]:
        """See ExecutionStore.owners: hops from node to node, so a node costs one small query, however much it owns."""
        found = await asyncio.gather(*map(self._owners, self._shards.all("own")))
        return sorted(set().union(*found))

    async def _owners(self, pk: str) -> set[str]:
        nodes: set[str] = set()
        after = "\0"
        while page := await self._session.query(pk, "sk > :after", {"after": after}, limit=1):
            node = page[0]["node"]
            nodes.add(node)
            after = node_prefix(node) + AFTER
        return nodes

    async def owned(self, node: str, limit: int) -> list[str]:
        """See ExecutionStore.owned."""
        found = await self._all("own", "begins_with(sk, :node)", {"node": node_prefix(node)}, limit=limit)
        return sorted(item["execution"] for item in found)[:limit]

    async def undelivered(self, limit: int) -> list[Delivery]:
        """See ExecutionStore.undelivered; what came for an execution that was over is swept."""
        marks = sorted(await self._all("dlv"), key=lambda item: (item["arrived"], item["sk"]))
        self._order.seen(max((mark["arrived"] for mark in marks), default=0))
        deliveries: list[Delivery] = []
        for start in range(0, len(marks), PAGE):
            page = marks[start : start + PAGE]
            facts, status = await asyncio.gather(
                self._session.get_all(inbox_key(mark["execution"], mark["id"]) for mark in page),
                statuses(self._session, {mark["execution"] for mark in page}),
            )
            parts = await self._session.get_all(key for item in facts.values() for key in part_keys(item, ("fact",)))
            for mark in page:
                key = inbox_key(mark["execution"], mark["id"])
                if not self._is_open(mark["execution"], status) or key not in facts or not is_whole(facts[key], ("fact",), parts):
                    continue
                deliveries.append(Delivery(mark["id"], mark["execution"], joined(facts[key], "fact", parts, text=False)))
            if len(deliveries) >= limit:
                break
        return deliveries[:limit]

    async def activity_tasks(self, activity: str, limit: int) -> list[ActivityTask]:
        """See ExecutionStore.activity_tasks; tasks of executions that are over are swept."""
        tasks: list[ActivityTask] = []
        after = " "
        while len(tasks) < limit:
            page = await self._session.query(f"act#{activity}", "sk > :after", {"after": after}, limit=min(PAGE, limit - len(tasks)))
            if not page:
                break
            after = page[-1]["sk"]
            status, parts = await asyncio.gather(
                statuses(self._session, {item["execution"] for item in page}),
                self._session.get_all(key for item in page for key in task_parts(item)),
            )
            tasks += (task_of(item, parts) for item in page if self._is_open(item["execution"], status) and is_whole(_by_execution(item), ("input",), parts))
        return tasks

    def _is_open(self, execution: str, status: Mapping[str, str]) -> bool:
        """Whether an execution is not over; one that is has left something behind."""
        if status.get(execution, "RUNNING") in OPEN:  # one that is not there yet will be
            return True
        self._sweeper.later(execution)
        return False

    async def beat(self, node: str) -> dict[str, int]:
        """See ExecutionStore.beat. A resend may raise the counter twice; that it moves is what counts."""
        await self._session.call(
            "UpdateItem",
            TableName=self._session.settings.table,
            Key=wire(node_key(node)),
            UpdateExpression="SET beats = if_not_exists(beats, :none) + :one, node = :node",
            ExpressionAttributeValues={":none": {"N": "-1"}, ":one": {"N": "1"}, ":node": {"S": node}},
        )
        return {item["node"]: item["beats"] for item in await self._session.query(NODES)}

    async def leave(self, node: str) -> None:
        """See ExecutionStore.leave."""
        await self._session.call("DeleteItem", TableName=self._session.settings.table, Key=wire(node_key(node)))


def _place(item: Plain) -> tuple[int, str]:
    return item["wake_at"], item["execution"]


def _by_execution(item: Plain) -> Plain:
    """A waiting task whose parts are looked for where they are: in the execution's partition."""
    return {**item, "pk": partition(item["execution"])}


def task_parts(item: Plain) -> list[Key]:
    """The keys of the parts of a waiting task's input."""
    return part_keys(_by_execution(item), ("input",))


def task_of(item: Plain, parts: Mapping[tuple[str, str], Plain]) -> ActivityTask:
    """The open task that an item is."""
    return ActivityTask(
        activity=item["activity"],
        execution=item["execution"],
        attempt=item["attempt"],
        input=joined(_by_execution(item), "input", parts, text=True),
        scheduled_at=item["scheduled_at"],
    )
