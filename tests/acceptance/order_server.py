"""A real server process on a file, with the order example's functions and a ledger outside of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
import tomllib
from collections import Counter
from pathlib import Path

import httpx

import forked
from flowrunner.client import Client

EXAMPLE = Path(__file__).parents[2] / "examples" / "order_processing"
FUNCTIONS = tomllib.loads((EXAMPLE / "flowrunner.toml").read_text(encoding="utf-8"))["functions"]
IDEMPOTENT = {name for name, function in FUNCTIONS.items() if isinstance(function, dict) and function.get("idempotent")}
ROLE = "arn:aws:iam::000000000000:role/flowrunner"
LONGEST_SECONDS = 25.0  # for anything that is waited for
LOOK_SECONDS = 0.01


def until(holds, what):
    """Wait until something outside of this process holds; give what it gave."""
    end = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(LOOK_SECONDS)
    raise AssertionError(f"not within {LONGEST_SECONDS:g} seconds: {what}")


class OrderServer:
    """Starts, kills and asks a server; everything it makes is in one folder."""

    def __init__(self, folder, store=None):
        self.folder = folder
        self.store = store or f"sqlite:///{folder}/flowrunner.db"
        self.ledger_file = folder / "ledger.jsonl"
        self.process = None
        self._port = 0
        self._http = httpx.Client(trust_env=False, verify=False, timeout=10)
        self._configure()

    def _configure(self):
        """The example's own configuration, with a place for the ledger: handlers get nothing of the server's environment."""
        table = ["[functions]"]
        for name, function in FUNCTIONS.items():
            handler = function["handler"] if isinstance(function, dict) else function
            environment = f"{{ ORDER_LEDGER = {json.dumps(str(self.ledger_file))} }}"
            table.append(
                f"{name} = {{ handler = {json.dumps(f'{EXAMPLE}/{handler}')}, idempotent = {str(name in IDEMPOTENT).lower()}, environment = {environment} }}"
            )
        (self.folder / "flowrunner.toml").write_text("\n".join(table) + "\n", encoding="utf-8")

    # --- the process

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}"

    def start(self, **environment):
        """Start, and wait until it is ready."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        command = [
            "serve", "--dev", "--quiet", "--port", str(self._port),
            "--store", self.store, "--config", str(self.folder / "flowrunner.toml"),
        ]  # fmt: skip
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FLOWRUNNER_")}
        with (self.folder / "server.log").open("ab") as log:
            self.process = forked.Forked(*command, stdout=log, stderr=log, cwd=self.folder, env=kept | environment)
        until(self._is_ready, "the server is ready")

    def _is_ready(self):
        assert self.process.poll() is None, (self.folder / "server.log").read_text()
        with contextlib.suppress(httpx.TransportError):
            return self._http.get(f"{self.url}/readyz").status_code == 200
        return False

    def kill(self):
        """``kill -9`` of the server's process group."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(LONGEST_SECONDS)

    def terminate(self):
        """SIGTERM: its exit code, once it has ended."""
        self.process.terminate()
        return self.process.wait(LONGEST_SECONDS)

    def close(self):
        """End what still runs."""
        self._http.close()
        if self.process is not None and self.process.poll() is None:
            self.kill()

    # --- asking

    def client(self):
        """The product's own client."""
        return Client(self.url)

    def call(self, operation, **parameters):
        """An AWS operation that must succeed."""
        headers = {
            "x-amz-target": f"AWSStepFunctions.{operation}",
            "content-type": "application/x-amz-json-1.0",
            "authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/states/aws4_request, SignedHeaders=host, Signature=none",
        }
        answer = self._http.post(self.url, content=json.dumps(parameters), headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def machine(self, name, definition):
        """Create a machine: its ARN."""
        return self.call("CreateStateMachine", name=name, definition=definition, roleArn=ROLE)["stateMachineArn"]

    def order(self, **simulate):
        """Start an order: its ARN."""
        machine = self.machine("order_processing", (EXAMPLE / "order_processing.asl.json").read_text(encoding="utf-8"))
        given = json.loads((EXAMPLE / "input.json").read_text(encoding="utf-8")) | {"simulate": simulate}
        return self.call("StartExecution", stateMachineArn=machine, name="order", input=json.dumps(given))["executionArn"]

    def history(self, execution):
        """Every event (the runs here have fewer than a page of them)."""
        return self.call("GetExecutionHistory", executionArn=execution, maxResults=1000)["events"]

    def ended(self, execution):
        """Wait for the end: what DescribeExecution says."""

        def look():
            found = self.call("DescribeExecution", executionArn=execution)
            return found if found["status"] != "RUNNING" else None

        return until(look, "the run has ended")

    # --- the outside truth

    def ledger(self):
        """What handlers have written; a line that is being written does not count yet."""
        if not self.ledger_file.exists():
            return []
        return [json.loads(line) for line in self.ledger_file.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]

    def began(self):
        """The functions that have begun, each as often as it has."""
        return Counter(line["function"] for line in self.ledger() if line["phase"] == "begin")

    def done(self):
        """The functions whose effect is done, each as often."""
        return Counter(line["function"] for line in self.ledger() if line["phase"] == "effect")


def attempts(history):
    """Attempts that the history says were started, by function."""
    functions = {
        event["id"]: json.loads(event["taskScheduledEventDetails"]["parameters"])["FunctionName"] for event in history if event["type"] == "TaskScheduled"
    }
    return Counter(functions[event["previousEventId"]] for event in history if event["type"] == "TaskStarted")


def failures(history):
    """(state, error) of each attempt that failed."""
    functions, found = {}, []
    for event in history:
        if event["type"] == "TaskScheduled":
            functions[event["id"]] = json.loads(event["taskScheduledEventDetails"]["parameters"])["FunctionName"]
        elif event["previousEventId"] in functions:
            functions[event["id"]] = functions[event["previousEventId"]]
            if event["type"] == "TaskFailed":
                found.append((functions[event["id"]], event["taskFailedEventDetails"]["error"]))
    return found
