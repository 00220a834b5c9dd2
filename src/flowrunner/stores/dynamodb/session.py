"""Requests to one table: retries, paging, batches. Nothing above this module speaks to the network."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.loaders import create_loader

from flowrunner.errors import StoreError, StoreRefused, StoreUnavailable
from flowrunner.stores.dynamodb.faults import CONDITION_FAILED, CONFLICT, Cancelled, failure, in_doubt, is_transient, reasons_of
from flowrunner.stores.dynamodb.keys import Key, key_of, wire
from flowrunner.stores.dynamodb.values import Item, Plain, plain, size_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AsyncExitStack

    from flowrunner.stores.dynamodb.settings import DynamoSettings

CONNECTIONS = 64
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 10.0
TRIES = 9  # full jitter: 3 s on average and 6.4 s at most until a request is given up
LONGEST_CALL_SECONDS = 20.0  # after which nothing is tried again
FIRST_DELAY_SECONDS = 0.025
LONGEST_DELAY_SECONDS = 1.6
MOST_GETS = 100  # of one BatchGetItem
MOST_PUTS = 25  # of one BatchWriteItem
MOST_PUT_BYTES = 1_000_000  # of one BatchWriteItem's request; DynamoDB takes 16 MiB, but sending more than 1 MiB holds up the event loop

METHODS = {
    operation: "".join("_" + letter.lower() if letter.isupper() else letter for letter in operation).lstrip("_")
    for operation in (
        *("BatchGetItem", "BatchWriteItem", "CreateTable", "DeleteItem", "DeleteTable", "DescribeTable", "DescribeTimeToLive", "GetItem"),
        *("PutItem", "Query", "Scan", "TransactWriteItems", "UpdateItem", "UpdateTimeToLive"),
    )
}


@lru_cache(maxsize=1)
def _models() -> Any:
    """The SDK's descriptions of services: read once for all clients of the process."""
    return create_loader()


