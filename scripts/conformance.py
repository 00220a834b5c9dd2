"""Scores a server on the answers recorded from AWS, by the checker that comes with them.

The data is not part of the project: it is looked for in FLOWRUNNER_CONFORMANCE, then in ``../shared/conformance`` beside the
checkout; elsewhere this says so and ends well. With ``--gate`` the scores must reach the floors below.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOORS = "L1=99,L1c=99,L2=99,L3=98.5,L4=98"


def corpus() -> Path | None:
    """The folder of recorded answers, if there is one."""
    named = os.environ.get("FLOWRUNNER_CONFORMANCE")
    found = Path(named) if named else ROOT.parent / "shared" / "conformance"
    return found if (found / "check.py").is_file() else None


def main() -> int:
    """Run the checker; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gate", action="store_true", help=f"fail below {FLOORS}")
    parser.add_argument("--store", default="memory:", help="the store of the server that is scored")
    parser.add_argument("--kind", default="execution", choices=("execution", "api", "all"))
    parser.add_argument("--needs", default="lambda")
    arguments = parser.parse_args()
    folder = corpus()
    if folder is None:
        print("conformance: skipped, the recorded answers are not here (set FLOWRUNNER_CONFORMANCE to their folder)", file=sys.stderr)
        return 0
    server = f"{Path(sys.executable).parent / 'flowrunner'} serve --dev --store {arguments.store} --port {{port}} --config {{config}}"
    command = [sys.executable, "-W", "ignore", str(folder / "check.py"), "run", "--start", server, "--kind", arguments.kind, "--needs", arguments.needs]
    return subprocess.run([*command, *(["--min", FLOORS] if arguments.gate else [])], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
