"""Runs the two named flows on a store of yours: connects, makes what is missing, starts a server, watches every run over its socket.

python scripts/integration.py postgres|dynamodb|sqlite     exit code 0 when every run ended as it should

The store is told by the environment (FLOWRUNNER_POSTGRES_*, FLOWRUNNER_DYNAMODB_* or FLOWRUNNER_STORE); scripts/test_postgres_integration.sh
and scripts/test_dynamodb_integration.sh read it from .env.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import orjson
from websockets.asyncio.client import connect

from flowrunner.config import load, redacted
from flowrunner.errors import FlowRunnerError

ROOT = Path(__file__).resolve().parent.parent
COMPLEX, SIMPLE = ((ROOT / "examples" / name).read_text() for name in ("complex_flow.yaml", "simple_branching.yaml"))
SECRETS = {"API_KEY": "integration-api-key", "DB_PASSWORD": "integration-db-password"}
START_SECONDS = 60.0
RUN_SECONDS = 60.0  # as the sources' tests wait
CONCURRENT = 3
BRANCHES = {0: "high_success_handler", 1: "partial_success_handler", 2: "low_success_handler"}  # by the batches that fail
RATES = {0: 1.0, 1: 0.7, 2: 0.4}
UPDATES = range(7, 10)  # status messages of one run of the complex flow


class Problem(Exception):
    """Something that the person at the terminal can do something about."""


@dataclass
class Watched:
    """One run, as its socket told it."""

    execution: str
    updates: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def last(self) -> dict[str, Any]:
        """The newest status."""
        return self.updates[-1]

    @property
    def nodes(self) -> list[str]:
        """The nodes it was at, in order."""
        return list(dict.fromkeys(update["current_node"] for update in self.updates if update["current_node"]))

    @property
    def progress(self) -> list[float]:
        """Percent, in order."""
        return [update["progress"] for update in self.updates]


def main(given: list[str] | None = None) -> int:
    """Be the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", choices=["postgres", "dynamodb", "sqlite"], help="which store; where it is, the environment says")
    arguments = parser.parse_args(given)
    try:
        return asyncio.run(integrate(arguments.store))
    except (Problem, FlowRunnerError, httpx.HTTPError, OSError) as problem:
        print(f"FAILED: {problem}", file=sys.stderr)
        return 1


async def integrate(kind: str) -> int:
    """All of it; the exit code."""
    url = store_url(kind)
    say("1 of 4  connect", "a file of its own" if url is None else redacted(url))
    if kind == "postgres":
        await _database()
    with tempfile.TemporaryDirectory(prefix="flowrunner-integration-") as folder:
        async with server(url or f"sqlite:///{folder}/integration.db", Path(folder)) as address:
            say("2 of 4  start a server, which makes its tables", address)
            async with Account(address) as account:
                say("3 of 4  make an account with two secrets", account.name)
                say("4 of 4  run the flows")
                return summary([*await complex_flow(account), *await simple_flow(account)])


def store_url(kind: str) -> str | None:
    """The store that the environment names; None for a file of its own."""
    if kind == "sqlite":
        return os.environ.get("FLOWRUNNER_STORE")
    prefix = {"postgres": "postgresql://", "dynamodb": "dynamodb://"}[kind]
    named = {"FLOWRUNNER_STORE", "FLOWRUNNER_DATABASE_URL"} & os.environ.keys()
    if not named and any(name.startswith(f"FLOWRUNNER_{kind.upper()}_") for name in os.environ):
        os.environ["FLOWRUNNER_STORAGE_TYPE"] = kind  # one .env may have both stores: the script says which is meant
    store = load().store
    if not store.startswith(prefix):
        names = {"postgres": "FLOWRUNNER_POSTGRES_HOST, _PORT, _DATABASE, _USER and _PASSWORD", "dynamodb": "FLOWRUNNER_DYNAMODB_ENDPOINT and _REGION"}
        raise Problem(f"The environment names no {kind} store. Set {names[kind]} (in .env, or exported), or FLOWRUNNER_STORE={prefix}...")
    return store


async def _database() -> None:
    """Connect to PostgreSQL, and make the database if it is not there."""
    import asyncpg  # noqa: PLC0415 - an extra

    from flowrunner.stores.postgres.url import parse_address  # noqa: PLC0415 - as above

    address = parse_address(load().store)
    dsn = load().store.partition("?")[0]
    try:
        await (await asyncpg.connect(dsn)).close()
    except asyncpg.InvalidCatalogNameError:
        name = dsn.rsplit("/", 1)[1]
        connection = await asyncpg.connect(f"{dsn.rsplit('/', 1)[0]}/postgres")
        await connection.execute(f'CREATE DATABASE "{name}"')
        await connection.close()
        say("", f"made the database {name}")
    except (OSError, asyncpg.PostgresError) as error:
        raise Problem(f"PostgreSQL cannot be reached ({address}): {error}") from error


@contextlib.asynccontextmanager
async def server(store: str, folder: Path) -> AsyncIterator[str]:
    """A server on the store, in which anybody may make an account; its address."""
    environment = {**os.environ, "FLOWRUNNER_REGISTRATION": "open"}
    log = folder / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(  # noqa: ASYNC220 - it is only started here
            [sys.executable, "-m", "flowrunner", "serve", "--port", "0", "--store", store], cwd=ROOT, env=environment, stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while (found := re.search(r"listens on (\S+)", log.read_text())) is None or "Ctrl-C" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Problem(f"The server did not start: {log.read_text().strip()}")
            await asyncio.sleep(0.05)
        yield found[1]
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 30)


