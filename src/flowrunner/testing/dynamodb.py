"""A DynamoDB for tests: moto in a process of its own, or whatever FLOWRUNNER_TEST_DYNAMODB_URL names.

    with dynamodb_server() as url:              # dynamodb://us-east-1?endpoint=http://127.0.0.1:40123
        async with empty_dynamodb(url) as store:    # started, in a table of its own, which is deleted at the end
            ...

moto needs the packages moto[dynamodb], flask and flask-cors. It stands in for DynamoDB's rules, not for its speed, and has no
throttling, no stale index and no memory of a ClientRequestToken; `flowrunner.testing.awsproxy` brings the first two.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, cast

from flowrunner.clock import SystemClock
from flowrunner.errors import StoreError
from flowrunner.stores.dynamodb.session import Session
from flowrunner.stores.dynamodb.settings import read_settings
from flowrunner.stores.open import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from flowrunner.clock import Clock
    from flowrunner.stores.dynamodb.store import DynamoStore

ENVIRONMENT = "FLOWRUNNER_TEST_DYNAMODB_URL"
_numbers = itertools.count()


@contextmanager
def dynamodb_server() -> Iterator[str]:
    """The URL of a DynamoDB to test with, without a prefix; one that was started ends with the block."""
    given = os.environ.get(ENVIRONMENT)
    if given:
        yield given
        return
    with subprocess.Popen(  # our own module
        [sys.executable, "-m", "flowrunner.testing.motoserver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(), text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            assert port, "moto did not start; it needs moto[dynamodb], flask and flask-cors"
            yield f"dynamodb://us-east-1?endpoint=http://127.0.0.1:{port}"
        finally:
            process.stdin.close()  # which ends it


def _environment() -> dict[str, str]:
    """The child finds this very package, installed or not."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def fresh_url(url: str, **settings: object) -> str:
    """The URL with a prefix that no other test has, and these settings."""
    given = {"prefix": f"test-{os.getpid()}-{next(_numbers)}-", **settings}
    return url + ("&" if "?" in url else "?") + "&".join(f"{name}={value}" for name, value in given.items())


@asynccontextmanager
async def opened_dynamodb(url: str, *, clock: Clock | None = None) -> AsyncIterator[DynamoStore]:
    """A started store; its table stays."""
    async with AsyncExitStack() as stack:
        store = open_store(url, clock=clock or SystemClock())
        await store.start(stack)
        yield cast("DynamoStore", store)


@asynccontextmanager
async def empty_dynamodb(url: str, *, clock: Clock | None = None, **settings: object) -> AsyncIterator[DynamoStore]:
    """A started store in a table of its own, which is deleted at the end."""
    own = fresh_url(url, **settings)
    try:
        async with opened_dynamodb(own, clock=clock) as store:
            yield store
    finally:
        await delete_tables(own)


async def delete_tables(url: str) -> None:
    """Delete what the store of this URL has made, if it is there, and if it would stay: what is in moto ends with its process."""
    if ENVIRONMENT not in os.environ:
        return
    async with AsyncExitStack() as stack:
        session = Session(read_settings(url))
        await session.start(stack)
        try:
            await session.call("DeleteTable", TableName=session.settings.table)
        except StoreError as error:
            if "ResourceNotFoundException" not in str(error):
                raise
