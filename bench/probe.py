"""What throughput hides: how long the event loop is held, what a waiting execution costs, how many waits may come due at once.

python bench/probe.py lag [w1|w3|first-w3|map ...]    callbacks longer than 5 ms, and where
python bench/probe.py waits [--number 10000] memory of executions that wait, seconds until all that are due at once have ended
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from load import call, load
from process import BenchError, flowrunner
from workloads import IN_FLIGHT, chain, counts, create

WATCHED = (sys.executable, str(Path(__file__).with_name("watched.py")))
ITEMS = 10_000
KIB = 1024
FAR_SECONDS = 86_400
PATIENCE_SECONDS = 60.0


def fan_out() -> dict[str, Any]:
    """A Map over `$.items`, one Pass state each."""
    item = {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
    return {"StartAt": "M", "States": {"M": {"Type": "Map", "ItemsPath": "$.items", "ItemProcessor": item, "End": True}}}


def run_to_end(port: int, arn: str, given: str = "{}") -> float:
    """Start one execution and wait for its end, seconds; raises BenchError unless it succeeds."""
    began = time.perf_counter()
    execution = call(port, "StartExecution", stateMachineArn=arn, input=given)["executionArn"]
    while (told := call(port, "DescribeExecution", executionArn=execution, includedData="METADATA_ONLY"))["status"] == "RUNNING":
        time.sleep(0.02)
    if told["status"] != "SUCCEEDED":
        raise BenchError(f"{execution} ended {told['status']}: {told.get('error')} {told.get('cause')}")
    return time.perf_counter() - began


def lag(folder: Path, workload: str) -> dict[str, Any]:
    """The longest callbacks of one workload."""
    report, config = folder / f"{workload}.json", folder / "flowrunner.toml"
    config.write_text('limits = "open"\n')  # a Map over 10,000 items has more events than AWS allows
    os.environ["FLOWRUNNER_CALLBACKS"] = str(report)
    with contextlib.chdir(folder), flowrunner(f"sqlite:///{folder / workload}.db", folder / "log", command=WATCHED) as (process, port):
        if workload == "w1":
            body = json.dumps({"stateMachineArn": create(port, "w1", chain(5)), "input": "{}"})
            load(port, body, connections=IN_FLIGHT, seconds=1)
            os.kill(process.pid, signal.SIGUSR1)
            told = {"executions_per_second": (done := load(port, body, connections=IN_FLIGHT, seconds=5)).answered / done.seconds}
        else:
            arn = create(port, workload, fan_out() if workload == "map" else chain(3000))
            given = json.dumps({"items": list(range(ITEMS))}) if workload == "map" else "{}"
            if workload == "w3":  # first-w3 is the same, but the first start of the machine counts too
                run_to_end(port, arn, given)
            os.kill(process.pid, signal.SIGUSR1)
            told = {"seconds": run_to_end(port, arn, given), **process.memory()}
    return {**told, **json.loads(report.read_text())}


def waits(folder: Path, number: int) -> dict[str, Any]:
    """Memory of so many executions that wait for long, then of as many that all come due at one moment."""
    file = folder / "waits.db"
    with flowrunner(f"sqlite:///{file}", folder / "log") as (process, port):
        far = create(port, "far", {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": FAR_SECONDS, "End": True}}})
        w1 = create(port, "w1", chain(5))
        load(port, json.dumps({"stateMachineArn": w1}), connections=IN_FLIGHT, seconds=3)  # caches of the store are full now
        warm = process.memory()
        _start(port, far, {}, number)
        time.sleep(1)  # wrk hangs up on the last ones; they start all the same
        full = process.memory()
        waiting = counts(file)["RUNNING"]
        due = time.time() + max(5.0, number / 800)
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(due))
        near = create(port, "near", {"StartAt": "W", "States": {"W": {"Type": "Wait", "TimestampPath": "$.at", "End": True}}})
        _start(port, near, {"at": moment}, number)
        early = int(due) - time.time()
        time.sleep(1)
        started = counts(file)["RUNNING"] - waiting
        idle = process.usage()
        time.sleep(max(0.0, int(due) - time.time()))
        woken = process.usage()
        while counts(file)["RUNNING"] > waiting:
            if time.time() > due + PATIENCE_SECONDS:
                raise BenchError(f"Waits still run after {PATIENCE_SECONDS} s: {counts(file)}, of which {waiting} are not due")
            time.sleep(0.05)
        took = time.time() - int(due)
        used = process.usage()
        memory = process.memory()
    return {
        "waiting": waiting,
        "kib_per_waiting_execution": (full["rss_mib"] - warm["rss_mib"]) * KIB / waiting,
        "rss_mib": {"warm": warm["rss_mib"], "waiting": full["rss_mib"], "end": memory["rss_mib"], "peak": memory["peak_mib"]},
        "threads": memory["threads"],
        "due_at_once": started,
        "seconds_before_due_when_all_were_started": early,
        "cpu_seconds_while_all_only_waited": woken.since(idle)[0],
        "seconds_until_all_had_ended": took,
        "ends_per_second": started / took,
        "cpu_ms_per_end": used.since(woken)[0] / started * 1000,
    }


def _start(port: int, arn: str, given: dict[str, Any], number: int) -> int:
    """Start at least so many executions; how many were answered."""
    started, body = 0, json.dumps({"stateMachineArn": arn, "input": json.dumps(given)})
    while started < number:
        started += load(port, body, connections=IN_FLIGHT, seconds=1).answered
    return started


def main() -> int:
    """Print what was found as JSON; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("what", choices=["lag", "waits"])
    parser.add_argument("workloads", nargs="*", default=["w1", "w3", "first-w3", "map"])
    parser.add_argument("--number", type=int, default=10_000, help="executions that wait (10,000)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flowrunner-bench-") as name:
        folder = Path(name)
        found = waits(folder, arguments.number) if arguments.what == "waits" else {workload: lag(folder, workload) for workload in arguments.workloads}
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
