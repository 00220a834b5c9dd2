"""The PostgreSQL store: one database, as many nodes as wish."""

from flowrunner.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
