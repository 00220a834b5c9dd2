import re

import asyncpg
import pytest

from flowrunner.stores.postgres.link import PLANS
from flowrunner.stores.postgres.migrate import PACKAGE, create, placed
from flowrunner.stores.queries import load_queries

QUERIES = load_queries(PACKAGE)
SCHEMA = "plans"


@pytest.fixture(scope="module")
def address(postgres_urls):
    return postgres_urls().partition("?")[0]


@pytest.fixture
async def database(address):
    """A connection as the store's, to an empty schema that is gone afterwards."""
    connection = await asyncpg.connect(address, server_settings=PLANS)
    transaction = connection.transaction()
    await transaction.start()
    await create(connection, SCHEMA)
    yield connection
    await transaction.rollback()
    await connection.close()


async def plan_of(database, name):
    """The plan for any parameters, as the store's connections make it."""
    text = placed(QUERIES[name], SCHEMA)
    count = max((int(number) for number in re.findall(r"\$(\d+)", text)), default=0)
    await database.execute(f"PREPARE it AS {text}")
    arguments = f"({', '.join(['NULL'] * count)})" if count else ""
    return [row[0] for row in await database.fetch(f"EXPLAIN (COSTS OFF) EXECUTE it{arguments}")]


WHOLE = {"size", "nodes"}  # counts everything; nodes are few


@pytest.mark.parametrize("name", QUERIES)
async def test_no_plan_reads_a_whole_table(database, name):
    """Every statement is planned with indexes even for empty tables, so that the plan still holds when they have grown."""
    plan = await plan_of(database, name)
    if name not in WHOLE:
        assert not [line for line in plan if re.search(r"Seq Scan|Hash Join|Merge Join", line)], plan


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("list_account", "heads_by_account"),
        ("list_machine", "heads_by_start"),
        ("list_machine_status", "heads_by_status"),
        ("due", "heads_due"),
        ("claim", "heads_due"),
        ("next_wake", "heads_due"),
        ("owned", "heads_owned"),
        ("owners", "heads_owned"),
        ("head_by_name", "heads_by_name"),
        ("heads_by_names", "heads_by_name"),
        ("activity_tasks", "activity_tasks_waiting"),
        ("load", "inbox_by_execution"),
        ("commit", "heads_pkey"),
        ("positions", "heads_pkey"),
        ("log", "chunks_pkey"),
        ("log_reverse", "chunks_pkey"),
        ("undelivered", "inbox_pkey"),
    ],
)
async def test_queries_use_their_index(database, name, index):
    """The queries that would be slow without their index use it, and those that page do not sort."""
    plan = await plan_of(database, name)
    assert any(index in line for line in plan), plan
    if name.startswith(("list", "due", "next", "activity", "undelivered")) or name == "log":
        assert not [line for line in plan if "Sort" in line], plan


async def test_ids_are_looked_up_in_a_hash_table(database):
    """The ids of a batch that hold are looked up, not compared each with each."""
    plan = await plan_of(database, "commit")
    assert not [line for line in plan if re.search(r"Semi Join", line)], plan
    assert sum("hashed SubPlan" in line or "ANY" in line for line in plan) >= 7, plan
