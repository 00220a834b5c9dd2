"""The SQLite store: one file, one server."""

from flowrunner.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
