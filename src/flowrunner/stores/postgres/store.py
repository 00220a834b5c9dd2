"""The bundle of the PostgreSQL stores."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flowrunner.ports.store import Capabilities
from flowrunner.stores.postgres.archive import PostgresArchive
from flowrunner.stores.postgres.definitions import PostgresDefinitions
from flowrunner.stores.postgres.documents import PostgresDocuments
from flowrunner.stores.postgres.executions import PostgresExecutions
from flowrunner.stores.postgres.faults import unavailable
from flowrunner.stores.postgres.session import Session
from flowrunner.stores.postgres.url import parse_address

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack

    from flowrunner.clock import Clock
    from flowrunner.errors import StoreUnavailable
    from flowrunner.ports.archive import Archive
    from flowrunner.ports.definitions import DefinitionStore
    from flowrunner.ports.documents import DocumentStore
    from flowrunner.ports.executions import ExecutionStore

CHECK_SECONDS = 2.5  # for the statement
CHECK_SECONDS_IN_ALL = 4.0  # with a new connection


class PostgresStore:
    """One database, shared by as many nodes as wish.

    `url` is `postgresql://user:password@host:5432/database` with the settings that `url.SETTINGS` lists. A server that goes away
    and comes back needs nothing of us: calls in between raise StoreUnavailable, those after it succeed.
    `readonly` is for a look beside running servers or at a standby: nothing is made or migrated, and every write raises StoreUnavailable.
    """

    def __init__(self, url: str, *, clock: Clock, readonly: bool = False) -> None:
        self.url = url
        self.capabilities = Capabilities(durable=True, exclusive=False)
        self.session = Session(parse_address(url), readonly=readonly)
        self.executions: ExecutionStore = PostgresExecutions(self.session)
        self.definitions: DefinitionStore = PostgresDefinitions(self.session)
        documents = PostgresDocuments(self.session, clock)
        self.documents: DocumentStore = documents
        self.archive: Archive = PostgresArchive(self.session, documents, clock)
        self._clock = clock

    async def start(self, stack: AsyncExitStack) -> None:
        """See the contract; besides, StoreUnavailable says that the server cannot be reached now."""
        await self.session.start(stack)

    async def check(self) -> None:
        """See the contract; writes one small row durably."""
        try:
            async with asyncio.timeout(CHECK_SECONDS_IN_ALL):
                await self.session.call("write_check", str(self._clock.now()), seconds=CHECK_SECONDS)
        except TimeoutError as error:
            raise unavailable(error, self.session.address) from error

    def on_fatal(self, callback: Callable[[StoreUnavailable], None]) -> None:
        """A connection that is lost is made anew; nothing is ever lost for good."""
