"""The bundle of the DynamoDB stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowrunner.errors import StoreUnavailable
from flowrunner.ports.store import Capabilities
from flowrunner.stores.dynamodb.archive import DynamoArchive
from flowrunner.stores.dynamodb.definitions import DynamoDefinitions
from flowrunner.stores.dynamodb.documents import DynamoDocuments
from flowrunner.stores.dynamodb.executions import DynamoExecutions
from flowrunner.stores.dynamodb.keys import Shards
from flowrunner.stores.dynamodb.order import Order
from flowrunner.stores.dynamodb.redo import Redo
from flowrunner.stores.dynamodb.session import Session
from flowrunner.stores.dynamodb.sweep import Sweeper
from flowrunner.stores.dynamodb.table import find_table, open_table, write_check

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack

    from flowrunner.clock import Clock
    from flowrunner.ports.archive import Archive
    from flowrunner.ports.definitions import DefinitionStore
    from flowrunner.ports.documents import DocumentStore
    from flowrunner.ports.executions import ExecutionStore
    from flowrunner.stores.dynamodb.settings import DynamoSettings


class DynamoStore:
    """One table, shared by any number of nodes. See the module `keys` for what lies where.

    `readonly` is for a look beside running servers: a table that is not there is refused, and nothing runs in the background. Reading a
    whole execution still does what every reader does: it finishes what a node that died has left, and holds still what steps all the time.
    """

    capabilities = Capabilities(durable=True, exclusive=False, look_seconds=0.5)

    def __init__(self, settings: DynamoSettings, *, clock: Clock, readonly: bool = False) -> None:
        self.url = settings.url
        self._readonly = readonly
        self.session = Session(settings)
        self._shards = Shards(settings.shards)
        order = Order(clock)
        self._sweeper = Sweeper(self.session, self._shards)
        self._redo = Redo(self.session)
        executions = DynamoExecutions(self.session, self._shards, order, self._sweeper, self._redo)
        definitions = DynamoDefinitions(self.session)
        self.executions: ExecutionStore = executions
        self.definitions: DefinitionStore = definitions
        documents = DynamoDocuments(self.session, self._sweeper, clock)
        self.documents: DocumentStore = documents
        self.archive: Archive = DynamoArchive(
            self.session, self._shards, order, redo=self._redo, commits=executions.commits, definitions=definitions, documents=documents
        )
        self._clock = clock

    async def start(self, stack: AsyncExitStack) -> None:
        """See the contract; makes the table if there is none (unless it only reads) and waits until it can be used."""
        await self.session.start(stack)
        if self._readonly:
            self._shards.count = (await find_table(self.session))["shards"]
            return
        self._shards.count = await open_table(self.session)
        await self._sweeper.start(stack)
        stack.push_async_callback(self._redo.stop)
        await self._redo.finish_all()

    async def check(self) -> None:
        """See the contract; writes one small item."""
        await write_check(self.session, self._clock.now())

    def on_fatal(self, callback: Callable[[StoreUnavailable], None]) -> None:
        """Nothing that DynamoDB answers makes it untrustworthy."""
