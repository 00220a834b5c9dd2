import re
import subprocess
import sys

import apsw
import pytest
from released import LATER, RELEASED, later_chain

from flowrunner.stores import revisions as subject
from flowrunner.stores.revisions import known, latest, script, stamp

PACKAGE = "flowrunner.stores.sqlite"


def test_names_of_files_are_the_chain():
    """What the names tell is what alembic reads in the files, each after the one before."""
    from alembic.script import ScriptDirectory

    folder = subject._folder(PACKAGE)
    chain = ScriptDirectory(folder, version_locations=[folder])
    found = list(chain.walk_revisions())
    assert tuple(one.revision for one in reversed(found)) == known(PACKAGE)
    assert [one.down_revision for one in found] == [*reversed(known(PACKAGE)[:-1]), None]
    assert chain.get_heads() == [latest(PACKAGE)]


def test_every_revision_says_what_it_expands_and_contracts():
    """Who looks at a revision learns whether the release before can work on it."""
    for path in subject._folder(PACKAGE).glob("*.py"):
        assert re.search(r"^Expand: .*Contract: ", path.read_text(), re.MULTILINE | re.DOTALL), path.name


@pytest.mark.parametrize("names", [("0001_a.py", "0003_b.py"), ("0001_a.py", "0001_b.py"), ("0002_a.py",)])
def test_numbers_without_gap(tmp_path, monkeypatch, names):
    """A revision whose number is missing or there twice is an error of the program."""
    for name in names:
        (tmp_path / name).touch()
    monkeypatch.setattr(subject, "_folder", lambda _: tmp_path)
    with pytest.raises(ValueError, match="without a gap"):
        known(PACKAGE)


def test_script_from_a_revision(tmp_path, monkeypatch):
    """The script holds what comes after a revision, with the version row; nothing after the latest."""
    assert script(PACKAGE, "sqlite", latest(PACKAGE)) == ()
    monkeypatch.setattr(subject, "_folder", later_chain(tmp_path))
    before, after = known(PACKAGE)[-2:]
    changes, version = script(PACKAGE, "sqlite", before)
    assert changes == LATER.strip()
    assert re.fullmatch(rf"UPDATE alembic_version SET version_num='{after}' WHERE alembic_version.version_num = '{before}'", version)


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_sql_stays_as_it_is(tmp_path, monkeypatch, dialect):
    """Percent signs, colons and tabs mean nothing to us: the database gets what the revision says."""
    sql = "SELECT 'a%s' LIKE 'b%', ':x' AS y, 1::text -- 12:30\n\t; SELECT 2"
    (tmp_path / "0001_a.py").write_text(f"from alembic import op\nrevision, down_revision = '0001', None\ndef upgrade():\n    op.execute({sql!r})\n")
    monkeypatch.setattr(subject, "_folder", lambda _: tmp_path)
    assert script(PACKAGE, dialect, None)[1] == sql


def test_stamp_is_what_alembic_does():
    """A database that we stamp has the table and the row that alembic would have made."""
    ours, theirs = apsw.Connection(":memory:"), apsw.Connection(":memory:")
    for statement in stamp(latest(PACKAGE)):
        ours.execute(statement)
    for statement in script(PACKAGE, "sqlite", None):
        theirs.execute(statement)
    for look in ("SELECT * FROM alembic_version", "SELECT * FROM pragma_table_xinfo('alembic_version')", "SELECT * FROM pragma_index_list('alembic_version')"):
        assert ours.execute(look).fetchall() == theirs.execute(look).fetchall()


START = """
import asyncio, sys
from contextlib import AsyncExitStack
from flowrunner.clock import SystemClock
from flowrunner.stores.open import open_store

async def start():
    async with AsyncExitStack() as stack:
        await open_store("sqlite:///" + sys.argv[1], clock=SystemClock()).start(stack)

asyncio.run(start())
print(*({"alembic", "sqlalchemy"} & set(sys.modules)))
"""


def test_a_start_on_a_current_file_loads_no_alembic(tmp_path):
    """Neither a new file nor a current one pays for alembic and SQLAlchemy; an old one does, once."""

    def loaded():
        return subprocess.run([sys.executable, "-c", START, tmp_path / "flow.db"], check=True, capture_output=True, text=True).stdout.split()

    assert loaded() == []
    assert loaded() == []
    (tmp_path / "flow.db").unlink()
    RELEASED[1](tmp_path / "flow.db")
    assert sorted(loaded()) == ["alembic", "sqlalchemy"]
    assert loaded() == []
