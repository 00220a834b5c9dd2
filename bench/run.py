"""``make bench``: FlowRunner over HTTP on SQLite with synchronous=FULL, beside the limit of one Python process and beside DBOS.

    python bench/run.py                      everything: three interleaved repetitions, some 3 minutes
    python bench/run.py --json report.json   the same, with every repetition's numbers in a file
    python bench/run.py --only flowrunner --repetitions 5
    python bench/run.py --smoke              are the floors kept? some 12 s; exit 1 if not
    python bench/run.py --auth               W1 with an API token, and with signed requests, beside W1 with --dev; exit 1 below the goals
    python bench/run.py --store postgres     W1 on PostgreSQL beside DBOS and PgQueuer on the same server; exit 1 below the goals

Numbers are medians [lowest..highest] over the repetitions; ratios are taken within each repetition. On a shared machine rank by
CPU first: wall clock is a lower bound of what the program can do while others use the cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import peers
from load import generator
from process import BenchError
from report import table
from workloads import Numbers, measure

LENGTHS = (1000, 3000)  # states of W3
FLOORS = {"w1_per_second": 600.0, "w3_3000_per_second": 3000.0}
SMOKE_SECONDS = 3.0
WRK_MISSING = "wrk is not installed (apt-get install wrk): the load comes from bench/client.py, which needs more CPU of its own"


def say(text: str) -> None:
    """Tell how far we are; the report itself goes to stdout."""
    print(text, file=sys.stderr, flush=True)


def smoke(folder: Path) -> dict[str, Any]:
    """One short repetition against the floors."""
    found = measure(folder, seconds=SMOKE_SECONDS, samples=0, lengths=(3000,))
    missed = {name: floor for name, floor in FLOORS.items() if found[name] < floor}
    return {"numbers": found, "floors": FLOORS, "missed": missed}


def compare(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """All repetitions of all that can be measured, interleaved, so that a noisy minute hits everybody."""
    everything = arguments.only is None
    there = peers.find(dbos=everything) if everything or arguments.only != "flowrunner" else peers.Peers(None, None, ())
    skipped = list(there.skipped)
    runs: dict[str, list[Numbers]] = {"flowrunner": []}
    for repetition in range(1, arguments.repetitions + 1):
        say(f"repetition {repetition} of {arguments.repetitions}: flowrunner")
        runs["flowrunner"].append(measure(folder, seconds=arguments.seconds, samples=arguments.samples, lengths=LENGTHS))
        if there.ceiling is not None:
            say(f"repetition {repetition} of {arguments.repetitions}: ceiling")
            runs.setdefault("ceiling", []).append(peers.ceiling(there.ceiling, folder, seconds=arguments.seconds, samples=arguments.samples))
        if there.dbos is not None:
            say(f"repetition {repetition} of {arguments.repetitions}: DBOS")
            runs.setdefault("dbos", []).append(peers.dbos(*there.dbos, folder))
    if generator() != "wrk":
        skipped.append(WRK_MISSING)
    return {"runs": runs, "skipped": skipped, "median": {who: medians(found) for who, found in runs.items()}}


def medians(runs: list[Numbers]) -> Numbers:
    """The median of each number."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def machine() -> dict[str, Any]:
    """Where it was measured."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "sqlite_of_python": sqlite3.sqlite_version,
        "load_generator": generator(),
    }


def arguments_of(given: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--smoke", action="store_true", help="one short run against the floors; exit 1 below them")
    parser.add_argument("--auth", action="store_true", help="W1 with credentials, beside W1 without")
    parser.add_argument(
        "--fanout", action="store_true", help="messages/s to sockets that follow one run, beside websockets.broadcast(); W1 while 100 sockets watch"
    )
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite", help="postgres: W1 beside DBOS and PgQueuer on one server")
    parser.add_argument("--repetitions", type=int, default=3, metavar="N", help="interleaved repetitions (3)")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="length of each W1 load, seconds (5)")
    parser.add_argument("--samples", type=int, default=300, metavar="N", help="lone executions in each repetition (300)")
    parser.add_argument("--only", choices=["flowrunner", "ceiling"], help="leave the peers out: FlowRunner alone, or with the ceiling")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report with all numbers as JSON; - is stdout, instead of the table")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where the stores are put while it runs (a temporary folder): its disk is what is measured")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Measure and report; the exit code."""
    arguments = arguments_of(given)
    try:
        with tempfile.TemporaryDirectory(prefix="flowrunner-bench-", dir=arguments.folder) as folder:
            if arguments.auth:
                import auth  # noqa: PLC0415 - beside this file

                report = auth.compare(Path(folder), repetitions=arguments.repetitions, seconds=arguments.seconds)
            elif arguments.fanout:
                import fanout  # noqa: PLC0415 - as above

                report = fanout.compare(Path(folder), repetitions=arguments.repetitions, seconds=arguments.seconds)
            elif arguments.store == "postgres":
                import postgres  # noqa: PLC0415 - needs the driver

                report = postgres.compare(Path(folder), repetitions=arguments.repetitions, seconds=arguments.seconds)
            else:
                report = smoke(Path(folder)) if arguments.smoke else compare(Path(folder), arguments)
    except BenchError as error:
        say(f"bench: {error}")
        return 2
    report = {"machine": machine(), **report}
    text = json.dumps(report, indent=2)
    if arguments.json is not None and str(arguments.json) != "-":
        arguments.json.write_text(text + "\n")
    if str(arguments.json) == "-":
        print(text)
    elif arguments.auth:
        print(auth.table(report))
    elif arguments.fanout:
        print(text)
    elif arguments.store == "postgres":
        print(postgres.table(report))
    elif arguments.smoke:
        for name, floor in FLOORS.items():
            print(f"{name:<20} {report['numbers'][name]:>8,.0f}   floor {floor:,.0f}   {'BELOW' if name in report['missed'] else 'ok'}")
    else:
        print(table(report))
    return 1 if report.get("missed") else 0


if __name__ == "__main__":
    sys.exit(main())
