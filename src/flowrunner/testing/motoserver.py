"""moto's DynamoDB in a process of its own: ``python -m flowrunner.testing.motoserver`` prints its port and ends with its standard input.

moto takes one request at a time here. Its tables are plain dictionaries and its transactions copy a whole table and put the
copy back, so concurrent requests would lose each other's writes; DynamoDB itself has no such weakness. One event loop that
calls moto's WSGI application without awaiting anything is the lock, and keeps connections open besides, which the server
that comes with moto does not.
"""

from __future__ import annotations

import asyncio
import copy
import io
import sys
from typing import Any

from aiohttp import web
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

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


def application() -> web.Application:
    """Moto as an aiohttp application."""
    moto = DomainDispatcherApplication(create_backend_app)

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        head: list[Any] = []
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
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        } | {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
        data = b"".join(moto(environ, lambda status, headers, _=None: head.extend((status, headers))))
        headers = {name: value for name, value in head[1] if name.lower() not in ("content-length", "connection", "server", "date")}
        return web.Response(status=int(head[0].split()[0]), headers=headers, body=data)

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
    asyncio.run(serve())
