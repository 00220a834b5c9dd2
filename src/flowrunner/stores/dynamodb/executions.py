"""Executions in DynamoDB. Decisions are conditions or consistent reads; only `list` reads an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowrunner.errors import StoreUnavailable
from flowrunner.ports.executions import ActivityTask, Chunk, Delivery, ExecutionQuery, ExecutionStore, Head, NameTaken, Position, StepWrite, Stored
from flowrunner.stores.dynamodb.commits import Commits
from flowrunner.stores.dynamodb.forget import forget
from flowrunner.stores.dynamodb.heads import OPEN, POSITION, complete, execution_of, head_of, missing_parts, position_of, read_head
from flowrunner.stores.dynamodb.keys import GOING_ON, HEAD, epoch_of, head_key, name_key, number_of, partition, snapshot_key
from flowrunner.stores.dynamodb.lists import read_list
from flowrunner.stores.dynamodb.logs import read_log
from flowrunner.stores.dynamodb.queues import Queues
from flowrunner.stores.dynamodb.values import joined, part_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowrunner.stores.dynamodb.keys import Shards
    from flowrunner.stores.dynamodb.order import Order
    from flowrunner.stores.dynamodb.redo import Redo
    from flowrunner.stores.dynamodb.session import Session
    from flowrunner.stores.dynamodb.sweep import Sweeper
    from flowrunner.stores.dynamodb.values import Plain

MOST_LOOKS = 50  # at an execution that others write to meanwhile


class DynamoExecutions(ExecutionStore):
    """The executions of one table."""

    def __init__(self, session: Session, shards: Shards, order: Order, sweeper: Sweeper, redo: Redo) -> None:
        self._session = session
        self._shards = shards
        self._order = order
        self._sweeper = sweeper
        self._redo = redo
        self.commits = Commits(session, shards, order, sweeper, redo)
        self._queues = Queues(session, shards, order, sweeper)

    async def commit(self, write: StepWrite) -> Head | NameTaken:
        """See the contract; not grouped with others: each step is its own transaction."""
        return await self.commits.commit(write)

    async def load(self, execution: str) -> Stored | None:
        """See the contract.

        A query is not one moment: other steps may fall between its items. The head says how many facts and which snapshot
        belong to it; if others are found it is asked again. Whatever is newer than the head is caught by the fence.
        """
        for attempt in range(1, MOST_LOOKS):
            found = {item["sk"]: item for item in await self._session.query(partition(execution), "sk >= :low", {"low": GOING_ON})}
            head = found.get(HEAD)
            if head is None or "gone" in head:
                return None
            noted = [item for sk, item in found.items() if sk.startswith("r#")]
            for item in noted:
                await self._redo.finish(execution, item["epoch"])
            stored = None if noted else await self._stored(head, found)
            if stored is not None:
                return stored
            await self._session.pause(attempt)
        raise StoreUnavailable(f"Execution {execution} cannot be read: others write to it all the time.")

    async def _stored(self, head: Plain, found: Mapping[str, Plain]) -> Stored | None:
        """What belongs to this head; None if something is missing."""
        if head["status"] not in OPEN:
            whole = await complete(self._session, head)
            return Stored(whole, None, (), ()) if whole is not None else None
        facts = [item for sk, item in found.items() if sk.startswith("f#") and epoch_of(sk) > head.get("base", 0)]
        snapshot = found.get(snapshot_key("", head["snapshot"])[1]) if "snapshot" in head else None
        if len(facts) != head.get("facts", 0) or (snapshot is None and "snapshot" in head):
            return None
        inbox = [item for sk, item in found.items() if sk.startswith("i#")]
        if inbox:  # read after the head, so that nothing is in it that the head has consumed
            inbox = sorted(await self._session.query(head["pk"], "begins_with(sk, :inbox)", {"inbox": "i#"}), key=lambda item: (item["arrived"], item["sk"]))
            self._order.seen(max((item["arrived"] for item in inbox), default=0))
        keys = [*missing_parts(head), *(key for item in (*facts, snapshot or {}, *inbox) for key in part_keys(item, ("body", "fact")))]
        parts = await self._session.get_all(keys) if keys else {}
        if len(parts) < len(keys):
            return None
        return Stored(
            head_of(head, parts),
            joined(snapshot, "body", parts, text=False) if snapshot is not None else None,
            tuple(joined(item, "body", parts, text=False) for item in sorted(facts, key=lambda item: number_of(item["sk"]))),
            tuple(Delivery(item["id"], execution_of(item), joined(item, "fact", parts, text=False)) for item in inbox),
        )

    async def head(self, execution: str) -> Head | None:
        """See the contract."""
        return await read_head(self._session, execution)

    async def positions(self, executions: Sequence[str]) -> Mapping[str, Position]:
        """See the contract."""
        found = await self._session.get_all(map(head_key, executions), POSITION)
        return {execution_of(item): position_of(item) for item in found.values() if "gone" not in item}

    async def find(self, account: str, machine: str, name: str) -> Head | None:
        """See the contract."""
        named = await self._session.get(name_key(account, machine, name))
        return await read_head(self._session, named["execution"]) if named is not None else None

    async def log(self, execution: str, *, after: int = 0, limit: int = 1000, reverse: bool = False) -> Sequence[Chunk]:
        """See the contract."""
        return await read_log(self._session, execution, after, limit, reverse=reverse)

    async def list(self, query: ExecutionQuery) -> Sequence[Head]:
        """See the contract; may be behind by the second or so that DynamoDB's indexes are."""
        return await read_list(self._session, self._shards, query)

    async def due(self, now: int, limit: int, *, hide_seconds: float = 0.0) -> Sequence[str]:
        """See the contract; nothing is hidden: a claim would cost a write, and the fence decides anyway."""
        del hide_seconds
        return await self._queues.due(now, limit)

    async def next_wake(self) -> int | None:
        """See the contract."""
        return await self._queues.next_wake()

    async def undelivered(self, limit: int) -> Sequence[Delivery]:
        """See the contract."""
        return await self._queues.undelivered(limit)

    async def activity_tasks(self, activity: str, *, limit: int = 100) -> Sequence[ActivityTask]:
        """See the contract."""
        return await self._queues.activity_tasks(activity, limit)

    async def forget(self, execution: str) -> None:
        """See the contract."""
        await forget(self._session, self._sweeper, execution)

    async def beat(self, node: str) -> Mapping[str, int]:
        """See the contract; also has done what nodes that died have left half done."""
        self._redo.look()
        return await self._queues.beat(node)

    async def leave(self, node: str) -> None:
        """See the contract."""
        await self._queues.leave(node)

    async def owners(self) -> Sequence[str]:
        """See the contract."""
        return await self._queues.owners()

    async def owned(self, node: str, limit: int) -> Sequence[str]:
        """See the contract."""
        return await self._queues.owned(node, limit)
