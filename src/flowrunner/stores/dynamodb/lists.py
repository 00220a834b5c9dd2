"""Lists of executions: the order from an index, which may be behind, and what is shown from the heads as they are now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from flowrunner.stores.dynamodb.heads import CHANGING, FIXED, execution_of, head_of, missing_parts
from flowrunner.stores.dynamodb.keys import AFTER, INDEXES, digest, head_key, number
from flowrunner.stores.dynamodb.values import is_whole

if TYPE_CHECKING:
    from flowrunner.ports.executions import ExecutionQuery, Head
    from flowrunner.stores.dynamodb.keys import Shards
    from flowrunner.stores.dynamodb.session import Session
    from flowrunner.stores.dynamodb.values import Plain

LONG = ("error", "cause", "extra")  # texts
SHOWN = (*FIXED, *CHANGING, "gone", *(name for text in LONG for name in (text, f"{text}@")))


async def read_list(session: Session, shards: Shards, query: ExecutionQuery) -> list[Head]:
    """See ExecutionStore.list."""
    index, value = _index(query)
    below = f"{number(query.after[0])}#{query.after[1]}" if query.after is not None else AFTER
    found: list[Head] = []
    while len(found) < query.limit:
        wanted = query.limit - len(found)
        parts = await asyncio.gather(
            *(_entries(session, index, f"{value}#{shard}", below=below, limit=wanted, machine=query.machine) for shard in range(shards.count))
        )
        entries = sorted((entry for part in parts for entry in part), key=lambda entry: str(entry["gs"]), reverse=True)
        found += await _heads(session, entries[:wanted], query)
        if len(entries) < wanted:
            break
        below = entries[wanted - 1]["gs"]
    return found


def _index(query: ExecutionQuery) -> tuple[str, str]:
    """The index that answers a query, and the value to look for. Most executions succeed, so those have no index of their own."""
    if query.status is not None and query.status != "SUCCEEDED":
        return "by_status", digest(query.account, query.status)
    if query.machine is not None:
        return "by_machine", digest(query.account, query.machine)
    return "by_account", digest(query.account)


async def _entries(session: Session, index: str, value: str, *, below: str, limit: int, machine: str | None) -> list[Plain]:
    request: dict[str, Any] = {
        "IndexName": index,
        "KeyConditionExpression": "#partition = :partition AND gs < :below",
        "ExpressionAttributeNames": {"#partition": INDEXES[index]},
        "ExpressionAttributeValues": {":partition": {"S": value}, ":below": {"S": below}},
        "ScanIndexForward": False,
    }
    if index == "by_status" and machine is not None:
        request["FilterExpression"] = "machine = :machine"
        request["ExpressionAttributeValues"][":machine"] = {"S": machine}
    return await session.pages("Query", request, limit)


async def _heads(session: Session, entries: list[Plain], query: ExecutionQuery) -> list[Head]:
    """The heads of these entries that are what was asked for, without input and output."""
    items = await session.get_all((head_key(execution_of(entry)) for entry in entries), SHOWN)
    right = [item for item in (items.get((entry["pk"], entry["sk"])) for entry in entries) if item is not None and _fits(item, query)]
    parts = await session.get_all(key for item in right for key in missing_parts(item, with_input=False))
    return [head_of(item, parts, with_input=False) for item in right if is_whole(item, LONG, parts)]


def _fits(item: Plain, query: ExecutionQuery) -> bool:
    return "gone" not in item and query.status in (None, item["status"]) and query.machine in (None, item["machine"]) and query.account == item["account"]
