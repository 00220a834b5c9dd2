"""The table: made if it is missing, refused if it is not ours."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from flowrunner.errors import StoreError, StoreRefused
from flowrunner.stores.dynamodb.faults import Cancelled, code_of, refusal
from flowrunner.stores.dynamodb.keys import INDEXES, SCHEMA, wire
from flowrunner.stores.dynamodb.values import item_of
from flowrunner.stores.revisions import ABSENT_REMEDY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowrunner.stores.dynamodb.session import Session
    from flowrunner.stores.dynamodb.values import Plain

VERSION = 1
MADE_BY = "flowrunner"
TTL = "expires"  # seconds since 1970; DynamoDB removes items some time after it, free of charge
LONGEST_MAKING_SECONDS = 300
ASK_SECONDS = 0.5
KEYS = {"pk": "HASH", "sk": "RANGE"}


async def open_table(session: Session) -> int:
    """Make the table or look whether it is ours; returns over how many shards. Raises StoreRefused, StoreUnavailable."""
    with _refusals():
        found = await _describe(session)
        if found is None:
            await _make(session)
        else:
            _check(session, found)
        await _active(session)
        shards: int = (await _schema(session))["shards"]
        return shards


async def find_table(session: Session) -> Plain:
    """The schema item of a table that is there and ours: `version`, `shards`. Nothing is made or changed. Raises as `open_table`."""
    with _refusals():
        found = await _describe(session)
        if found is None:
            raise _absent(session, "There is no table")
        _check(session, found)
        await _active(session)
        schema = await session.get(SCHEMA)
        if schema is None:
            if not await _anything(session):
                raise _absent(session, "Nothing is in the table")
            schema = await session.get(SCHEMA)  # another node may have written it in between
        return _ours(session, schema)


async def is_absent(session: Session) -> bool:
    """Whether there is no table, or nothing in it. Nothing is made or changed. Raises as `open_table`."""
    with _refusals():
        found = await _describe(session)
        if found is None:
            return True
        _check(session, found)
        await _active(session)
        return await session.get(SCHEMA) is None and not await _anything(session)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except StoreRefused:
        raise
    except StoreError as error:
        raise refusal(error) from error.__cause__


def _absent(session: Session, words: str) -> StoreRefused:
    settings = session.settings
    return StoreRefused(f"{words} {settings.table} in {settings.region}.", remedy=ABSENT_REMEDY)


async def _describe(session: Session) -> dict[str, Any] | None:
    try:
        answer = await session.call("DescribeTable", TableName=session.settings.table)
    except StoreError as error:
        if isinstance(error.__cause__, Exception) and code_of(error.__cause__) == "ResourceNotFoundException":
            return None
        raise
    table: dict[str, Any] = answer["Table"]
    return table


def _check(session: Session, table: dict[str, Any]) -> None:
    keys = {part["AttributeName"]: part["KeyType"] for part in table["KeySchema"]}
    indexes = {index["IndexName"] for index in table.get("GlobalSecondaryIndexes", [])}
    if keys != KEYS or not indexes >= INDEXES.keys():
        raise _foreign(session)


def _foreign(session: Session) -> StoreRefused:
    return StoreRefused(f"The table {session.settings.table} in {session.settings.region} is not FlowRunner's.", remedy="Choose another prefix.")


async def _make(session: Session) -> None:
    settings = session.settings
    units = {"ReadCapacityUnits": settings.read, "WriteCapacityUnits": settings.write}
    provisioned = settings.billing == "provisioned"
    billing: dict[str, Any] = {"BillingMode": "PROVISIONED", "ProvisionedThroughput": units} if provisioned else {"BillingMode": "PAY_PER_REQUEST"}
    indexes = [
        {
            "IndexName": index,
            "KeySchema": [{"AttributeName": attribute, "KeyType": "HASH"}, {"AttributeName": "gs", "KeyType": "RANGE"}],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["machine"]} if index == "by_status" else {"ProjectionType": "KEYS_ONLY"},
            **({"ProvisionedThroughput": units} if provisioned else {}),
        }
        for index, attribute in INDEXES.items()
    ]
    try:
        await session.call(
            "CreateTable",
            TableName=settings.table,
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in (*KEYS, *INDEXES.values(), "gs")],
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in KEYS.items()],
            GlobalSecondaryIndexes=indexes,
            Tags=[{"Key": "application", "Value": MADE_BY}],
            **billing,
        )
    except StoreError as error:
        if not isinstance(error.__cause__, Exception) or code_of(error.__cause__) != "ResourceInUseException":  # another node was faster
            raise


async def _active(session: Session) -> None:
    """Wait until the table and its indexes can be used."""
    for _ in range(int(LONGEST_MAKING_SECONDS / ASK_SECONDS)):
        table = await _describe(session)
        if table is not None:
            states = {table.get("TableStatus")} | {index.get("IndexStatus", "ACTIVE") for index in table.get("GlobalSecondaryIndexes", [])}
            if states <= {"ACTIVE", "UPDATING"} and "DELETING" not in states:
                return
            if "DELETING" in states:
                raise StoreRefused(f"The table {session.settings.table} is being deleted.", remedy="Wait until it is gone, or choose another prefix.")
        await asyncio.sleep(ASK_SECONDS)
    raise StoreRefused(f"The table {session.settings.table} is not ready after {LONGEST_MAKING_SECONDS} seconds.", remedy="Look at it in the AWS console.")


async def _anything(session: Session) -> bool:
    return bool(await session.pages("Scan", {"ConsistentRead": True}, 1))


async def _schema(session: Session) -> Plain:
    """Read the schema item; write it into an empty table."""
    settings = session.settings
    found = await session.get(SCHEMA)
    if found is None:
        if not await _anything(session):
            await _expire(session)
            mark = {"pk": SCHEMA[0], "sk": SCHEMA[1], "made_by": MADE_BY, "version": VERSION, "shards": settings.shards}
            with contextlib.suppress(Cancelled):  # another node was faster
                await session.transact([{"Put": {"Item": item_of(mark), "ConditionExpression": "attribute_not_exists(pk)"}}])
        found = await session.get(SCHEMA)  # what was found in the table may be the item that another node has just written
    return _ours(session, found)


def _ours(session: Session, found: Plain | None) -> Plain:
    """The schema item, if it is one of ours that this release knows; raises StoreRefused."""
    settings = session.settings
    if found is None or found.get("made_by") != MADE_BY:
        raise _foreign(session)
    if found["version"] > VERSION:
        raise StoreRefused(
            f"The table {settings.table} was made by a newer FlowRunner (schema {found['version']}; this one knows {VERSION}).",
            remedy="Install the newer FlowRunner, or choose another prefix.",
        )
    return found


async def _expire(session: Session) -> None:
    """Let DynamoDB remove items whose time is over."""
    table = session.settings.table
    answer = await session.call("DescribeTimeToLive", TableName=table)
    if answer["TimeToLiveDescription"].get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
        return
    await session.call("UpdateTimeToLive", TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": TTL})


async def write_check(session: Session, now: int) -> None:
    """A write that changes nothing but proves that writing works."""
    await session.call("PutItem", TableName=session.settings.table, Item={**wire((SCHEMA[0], "checked")), "at": {"N": str(now)}})
