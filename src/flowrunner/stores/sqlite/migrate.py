"""The revision of a file's schema, and how a file gets it.

The row of `alembic_version` is the truth. `user_version` is the same number in the file's header, where it is seen before SQLite
opens the file, by older releases too, which knew only it: their files of user_version 1 and 2 are revisions 0001 and 0002
without the row. Whatever a file lacks, its row and the number are written in one transaction (reliability R34).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowrunner.stores.queries import load_text
from flowrunner.stores.revisions import VERSION_TABLE, known, latest, script, stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

PACKAGE = "flowrunner.stores.sqlite"
APPLICATION_ID = 0x464C5257  # "FLRW"
BEFORE = "PRAGMA auto_vacuum = INCREMENTAL"  # only an empty file can take it
UNSTAMPED = ("0001", "0002")  # revisions that were released without the version row


def newest() -> int:
    """The number of the schema that this release works with."""
    return int(latest(PACKAGE))


def header_number(connection: apsw.Connection) -> int:
    """What the header says."""
    number = connection.pragma("user_version")
    assert isinstance(number, int)  # noqa: S101  # what SQLite returns for this pragma
    return number


def version_rows(connection: apsw.Connection) -> list[str] | None:
    """What the version table holds, one row as a rule; None if there is no such table."""
    if connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = ?", (VERSION_TABLE,)).get == 0:
        return None
    rows = connection.execute(f"SELECT version_num FROM {VERSION_TABLE} LIMIT 2").fetchall()  # noqa: S608  # our own constant
    return [str(revision) for (revision,) in rows]


def revision_of(connection: apsw.Connection) -> str | None:
    """The revision of an open file; None if this release knows it not, or the row and the header do not agree."""
    revision, rows = f"{header_number(connection):04}", version_rows(connection)
    if rows is None:
        return revision if revision in UNSTAMPED else None
    return revision if rows == [revision] and revision in known(PACKAGE) else None


def is_current(connection: apsw.Connection) -> bool:
    """Whether the file needs nothing."""
    return version_rows(connection) == [latest(PACKAGE)]


def create(connection: apsw.Connection) -> None:
    """Give an empty file our schema, mark and version, in one transaction; another process may have done so meanwhile."""
    connection.execute(BEFORE)
    with Transaction(connection):
        if header_number(connection) == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").get == 0:
            for statement in creation():
                connection.execute(statement)


def creation() -> Sequence[str]:
    """What an empty file gets, all for one transaction; `BEFORE` comes before it."""
    numbers = f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {newest()}"
    return (load_text(PACKAGE, "schema.sql").strip(), *stamp(latest(PACKAGE)), *numbers)


def statements(connection: apsw.Connection) -> Sequence[str]:
    """What brings an open file of ours up to date, all for one transaction; nothing for a file that is."""
    if is_current(connection):
        return ()
    revision = revision_of(connection)
    assert revision is not None  # noqa: S101  # who asks has examined the file
    stamped = stamp(revision) if version_rows(connection) is None else ()
    changes = script(PACKAGE, "sqlite", revision) if revision != latest(PACKAGE) else ()
    return (*stamped, *changes, f"PRAGMA user_version = {newest()}")


def migrate(connection: apsw.Connection) -> str | None:
    """Bring an older file of ours up to date in one transaction; return the revision it had."""
    with Transaction(connection):
        before = revision_of(connection)
        for statement in statements(connection):
            connection.execute(statement)
    return before


class Transaction:
    """`BEGIN IMMEDIATE` to `COMMIT`; anything raised inside rolls back."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._connection.in_transaction:
            self._connection.execute("COMMIT" if kind is None else "ROLLBACK")