class Account:
    """A new account and its calls."""

    def __init__(self, address: str) -> None:
        self.name = f"integration-{os.urandom(4).hex()}"
        self.password = base64.urlsafe_b64encode(os.urandom(18)).decode()
        self.address = address
        self.http = httpx.AsyncClient(base_url=f"{address}/api/v1", auth=(self.name, self.password), trust_env=False, timeout=30)

    async def __aenter__(self) -> Self:
        made = await self.http.post("/accounts", json={"username": self.name, "password": self.password}, auth=None)  # type: ignore[arg-type]
        account = _good(made, 201)["id"]
        for name, value in SECRETS.items():
            _good(await self.http.post(f"/accounts/{account}/secrets/{name}", json={"value": value}), 201)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def flow(self, name: str, content: str) -> str:
        """Keep a flow; its id."""
        return str(_good(await self.http.post("/flows", json={"name": name, "content": content}), 201)["id"])

    async def watch(self, flow: str, given: dict[str, Any]) -> Watched:
        """Run a flow, and follow it over a socket to its end."""
        began = time.monotonic()
        credential = base64.b64encode(f"{self.name}:{self.password}".encode()).decode()
        socket = f"{self.address.replace('http', 'ws', 1)}/api/v1/ws"
        async with connect(socket, additional_headers={"Authorization": f"Basic {credential}"}, max_size=None) as messages:
            watched = Watched(_good(await self.http.post(f"/flows/{flow}/run", json={"input": given}), 201)["execution_id"])
            await messages.send(orjson.dumps({"type": "subscribe", "execution_id": watched.execution}).decode())
            async with asyncio.timeout(RUN_SECONDS):
                async for text in messages:
                    message = orjson.loads(text)
                    if message["type"] == "status":
                        watched.updates.append(message["status"])
                    elif message["type"] in ("complete", "error"):
                        break
        watched.seconds = time.monotonic() - began
        return watched

    async def status(self, execution: str) -> dict[str, Any]:
        """The final status by REST."""
        return _good(await self.http.get(f"/executions/{execution}"), 200)


def _good(answer: httpx.Response, status: int) -> dict[str, Any]:
    if answer.status_code != status:
        raise Problem(f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}: {answer.text[:500]}")
    found: dict[str, Any] = answer.json()
    return found


Line = tuple[str, Watched, list[str]]  # what was run, what was seen, what is wrong with it


async def complex_flow(account: Account) -> list[Line]:
    """Three runs at once, which lose 0, 1 and 2 of their four batches."""
    flow = await account.flow("complex", COMPLEX)
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(account.watch(flow, {"execution_number": number + 1, "fail_batches": number})) for number in range(CONCURRENT)]
    lines: list[Line] = []
    for number, run in enumerate(runs):
        watched = await run
        lines.append((f"complex flow, {number} of 4 batches fail", watched, _complex_faults(watched, await account.status(watched.execution), number)))
    return lines


def _complex_faults(watched: Watched, status: dict[str, Any], failed: int) -> list[str]:
    found = []
    results = status["results"]
    if status["status"] != "completed":
        return [f"it ended {status['status']}: {status.get('error')}"]
    if BRANCHES[failed] not in watched.nodes:
        found.append(f"it went by {watched.nodes}, not by {BRANCHES[failed]}")
    if abs(results["analyze_results"]["success_rate"] - RATES[failed]) > 1e-9:
        found.append(f"its success rate is {results['analyze_results']['success_rate']}, not {RATES[failed]}")
    if len(watched.updates) not in UPDATES:
        found.append(f"it had {len(watched.updates)} updates")
    if watched.progress != sorted(watched.progress) or watched.progress[-1] != 100:
        found.append(f"its progress was {watched.progress}")
    summed = results["final_summary"]["execution_summary"]["secrets"]
    if any(value != "********" for value in summed.values()) or any(secret in str(status) for secret in SECRETS.values()):
        found.append("a secret is missing, or shown")
    return found


async def simple_flow(account: Account) -> list[Line]:
    """One run of the simple flow."""
    flow = await account.flow("simple", SIMPLE)
    watched = await account.watch(flow, {})
    status = await account.status(watched.execution)
    found = [] if status["status"] == "completed" else [f"it ended {status['status']}: {status.get('error')}"]
    if status["flow_id"] != flow or watched.last["id"] != watched.execution:
        found.append("the ids do not match")
    category = status["results"].get("start", {}).get("category")
    if f"{category}_value_processor" not in watched.nodes:
        found.append(f"the category is {category}, but it went by {watched.nodes}")
    return [("simple branching", watched, found)]


def say(*parts: str) -> None:
    """Tell where it is."""
    print("  ".join(parts), flush=True)


def summary(lines: list[Line]) -> int:
    """Tell how each run went; 0 when all went well."""
    for name, watched, faults in lines:
        say(f"        {'FAILED' if faults else 'passed'}  {name}: {len(watched.updates)} updates in {watched.seconds:.1f} s, {' > '.join(watched.nodes)}")
        for fault in faults:
            say(f"                {fault}")
    failed = sum(bool(faults) for _, _, faults in lines)
    say(f"{len(lines) - failed} of {len(lines)} runs passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
