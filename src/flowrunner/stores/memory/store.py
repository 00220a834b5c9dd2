"""The bundle of the memory stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowrunner.clock import SystemClock
from flowrunner.ports.store import Capabilities
from flowrunner.stores.memory.archive import MemoryArchive
from flowrunner.stores.memory.definitions import MemoryDefinitions
from flowrunner.stores.memory.documents import MemoryDocuments
from flowrunner.stores.memory.executions import MemoryExecutions

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack

    from flowrunner.clock import Clock
    from flowrunner.errors import StoreUnavailable
    from flowrunner.ports.archive import Archive
    from flowrunner.ports.definitions import DefinitionStore
    from flowrunner.ports.documents import DocumentStore
    from flowrunner.ports.executions import ExecutionStore


class MemoryStore:
    """Everything in dictionaries of this process; nothing survives it."""

    url = "memory:"
    capabilities = Capabilities(durable=False, exclusive=True)

    def __init__(self, *, clock: Clock | None = None) -> None:
        executions, definitions, documents = MemoryExecutions(), MemoryDefinitions(), MemoryDocuments(clock or SystemClock())
        self.executions: ExecutionStore = executions
        self.definitions: DefinitionStore = definitions
        self.documents: DocumentStore = documents
        self.archive: Archive = MemoryArchive(executions, definitions, documents)

    async def start(self, stack: AsyncExitStack) -> None:
        """Nothing to open."""

    def on_fatal(self, callback: Callable[[StoreUnavailable], None]) -> None:
        """Memory does not break."""

    async def check(self) -> None:
        """Memory can always be written."""
