"""Server processes of a benchmark: start them, meter them from /proc, stop them. Linux only, loopback only."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
KIB = 1024
START_SECONDS = 30.0
STOP_SECONDS = 30.0


class BenchError(Exception):
    """A benchmark that cannot be believed, or not be run."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process tree has used so far, and the whole machine with it: CPU seconds."""

    own: float
    machine: float
    at: float

    def since(self, earlier: Usage) -> tuple[float, float]:
        """CPU seconds of the tree, and CPU seconds of everything on the machine, between the two readings."""
        return self.own - earlier.own, self.machine - earlier.machine


class Process:
    """A running process that a benchmark started."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._popen.poll() is not None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def usage(self) -> Usage:
        """CPU used until now."""
        return Usage(tree_seconds(self.pid), machine_seconds(), time.perf_counter())

    def memory(self) -> dict[str, float]:
        """Resident memory now and at its highest, MiB, and the number of threads."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        found = {key: int(value) for key, value in re.findall(r"^(VmRSS|VmHWM|Threads):\s+(\d+)", text, re.MULTILINE)}
        return {"rss_mib": found["VmRSS"] / KIB, "peak_mib": found["VmHWM"] / KIB, "threads": found["Threads"]}

    def stop(self) -> str:
        """End it with SIGTERM, SIGKILL if that takes too long; what it printed last."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
        try:
            printed, _ = self._popen.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            printed, _ = self._popen.communicate()
        return printed or ""


@contextlib.contextmanager
def running(command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None) -> Iterator[Process]:
    """Run a command until the block ends; its stderr goes to `log`."""
    with log.open("w") as errors:
        popen = subprocess.Popen(list(command), stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, **(environment or {})})
    process = Process(popen)
    try:
        yield process
    finally:
        process.stop()


@contextlib.contextmanager
def flowrunner(store: str, log: Path, *, command: Sequence[str] | None = None) -> Iterator[tuple[Process, int]]:
    """``flowrunner serve --dev`` on a free loopback port with that store URL: the process and its port."""
    port = free_port()
    serve = [*(command or (sys.executable, "-m", "flowrunner")), "serve", "--dev", "--quiet", "--port", str(port), "--store", store]
    with running(serve, log=log) as process:
        wait_for_port(port, process, log)
        yield process, port


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: Process, log: Path) -> None:
    """Return once something listens on the port; raises BenchError if the process ends first or takes too long."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.ended:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise BenchError(f"The server did not start: {log.read_text()[-2000:]}")


def tree_seconds(root: int) -> float:
    """CPU seconds of a process and its living descendants."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            parents[int(folder.name)] = int(fields[1])
            ticks[int(folder.name)] = sum(map(int, fields[11:15]))
    total = 0
    for pid, used in ticks.items():
        ancestor = pid
        while ancestor not in (root, 0):
            ancestor = parents.get(ancestor, 0)
        total += used if ancestor == root else 0
    return total / TICKS_PER_SECOND


def machine_seconds() -> float:
    """CPU seconds that anybody on this machine has used since it started, time stolen by its host included."""
    with Path("/proc/stat").open() as file:
        user, nice, system, _idle, _waiting, *rest = map(int, file.readline().split()[1:9])
    return (user + nice + system + sum(rest)) / TICKS_PER_SECOND
