"""Looking after one DynamoDB table. DynamoDB itself keeps its items whole; copies are its own affair, or an export."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from flowrunner.ports.upkeep import Schema, Upkeep
from flowrunner.stores.dynamodb.session import Session
from flowrunner.stores.dynamodb.table import VERSION, find_table, is_absent, open_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowrunner.stores.dynamodb.settings import DynamoSettings


class DynamoUpkeep(Upkeep):
    """The upkeep of one table. There has been one version of its layout only, so there is nothing to upgrade from but nothing at all."""

    def __init__(self, settings: DynamoSettings) -> None:
        self._settings = settings

    async def schema(self) -> Schema:
        """See the contract."""
        async with AsyncExitStack() as stack:
            session = Session(self._settings)
            await session.start(stack)
            return Schema(str((await find_table(session))["version"]), str(VERSION))

    async def script(self) -> Sequence[str]:
        """See the contract; no SQL makes a table."""
        await self.schema()
        return ()

    async def upgrade(self) -> Schema:
        """See the contract; a table that is missing or empty is made."""
        async with AsyncExitStack() as stack:
            session = Session(self._settings)
            await session.start(stack)
            if await is_absent(session):
                await open_table(session)
                return Schema("", str(VERSION))
        return await self.schema()

    async def findings(self) -> Sequence[str]:
        """See the contract; whatever is wrong with an execution shows where it is read as a whole."""
        await self.schema()
        return ()
