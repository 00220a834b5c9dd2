"""The versions of the schema. A file's `user_version` is the number of the last migration it has seen.

Migrations are append-only files `migrations/NNNN_words.sql`. All that a file lacks run in one transaction together with the
new version, so a process killed half way leaves the old file (reliability R34).
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from flowrunner.stores.queries import load_text

if TYPE_CHECKING:
    import apsw

PACKAGE = "flowrunner.stores.sqlite"
APPLICATION_ID = 0x464C5257  # "FLRW"


def migrations() -> tuple[str, ...]:
    """The text of every migration, version 1 first; raises ValueError if a number is missing."""
    found = sorted(entry.name for entry in (files(PACKAGE) / "migrations").iterdir() if entry.name.endswith(".sql"))
    if [name[:4] for name in found] != [f"{number:04}" for number in range(1, len(found) + 1)]:
        raise ValueError(f"the migrations are not numbered without a gap: {found}")
    return tuple(load_text(PACKAGE, f"migrations/{name}") for name in found)


def version_of(connection: apsw.Connection) -> int:
    """The schema version of an open file."""
    version = connection.pragma("user_version")
    assert isinstance(version, int)  # noqa: S101  # what SQLite returns for this pragma
    return version


def create(connection: apsw.Connection) -> None:
    """Give an empty file our schema, mark and version, in one transaction; another process may have done so meanwhile."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only an empty file can take it
    with Transaction(connection):
        if version_of(connection) == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").get == 0:
            connection.execute(load_text(PACKAGE, "schema.sql"))
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(migrations())}")


def migrate(connection: apsw.Connection) -> int:
    """Bring an older file of ours up to date in one transaction; return the version it had."""
    with Transaction(connection):
        steps = migrations()
        version = version_of(connection)
        for text in steps[version:]:
            connection.execute(text)
        if version < len(steps):
            connection.execute(f"PRAGMA user_version = {len(steps)}")
    return version


class Transaction:
    """`BEGIN IMMEDIATE` to `COMMIT`; anything raised inside rolls back."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._connection.in_transaction:
            self._connection.execute("COMMIT" if kind is None else "ROLLBACK")
