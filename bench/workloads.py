"""W1 and W3 on ``flowrunner serve``. Every number is believed only if the store and the API agree that the work was done."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from load import call, load, lone, percentile
from process import BenchError, Process, flowrunner

ROLE = "arn:aws:iam::123456789012:role/bench"
W1_STATES = 5
IN_FLIGHT = 50
WARM_SECONDS = 1.0
SETTLE_SECONDS = 10.0
SAMPLED = 20  # executions whose history is read after a load
W3_RUNS = 5  # executions of one length in one repetition
PAGE = 1000
MILLISECONDS = 1000

Numbers = dict[str, float]


def chain(states: int) -> dict[str, Any]:
    """A machine of so many Pass states, one after the other."""
    last = states - 1
    following = [{"Next": f"S{place + 1}"} if place < last else {"End": True} for place in range(states)]
    return {"StartAt": "S0", "States": {f"S{place}": {"Type": "Pass", **following[place]} for place in range(states)}}


def create(port: int, name: str, definition: dict[str, Any]) -> str:
    """Create a state machine; its ARN."""
    return str(call(port, "CreateStateMachine", name=name, definition=json.dumps(definition), roleArn=ROLE)["stateMachineArn"])


def measure(folder: Path, *, seconds: float, samples: int, lengths: tuple[int, ...]) -> Numbers:
    """One repetition: W1, lone latency and W3 on a fresh server with a fresh file, SQLite with synchronous=FULL."""
    file = folder / "flowrunner.db"
    for part in folder.glob("flowrunner.db*"):
        part.unlink()
    with flowrunner(f"sqlite:///{file}?synchronous=full", folder / "flowrunner.log") as (process, port):
        found = {"start_rss_mib": process.memory()["rss_mib"]}
        found |= w1(process, port, lambda: counts(file), seconds)
        found["w1_bytes"] = sum(part.stat().st_size for part in file.parent.glob(file.name)) / counts(file)["SUCCEEDED"]
        if samples:
            found |= latency(port, samples)
        for states in lengths:
            found |= w3(process, port, states)
        found["peak_mib"] = process.memory()["peak_mib"]
    return found


def w1(process: Process, port: int, count: Callable[[], dict[str, int]], seconds: float) -> Numbers:
    """Executions/s of five Pass states at 50 in flight, and the server's CPU milliseconds for each; `count` asks the store itself."""
    arn = create(port, "w1", chain(W1_STATES))
    body = json.dumps({"stateMachineArn": arn, "input": "{}"})
    load(port, body, connections=IN_FLIGHT, seconds=WARM_SECONDS)
    settle(count)
    before, there = process.usage(), count()["SUCCEEDED"]
    done = load(port, body, connections=IN_FLIGHT, seconds=seconds)
    late = settle(count)
    used, machine = process.usage().since(before)
    by_status = count()
    succeeded = by_status.pop("SUCCEEDED") - there
    if by_status or not done.answered <= succeeded <= done.answered + 2 * IN_FLIGHT:  # wrk hangs up on the last in flight, after warming too
        raise BenchError(f"{done.answered} executions were answered, {succeeded} succeeded in the store, others: {by_status}")
    check_histories(port, arn)
    return {
        "w1_per_second": done.answered / (done.seconds + late),
        "w1_cpu_ms": used / succeeded * MILLISECONDS,
        "w1_server_cores": used / done.seconds,
        "w1_machine_cores": machine / done.seconds,
        "w1_p50_ms": done.p50 * MILLISECONDS,
        "w1_p99_ms": done.p99 * MILLISECONDS,
        "w1_executions": succeeded,
        "w1_rss_mib": process.memory()["rss_mib"],
    }


def counts(file: Path) -> dict[str, int]:
    """How many executions of each status the store holds."""
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return {"SUCCEEDED": 0, **dict(connection.execute("SELECT status, count(*) FROM heads GROUP BY status"))}


