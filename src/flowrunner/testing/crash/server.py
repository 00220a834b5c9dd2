"""Real servers to be killed: each a process of ``flowrunner serve --dev`` on loopback, in a folder of its own.

async with Nursery() as nursery:
    server = Server(nursery, folder, store="sqlite:////tmp/a.db", configuration=flows.configuration(book.at))
    await server.start(crash_at="before_commit:3")
    ...
    await server.gone()          # it has killed itself
    await server.start()         # the same folder, store and port
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from flowrunner.client import Client
from flowrunner.engine.points import VARIABLE
from flowrunner.testing.ports import quiet_port

SECONDS_TO_START = 60.0
SECONDS_TO_STOP = 30.0
LOOK_SECONDS = 0.02
MASTER_KEY = "00" * 32  # of all servers on one store
LEASE_SECONDS = 1.5  # of the servers under test: a takeover is to be seen soon


def _http() -> httpx.AsyncClient:
    """A client for a server without TLS, which loads no certificates: that would take as long as a look at the server."""
    return httpx.AsyncClient(trust_env=False, verify=False, timeout=10)  # noqa: S501 - there is nothing to verify


class ServerDied(Exception):
    """The server ended when it should not have; the message has the end of its log."""


class Nursery:
    """Starts processes of servers by forking one that has everything loaded; `prepare` (MODULE:FUNCTION) runs first in each."""

    def __init__(self, prepare: str = "") -> None:
        self._prepare = prepare
        self._process: asyncio.subprocess.Process | None = None
        self._born: asyncio.Queue[int] = asyncio.Queue()
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Load; returns when it can fork."""
        command = [sys.executable, "-m", "flowrunner.testing.crash.nursery", *([self._prepare] if self._prepare else [])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, env=environment, start_new_session=True)
        assert self._process.stdout is not None
        assert json.loads(await self._process.stdout.readline())["ready"]
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End it, and with it whatever it has forked."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._reading is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reading
        for end in self._ends.values():
            if not end.done():
                end.set_result(-signal.SIGKILL)  # it went with the nursery

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            if "status" in told:
                self._end_of(told["pid"]).set_result(told["status"])
            else:
                self._born.put_nowait(told["pid"])

    def _end_of(self, pid: int) -> asyncio.Future[int]:
        return self._ends.setdefault(pid, asyncio.get_running_loop().create_future())

    async def fork(self, *, arguments: list[str], environment: dict[str, str], folder: Path, log: Path) -> tuple[int, asyncio.Future[int]]:
        """A process that runs this command line; its id, and its end."""
        assert self._process is not None
        assert self._process.stdin is not None
        order = {"arguments": arguments, "environment": environment, "folder": str(folder), "log": str(log)}
        async with self._one_at_a_time:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            pid = await self._born.get()
        return pid, self._end_of(pid)


class Server:
    """One server, and what it is started with; `port` stays the same over restarts."""

    def __init__(self, nursery: Nursery, folder: Path, *, store: str, configuration: str, lease_seconds: float = LEASE_SECONDS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.store = store
        self.port = quiet_port()
        self.log = folder / "server.log"
        self._config = folder / "flowrunner.toml"
        self._config.write_text(configuration, encoding="utf-8")
        self._nursery = nursery
        self._lease_seconds = lease_seconds
        self._pid = 0
        self._was_ready = False
        self._paused = False
        self._end: asyncio.Future[int] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process."""
        return self._pid

    def client(self) -> Client:
        """The product's own client of it."""
        return Client(self.url)

    async def start(self, *, crash_at: str = "", **environment: str) -> None:
        """Start it; returns when it is ready, or has killed itself at the crash point. Raises ServerDied."""
        await self.launch(crash_at=crash_at, **environment)
        if not await self.ready() and not crash_at:
            raise ServerDied(self.last_words())

    async def launch(self, *, crash_at: str = "", **environment: str) -> None:
        """Start it; returns at once."""
        assert not self.running, "it runs already"
        self._was_ready = False
        arguments = ["serve", "--dev", "--quiet", "--port", str(self.port), "--store", self.store, "--config", str(self._config)]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FLOWRUNNER_")}
        shared = {"FLOWRUNNER_MASTER_KEY": MASTER_KEY, "FLOWRUNNER_LEASE_SECONDS": str(self._lease_seconds)}
        told = shared | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        if crash_at:
            told[VARIABLE] = crash_at
        self._pid, self._end = await self._nursery.fork(arguments=arguments, environment=kept | told | environment, folder=self.folder, log=self.log)

    async def ready(self) -> bool:
        """Wait until it serves; False if it has ended instead. Raises TimeoutError."""
        async with asyncio.timeout(SECONDS_TO_START), _http() as http:
            while self.running:
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get(f"{self.url}/readyz")).status_code == 200:
                        self._was_ready = True
                        return True
                await asyncio.sleep(LOOK_SECONDS)
        return False

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._end is not None and not self._end.done()

    @property
    def serving(self) -> bool:
        """Whether it runs, is not paused and has been ready: whoever asks may expect an answer."""
        return self.running and self._was_ready and not self._paused

    async def gone(self) -> int:
        """Wait for its end: the exit code, or minus the signal."""
        assert self._end is not None
        return await asyncio.shield(self._end)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens if it has ended."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    async def kill(self) -> None:
        """``kill -9`` of the server alone: its function workers find out by themselves, as they must."""
        self.signal(signal.SIGKILL)
        await self.gone()

    def pause(self) -> None:
        """SIGSTOP."""
        self._paused = True
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._paused = False
        self.signal(signal.SIGCONT)

    async def terminate(self) -> int:
        """SIGTERM: its exit code, once it has ended."""
        self.signal(signal.SIGTERM)
        async with asyncio.timeout(SECONDS_TO_STOP):
            return await self.gone()

    async def close(self) -> None:
        """End what still runs."""
        if self.running:
            self.go_on()
            await self.kill()

    def last_words(self, lines: int = 30) -> str:
        """The end of its log."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    async def samples(self) -> dict[str, Any]:
        """Its metrics, by name with labels."""
        async with _http() as http:
            text = (await http.get(f"{self.url}/metrics")).text
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))}
