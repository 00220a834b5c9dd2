"""moto's DynamoDB in a process of its own: ``python -m flowrunner.testing.motoserver`` prints its port and ends with its standard input.

moto takes one request at a time here. Its tables are plain dictionaries and its transactions copy a whole table and put the
copy back, so concurrent requests would lose each other's writes; DynamoDB itself has no such weakness. One event loop that
calls moto's own handler without awaiting anything is the lock, and keeps connections open besides, which the server that comes
with moto does not.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import io
import sys
from typing import Any

import uvloop
from aiohttp import web
from botocore.exceptions import ClientError
from moto.core import responses
from moto.core.model import StructureShape
from moto.core.request import Request
from moto.core.responses import BaseResponse
from moto.core.serialize import BaseJSONSerializer
from moto.core.utils import method_names_from_class
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler
from moto.utilities.aws_headers import gen_amzn_requestid_long

PLAIN_TYPES = {"S", "N", "BOOL", "NULL"}  # of a value that is sent as it is stored
MOST_BYTES = 64 * 1024 * 1024  # of one request; DynamoDB takes 16 MiB


def lighten() -> None:
    """Make moto's copies of a table, one for each action of a transaction, cheap, or a long test takes minutes.

    There is one copy for a transaction; it shares all partitions but those that the transaction touches, and an update
    replaces an item instead of changing it.
    """
    touched: set[DynamoType] = set()
    copies: list[Table] = []

    def shallow(table: Table, _memo: dict[int, Any]) -> Table:
        if copies and copies[0].name == table.name:
            return copies[0]
        twin = copy.copy(table)
        twin.items = copy.copy(table.items)
        for partition in touched:
            if partition in table.items:
                twin.items[partition] = copy.copy(table.items[partition])
        copies.append(twin)
        return twin

    transact, update = DynamoDBBackend.transact_write_items, DynamoDBBackend.update_item

    def transacting(backend: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
        requests = [request for action in transact_items for request in action.values()]
        touched.clear()
        touched.update(DynamoType((request.get("Key") or request["Item"])["pk"]) for request in requests)
        copies.clear()
        transact(backend, transact_items)

    def replacing(backend: DynamoDBBackend, table_name: str, key: dict[str, dict[str, Any]], *rest: Any, **named: Any) -> Any:
        items: Any = backend.get_table(table_name).items.get(DynamoType(key["pk"]), {})
        place = DynamoType(key["sk"])
        if place in items:
            items[place] = copy.deepcopy(items[place])
        return update(backend, table_name, key, *rest, **named)

    Table.__deepcopy__ = shallow  # type: ignore[attr-defined]
    DynamoDBBackend.transact_write_items = transacting  # type: ignore[method-assign,assignment]
    DynamoDBBackend.update_item = replacing  # type: ignore[method-assign,assignment]


def straighten() -> None:
    """Take the detours out of moto's way to an answer: half of the time of one went into them.

    Most keys are texts, which compare without looking for what else they might be; a value of an item is written as it is
    stored, not looked for in eleven spellings of each attribute that a value might have; and JSON has no XML tags to fill in.
    """
    cast_value: Any = DynamoType.cast_value
    of_hash_keys = Table.all_items
    of_structure = BaseJSONSerializer._serialize_type_structure  # noqa: SLF001 - this is the one place

    def cast(value: DynamoType) -> Any:
        return value.value if value.type == "S" else cast_value.fget(value)

    def all_items(table: Table) -> list[Item]:
        if not table.range_key_attr:
            return of_hash_keys(table)
        partitions: Any = table.items.values()
        return sorted((item for partition in partitions for item in partition.values()), key=lambda item: (item.hash_key.cast_value, item.range_key.cast_value))

    def structure(serializer: BaseJSONSerializer, serialized: Any, value: Any, shape: StructureShape, key: str) -> None:
        if shape.name == "AttributeValue" and type(value) is dict and value.keys() <= PLAIN_TYPES:
            serialized[key] = value
        else:
            of_structure(serializer, serialized, value, shape, key)

    def enrich(headers: dict[str, str], body: Any) -> tuple[dict[str, str], Any]:
        gen_amzn_requestid_long(headers)
        return headers, body

    DynamoType.cast_value = property(cast)  # type: ignore[assignment,method-assign]
    Table.all_items = all_items  # type: ignore[method-assign,assignment]
    BaseJSONSerializer._serialize_type_structure = structure  # type: ignore[method-assign,assignment]  # noqa: SLF001
    BaseResponse._enrich_response = staticmethod(enrich)  # type: ignore[method-assign]  # noqa: SLF001
    responses.method_names_from_class = functools.cache(method_names_from_class)  # type: ignore[attr-defined]


class SignedRequest(Request):
    """A request as moto's handlers take it, from a server that sets the Date header itself."""

    from_wsgi_server = True


def application() -> web.Application:
    """Moto's handler of DynamoDB as an aiohttp application.

    It is called without the Flask application that moto has around it, which only finds out anew for each request that it
    is about DynamoDB, at half the cost of an answer.
    """

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        environ = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
        } | {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
        signed = SignedRequest(environ)
        try:
            status, headers, text = DynamoHandler.dispatch(signed, signed.raw_url, dict(signed.headers))
        except ClientError as error:
            status, headers, text = 400, {}, error.response["Error"]["Message"]
        kept = {name: str(value) for name, value in headers.items() if name.lower() not in ("content-length", "connection", "server", "date")}
        return web.Response(status=int(status), headers=kept, body=text.encode() if isinstance(text, str) else text)

    served = web.Application(client_max_size=MOST_BYTES)
    served.router.add_route("*", "/{rest:.*}", answer)
    return served


async def serve() -> None:
    """Serve on a free loopback port until standard input ends."""
    runner = web.AppRunner(application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(runner.addresses[0][1], flush=True)  # noqa: T201 - whoever started this process reads it
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    lighten()
    straighten()
    gc.collect()
    gc.freeze()
    uvloop.run(serve())
