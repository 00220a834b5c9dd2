import os
import signal
import subprocess
import sys

import apsw
import pytest
from released import RELEASED, later_chain

from flowrunner.errors import StoreRefused
from flowrunner.stores import revisions
from flowrunner.stores.queries import load_text
from flowrunner.stores.revisions import known, latest, script, stamp
from flowrunner.stores.sqlite import file
from flowrunner.stores.sqlite.migrate import PACKAGE, create, header_number, is_current, migrate, revision_of, statements, version_rows


def shape(connection):
    """Every table, column and index, whatever the text that made them."""
    names = connection.execute("SELECT type, name, tbl_name, iif(type = 'trigger', sql, '') FROM sqlite_schema ORDER BY 1, 2").fetchall()
    tables = [name for kind, name, *_ in names if kind == "table"]
    columns = {name: connection.execute("SELECT * FROM pragma_table_xinfo(?)", (name,)).fetchall() for name in tables}
    options = connection.execute("SELECT name, wr, strict FROM pragma_table_list WHERE schema = 'main' AND name <> 'sqlite_schema' ORDER BY 1").fetchall()
    indexes = {
        name: (
            connection.execute("SELECT * FROM pragma_index_xinfo(?)", (name,)).fetchall(),
            connection.execute("SELECT substr(sql, instr(sql, ' WHERE ')) FROM sqlite_schema WHERE name = ? AND instr(sql, ' WHERE ')", (name,)).fetchall(),
        )
        for kind, name, *_ in names
        if kind == "index"
    }
    return names, columns, options, indexes


def new_shape():
    new = apsw.Connection(":memory:")
    create(new)
    return shape(new)


def opened(path):
    return apsw.Connection(str(path))


def test_revisions_make_the_schema():
    """All revisions one after the other make exactly the schema of a new file."""
    migrated, new = apsw.Connection(":memory:"), apsw.Connection(":memory:")
    for text in script(PACKAGE, "sqlite", None):
        migrated.execute(text)
    new.execute(load_text(PACKAGE, "schema.sql"))
    for text in stamp(latest(PACKAGE)):
        new.execute(text)
    assert shape(migrated) == shape(new) == new_shape()


@pytest.mark.parametrize("version", RELEASED)
def test_released_files_are_brought_up_to_date(tmp_path, version):
    """A file of every release gets what it lacks and its version row, once; what it holds stays."""
    RELEASED[version](tmp_path / "flow.db")
    connection = opened(tmp_path / "flow.db")
    assert revision_of(connection) == f"{version:04}"
    assert not is_current(connection)
    assert migrate(connection) == f"{version:04}"
    assert shape(connection) == new_shape()
    assert version_rows(connection) == [latest(PACKAGE)]
    assert header_number(connection) == int(latest(PACKAGE))
    assert statements(connection) == ()
    assert migrate(connection) == latest(PACKAGE)
    assert connection.execute("SELECT id, status, input FROM heads JOIN chunks ON place = (number << 26) + 1").fetchall() == [("h", "RUNNING", "in")]


def current_file(path):
    """A file of the present revision with something in it."""
    path.touch()
    connection = opened(path)
    create(connection)
    connection.pragma("journal_mode", "wal")
    connection.execute("INSERT INTO nodes VALUES ('node', 1)")
    connection.close()


def test_an_older_file_is_brought_up_to_date(tmp_path, monkeypatch):
    """A file of this release gets what the next one adds; what it holds stays."""
    current_file(tmp_path / "flow.db")
    present = latest(PACKAGE)
    monkeypatch.setattr(revisions, "_folder", later_chain(tmp_path))
    connection = opened(tmp_path / "flow.db")
    assert migrate(connection) == present
    assert revision_of(connection) == latest(PACKAGE) == f"{int(present) + 1:04}"
    assert migrate(connection) == latest(PACKAGE)
    assert connection.execute("SELECT node, note FROM nodes").fetchall() == [("node", None)]
    assert connection.execute("SELECT count(*) FROM later").get == 1


def test_a_revision_that_fails_changes_nothing(tmp_path, monkeypatch):
    """If a statement fails the file is as before, its version too."""
    current_file(tmp_path / "flow.db")
    monkeypatch.setattr(revisions, "_folder", later_chain(tmp_path, broken=True))
    connection = opened(tmp_path / "flow.db")
    before = shape(connection), revision_of(connection)
    with pytest.raises(apsw.SQLError, match="nothing"):
        migrate(connection)
    assert (shape(connection), revision_of(connection)) == before


