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
from workloads import IN_FLIGHT, ROLE, W1_STATES, WARM_SECONDS, chain

GOALS = {"token": 0.8, "signed": 0.6}  # of W1 with --dev
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
        before = process.usage()
        done = load_as(port, body, caller, connections=IN_FLIGHT, seconds=seconds)
        used, _ = process.usage().since(before)
        return {"per_second": done.answered / done.seconds, "cpu_ms": used / done.answered * 1000}


def compare(folder: Path, *, repetitions: int, seconds: float) -> dict[str, Any]:
    """Interleaved repetitions; ratios within each, then their medians."""
    runs = [{how: measure(folder, how, seconds=seconds) for how in ("dev", "token", "signed")} for _ in range(repetitions)]
    ratios = {how: statistics.median(run[how]["per_second"] / run["dev"]["per_second"] for run in runs) for how in GOALS}
    by_cpu = {how: statistics.median(run["dev"]["cpu_ms"] / run[how]["cpu_ms"] for run in runs) for how in GOALS}
    missed = {how: goal for how, goal in GOALS.items() if ratios[how] < goal}
    return {"runs": runs, "ratios": ratios, "ratios_by_server_cpu": by_cpu, "goals": GOALS, "missed": missed, "load_average": os.getloadavg()}


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
