"""A database as FlowRunner sees it: the bundle of its stores and its life cycle."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

from flowrunner.errors import StoreUnavailable
from flowrunner.ports.archive import Archive
from flowrunner.ports.definitions import DefinitionStore
from flowrunner.ports.documents import DocumentStore
from flowrunner.ports.executions import ExecutionStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a store can and cannot do; tests of what it cannot are skipped out loud.

    `durable`: survives the process. `exclusive`: one server at a time, enforced at start, so whatever owner a row names
    when a server starts is dead; otherwise several nodes may share the store. `look_seconds`: how often it is worth asking
    what other nodes did to executions that are followed here.
    """

    durable: bool
    exclusive: bool
    look_seconds: float = 0.1


class Store(Protocol):
    """Stores that share one database and one transaction."""

    url: str
    capabilities: Capabilities
    executions: ExecutionStore
    definitions: DefinitionStore
    documents: DocumentStore
    archive: Archive

    async def start(self, stack: AsyncExitStack) -> None:
        """Open (creating or migrating what is ours), push the clean-up on `stack`.

        Raises StoreRefused, naming the file or server and the remedy, for what is foreign, newer, damaged or in use.
        """
        ...

    def on_fatal(self, callback: Callable[[StoreUnavailable], None]) -> None:
        """Have `callback` called, once, when the store can no longer be trusted: the process must end and be started again."""
        ...

    async def check(self) -> None:
        """Return if the store can be written; raises StoreUnavailable otherwise (readiness)."""
        ...
