"""The bundle of the SQLite stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowrunner.ports.store import Capabilities
from flowrunner.stores.sqlite.archive import SqliteArchive
from flowrunner.stores.sqlite.definitions import SqliteDefinitions
from flowrunner.stores.sqlite.documents import SqliteDocuments
from flowrunner.stores.sqlite.executions import SqliteExecutions
from flowrunner.stores.sqlite.session import QUERIES, Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack
    from pathlib import Path

    import apsw

    from flowrunner.clock import Clock
    from flowrunner.errors import StoreUnavailable
    from flowrunner.ports.archive import Archive
    from flowrunner.ports.definitions import DefinitionStore
    from flowrunner.ports.documents import DocumentStore
    from flowrunner.ports.executions import ExecutionStore


class SqliteStore:
    """One file in WAL mode.

    `exclusive` holds an operating system lock from start to stop, so that a second server on the file is refused.
    `synchronous` is FULL (an answer survives a power cut) or NORMAL (it survives the process, not the power cut).
    `readonly` is for a look at a file that is there, beside a running server or without one; every write raises StoreUnavailable.
    """

    def __init__(self, path: Path, *, clock: Clock, exclusive: bool = True, synchronous: str = "FULL", readonly: bool = False) -> None:
        self.url = f"sqlite:///{path}"
        self.capabilities = Capabilities(durable=True, exclusive=exclusive and not readonly)
        self.session = Session(path.resolve(), exclusive=exclusive, synchronous=synchronous, readonly=readonly)
        self.executions: ExecutionStore = SqliteExecutions(self.session)
        self.definitions: DefinitionStore = SqliteDefinitions(self.session)
        self.documents: DocumentStore = SqliteDocuments(self.session, clock)
        self.archive: Archive = SqliteArchive(self.session, clock)
        self._clock = clock

    async def start(self, stack: AsyncExitStack) -> None:
        """See the contract."""
        await self.session.start(stack)

    async def check(self) -> None:
        """See the contract; writes one small row durably."""
        now = str(self._clock.now())

        def work(cursor: apsw.Cursor) -> None:
            cursor.execute(QUERIES["write_check"], (now,))

        await self.session.write(work)

    @property
    def failure(self) -> StoreUnavailable | None:
        """Why the file can no longer be trusted: an I/O error or damage. The process should end and be started again."""
        return self.session.failure

    def on_fatal(self, callback: Callable[[StoreUnavailable], None]) -> None:
        """Have `callback` called once, on the event loop, when `failure` comes to be."""
        self.session.on_fatal = callback
