"""Functions of texts within SQL: as SQLite's own, and over in time whatever their arguments are."""

from itertools import product
from time import monotonic

import apsw
import pytest
from nodes_calls import node_call

from flowrunner.ports.secrets import NoSecrets
from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.nodes.database import DatabaseKind
from flowrunner.tasks.nodes.kind import NodeFailed
from flowrunner.tasks.nodes.reach import Reach
from flowrunner.tasks.nodes.sqlitefunctions import guard

VALUES = [None, "", "a", "ab", "aXbXXa", "é🔑é", "\0a", "a\0b", "  a ", 5, -12, 1.5, 1e20, 0.1, b"", b"ab", b"a\xff", "4142-", "-"]
LONG = "replace(hex(zeroblob(2000000)), '0', 'a')"  # 4 million letters
HALF = "replace(hex(zeroblob(1000000)), '0', 'a')"


@pytest.mark.parametrize(
    ("name", "arguments"), [("instr", 2), ("trim", 2), ("ltrim", 2), ("rtrim", 2), ("unhex", 2), ("replace", 3), ("trim", 1), ("unhex", 1)]
)
def test_as_sqlites_own(name, arguments):
    """The same value of the same kind, for arguments of every kind."""
    own, guarded = apsw.Connection(":memory:"), apsw.Connection(":memory:")
    guard(guarded, most_bytes=1_000_000)
    asked = f"SELECT {name}({', '.join('?' * arguments)})"
    for values in product(VALUES, repeat=arguments):
        found = []
        for connection in (own, guarded):
            try:
                value = connection.execute(asked, values).get
                found.append((type(value), value))
            except UnicodeDecodeError:  # of bytes that are no text
                found.append(UnicodeDecodeError)
        assert found[0] == found[1], values


def test_within_a_schema():
    """They may stand in indexes and views, which are not trusted otherwise."""
    connection = apsw.Connection(":memory:")
    guard(connection, most_bytes=1_000_000)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.execute(
        "CREATE TABLE t (n); CREATE INDEX i ON t (replace(n, 'a', 'b')); CREATE VIEW v AS SELECT trim(n, 'b') AS n FROM t; INSERT INTO t VALUES ('bab')"
    )
    assert connection.execute("SELECT n FROM v WHERE instr(n, 'a')").get == "a"


@pytest.mark.parametrize(
    "asked",
    [
        f"instr({LONG}, {HALF} || 'b')", f"replace({LONG}, {HALF} || 'b', 'c') IS NULL", f"length(trim({LONG}, replace({HALF}, 'a', 'b') || 'a'))",
        f"length(unhex(replace({LONG}, 'a', '-'), replace({HALF}, 'a', '.') || '-'))", f"instr(CAST({LONG} AS BLOB), CAST({HALF} || 'b' AS BLOB))",
        f"{LONG} LIKE '%' || substr({HALF}, 1, 600) || 'b%'", f"{LONG} GLOB '*' || substr({HALF}, 1, 600) || 'b*'", f"length(replace({LONG}, 'a', {HALF}))",
    ],
)  # fmt: skip
async def test_no_function_takes_hours(asked):
    """Each is done in a moment, or refused: nothing could stop it, and it would hold its thread."""
    kind = DatabaseKind(reach=Reach(EgressPolicy()), secrets=NoSecrets())
    began = monotonic()
    try:
        found = (await kind.run(node_call({"driver": "sqlite", "dsn": ":memory:", "query": f"SELECT {asked} AS n"}))).output["rows"]
    except NodeFailed as error:
        assert error.error == "FlowRunner.DatabaseError"
    else:
        assert found == [{"n": 0}]
    assert monotonic() - began < 30  # it takes less than one second; without the guard two minutes and more
