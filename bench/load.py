"""Load on a server from a process of its own: ``wrk`` where it is installed, else ``client.py``; and plain single calls."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from process import BenchError

CLIENT = Path(__file__).with_name("client.py")
CALL_SECONDS = 120.0
WRK_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True)
class Load:
    """What the load generator saw: answers, seconds, and the latency of one answer in seconds."""

    answered: int
    seconds: float
    p50: float
    p99: float


def call(port: int, operation: str, *, token: str = "", **request: Any) -> dict[str, Any]:
    """One operation of the AWS API, with an API token if there is one; raises BenchError for an error answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CALL_SECONDS)
    try:
        headers = {"X-Amz-Target": f"AWSStepFunctions.{operation}", "Content-Type": "application/x-amz-json-1.0"} | (
            {"Authorization": f"Bearer {token}"} if token else {}
        )
        connection.request("POST", "/", json.dumps(request), headers)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise BenchError(f"{operation}: {answer.status} {body[:500]!r}")
    told: dict[str, Any] = json.loads(body)
    return told


def generator() -> str:
    """Which load generator will be used."""
    return "wrk" if shutil.which("wrk") else "client.py"


def load(port: int, body: str, *, connections: int, seconds: float, target: str = "StartExecution") -> Load:
    """Keep so many requests in flight for so long; raises BenchError if one is answered with an error."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return _by_client(port, body, target, connections=connections, seconds=seconds)
    return _by_wrk(wrk, port, body, target, connections=connections, seconds=seconds)


def _by_wrk(wrk: str, port: int, body: str, target: str, *, connections: int, seconds: float) -> Load:
    script = "\n".join(
        (
            'wrk.method = "POST"',
            f"wrk.body = [==[{body}]==]",
            'wrk.headers["Content-Type"] = "application/x-amz-json-1.0"',
            f'wrk.headers["X-Amz-Target"] = "AWSStepFunctions.{target}"',
        )
    )
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        amount = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
        text = subprocess.run([wrk, *amount, "--latency", "-s", file.name, f"http://127.0.0.1:{port}/"], check=True, capture_output=True, text=True).stdout
    wrong = re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", text)
    if wrong:
        raise BenchError(f"wrk: {wrong.group()}")
    done = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
    shares = {share: float(value) * WRK_UNITS[unit] for share, value, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s|m)", text)}
    if done is None or len(shares) != 2:
        raise BenchError(f"wrk printed something else: {text}")
    return Load(int(done[1]), float(done[2]) * WRK_UNITS[done[3]], shares["50"], shares["99"])


def load_as(port: int, body: str, caller: dict[str, Any], *, connections: int, seconds: float) -> Load:
    """Starts by a caller with credentials: `caller` has ``headers`` or ``keys`` (see client.py); each has an input of its own."""
    return _by_client(port, body, "StartExecution", connections=connections, seconds=seconds, numbered=True, **caller)


def _by_client(port: int, body: str, target: str, *, connections: int, seconds: float, **caller: Any) -> Load:
    told = _client(["load", str(port), str(connections), str(seconds)], {"target": target, "body": body, **caller})
    if told["failures"]:
        raise BenchError(f"{len(told['failures'])} requests failed, the first with {told['failures'][0]}")
    return Load(told["answered"], told["seconds"], percentile(told["latencies"], 50), percentile(told["latencies"], 99))


def lone(port: int, body: str, *, samples: int, observe: bool) -> tuple[list[float], list[float]]:
    """One execution at a time: seconds until each was answered, and until each was seen ended (empty without `observe`)."""
    told = _client(["lone", str(port), str(samples)], {"target": "StartExecution", "body": body, "observe": observe})
    return told["started"], told["ended"]


def _client(arguments: list[str], given: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run([sys.executable, str(CLIENT), *arguments], input=json.dumps(given), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"The load generator failed: {done.stderr[-1000:]}")
    try:
        told: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise BenchError(f"The load generator's {len(done.stdout)} characters are no JSON: {error}; {done.stderr[-500:]}") from None
    return told


def percentile(values: list[float], share: int) -> float:
    """The value that `share` percent of the values do not pass."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)]
