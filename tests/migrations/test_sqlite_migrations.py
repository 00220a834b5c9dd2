import signal
import subprocess
import sys

import apsw
import pytest

from flowrunner.errors import StoreRefused
from flowrunner.stores.queries import load_text
from flowrunner.stores.sqlite import file
from flowrunner.stores.sqlite import migrate as subject
from flowrunner.stores.sqlite.migrate import PACKAGE, create, migrate, migrations, version_of


def shape(connection):
    """Every table, column and index, whatever the text that made them."""
    names = connection.execute("SELECT type, name, tbl_name FROM sqlite_schema ORDER BY 1, 2").fetchall()
    tables = [name for kind, name, _ in names if kind == "table"]
    columns = {name: connection.execute("SELECT * FROM pragma_table_xinfo(?)", (name,)).fetchall() for name in tables}
    options = connection.execute("SELECT name, wr, strict FROM pragma_table_list WHERE schema = 'main' AND name <> 'sqlite_schema' ORDER BY 1").fetchall()
    indexes = {
        name: (
            connection.execute("SELECT * FROM pragma_index_xinfo(?)", (name,)).fetchall(),
            connection.execute("SELECT substr(sql, instr(sql, ' WHERE ')) FROM sqlite_schema WHERE name = ? AND instr(sql, ' WHERE ')", (name,)).fetchall(),
        )
        for kind, name, _ in names
        if kind == "index"
    }
    return names, columns, options, indexes


def test_migrations_make_the_schema():
    """All migrations one after the other make exactly the schema of a new file."""
    migrated, new = apsw.Connection(":memory:"), apsw.Connection(":memory:")
    for text in migrations():
        migrated.execute(text)
    new.execute(load_text(PACKAGE, "schema.sql"))
    assert shape(migrated) == shape(new)


def test_numbers_without_gap(tmp_path, monkeypatch):
    """A migration whose number is missing or there twice is an error of the program."""
    for names in (("0001_a.sql", "0003_b.sql"), ("0001_a.sql", "0001_b.sql"), ("0002_a.sql",)):
        folder = tmp_path / "-".join(names)
        (folder / "migrations").mkdir(parents=True)
        for name in names:
            (folder / "migrations" / name).write_text("SELECT 1")
        monkeypatch.setattr(subject, "files", lambda _, folder=folder: folder)
        with pytest.raises(ValueError, match="without a gap"):
            migrations()


NEXT = "CREATE TABLE later (a); INSERT INTO later VALUES (1); ALTER TABLE nodes ADD COLUMN note TEXT; CREATE INDEX later_a ON later (a);"


def old_file(path):
    """A file of the present version with something in it."""
    path.touch()
    connection = apsw.Connection(str(path))
    create(connection)
    connection.pragma("journal_mode", "wal")
    connection.execute("INSERT INTO nodes VALUES ('node', 1)")
    connection.close()


def test_an_older_file_is_brought_up_to_date(tmp_path, monkeypatch):
    """An older file gets what it lacks and the new version, once; what it holds stays."""
    old_file(tmp_path / "flow.db")
    present = migrations()
    monkeypatch.setattr(subject, "migrations", lambda: (*present, NEXT))
    connection = apsw.Connection(str(tmp_path / "flow.db"))
    assert migrate(connection) == len(present)
    assert version_of(connection) == len(present) + 1
    assert migrate(connection) == len(present) + 1
    assert connection.execute("SELECT node, note FROM nodes").fetchall() == [("node", None)]
    assert connection.execute("SELECT count(*) FROM later").get == 1


def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
    """If a statement of a migration fails the file is as before, its version too."""
    old_file(tmp_path / "flow.db")
    present = migrations()
    monkeypatch.setattr(subject, "migrations", lambda: (*present, NEXT, "INSERT INTO nothing VALUES (1)"))
    connection = apsw.Connection(str(tmp_path / "flow.db"))
    before = shape(connection)
    with pytest.raises(apsw.SQLError):
        migrate(connection)
    assert shape(connection) == before
    assert version_of(connection) == len(present)


KILLED = """
import os, signal, sys
import apsw
from flowrunner.stores.sqlite import file
from flowrunner.stores.sqlite import migrate as subject

present = subject.migrations()
path, action, at, following = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
if action == "migrate":
    subject.migrations = lambda: (*present, following)
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


@pytest.mark.parametrize("action", ["create", "migrate"])
def test_killed_at_every_statement(tmp_path, monkeypatch, action):
    """A process killed at any statement leaves the file as it was or complete; its version tells which, and the next try completes it."""
    present = migrations()
    following = (*present, NEXT) if action == "migrate" else present
    outcomes = []
    for at in range(1, 100):
        path = tmp_path / f"{at}.db"
        if action == "migrate":
            old_file(path)
        child = subprocess.run([sys.executable, "-c", KILLED, path, action, str(at), NEXT], check=False)
        connection = apsw.Connection(str(path))
        version = version_of(connection)
        tables = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name IN ('heads', 'later')").get
        assert (version, tables) in {(len(following), len(following) - len(present) + 1), (len(present), 1) if action == "migrate" else (0, 0)}
        assert connection.execute("PRAGMA integrity_check").get == "ok"
        with monkeypatch.context() as patch:
            patch.setattr(subject, "migrations", lambda: following)
            getattr(subject, action)(connection)
        assert version_of(connection) == len(following)
        outcomes.append(version)
        connection.close()
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
    assert outcomes.count(len(following)) == 1
    assert len(outcomes) > 7


def test_only_a_server_that_is_alone_migrates(tmp_path, monkeypatch):
    """A command that shares the file with a running server leaves an older file as it is; a server brings it up to date."""
    path = tmp_path / "flow.db"
    old_file(path)
    following = (*migrations(), NEXT)
    monkeypatch.setattr(subject, "migrations", lambda: following)
    monkeypatch.setattr(file, "migrations", lambda: following)
    monkeypatch.setattr(file, "_objects", lambda _: set())
    before = path.read_bytes()
    with pytest.raises(StoreRefused, match="older schema"):
        file.open_writer(path, synchronous="FULL", alone=False)
    assert path.read_bytes() == before
    connection = file.open_writer(path, synchronous="FULL")
    assert version_of(connection) == len(following)