def settle(count: Callable[[], dict[str, int]]) -> float:
    """Wait until nothing runs and nothing is added any more; seconds that executions still ran, 0 if none did at the first look."""
    began, end = time.monotonic(), time.monotonic() + SETTLE_SECONDS
    late, seen = 0.0, count()
    while True:
        time.sleep(0.05)
        now = count()
        if now == seen and not now.get("RUNNING"):
            return late
        if now.get("RUNNING"):
            late = time.monotonic() - began
        if time.monotonic() > end:
            raise BenchError(f"Executions still run {SETTLE_SECONDS} s after the load: {now}")
        seen = now


def check_histories(port: int, arn: str) -> None:
    """The newest executions are SUCCEEDED for DescribeExecution too, each with its whole history."""
    for listed in call(port, "ListExecutions", stateMachineArn=arn, maxResults=SAMPLED)["executions"]:
        execution = listed["executionArn"]
        status = call(port, "DescribeExecution", executionArn=execution)["status"]
        events = call(port, "GetExecutionHistory", executionArn=execution)["events"]
        if status != "SUCCEEDED" or [event["id"] for event in events] != list(range(1, 2 * W1_STATES + 3)) or events[-1]["type"] != "ExecutionSucceeded":
            raise BenchError(f"{execution} is {status} with {len(events)} events")


def latency(port: int, samples: int) -> Numbers:
    """One W1 execution at a time: milliseconds until StartExecution is answered, and until its end is observed."""
    arn = create(port, "lone", chain(W1_STATES))
    started, ended = lone(port, json.dumps({"stateMachineArn": arn, "input": "{}"}), samples=samples, observe=True)
    return {
        "lone_start_p50_ms": percentile(started, 50) * MILLISECONDS,
        "lone_start_p99_ms": percentile(started, 99) * MILLISECONDS,
        "lone_end_p50_ms": percentile(ended, 50) * MILLISECONDS,
        "lone_end_p99_ms": percentile(ended, 99) * MILLISECONDS,
    }


def w3(process: Process, port: int, states: int) -> Numbers:
    """Steps/s of one execution with so many Pass states: as the caller sees it, and by its timestamps.

    The first counts from before StartExecution to the answer of DescribeExecution that tells the end: it is never flattering.
    A timestamp is that of the beginning of the step it was recorded in, so the second leaves out the last of some steps.
    """
    arn = create(port, f"w3-{states}", chain(states))
    seen, told_rates, used = [], [], 0.0
    for _ in range(W3_RUNS):
        before, began = process.usage(), time.perf_counter()
        execution = call(port, "StartExecution", stateMachineArn=arn)["executionArn"]
        while (told := call(port, "DescribeExecution", executionArn=execution))["status"] == "RUNNING":
            time.sleep(0.002)
        seen.append(states / (time.perf_counter() - began))
        used += process.usage().since(before)[0]
        seconds = told["stopDate"] - told["startDate"]
        if told["status"] != "SUCCEEDED" or history_seconds(port, execution, states) > seconds + 0.002:
            raise BenchError(f"{execution} is {told['status']} after {seconds} s; its history tells otherwise")
        told_rates.append(states / max(seconds, 0.001))
    return {
        f"w3_{states}_per_second": statistics.median(seen),
        f"w3_{states}_by_timestamps_per_second": statistics.median(told_rates),
        f"w3_{states}_cpu_us": used / W3_RUNS / states * 1e6,
    }


def history_seconds(port: int, execution: str, states: int) -> float:
    """Seconds from the first event to the last; raises BenchError unless every event of the chain is there, in order."""
    events: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        page = call(port, "GetExecutionHistory", executionArn=execution, maxResults=PAGE, includeExecutionData=False, **token)
        events += page["events"]
        if not page.get("nextToken"):
            break
        token = {"nextToken": page["nextToken"]}
    if [event["id"] for event in events] != list(range(1, 2 * states + 3)):
        raise BenchError(f"{execution} has {len(events)} events, not {2 * states + 2} in order")
    return float(events[-1]["timestamp"]) - float(events[0]["timestamp"])
