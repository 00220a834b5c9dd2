"""The limit and the peer beside which FlowRunner is measured: ``ceiling.py`` and DBOS, by the scripts of a folder beside the checkout.

Each is skipped aloud if it cannot be had; the numbers of FlowRunner alone stand then.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from load import load, lone, percentile
from process import BenchError, Process, free_port, running, wait_for_port
from workloads import IN_FLIGHT, MILLISECONDS, WARM_SECONDS, Numbers

CHECKOUT = Path(__file__).resolve().parent.parent
BODY = json.dumps({"stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:m", "input": "{}"})
DBOS_W1 = 100  # executions in each of the script's five repetitions: some 3 s
DBOS_W3 = 300  # steps in each of five
DBOS_LONE = 100
DBOS_REPETITIONS = 5
PEER_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Peers:
    """What is there to compare with. `skipped` says what is not, and how to get it."""

    ceiling: Path | None
    dbos: tuple[str, Path] | None  # interpreter, script
    skipped: tuple[str, ...]


def scripts() -> Path:
    """Where the scripts of the limit and the peers are."""
    return Path(os.environ.get("FLOWRUNNER_BENCH") or CHECKOUT.parent / "shared" / "bench")


def find(*, dbos: bool) -> Peers:
    """Look for the scripts and, with `dbos`, make the environment DBOS needs, in `.flowrunner/`."""
    skipped: list[str] = []
    ceiling = scripts() / "ceiling.py"
    if not ceiling.is_file():
        skipped.append(f"ceiling: no {ceiling.name} in {scripts()}; set FLOWRUNNER_BENCH to the folder that has it")
    found = script("dbos_bench.py", ("dbos",), "dbos", skipped) if dbos else None
    return Peers(ceiling if ceiling.is_file() else None, found, tuple(skipped))


def script(name: str, packages: tuple[str, ...], module: str, skipped: list[str]) -> tuple[str, Path] | None:
    """A peer's script and an interpreter whose environment has its packages; None, and why in `skipped`, if that cannot be had."""
    path = scripts() / name
    if not path.is_file():
        skipped.append(f"{module}: no {name} in {scripts()}; set FLOWRUNNER_BENCH to the folder that has it")
        return None
    try:
        return _interpreter(packages, module), path
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        skipped.append(f"{module}: it could not be installed ({reason[-1] if reason else type(error).__name__}); it needs: pip install {' '.join(packages)}")
        return None


def _interpreter(packages: tuple[str, ...], module: str) -> str:
    """The interpreter of an environment of a peer's own: its pins are never shared with ours."""
    home = CHECKOUT / ".flowrunner" / f"bench-{module}"
    interpreter = home / "bin" / "python"
    if not interpreter.exists():
        home.parent.mkdir(exist_ok=True)
        venv.create(home, with_pip=True)
    modules = ", ".join([module, *(name.partition("[")[0] for name in packages[1:])])
    check = [str(interpreter), "-c", f"import {modules}"]
    if subprocess.run(check, check=False, capture_output=True).returncode:
        print(f"installing {module} in an environment of its own ...", file=sys.stderr, flush=True)
        install = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        subprocess.run(install, check=True, capture_output=True, text=True, timeout=PEER_SECONDS)
        subprocess.run(check, check=True, capture_output=True, text=True)
    return str(interpreter)


def ceiling(script: Path, folder: Path, *, seconds: float, samples: int) -> Numbers:
    """The limit's W1: a row for each event, synchronous=FULL. Its lone latency is that of the answer only."""
    file, log, port = folder / "ceiling.db", folder / "ceiling.log", free_port()
    with running([sys.executable, str(script), str(port), str(file), "rows", "FULL"], log=log) as process:
        wait_for_port(port, process, log)
        found = _ceiling_w1(process, port, file, seconds)
        if samples:
            started, _ = lone(port, BODY, samples=samples, observe=False)
            found |= {"lone_start_p50_ms": percentile(started, 50) * MILLISECONDS, "lone_start_p99_ms": percentile(started, 99) * MILLISECONDS}
    return found


def _ceiling_w1(process: Process, port: int, file: Path, seconds: float) -> Numbers:
    load(port, BODY, connections=IN_FLIGHT, seconds=WARM_SECONDS)
    before, there = process.usage(), _ceiling_succeeded(file)
    done = load(port, BODY, connections=IN_FLIGHT, seconds=seconds)
    used, _ = process.usage().since(before)
    succeeded = _ceiling_succeeded(file) - there
    if succeeded < done.answered - 2 * IN_FLIGHT:  # its end follows in a later commit than its answer
        raise BenchError(f"ceiling: {done.answered} answered, {succeeded} in its store")
    return {
        "w1_per_second": done.answered / done.seconds,
        "w1_cpu_ms": used / done.answered * MILLISECONDS,
        "w1_p50_ms": done.p50 * MILLISECONDS,
        "w1_p99_ms": done.p99 * MILLISECONDS,
    }


def _ceiling_succeeded(file: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM ex WHERE status = 'SUCCEEDED'").fetchone()[0])


def dbos(interpreter: str, script: Path, folder: Path) -> Numbers:
    """DBOS on SQLite, inside its client's process, no HTTP in front. Its CPU counts its start too, 1 to 2 s spread over its executions."""
    run = (interpreter, script, folder)
    before = os.times()
    rates, _ = _dbos(run, "w1", DBOS_W1, r"([\d.]+) exec/s")
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    found = {"w1_per_second": statistics.median(rates), "w1_cpu_ms": used / (DBOS_W1 * DBOS_REPETITIONS) * MILLISECONDS}
    _, text = _dbos(run, "w1lat", DBOS_LONE, r"p50 ([\d.]+)")
    shares = re.search(r"p50 ([\d.]+) ms p99 ([\d.]+) ms", text)
    if shares is not None:
        found |= {"lone_end_p50_ms": float(shares[1]), "lone_end_p99_ms": float(shares[2])}
    steps, _ = _dbos(run, "w3", DBOS_W3, r"(\d+) steps/s")
    return found | {"w3_per_second": statistics.median(steps)}


def _dbos(run: tuple[str, Path, Path], workload: str, number: int, pattern: str) -> tuple[list[float], str]:
    interpreter, script, folder = run
    for part in folder.glob("dbos.db*"):
        part.unlink()
    command = [interpreter, str(script), f"sqlite:///{folder / 'dbos.db'}", workload, str(number), str(IN_FLIGHT)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PEER_SECONDS, env={**os.environ, "TMPDIR": str(folder)})
    values = [float(value) for value in re.findall(pattern, done.stdout)]
    if done.returncode or not values:
        raise BenchError(f"DBOS {workload}: exit {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
    return values, done.stdout
