"""What credentials cost: W1 with an API token, and with Signature V4, beside W1 with ``--dev``, all in one run."""

from __future__ import annotations

import http.client
import json
import os
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from load import call, load_as
from process import BenchError, free_port, running, wait_for_port
from workloads import IN_FLIGHT, ROLE, W1_STATES, WARM_SECONDS, chain, counts, settle

GOALS = {"token": 0.8, "signed": 0.6}  # of W1 with --dev
WAYS = ("dev", *GOALS)
TOKEN_SECONDS = 10.0


def measure(folder: Path, how: str, *, seconds: float) -> dict[str, float]:
    """Executions/s and the server's CPU milliseconds for each, with this kind of caller (dev, token, signed)."""
    for part in [*folder.glob("auth.db*"), *folder.glob("master.key*")]:
        part.unlink()
    port, log = free_port(), folder / f"{how}.log"
    words = ["serve", "--quiet", "--port", str(port), "--store", f"sqlite:///{folder / 'auth.db'}?synchronous=full", *(["--dev"] if how == "dev" else [])]
    with running([sys.executable, "-m", "flowrunner", *words], log=log) as process:
        wait_for_port(port, process, log)
        token = "" if how == "dev" else _token(log)
        arn = call(port, "CreateStateMachine", token=token, name="w1", definition=json.dumps(chain(W1_STATES)), roleArn=ROLE)["stateMachineArn"]
        caller: dict[str, Any] = {"dev": {}, "token": {"headers": {"Authorization": f"Bearer {token}"}}, "signed": {}}[how]
        if how == "signed":
            caller = {"keys": _keys(port, token)}
        body = json.dumps({"stateMachineArn": arn, "input": "{}"})
        load_as(port, body, caller, connections=IN_FLIGHT, seconds=WARM_SECONDS)
        file = folder / "auth.db"
        settle(lambda: counts(file))
        before, there = process.usage(), counts(file)["SUCCEEDED"]
        done = load_as(port, body, caller, connections=IN_FLIGHT, seconds=seconds)
        late = settle(lambda: counts(file))
        used, machine = process.usage().since(before)
        by_status = counts(file)
        succeeded = by_status.pop("SUCCEEDED") - there
        if by_status or succeeded != done.answered:
            raise BenchError(f"{how}: {done.answered} executions were answered, {succeeded} succeeded in the store, others: {by_status}")
        return {
            "per_second": done.answered / (done.seconds + late),
            "cpu_ms": used / succeeded * 1000,
            "server_cores": used / done.seconds,
            "machine_cores": machine / done.seconds,
            "p99_ms": done.p99 * 1000,
        }


def compare(folder: Path, *, repetitions: int, seconds: float) -> dict[str, Any]:
    """Interleaved repetitions; ratios within each, then their medians. The load average is that of before, when nothing of this ran yet."""
    before = os.getloadavg()
    turns = [WAYS[turn % 3 :] + WAYS[: turn % 3] for turn in range(repetitions)]  # nobody is always first, or always last
    runs = [{how: measure(folder, how, seconds=seconds) for how in turn} for turn in turns]
    median = {how: {name: statistics.median(run[how][name] for run in runs) for name in runs[0][how]} for how in WAYS}
    ratios = {how: statistics.median(run[how]["per_second"] / run["dev"]["per_second"] for run in runs) for how in GOALS}
    by_cpu = {how: statistics.median(run["dev"]["cpu_ms"] / run[how]["cpu_ms"] for run in runs) for how in GOALS}
    missed = {how: goal for how, goal in GOALS.items() if ratios[how] < goal}
    loads = {"before": before, "after": os.getloadavg()}
    return {"runs": runs, "median": median, "ratios": ratios, "ratios_by_server_cpu": by_cpu, "goals": GOALS, "missed": missed, "load_average": loads}


def table(report: dict[str, Any]) -> str:
    """The report for people: medians of each kind of caller, then a line for each ratio."""
    lines = ["             W1/s   server ms   server cores   machine cores   p99 ms"]
    for how, found in report["median"].items():
        columns = f"{found['cpu_ms']:>11.3f} {found['server_cores']:>14.2f} {found['machine_cores']:>15.2f} {found['p99_ms']:>8.1f}"
        lines.append(f"{how:<8} {found['per_second']:>8,.0f} {columns}")
    for how, goal in GOALS.items():
        found, spread = report["ratios"][how], [run[how]["per_second"] / run["dev"]["per_second"] for run in report["runs"]]
        verdict = "BELOW" if how in report["missed"] else "ok"
        by_cpu = report["ratios_by_server_cpu"][how]
        lines.append(f"{how}/dev  {found:.2f} [{min(spread):.2f}..{max(spread):.2f}]   goal {goal}   {verdict}   by CPU of the server {by_cpu:.2f}")
    before, after = (" ".join(f"{value:.2f}" for value in report["load_average"][when]) for when in ("before", "after"))
    return "\n".join([*lines, f"load average {before} before, {after} after"])


def _token(log: Path) -> str:
    end = time.monotonic() + TOKEN_SECONDS
    while time.monotonic() < end:
        found = re.search(r"token +(flr_\w+)", log.read_text())
        if found is not None:
            return found[1]
        time.sleep(0.02)
    raise BenchError("The server told no token.")


def _keys(port: int, token: str) -> list[str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TOKEN_SECONDS)
    try:
        connection.request("POST", "/api/v1/accounts/me/access-keys", "{}", {"Authorization": f"Bearer {token}"})
        told = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return [told["id"], told["secret"]]
