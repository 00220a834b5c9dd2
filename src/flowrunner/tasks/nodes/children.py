"""Programs that are started for an attempt: bounded in time and output, and gone afterwards with everything they started.

A program has a process group of its own, which is killed at its end. What has left the group is found by a mark in the environment that
it inherited (on Linux). Reliability S18.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import secrets
import shutil
import signal
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from flowrunner.limits import MIB

OUTPUT_BYTES = 1 * MIB  # of stdout, and of stderr
SEARCHED = "/usr/local/bin:/usr/bin:/bin"  # the child's PATH
MARK = "CHILD_OF_FLOWRUNNER"
_PROCESSES = Path("/proc")
_ROUNDS = 20  # of looking for what has left the group
_CLOSING_SECONDS = 2.0  # that a killed program and its pipes may take to end
_LIMITS = {"RLIMIT_CORE": 0, "RLIMIT_NOFILE": 1024, "RLIMIT_FSIZE": 1024 * MIB}


class TooMuchOutput(Exception):
    """A program wrote more than OUTPUT_BYTES; it has been killed."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: `code` is 128 and the number of the signal for one that a signal ended."""

    code: int
    stdout: bytes
    stderr: bytes


class _Attendant(asyncio.SubprocessProtocol):
    """Hears what a program writes and when it ends: its own end, not that of its pipes, which others may hold."""

    def __init__(self) -> None:
        self.outputs = {1: bytearray(), 2: bytearray()}
        self.over = asyncio.Event()  # it has ended, or has written too much
        self.gone = asyncio.Event()
        self.silent = asyncio.Event()  # both pipes have ended
        self._open = {1, 2}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """It wrote something."""
        if len(self.outputs[fd]) <= OUTPUT_BYTES:
            self.outputs[fd] += data
        if self.is_too_much:
            self.over.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """One of its pipes has ended."""
        del exc
        self._open.discard(fd)
        if not self._open:
            self.silent.set()

    def process_exited(self) -> None:
        """It has ended."""
        self.gone.set()
        self.over.set()

    @property
    def is_too_much(self) -> bool:
        return any(len(output) > OUTPUT_BYTES for output in self.outputs.values())


async def run_child(program: str, arguments: Sequence[str], *, seconds: float, folder: Path | None = None, stdin: bytes | None = None) -> Ended:
    """Start a program (an absolute path) without a shell and wait for its end. Without `folder` it has a new, empty one, removed afterwards.

    Raises TimeoutError, TooMuchOutput, OSError when it cannot be started. When this returns, raises or is cancelled, the program is gone.
    """
    mark = secrets.token_hex(16)
    environment = {"PATH": SEARCHED, "LANG": "C.UTF-8", MARK: mark}
    own = None if folder is not None else await asyncio.to_thread(tempfile.mkdtemp, prefix="flowrunner-")
    read = None if stdin is None else await asyncio.to_thread(_file_of, stdin)
    try:
        transport, attendant = await asyncio.get_running_loop().subprocess_exec(
            _Attendant, program, *arguments,
            stdin=DEVNULL if read is None else read, stdout=PIPE, stderr=PIPE, cwd=own or folder, env=environment, start_new_session=True,
        )  # fmt: skip
        return await _attended(transport, attendant, mark, seconds)
    finally:
        if read is not None:
            read.close()
        if own is not None:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, own, ignore_errors=True))


def _file_of(content: bytes) -> IO[bytes]:
    """A file without a name to read from: a program that does not read it holds nobody up."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(content)
    file.seek(0)
    return file


async def _attended(transport: asyncio.SubprocessTransport, attendant: _Attendant, mark: str, seconds: float) -> Ended:
    _limit(transport.get_pid())
    try:
        async with asyncio.timeout(seconds):
            await attendant.over.wait()
    finally:
        await asyncio.shield(_clear(transport, attendant, mark))
    if attendant.is_too_much:
        raise TooMuchOutput
    code = transport.get_returncode() or 0
    return Ended(code if code >= 0 else 128 - code, bytes(attendant.outputs[1]), bytes(attendant.outputs[2]))


async def _clear(transport: asyncio.SubprocessTransport, attendant: _Attendant, mark: str) -> None:
    """Kill all of it; wait until it has ended, and until what it wrote has come."""
    await _kill(transport.get_pid(), mark)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSING_SECONDS):
            await attendant.gone.wait()
            if not attendant.is_too_much:
                await attendant.silent.wait()
    transport.close()


async def _kill(pid: int, mark: str) -> None:
    """Kill the group (the signal is sent before the first await), then whatever carries the mark, until nothing does."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    await asyncio.to_thread(_kill_marked, f"{MARK}={mark}".encode())


async def end_marked(mark: str) -> None:
    """Kill every program that has MARK with this value in its environment: what others started and left behind."""
    await asyncio.shield(asyncio.to_thread(_kill_marked, f"{MARK}={mark}".encode()))


def _kill_marked(mark: bytes) -> None:
    if not _PROCESSES.is_dir():
        return
    for _ in range(_ROUNDS):
        found = [int(entry.name) for entry in _PROCESSES.iterdir() if entry.name.isdigit() and _carries(entry, mark)]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _carries(entry: Path, mark: bytes) -> bool:
    try:
        return mark in (entry / "environ").read_bytes().split(b"\0")  # a zombie's is empty
    except OSError:
        return False


def _limit(pid: int) -> None:
    """Bounds that its children inherit, too; what the system does not know is left out."""
    if not hasattr(resource, "prlimit"):
        return
    for name, value in _LIMITS.items():
        with contextlib.suppress(OSError, ValueError):  # it may have ended
            hard = resource.prlimit(pid, getattr(resource, name))[1]
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.prlimit(pid, getattr(resource, name), (bound, bound))
