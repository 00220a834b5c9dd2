"""Scores a server on the answers recorded from AWS, by the checker that comes with them.

The data is not part of the project: it is looked for in FLOWRUNNER_CONFORMANCE, then in ``../shared/conformance`` beside the
checkout; elsewhere this says so and ends well. With ``--gate`` the scores must reach the floors below.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from flowrunner.testing.dynamodb import dynamodb_server
from flowrunner.testing.postgres import PostgresServer

ROOT = Path(__file__).resolve().parent.parent
STORES = ("memory:", "sqlite", "postgres", "dynamodb")
FLOORS = "L1=99,L1c=99,L2=99,L3=98.5,L4=98"


def corpus() -> Path | None:
    """The folder of recorded answers, if there is one."""
    named = os.environ.get("FLOWRUNNER_CONFORMANCE")
    found = Path(named) if named else ROOT.parent / "shared" / "conformance"
    return found if (found / "check.py").is_file() else None


def main() -> int:
    """Run the checker; return its exit code, or 1 where the stores' scores differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gate", action="store_true", help=f"fail below {FLOORS}")
    parser.add_argument(
        "--store", default="memory:", help="a store's URL; sqlite, postgres or dynamodb for one of our own; all for each of these, which must score the same"
    )
    parser.add_argument("--kind", default="execution", choices=("execution", "api", "all"))
    parser.add_argument("--needs", default="lambda")
    arguments = parser.parse_args()
    folder = corpus()
    if folder is None:
        print("conformance: skipped, the recorded answers are not here (set FLOWRUNNER_CONFORMANCE to their folder)", file=sys.stderr)
        return 0
    totals, codes = set(), []
    for name in STORES if arguments.store == "all" else (arguments.store,):
        with _store(name) as url:
            code, total = _score(folder, arguments, url)
        print(f"{name:<10} {total}", flush=True)
        totals.add(total)
        codes.append(code)
    if len(totals) > 1:
        print("conformance: the stores' scores differ", file=sys.stderr)
    return max(*codes, len(totals) - 1)


@contextlib.contextmanager
def _store(name: str) -> Iterator[str]:
    """The URL of an empty store of that kind, as long as the block lasts; a URL is itself."""
    with contextlib.ExitStack() as stack:
        if name == "sqlite":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="flowrunner-conformance-"))
            yield f"sqlite:///{folder}/flowrunner.db"
        elif name == "postgres":
            yield stack.enter_context(PostgresServer()).url()
        elif name == "dynamodb":
            yield stack.enter_context(dynamodb_server())
        else:
            yield name


def _score(folder: Path, arguments: argparse.Namespace, store: str) -> tuple[int, str]:
    """Run the checker on a server with that store; its exit code, and the line with the whole score."""
    server = f"{Path(sys.executable).parent / 'flowrunner'} serve --dev --store {store} --port {{port}} --config {{config}}"
    command = [sys.executable, "-W", "ignore", str(folder / "check.py"), "run", "--start", server, "--kind", arguments.kind, "--needs", arguments.needs]
    done = subprocess.run([*command, *(["--min", FLOORS] if arguments.gate else [])], check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode or arguments.store != "all":
        print(done.stdout)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines() if line.startswith("TOTAL")]
    return done.returncode, lines[-1] if lines else "no score"


if __name__ == "__main__":
    sys.exit(main())
