"""Holding an execution still for a moment, to read all of it though it steps all the time.

A step that meets the mark waits for it to go, and takes it away itself if that lasts: a reader that dies stops nobody for long.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from flowrunner.errors import StoreError
from flowrunner.stores.dynamodb.actions import update
from flowrunner.stores.dynamodb.faults import Cancelled
from flowrunner.stores.dynamodb.keys import head_key

if TYPE_CHECKING:
    from flowrunner.stores.dynamodb.session import Session


@contextlib.asynccontextmanager
async def held(session: Session, execution: str) -> AsyncIterator[None]:
    """Hold an execution still; the reader must look all the same whether it was."""
    mark = secrets.token_bytes(8)
    changed = {
        "UpdateExpression": "SET held = :mark",
        "ConditionExpression": "attribute_exists(pk)",
        "ExpressionAttributeValues": {":mark": {"B": mark}},
    }
    with contextlib.suppress(Cancelled):  # it is gone
        await session.transact([update(head_key(execution), changed).wire])
    try:
        yield
    finally:
        with contextlib.suppress(StoreError):  # whoever wants to write takes it away
            await let_go(session, execution, mark)


async def let_go(session: Session, execution: str, mark: bytes) -> None:
    """Hold it no longer, unless somebody else does."""
    changed = {
        "UpdateExpression": "REMOVE held",
        "ConditionExpression": "held = :mark",
        "ExpressionAttributeValues": {":mark": {"B": mark}},
    }
    with contextlib.suppress(Cancelled):
        await session.transact([update(head_key(execution), changed).wire])
