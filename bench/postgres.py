"""W1 on PostgreSQL: FlowRunner over HTTP, DBOS and PgQueuer on one server with stock settings, fsync on, a database each."""

from __future__ import annotations

import asyncio
import re
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peers
from process import BenchError, flowrunner
from workloads import IN_FLIGHT, Numbers, w1

from flowrunner.testing.postgres import PostgresServer

STOCK = {"shared_buffers": "128MB", "max_connections": "100"}  # what PostgreSQL's own initdb writes; everything else is its default
DBOS_W1 = 200  # in each of the script's repetitions
PGQUEUER_W1 = 500
RATIOS = (("dbos", "W1, FlowRunner / DBOS", 15.0), ("pgqueuer", "W1, FlowRunner / PgQueuer", 3.0))
TITLES = {"flowrunner": "FlowRunner", "dbos": "DBOS", "pgqueuer": "PgQueuer"}


@contextmanager
def server() -> Iterator[PostgresServer]:
    """A server of our own."""
    with PostgresServer(STOCK) as running:
        yield running


def execute(postgres: PostgresServer, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
    """The rows of one statement."""
    import asyncpg  # noqa: PLC0415 - only this bench needs it

    async def ask() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(postgres.url(database))
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    return asyncio.run(ask())


def counts(postgres: PostgresServer, database: str) -> dict[str, int]:
    """How many executions of each status the store holds."""
    return {
        "SUCCEEDED": 0,
        **dict(execute(postgres, "SELECT status, count(*) FROM flowrunner.heads GROUP BY status", database)),
    }


def fresh(postgres: PostgresServer, name: str) -> str:
    """An empty database."""
    execute(postgres, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    execute(postgres, f"CREATE DATABASE {name}")
    return name


def own(postgres: PostgresServer, folder: Path, seconds: float) -> Numbers:
    """FlowRunner's W1."""
    database = fresh(postgres, "flowrunner")
    with flowrunner(postgres.url(database), folder / "flowrunner.log") as (process, port):
        return w1(process, port, lambda: counts(postgres, database), seconds)


def dbos(postgres: PostgresServer, interpreter: str, script: Path) -> Numbers:
    """DBOS's W1, in its client's process."""
    database = fresh(postgres, "dbos")
    url = postgres.url(database).replace("postgresql://", "postgresql+psycopg://")
    return rates([interpreter, str(script), url, "w1", str(DBOS_W1), str(IN_FLIGHT)], r"([\d.]+) exec/s")


def pgqueuer(postgres: PostgresServer, interpreter: str, script: Path) -> Numbers:
    """W1 as chains of five jobs of PgQueuer, in its client's process; jobs have no history."""
    database = fresh(postgres, "pgqueuer")
    return rates([interpreter, str(script), "pgqueuer", postgres.url(database), "w1", str(PGQUEUER_W1), str(IN_FLIGHT)], r"([\d.]+) exec/s")


def rates(command: list[str], pattern: str) -> Numbers:
    """The median of what a peer's script prints."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=peers.PEER_SECONDS)
    values = [float(value) for value in re.findall(pattern, done.stdout)]
    if done.returncode or not values:
        raise BenchError(f"{command[1]}: exit {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
    return {"w1_per_second": statistics.median(values)}


def compare(folder: Path, *, repetitions: int, seconds: float) -> dict[str, Any]:
    """All of them, interleaved, on one server."""
    skipped: list[str] = []
    there = {
        "dbos": peers.script("dbos_bench.py", ("dbos", "psycopg[binary]"), "dbos", skipped),
        "pgqueuer": peers.script("pgqueue_bench.py", ("pgqueuer", "asyncpg"), "pgqueuer", skipped),
    }
    runs: dict[str, list[Numbers]] = {"flowrunner": []}
    with server() as postgres:
        for _ in range(repetitions):
            runs["flowrunner"].append(own(postgres, folder, seconds))
            for who, measure in (("dbos", dbos), ("pgqueuer", pgqueuer)):
                found = there[who]
                if found is not None:
                    runs.setdefault(who, []).append(measure(postgres, *found))
    return {"runs": runs, "skipped": skipped, "missed": [text for text, ratio, goal in ratios(runs) if ratio < goal]}


def ratios(runs: dict[str, list[Numbers]]) -> list[tuple[str, float, float]]:
    """The median ratio to each peer, and what it must reach."""
    found = []
    for who, text, goal in RATIOS:
        pairs = list(zip(runs["flowrunner"], runs.get(who, ()), strict=False))
        if pairs:
            found.append((text, statistics.median(one["w1_per_second"] / other["w1_per_second"] for one, other in pairs), goal))
    return found


def table(report: dict[str, Any]) -> str:
    """The report as text."""
    runs = report["runs"]
    lines = [f"W1 on PostgreSQL, fsync on: 5 steps, {IN_FLIGHT} in flight, executions/s, medians [lowest..highest]"]
    for who, found in runs.items():
        values = [run["w1_per_second"] for run in found]
        lines.append(f"{TITLES[who]:<28}{statistics.median(values):>8,.0f} [{min(values):,.0f}..{max(values):,.0f}]")
    cpu = [run["w1_cpu_ms"] for run in runs["flowrunner"]]
    lines.append(f"{'CPU of FlowRunner':<28}{statistics.median(cpu):>8.3f} ms/execution, without the database's")
    lines += [f"{text:<28}{ratio:>8.1f} x   goal: at least {goal:.0f}   {'ok' if ratio >= goal else 'BELOW'}" for text, ratio, goal in ratios(runs)]
    return "\n".join([*lines, *(f"SKIPPED  {reason}" for reason in report["skipped"])])
