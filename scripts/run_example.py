"""What ``make run`` does: a server on SQLite, the order example run on it and shown live, and what to type next.

The server stays until Ctrl-C; with ``--once`` everything ends after the run. Exit code 0 when the run SUCCEEDED (or was left with Ctrl-C).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson

from flowrunner.cli.output import RUN_ENDINGS
from flowrunner.client import Client
from flowrunner.errors import FlowRunnerError

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "order_processing"
STORE = "sqlite:///.flowrunner/flowrunner.db"
PORT = 8080
ROLE = "arn:aws:iam::000000000000:role/flowrunner"
START_SECONDS = 30.0  # for the server, on a slow machine with a large store
STOP_SECONDS = 30.0  # the server hands over what runs within 10
LOOK_SECONDS = 0.05
INTERRUPTED = 130


class Problem(Exception):
    """Something that the person at the terminal can do something about."""


def main() -> int:
    """Be the command."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    arguments = _arguments()
    try:
        order = arguments.input.read_text(encoding="utf-8")
        with _server(arguments.port, arguments.store) as (process, url):
            code, told = asyncio.run(_example(url, order, store=arguments.store, stays=not arguments.once))
            print(told, flush=True)  # only now: who reads it may press Ctrl-C, and a loop that is closing must not be interrupted
            if arguments.once:
                return code
            process.wait()
        print("make run: The server has ended by itself.", file=sys.stderr)
    except KeyboardInterrupt:
        print("Stopped. What had not ended goes on at the next start.", flush=True)
        return INTERRUPTED if arguments.once else 0
    except (Problem, FlowRunnerError, OSError) as problem:
        print(f"make run: {problem}", file=sys.stderr)
    return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make run", description="Start a server, run the order example on it, show it live.")
    parser.add_argument("--once", action="store_true", help="End after the run; the exit code tells whether it succeeded.")
    parser.add_argument("--store", default=os.environ.get("STORE") or STORE, metavar="URL", help=f"Where runs are kept ({STORE}).")
    parser.add_argument("--port", type=int, default=PORT, help=f"The server's port ({PORT}); a free one when it is taken.")
    parser.add_argument("--input", type=Path, default=EXAMPLE / "input.json", metavar="FILE", help="The order.")
    return parser.parse_args()


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


# --- the server


@contextlib.contextmanager
def _server(port: int, store: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server as a child process, ready; it is stopped gracefully at the end."""
    if store == STORE:
        Path(STORE.removeprefix("sqlite:///")).parent.mkdir(exist_ok=True)
    port = _free(port)
    url = f"http://127.0.0.1:{port}"
    command = [*_flowrunner(), "serve", "--dev", "--quiet", "--port", str(port), "--store", store, "--config", str(EXAMPLE / "flowrunner.toml")]
    # A session of its own: Ctrl-C reaches only this process, which then stops the server in its own time.
    environment = {"FLOWRUNNER_LOG_FORMAT": "text", "FLOWRUNNER_LOG_LEVEL": "warning", **os.environ}
    process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, env=environment)
    try:
        _wait_until_ready(process, url)
        print(f"FlowRunner listens on {url}, its store is {_without_password(store)}", flush=True)
        yield process, url
    finally:
        _stop(process)


def _flowrunner() -> list[str]:
    return [sys.executable, "-m", "flowrunner"]


def _free(wanted: int) -> int:
    """The wanted port, or a free one when somebody has it."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                print(f"Port {port} cannot be used ({error.strerror}): taking a free one.", flush=True)
                continue
            return int(probe.getsockname()[1])
    raise Problem("There is no free port on this machine.")


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + START_SECONDS
    with httpx.Client(trust_env=False, timeout=5) as client:
        while time.monotonic() < until:
            if process.poll() is not None:
                raise Problem("The server did not start; its reason stands above. Another store: make run STORE=sqlite:///other.db")
            with contextlib.suppress(httpx.TransportError):
                if client.get(f"{url}/readyz").status_code == 200:
                    return
            time.sleep(LOOK_SECONDS)
    raise Problem(f"The server was not ready after {START_SECONDS:g} seconds.")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let the server finish or hand over; a second Ctrl-C or a server that does not end is not waited for."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


def _without_password(store: str) -> str:
    before, at, after = store.rpartition("@")
    return store if not at else f"{before.partition('://')[0]}://...@{after}"


# --- the run


async def _example(url: str, order: str, *, store: str, stays: bool) -> tuple[int, str]:
    """Run the order and show it live; the exit code, and what to tell at the end."""
    definition = (EXAMPLE / "order_processing.asl.json").read_text(encoding="utf-8")
    async with Client(url) as client:
        machine = await client.register("order_processing", definition, role_arn=ROLE)
        started = await client.call("StartExecution", stateMachineArn=machine, input=order)
        execution = started["executionArn"]
        run = (await client.run(execution))["runId"]
        print(f"Registered {machine}\nStarted run {run}\n", flush=True)
        await _watch(run, url)
        outcome = await client.run(run)
    told = f"{_result(outcome)}\n{_next(url, run, execution) if stays else _again(store, run)}"
    return 0 if outcome["executionStatus"] == "SUCCEEDED" else 1, told


async def _watch(run: str, url: str) -> None:
    """Show the run as everybody can: with ``flowrunner watch``."""
    watching = await asyncio.create_subprocess_exec(*_flowrunner(), "watch", run, "--server", url, "--quiet")
    try:
        code = await watching.wait()
    finally:
        if watching.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                watching.terminate()
            await watching.wait()
    if code == 6:
        raise Problem("The server does not answer any more.")


def _result(outcome: dict[str, Any]) -> str:
    headline = f"\nThe run {RUN_ENDINGS[outcome['executionStatus']]} in {outcome.get('duration')} ms."
    if outcome["executionStatus"] != "SUCCEEDED":
        return f"{headline} {outcome.get('error') or ''}: {outcome.get('cause') or ''}"
    return f"{headline} Its output:\n{orjson.dumps(outcome.get('output'), option=orjson.OPT_INDENT_2).decode()}"


def _command() -> str:
    """How to type ``flowrunner`` in a terminal that stands where this one does."""
    here = Path(os.path.relpath(Path(sys.executable).with_name("flowrunner")))
    return shlex.quote(str(here))


def _next(url: str, run: str, execution: str) -> str:
    command = _command()
    server = "" if url == f"http://127.0.0.1:{PORT}" else f" --server {url}"
    example = os.path.relpath(EXAMPLE)
    return f"""
The server stays until Ctrl-C. In another terminal:
  {command} ls{server}
  {command} history {run}{server}
  eval "$({command} env{server})"    # then boto3, the AWS CLI and Terraform talk to it:
  aws stepfunctions describe-execution --execution-arn {execution}
  python -c 'import boto3; print(boto3.client("stepfunctions").list_state_machines()["stateMachines"])'
An order whose card is refused, and which is rolled back; here, without a server:
  {command} run {example}/order_processing.asl.json --config {example}/flowrunner.toml --input @{example}/declined.json --follow
"""


def _again(store: str, run: str) -> str:
    return f"""
The run is kept in {_without_password(store)}. To look at it: make run (without --once), then in another terminal
  {_command()} history {run}
"""


if __name__ == "__main__":
    sys.exit(main())
