"""A proxy before DynamoDB (or moto) that fails on purpose, by a seed (reliability R36, R38).

    faults = Faults(seed=7, rates={"throttle": 0.05, "TransactWriteItems.lost": 0.1})
    async with dynamodb_proxy("http://127.0.0.1:8000", faults) as endpoint:
        ...                                     # speak to `endpoint` instead
    assert faults.done["lost"] > 0

What may happen to a request, each with its own probability, for all operations or for one:

    throttle     ProvisionedThroughputExceededException is answered, nothing done
    conflict     a transaction is cancelled for a TransactionConflict, anything else throttled; nothing done
    error        500 InternalServerError is answered, nothing done
    refused      the connection is closed, nothing done
    lost         it is done, but the connection closed instead of an answer
    late         it is done, and answered after `late_seconds`
    unprocessed  the second half of a batch comes back as not processed

With `stale_seconds` the indexes of tables that are created through the proxy are that far behind: queries of an index go to
a second table, to which every write comes that much later. `serialise` lets one request through at a time, for a service
whose transactions are not safe from each other.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web

KINDS = ("throttle", "conflict", "error", "refused", "lost", "late", "unprocessed")
MOST_BYTES = 64 * 1024 * 1024
MOST_GETS = 100
BEHIND = "-behind"  # what the name of the second table ends with

Json = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Faults:
    """What goes wrong how often; may be changed while the proxy runs.

    `codes` are errors that operations always answer. `done` counts what went wrong, `seen` all requests by operation.
    """

    seed: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)
    late_seconds: float = 0.05
    stale_seconds: float = 0.0
    serialise: bool = False
    now: Callable[[], float] = time.monotonic
    codes: Mapping[str, str] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - a schedule of faults, reproducible

    _chance: random.Random = field(init=False, repr=False)

    def choose(self, operation: str) -> str:
        """What is to happen to a request; empty if nothing."""
        self.seen[operation] += 1
        for kind in KINDS:
            rate = self.rates.get(f"{operation}.{kind}", self.rates.get(kind, 0.0))
            if rate and self._chance.random() < rate and (kind != "unprocessed" or operation.startswith("Batch")):
                self.done[kind] += 1
                return kind
        return ""


@asynccontextmanager
async def dynamodb_proxy(behind: str, faults: Faults) -> AsyncIterator[str]:
    """The address of a proxy before the service at `behind`, on a free loopback port."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        proxy = _Proxy(behind, faults, session)
        served = web.Application(client_max_size=MOST_BYTES)
        served.router.add_route("*", "/{rest:.*}", proxy.answer)
        runner = web.AppRunner(served, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"


class _Proxy:
    def __init__(self, behind: str, faults: Faults, session: aiohttp.ClientSession) -> None:
        self._behind = behind
        self._faults = faults
        self._session = session
        self._lock = asyncio.Lock()
        self._images: deque[tuple[float, str, Json, Json | None]] = deque()  # due, table, key, item

    async def answer(self, request: web.Request) -> web.Response:
        operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        body: Json = orjson.loads(await request.read())
        headers = {name: value for name, value in request.headers.items() if name.lower() not in ("host", "content-length", "accept-encoding")}
        if operation in self._faults.codes:
            return _json(400, {"__type": f"com.amazonaws.dynamodb.v20120810#{self._faults.codes[operation]}", "message": "on purpose"})
        kind = self._faults.choose(operation)
        if kind in ("throttle", "conflict", "error", "refused"):
            return _refusal(request, kind, operation, body)
        if self._faults.serialise:
            async with self._lock:
                status, found = await self._do(operation, body, headers, kind)
        else:
            status, found = await self._do(operation, body, headers, kind)
        if kind == "late":
            await asyncio.sleep(self._faults.late_seconds)
        return _closed(request) if kind == "lost" else _json(status, found)

    async def _do(self, operation: str, body: Json, headers: Mapping[str, str], kind: str) -> tuple[int, Json]:
        left: Json = {}
        if kind == "unprocessed":
            body, left = _halves(operation, body)
        stale = self._faults.stale_seconds
        if stale and "IndexName" in body:
            await self._catch_up(headers)
            return await self._send(operation, {**body, "TableName": body["TableName"] + BEHIND}, headers)
        status, found = await self._send(operation, body, headers)
        if status == 200 and left:
            found["UnprocessedItems" if operation == "BatchWriteItem" else "UnprocessedKeys"] = left
        if status == 200 and stale:
            await self._follow(operation, body, headers)
        return status, found

    async def _send(self, operation: str, body: Json, headers: Mapping[str, str]) -> tuple[int, Json]:
        named = {**headers, "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
        async with self._session.post(self._behind, data=orjson.dumps(body), headers=named) as answer:
            return answer.status, orjson.loads(await answer.read())

    # --- the second table, which is behind

    async def _follow(self, operation: str, body: Json, headers: Mapping[str, str]) -> None:
        """Note what a request has changed, for later."""
        if operation in ("CreateTable", "DeleteTable"):
            await self._send(operation, {**body, "TableName": body["TableName"] + BEHIND}, headers)
            return
        due = self._faults.now() + self._faults.stale_seconds
        for table, keys in _written(operation, body).items():
            for start in range(0, len(keys), MOST_GETS):
                page = keys[start : start + MOST_GETS]
                _, found = await self._send("BatchGetItem", {"RequestItems": {table: {"Keys": page, "ConsistentRead": True}}}, headers)
                items = {orjson.dumps(_key(item)): item for item in found["Responses"].get(table, [])}
                self._images += ((due, table, key, items.get(orjson.dumps(key))) for key in page)

    async def _catch_up(self, headers: Mapping[str, str]) -> None:
        while self._images and self._images[0][0] <= self._faults.now():
            _, table, key, item = self._images.popleft()
            change = {"DeleteItem": {"Key": key}} if item is None else {"PutItem": {"Item": item}}
            for operation, request in change.items():
                await self._send(operation, {"TableName": table + BEHIND, **request}, headers)


def _written(operation: str, body: Json) -> dict[str, list[Json]]:
    """The keys that a request changes, by table."""
    written: dict[str, list[Json]] = {}
    if operation in ("PutItem", "UpdateItem", "DeleteItem"):
        written[body["TableName"]] = [body.get("Key") or _key(body["Item"])]
    elif operation == "BatchWriteItem":
        for table, requests in body["RequestItems"].items():
            written[table] = [change.get("Key") or _key(change["Item"]) for request in requests for change in request.values()]
    elif operation == "TransactWriteItems":
        for action in body["TransactItems"]:
            for kind, change in action.items():
                if kind != "ConditionCheck":
                    written.setdefault(change["TableName"], []).append(change.get("Key") or _key(change["Item"]))
    return written


def _key(item: Json) -> Json:
    return {"pk": item["pk"], "sk": item["sk"]}


def _halves(operation: str, body: Json) -> tuple[Json, Json]:
    """The first half of a batch, and the rest as what was not processed."""
    first, rest = {}, {}
    for table, asked in body["RequestItems"].items():
        entries = asked if operation == "BatchWriteItem" else asked["Keys"]
        half = (len(entries) + 1) // 2
        parts = (entries[:half], entries[half:])
        first[table], left = parts if operation == "BatchWriteItem" else ({**asked, "Keys": part} for part in parts)
        if parts[1]:
            rest[table] = left
    return {**body, "RequestItems": first}, rest


def _refusal(request: web.Request, kind: str, operation: str, body: Json) -> web.Response:
    if kind == "refused":
        return _closed(request)
    if kind == "error":
        return _json(500, {"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError", "message": "on purpose"})
    if kind == "conflict" and operation == "TransactWriteItems":
        codes = ["TransactionConflict"] + ["None"] * (len(body["TransactItems"]) - 1)
        reasons = [{"Code": code} for code in codes]
        message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{', '.join(codes)}]"
        return _json(400, {"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "Message": message, "CancellationReasons": reasons})
    return _json(400, {"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "on purpose"})


def _closed(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _json(status: int, body: Json) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/x-amz-json-1.0")
