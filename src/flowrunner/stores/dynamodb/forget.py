"""Removing executions for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowrunner.stores.dynamodb.actions import delete, update
from flowrunner.stores.dynamodb.faults import Cancelled
from flowrunner.stores.dynamodb.heads import OPEN
from flowrunner.stores.dynamodb.keys import HEAD, head_key, name_key, partition

if TYPE_CHECKING:
    from flowrunner.stores.dynamodb.session import Session
    from flowrunner.stores.dynamodb.sweep import Sweeper


async def forget(session: Session, sweeper: Sweeper, execution: str) -> None:
    """See ExecutionStore.forget.

    First the head is marked and its name freed, in one transaction: from then on nobody sees the execution. Then all that
    belongs to it goes, the head last, so that a forgetting cut short is taken up by the next one.
    """
    while True:
        head = await session.get(head_key(execution))
        if head is None or head["status"] in OPEN:
            return
        if "gone" in head:
            break
        marked = update(
            head_key(execution),
            {
                "UpdateExpression": "SET gone = :yes",
                "ConditionExpression": "epoch = :epoch",
                "ExpressionAttributeValues": {":yes": {"BOOL": True}, ":epoch": {"N": str(head["epoch"])}},
            },
        )
        name = delete(name_key(head["account"], head["machine"], head["name"]), condition="execution = :mine", values={"mine": execution})
        try:
            await session.transact([marked.wire, name.wire])
        except Cancelled:  # somebody begins it anew, or forgets it too
            continue
        break
    await sweeper.sweep(execution)
    rest = await session.query(partition(execution), names=("pk", "sk"))
    await session.write_all(deletes=[(item["pk"], item["sk"]) for item in rest if item["sk"] != HEAD])
    await session.write_all(deletes=[head_key(execution)])
