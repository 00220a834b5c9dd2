import re
from itertools import combinations
from pathlib import Path

import apsw
import pytest

import flowrunner.stores
from flowrunner.stores import queries
from flowrunner.stores.queries import load_queries, load_text
from flowrunner.stores.sqlite.migrate import PACKAGE
from flowrunner.stores.sqlite.session import QUERIES
from flowrunner.testing import conformance

POSTGRES = load_queries("flowrunner.stores.postgres")
SOURCES = [path.read_text() for path in Path(flowrunner.stores.__file__).parent.rglob("*.py")]


@pytest.fixture
def database():
    connection = apsw.Connection(":memory:")
    connection.execute(load_text(PACKAGE, "schema.sql"))
    return connection


@pytest.mark.parametrize("name", sorted(QUERIES.keys() | POSTGRES.keys()))
def test_every_query_is_used(name):
    """Each named block is asked for somewhere in the stores."""
    assert any(f'"{name}"' in source for source in SOURCES)


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_compiles(database, name):
    """SQLite accepts each block."""
    database.execute(f"EXPLAIN {QUERIES[name]}", bindings(QUERIES[name])).fetchall()


def bindings(query):
    return [None] * max((int(number) for number in re.findall(r"\?(\d+)", query)), default=0)


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_reads_a_whole_table(database, name):
    """Every read finds its rows by an index or a key; small tables and the front of the inbox aside."""
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {QUERIES[name]}", bindings(QUERIES[name]))]
    scans = [step for step in plan if step.startswith("SCAN") and "USING" not in step and step not in ("SCAN CONSTANT ROW", "SCAN owners")]
    allowed = {"undelivered": ["SCAN inbox"], "nodes": ["SCAN nodes"]}  # the oldest come first; nodes are few
    if name in ("size", "orphans"):  # they are about the whole file
        return
    assert scans == allowed.get(name, [])


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("list_account", "heads_by_account"),
        ("list_machine", "heads_by_start"),
        ("list_machine_status", "heads_by_status"),
        ("due", "heads_due"),
        ("next_wake", "heads_due"),
        ("owned", "heads_owned"),
        ("owners", "heads_owned"),
        ("head_by_name", "heads_by_name"),
        ("activity_tasks", "activity_tasks_waiting"),
        ("inbox", "inbox_by_execution"),
    ],
)
def test_queries_use_their_index(database, name, index):
    """The queries that would be slow without their index use it, and sort at most ties."""
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {QUERIES[name]}", bindings(QUERIES[name]))]
    assert any(f"INDEX {index}" in step for step in plan), plan
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan


BROKEN = {
    "twice": "-- name: a\n-- A.\nSELECT 1;\n-- name: a\n-- A.\nSELECT 2;",
    "without comment": "-- name: a\nSELECT 1;",
    "empty": "-- name: a\n-- A.\n",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_broken_files(monkeypatch, text):
    """A block that is there twice, has no comment or is empty is an error of the program."""
    monkeypatch.setattr(queries, "load_text", lambda *_: text)
    with pytest.raises(ValueError, match="block a"):
        load_queries("x")


def test_no_test_of_the_suite_hides_another():
    """A store's tests inherit all classes of the suite at once, so no two may have a test of the same name."""
    classes = [*conformance.ExecutionStoreConformance.__bases__, conformance.DefinitionStoreConformance, conformance.DurableStoreConformance]
    classes.append(conformance.ArchiveConformance)
    for one, other in combinations(classes, 2):
        assert [name for name in vars(one).keys() & vars(other).keys() if name.startswith("test_")] == []