def disagreeing(connection):
    connection.pragma("user_version", 1)


def two_rows(connection):
    connection.execute("INSERT INTO alembic_version VALUES ('0001')")


def no_row(connection):
    connection.execute("DELETE FROM alembic_version")


def unknown_row(connection):
    connection.execute("UPDATE alembic_version SET version_num = 'abcdef'")


def no_version(connection):
    connection.execute("DROP TABLE alembic_version; PRAGMA user_version = 0")


@pytest.mark.parametrize("damage", [disagreeing, two_rows, no_row, unknown_row, no_version])
def test_a_version_that_cannot_be_trusted(tmp_path, damage):
    """A file whose row and header do not tell one known revision is refused and left."""
    path = tmp_path / "flow.db"
    current_file(path)
    connection = opened(path)
    damage(connection)
    assert revision_of(connection) is None
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreRefused, match="two that do not agree") as caught:
        file.open_writer(path, synchronous="FULL")
    assert caught.value.remedy
    assert path.read_bytes() == before


KILLED = """
import os, signal, sys
from pathlib import Path
import apsw
from flowrunner.stores import revisions
from flowrunner.stores.sqlite import migrate as subject

path, action, at, chain = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
revisions._folder = lambda _: chain
connection = apsw.Connection(path)
count = 0

def trace(*_):
    global count
    count += 1
    if count == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return True

connection.exec_trace = trace
getattr(subject, action)(connection)
"""


def beginnings(tmp_path, monkeypatch):
    """How each file begins: what makes it, what is done, and the chain of revisions that does it."""
    real, later = revisions._folder, later_chain(tmp_path)
    return {
        "a new file": (lambda path: path.touch(), "create", real),
        "user_version 1": (RELEASED[1], "migrate", real),
        "user_version 2": (RELEASED[2], "migrate", real),
        "the next revision": (current_file, "migrate", later),
        "user_version 1 to the next revision": (RELEASED[1], "migrate", later),
    }


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ["a new file", "user_version 1", "user_version 2", "the next revision", "user_version 1 to the next revision"])
def test_killed_at_every_statement(tmp_path, monkeypatch, name):
    """A process killed at any statement leaves the file as it was or complete; its version tells which, and the next try completes it."""
    make, action, chain = beginnings(tmp_path, monkeypatch)[name]
    outcomes = []
    for at in range(1, 100):
        path = tmp_path / f"{at}.db"
        make(path)
        with opened(path) as look:
            old = shape(look), look.execute("PRAGMA user_version").get, version_rows(look)
        child = subprocess.run([sys.executable, "-c", KILLED, path, action, str(at), chain(PACKAGE)], check=False, env=dict(os.environ))
        connection = opened(path)
        found = shape(connection), connection.execute("PRAGMA user_version").get, version_rows(connection)
        assert connection.execute("PRAGMA integrity_check").get == "ok"
        with monkeypatch.context() as patch:
            patch.setattr(revisions, "_folder", chain)
            outcomes.append(found != old)
            assert (is_current(connection) and revision_of(connection) == latest(PACKAGE)) == outcomes[-1]
            {"create": create, "migrate": migrate}[action](connection)
            assert is_current(connection)
            assert revision_of(connection) == known(PACKAGE)[-1]
            whole = shape(connection)
        connection.close()
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
    assert outcomes.count(True) == 1  # the last: no statement after COMMIT
    assert found[0] == whole
    assert len(outcomes) > 5


def test_only_a_server_that_is_alone_migrates(tmp_path, monkeypatch):
    """A command that shares the file with a running server leaves an older file as it is; a server brings it up to date."""
    path = tmp_path / "flow.db"
    RELEASED[1](path)
    before = path.read_bytes()
    with pytest.raises(StoreRefused, match="older schema") as caught:
        file.open_writer(path, synchronous="FULL", alone=False)
    assert "flowrunner db upgrade" in caught.value.remedy
    assert path.read_bytes() == before
    connection = file.open_writer(path, synchronous="FULL")
    assert revision_of(connection) == latest(PACKAGE)
