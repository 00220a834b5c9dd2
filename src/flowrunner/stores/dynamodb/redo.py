"""What is left to do of a step that one transaction could not hold: its deliveries and tasks, noted in that transaction.

Whoever committed the step does it at once, or if that fails before its next step; if that process dies, whoever loads the execution
does, or any node with its next beat. Each part is a transaction that also counts it as done, so two nodes at it do nothing twice.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from flowrunner.stores.dynamodb.actions import MOST_ACTIONS, MOST_BYTES, Action, Group, put, update
from flowrunner.stores.dynamodb.faults import CONDITION_FAILED, Cancelled
from flowrunner.stores.dynamodb.keys import LEFT, REDO, partition, redo_key
from flowrunner.stores.dynamodb.values import BODY_BYTES, Parts, item_of, joined, part_keys

if TYPE_CHECKING:
    from flowrunner.ports.executions import Head
    from flowrunner.stores.dynamodb.keys import Key
    from flowrunner.stores.dynamodb.session import Session

Encoded = list[list[tuple[str, dict[str, Any], int]]]


class Redo:
    """Notes and does what follows large steps."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.failure: Exception | None = None  # why the last look left something
        self._looking: asyncio.Task[None] | None = None
        self._open: set[str] = set()  # executions of whose large steps, noted here, not all may be done

    async def note(self, head: Head, groups: list[Group]) -> list[Action]:
        """The actions that note these groups; what is too long for an item is stored ahead."""
        self._open.add(head.id)
        pages = [[[(action.kind, dict(action.request), action.size) for action in group.actions] for group in page] for page in _pages(groups)]
        pk, sk = redo_key(head.id, head.epoch)
        parts = Parts(pk)
        body = parts.put("body", msgspec.msgpack.encode(pages), BODY_BYTES)
        await self._session.write_all(parts.items)
        listed = {"pk": REDO, "sk": f"{head.id}#{head.epoch}", "execution": head.id, "epoch": head.epoch}
        return [put(item_of({"pk": pk, "sk": sk, "done": 0, "epoch": head.epoch, **body})), put(item_of(listed))]

    def settled(self, execution: str) -> None:
        """What was noted is done."""
        self._open.discard(execution)

    async def catch_up(self, execution: str) -> None:
        """Before a step: do what an earlier one of this node has left. Later it would open a task that this one closes."""
        if execution in self._open:
            for item in await self._session.query(partition(execution), "begins_with(sk, :left)", {"left": LEFT}, names=("epoch",)):
                await self.finish(execution, item["epoch"])
            self.settled(execution)

    def look(self) -> None:
        """Begin to do what processes that died have left, unless that is under way: who beats does not wait for it, however much it is."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        try:
            await self.finish_all()
        except Exception as error:  # noqa: BLE001 - it lies until the next look
            self.failure = error

    async def stop(self) -> None:
        """Look no more; what is left others do."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def finish_all(self) -> None:
        """Do what processes that died have left."""
        left = await self._session.query(REDO)
        await asyncio.gather(*(self.finish(item["execution"], item["epoch"]) for item in left))
        await self._session.write_all(deletes=[(item["pk"], item["sk"]) for item in left])

    async def finish(self, execution: str, epoch: int) -> None:
        """Do what the step to this epoch has left; nothing if it is done."""
        key = redo_key(execution, epoch)
        while (found := await self._session.get(key)) is not None:
            parts = part_keys(found, ["body"])
            there = await self._session.get_all(parts) if parts else {}
            if len(there) < len(parts):
                continue  # another node has just done the last of it
            pages: list[Encoded] = msgspec.msgpack.decode(joined(found, "body", there, text=False), type=list[Encoded])
            if found["done"] < len(pages):
                await self._do(key, found["done"], [Group(tuple(Action(*action) for action in group)) for group in pages[found["done"]]])  # type: ignore[arg-type]  # the kinds are ours
                continue
            await self._session.write_all(deletes=[key])  # before its parts, without which it could not be read
            await self._session.write_all(deletes=[(REDO, f"{execution}#{epoch}"), *parts])

    async def _do(self, key: Key, done: int, groups: list[Group]) -> None:
        """Do one page, without the groups whose conditions do not hold; stop if somebody else has done it."""
        counted = update(
            key,
            {
                "UpdateExpression": "SET done = :next",
                "ConditionExpression": "done = :done",
                "ExpressionAttributeValues": {":done": {"N": str(done)}, ":next": {"N": str(done + 1)}},
            },
        )
        while True:
            actions = [counted, *(action for group in groups for action in group.actions)]
            try:
                await self._session.transact([action.wire for action in actions])
            except Cancelled as cancelled:
                failed = [reason.code == CONDITION_FAILED for reason in cancelled.reasons]
                if failed[0]:
                    return
                kept = []
                place = 1
                for group in groups:
                    if not any(failed[place : place + len(group.actions)]):
                        kept.append(group)
                    place += len(group.actions)
                groups = kept
            else:
                return


def _pages(groups: list[Group]) -> list[list[Group]]:
    """Groups by transaction."""
    pages: list[list[Group]] = []
    actions = size = 0
    for group in groups:
        more = sum(action.size for action in group.actions)
        if not pages or actions + len(group.actions) >= MOST_ACTIONS or size + more > MOST_BYTES:
            pages.append([])
            actions = size = 0
        pages[-1].append(group)
        actions += len(group.actions)
        size += more
    return pages