class Session:
    """What the DynamoDB stores share. `requests` counts what was sent, by operation."""

    def __init__(self, settings: DynamoSettings, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, tries: int = TRIES) -> None:
        self.settings = settings
        self.requests: Counter[str] = Counter()
        self._sleep = sleep
        self._tries = tries
        self._client: Any = None

    async def start(self, stack: AsyncExitStack) -> None:
        """Make the client, push its closing. Nothing is sent yet."""
        if self._client is not None:
            raise StoreError(f"The store {self.settings.url} is started already.")
        settings = self.settings
        try:
            session = AioSession()
            session.register_component("data_loader", _models())
            keys = await _stand_in_keys(session) if settings.is_local else {}
            client = session.create_client(
                "dynamodb",
                region_name=settings.region,
                endpoint_url=settings.endpoint,
                verify=False if settings.is_plain else None,  # else all the world's certificates are read, for nothing
                config=AioConfig(
                    parameter_validation=False,  # we write the protocol's own types; checking them again costs as much as sending
                    max_pool_connections=CONNECTIONS,
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=ANSWER_SECONDS,
                    retries={"total_max_attempts": 1},  # ours know what may be repeated
                ),
                **keys,
            )
            self._client = await stack.enter_async_context(client)
        except Exception as error:
            failed = failure(error, settings)
            raise StoreRefused(failed.message, remedy=failed.remedy) from error
        stack.callback(self._stop)

    def _stop(self) -> None:
        self._client = None

    async def call(
        self, operation: str, *, on_conflict: Callable[[], Awaitable[None]] | None = None, on_doubt: Callable[[], None] | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """Send a request that may be repeated, until it is answered; raises StoreUnavailable, StoreError, Cancelled.

        `on_conflict` is called before the next try after another transaction was in the way; what it raises is the end.
        `on_doubt` is called before the next try after one of which is not known whether it was done.
        """
        deadline = asyncio.get_running_loop().time() + LONGEST_CALL_SECONDS
        for attempt in range(1, self._tries + 1):
            if self._client is None:
                raise StoreUnavailable(f"The store {self.settings.url} is not started.")
            self.requests[operation] += 1
            try:
                answer: dict[str, Any] = await getattr(self._client, METHODS[operation])(**arguments)
            except Exception as error:
                reasons = reasons_of(error)
                if any(reason.code == CONDITION_FAILED for reason in reasons):
                    raise Cancelled(reasons) from error
                late = attempt == self._tries or asyncio.get_running_loop().time() > deadline
                if late or not is_transient(error):
                    raise failure(error, self.settings) from error
                doubted = in_doubt(error)
                in_the_way = any(reason.code == CONFLICT for reason in reasons)
            else:
                return answer
            if doubted and on_doubt is not None:
                on_doubt()
            await self.pause(attempt)
            if in_the_way and on_conflict is not None:
                await on_conflict()
        raise AssertionError

    async def pause(self, attempt: int) -> None:
        """Wait before the next try; the longer the more there were, and by chance, so that callers do not meet again."""
        longest = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(attempt, 20))
        await self._sleep(random.random() * longest)  # noqa: S311 - spreads retries, guards nothing

    async def get(self, key: Key) -> Plain | None:
        """One item, as it is now."""
        answer = await self.call("GetItem", TableName=self.settings.table, Key=wire(key), ConsistentRead=True)
        return plain(answer["Item"]) if "Item" in answer else None

    async def get_all(self, keys: Iterable[Key], names: Sequence[str] = ()) -> dict[Key, Plain]:
        """Those of these items that are there, as they are now; with `names` only those attributes."""
        wanted = list(dict.fromkeys(keys))
        pages = [wanted[start : start + MOST_GETS] for start in range(0, len(wanted), MOST_GETS)]
        found = await asyncio.gather(*(self._get_page(page, names) for page in pages))
        return {key_of(item): plain(item) for page in found for item in page}

    async def _get_page(self, keys: list[Key], names: Sequence[str]) -> list[Item]:
        table = self.settings.table
        request: dict[str, Any] = {"Keys": [wire(key) for key in keys], "ConsistentRead": True}
        if names:
            aliases = {f"#{place}": name for place, name in enumerate(("pk", "sk", *names))}
            request |= {"ProjectionExpression": ",".join(aliases), "ExpressionAttributeNames": aliases}
        found: list[Item] = []
        attempt = 0
        while request:
            answer = await self.call("BatchGetItem", RequestItems={table: request})
            page: list[Item] = answer["Responses"].get(table, [])
            found += page
            attempt = 1 if page else attempt + 1
            request = answer.get("UnprocessedKeys", {}).get(table, {})
            if request:
                await self._unprocessed(attempt)
        return found

    async def _unprocessed(self, attempt: int) -> None:
        if attempt >= self._tries:
            raise StoreUnavailable(f"DynamoDB does not do it now for {self.settings.place}.", remedy="It is tried again; raise the table's units if it lasts.")
        await self.pause(attempt)

    async def query(
        self,
        pk: str,
        condition: str = "",
        values: Mapping[str, str] | None = None,
        *,
        limit: int | None = None,
        reverse: bool = False,
        names: Sequence[str] = (),
    ) -> list[Plain]:
        """The items of a partition by sort key, as they are now; `condition` is about `sk`."""
        given = {f":{name}": {"S": value} for name, value in (values or {}).items()}
        request: dict[str, Any] = {
            "KeyConditionExpression": f"pk = :pk AND {condition}" if condition else "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": pk}, **given},
            "ConsistentRead": True,
            "ScanIndexForward": not reverse,
        }
        if names:
            aliases = {f"#{place}": name for place, name in enumerate(names)}
            request |= {"ProjectionExpression": ",".join(aliases), "ExpressionAttributeNames": aliases}
        return await self.pages("Query", request, limit)

    async def pages(self, operation: str, request: dict[str, Any], limit: int | None = None) -> list[Plain]:
        """All items of a Query or a Scan, or the first `limit`."""
        found: list[Plain] = []
        request = {"TableName": self.settings.table, **request}
        while limit is None or len(found) < limit:
            if limit is not None:
                request["Limit"] = limit - len(found)
            answer = await self.call(operation, **request)
            found += map(plain, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                break
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return found

    async def transact(
        self, actions: Sequence[dict[str, Any]], on_conflict: Callable[[], Awaitable[None]] | None = None, on_doubt: Callable[[], None] | None = None
    ) -> None:
        """Do all actions or none; raises Cancelled if their conditions do not hold. A resend is known by its token."""
        table = self.settings.table
        named = [{kind: {"TableName": table, **request}} for action in actions for kind, request in action.items()]
        await self.call("TransactWriteItems", TransactItems=named, ClientRequestToken=secrets.token_hex(16), on_conflict=on_conflict, on_doubt=on_doubt)

    async def write_all(self, puts: Sequence[Item] = (), deletes: Iterable[Key] = ()) -> None:
        """Put and delete items, each for itself, in any order; what is repeated must be harmless."""
        requests = [({"PutRequest": {"Item": item}}, size_of(item)) for item in puts]
        requests += [({"DeleteRequest": {"Key": wire(key)}}, 100) for key in dict.fromkeys(deletes)]
        pages: list[list[dict[str, Any]]] = []
        room = 0
        for request, size in requests:
            if not pages or len(pages[-1]) == MOST_PUTS or size > room:
                pages.append([])
                room = MOST_PUT_BYTES
            pages[-1].append(request)
            room -= size
        for page in pages:
            await self._write_page(page)

    async def _write_page(self, page: list[dict[str, Any]]) -> None:
        table = self.settings.table
        attempt = 0
        while page:
            answer = await self.call("BatchWriteItem", RequestItems={table: page})
            left: list[dict[str, Any]] = answer.get("UnprocessedItems", {}).get(table, [])
            attempt = 1 if len(left) < len(page) else attempt + 1
            page = left
            if page:
                await self._unprocessed(attempt)


async def _stand_in_keys(session: AioSession) -> dict[str, str]:
    """Keys for an endpoint on this machine, unless the environment or a profile has some."""
    session.set_config_variable("metadata_service_num_attempts", 0)  # do not ask the cloud who we are
    if await session.get_credentials() is not None:
        return {}
    return {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
