"""``dynamodb``: items of a table, by aiobotocore (the extra ``dynamodb``), with the definition's own credentials, never the server's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp.abc import AbstractResolver

from flowrunner.clock import Clock
from flowrunner.errors import LimitExceeded
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds import BUILT_IN
from flowrunner.ports.secrets import SecretSource
from flowrunner.ports.tasks import begin
from flowrunner.tasks.client import GuardedResolver
from flowrunner.tasks.egress import EgressPolicy, EgressRefused, destination
from flowrunner.tasks.nodes.credentials import with_secret
from flowrunner.tasks.nodes.dynamoitems import Conditions, item, plain_item
from flowrunner.tasks.nodes.kind import NodeCall, NodeFailed, NodeKind, NodeResult
from flowrunner.tasks.nodes.reach import EGRESS_REFUSED
from flowrunner.tasks.nodes.reading import bad, choice, flag, given, listing, mapping, optional_text, seconds, text, whole

ERROR = "FlowRunner.DynamoDbError"
UNREACHABLE = "FlowRunner.DatabaseUnreachable"
MOST_PUTS = 25  # of one BatchWriteItem
TRIES = 8  # of what DynamoDB left undone: 25 ms doubling, 3 s in all
FIRST_DELAY_SECONDS = 0.025
MOST_ITEMS = 10_000
MOST_WRITES = 100_000
SECONDS = 30.0
_OPERATIONS = {name: name for name in ("get", "set", "delete", "query", "batch_write")} | {"put": "set", "list": "listed", "scan": "listed"}


class DynamoKind(NodeKind):
    """Items of one table. `sleep` waits between tries of a batch; `names` replaces the system's resolver."""

    info = BUILT_IN["dynamodb"]

    def __init__(
        self,
        *,
        policy: EgressPolicy,
        secrets: SecretSource,
        clock: Clock,
        names: AbstractResolver | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._policy = policy
        self._secrets = secrets
        self._clock = clock
        self._names = names
        self._sleep = sleep

    def idempotent(self, call: NodeCall) -> bool:
        """Always: items are read, replaced or deleted whole."""
        del call
        return True

    async def run(self, call: NodeCall) -> NodeResult:
        """``{item, value, found}``, ``{items, count}``, ``{written}``, ``{deleted}``."""
        params = await with_secret(call, self._secrets)
        operation = choice(params, "operation", "op", among=_OPERATIONS)
        bound = seconds(params, "timeout", default=SECONDS)
        async with asyncio.timeout(bound), self._client(params) as client:
            await begin()
            table = _Table(client, text(params, "table_name", "table"), params, self._clock.now(), self._sleep)
            return await getattr(table, operation)()  # type: ignore[no-any-return]  # one of the table's own operations

    @asynccontextmanager
    async def _client(self, params: Mapping[str, JSONValue]) -> AsyncIterator[Any]:
        try:
            from aiobotocore.config import AioConfig  # noqa: PLC0415 - an extra
            from aiobotocore.session import AioSession  # noqa: PLC0415
            from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

            from flowrunner.tasks.nodes.dynamohttp import GuardedSession  # noqa: PLC0415
        except ImportError:
            raise NodeFailed("DynamoDB needs the extra 'dynamodb': pip install 'flowrunner[dynamodb]'.", error="FlowRunner.MissingExtra") from None
        endpoint = optional_text(params, "endpoint", "endpoint_url")
        resolver = GuardedResolver(self._policy, self._names)
        config = AioConfig(
            connect_timeout=5, read_timeout=20, max_pool_connections=4, retries={"total_max_attempts": 3}, proxies={},
            ignore_configured_endpoint_urls=True, http_session_cls=GuardedSession, connector_args={"resolver": resolver, "use_dns_cache": False},
        )  # fmt: skip
        try:
            if endpoint is not None and (there := destination(endpoint)).address is not None:
                self._policy.check(there.host, there.port, there.address)  # no resolver is asked for these
            made = AioSession().create_client(
                "dynamodb",
                region_name=text(params, "region", default="us-east-1"),
                endpoint_url=endpoint,
                aws_access_key_id=text(params, "access_key", "access_key_id"),
                aws_secret_access_key=text(params, "secret_key", "secret_access_key"),
                aws_session_token=optional_text(params, "session_token"),
                config=config,
            )
            async with made as client:
                yield client
        except EgressRefused as error:
            raise NodeFailed(str(error), error=EGRESS_REFUSED) from None
        except ClientError as error:
            told = error.response.get("Error", {})
            raise NodeFailed(f"{told.get('Code')}: {told.get('Message')}", error=ERROR) from None
        except (BotoCoreError, ValueError) as error:
            match _ours(error):
                case EgressRefused() as refused:
                    raise NodeFailed(str(refused), error=EGRESS_REFUSED) from None
                case LimitExceeded() as exceeded:
                    raise NodeFailed(exceeded.message, error=ERROR) from None
            raise NodeFailed(f"DynamoDB cannot be reached: {type(error).__name__}.", error=UNREACHABLE) from None
        finally:
            await resolver.close()


def _ours(error: BaseException) -> EgressRefused | LimitExceeded | None:
    """What we have said ourselves, somewhere behind an error of the library."""
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            return None
        if isinstance(seen, EgressRefused | LimitExceeded):
            return seen
        seen = seen.__cause__ or seen.__context__ or getattr(seen, "kwargs", {}).get("error")
    return None


class _Table:
    """One attempt's operation; each method is one."""

    def __init__(self, client: Any, name: str, params: Mapping[str, JSONValue], now: int, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._client = client
        self._name = name
        self._params = params
        self._now = now
        self._sleep = sleep

    async def get(self) -> NodeResult:
        consistent = flag(self._params, "consistent", default=False)
        answer = await self._client.get_item(TableName=self._name, Key=item(self._key()), ConsistentRead=consistent)
        found = plain_item(answer["Item"]) if "Item" in answer else None
        if found is not None and self._has_ended(found):
            found = None
        output = {"item": found, "value": None if found is None else found.get("value", found), "found": found is not None}
        return NodeResult(output, "success" if found is not None else "not_found")

    async def set(self) -> NodeResult:
        made = self._with_end(self._item())
        await self._client.put_item(TableName=self._name, Item=item(made))
        return NodeResult({"item": made, "written": 1})

    async def delete(self) -> NodeResult:
        answer = await self._client.delete_item(TableName=self._name, Key=item(self._key()), ReturnValues="ALL_OLD")
        return NodeResult({"deleted": 1 if answer.get("Attributes") else 0})

    async def listed(self) -> NodeResult:
        return NodeResult(await self._pages(self._client.scan, Conditions(), {}))

    async def query(self) -> NodeResult:
        conditions = Conditions()
        wanted = mapping(self._params, "key_condition")
        if not wanted:
            raise bad("The parameter 'key_condition' must name the partition key and its value.")
        request = {"KeyConditionExpression": conditions.expression(wanted, what="key_condition")}
        return NodeResult(await self._pages(self._client.query, conditions, request))

    async def batch_write(self) -> NodeResult:
        puts, deletes = listing(self._params, "items"), listing(self._params, "deletes")
        if not 0 < len(puts) + len(deletes) <= MOST_WRITES or not all(isinstance(one, dict) for one in puts):
            raise bad(f"The parameters 'items' (objects) and 'deletes' (keys) must name 1 to {MOST_WRITES} writes.")
        writes = [{"PutRequest": {"Item": item(self._with_end(one))}} for one in puts] + [{"DeleteRequest": {"Key": item(_key_of(one))}} for one in deletes]
        for start in range(0, len(writes), MOST_PUTS):
            await self._write(writes[start : start + MOST_PUTS])
        return NodeResult({"written": len(puts), "deleted": len(deletes)})

    async def _write(self, writes: list[JSONObject]) -> None:
        delay = FIRST_DELAY_SECONDS
        for _ in range(TRIES):
            answer = await self._client.batch_write_item(RequestItems={self._name: writes})
            writes = answer.get("UnprocessedItems", {}).get(self._name, [])
            if not writes:
                return
            await self._sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - spreads tries
            delay *= 2
        raise NodeFailed(f"DynamoDB left {len(writes)} writes undone in {TRIES} tries; it takes no more just now.", error=ERROR)

    async def _pages(self, ask: Callable[..., Awaitable[Any]], conditions: Conditions, request: JSONObject) -> JSONObject:
        limit = whole(self._params, "limit", default=100, low=1, high=MOST_ITEMS)
        if wanted := mapping(self._params, "filter"):
            request["FilterExpression"] = conditions.expression(wanted, what="filter")
        if (index := optional_text(self._params, "index")) is not None:
            request["IndexName"] = index
        if conditions.names:
            request |= {"ExpressionAttributeNames": conditions.names, "ExpressionAttributeValues": conditions.values}
        if flag(self._params, "consistent", default=False):
            request["ConsistentRead"] = True
        found: list[JSONObject] = []
        while len(found) < limit:
            answer = await ask(TableName=self._name, **request)
            found += [one for one in map(plain_item, answer["Items"]) if not self._has_ended(one)]
            if "LastEvaluatedKey" not in answer:
                break
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return {"items": found[:limit], "count": min(limit, len(found))}

    def _key(self) -> JSONObject:
        return _key_of(given(self._params, "key"))

    def _item(self) -> JSONObject:
        value, key = self._params.get("value"), given(self._params, "key")
        if key is None:
            if not isinstance(value, dict):
                raise bad("The parameter 'value' must be the item, an object, when there is no 'key'.")
            return value
        return {**_key_of(key), "value": value}

    def _ttl_name(self) -> str:
        return text(self._params, "ttl_attribute", default="ttl")

    def _with_end(self, made: JSONObject) -> JSONObject:
        if given(self._params, "ttl") is None:
            return made
        return {**made, self._ttl_name(): self._now // 1000 + int(seconds(self._params, "ttl", default=0, high=10 * 366 * 86400.0))}

    def _has_ended(self, found: JSONObject) -> bool:
        """DynamoDB removes what has ended up to days late: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html."""
        ends = found.get(self._ttl_name())
        return isinstance(ends, int) and not isinstance(ends, bool) and 10**9 <= ends <= self._now // 1000


def _key_of(key: JSONValue) -> JSONObject:
    if isinstance(key, str) and key:
        return {"id": key}
    if not isinstance(key, dict) or not key:
        raise bad("The parameter 'key' must be an object of the key's attributes, or a text for the attribute id.")
    return key
