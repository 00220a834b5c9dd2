"""A store that lives and dies with the process: for development, tests and express executions."""

from flowrunner.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
