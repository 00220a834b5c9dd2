"""The revisions of an SQL store's schema: alembic's chain of files, each raw SQL, read as one script for the store's own driver.

A store's package has a folder `revisions` with files `NNNN_words.py`; `upgrade()` in them calls `op.execute` with SQL and
nothing else, and their docstrings say what expands the schema (older programs still work on it) and what contracts it.
Alembic only writes the script: it never connects, so one transaction of the driver holds the script and the version row, and a
process killed half way leaves the old database (reliability R34).

What revisions there are is told by the names of the files: a start on a database that is up to date imports neither alembic
nor SQLAlchemy, which take 0.25 s.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION_TABLE = "alembic_version"
ABSENT_REMEDY = "A server makes it (flowrunner serve --store URL), and so does: flowrunner db upgrade --store URL"
FILE = re.compile(r"(\d{4})_\w+\.py")


def known(package: str) -> tuple[str, ...]:
    """Every revision of the store in `package`, oldest first; raises ValueError if a number is missing or there twice."""
    found = sorted(match[1] for match in map(FILE.fullmatch, (entry.name for entry in _folder(package).iterdir())) if match)
    if found != [f"{number:04}" for number in range(1, len(found) + 1)]:
        raise ValueError(f"the revisions of {package} are not numbered without a gap: {found}")
    return tuple(found)


def latest(package: str) -> str:
    """The revision of the schema that this release works with."""
    return known(package)[-1]


def stamp(revision: str, schema: str | None = None) -> Sequence[str]:
    """Statements that make the version row of a database that has none; the table is alembic's own, in `schema` if there are several."""
    table = VERSION_TABLE if schema is None else f"{schema}.{VERSION_TABLE}"
    return (
        f"CREATE TABLE {table} (version_num VARCHAR(32) NOT NULL, CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))",
        f"INSERT INTO {table} (version_num) VALUES ('{revision}')",  # noqa: S608  # a name of our own
    )


def script(package: str, dialect: str, since: str | None, schema: str | None = None) -> Sequence[str]:
    """SQL that brings a database from revision `since` (None: empty) to the latest, version row included; nothing if it is there.

    Each text is one or more statements; they belong into one transaction. The version row is in `schema`, as in `stamp`.
    """
    from alembic.operations import Operations  # noqa: PLC0415  # only an upgrade pays for it
    from alembic.runtime.migration import MigrationContext, MigrationStep  # noqa: PLC0415  # as above
    from alembic.script import ScriptDirectory  # noqa: PLC0415  # as above

    folder, collected = _folder(package), _Collected()
    chain = ScriptDirectory(folder, version_locations=[folder])
    newest_first = tuple(chain.iterate_revisions("head", since or "base"))
    steps = [MigrationStep.upgrade_from_script(chain.revision_map, revision) for revision in reversed(newest_first)]
    options = {
        "as_sql": True,
        "output_buffer": collected,
        "fn": lambda _heads, _context: steps,
        "starting_rev": since,
        "version_table_schema": schema,
    }
    context = MigrationContext.configure(dialect_name=dialect, opts=options)
    # As it stands: alembic would take it for SQLAlchemy's text(), where every % is doubled and :words are parameters.
    context.impl.execute = collected.take  # type: ignore[method-assign, assignment]
    with Operations.context(context):
        context.run_migrations()
    return tuple(collected.statements)


class _Collected:
    """Where alembic writes to: what it writes at once is one text."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def take(self, sql: str, execution_options: object = None) -> None:
        """What a revision executes."""
        del execution_options
        self.statements.append(sql.strip())

    def write(self, text: str) -> None:
        """What alembic itself executes: the version row; its comments are left out."""
        if not text.startswith("--"):
            self.statements.append(text.strip().removesuffix(";"))

    def flush(self) -> None:
        """Nothing is buffered."""


def _folder(package: str) -> Path:
    return Path(str(files(package).joinpath("revisions")))
