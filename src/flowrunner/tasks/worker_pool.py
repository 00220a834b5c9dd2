"""A bounded pool of worker processes for Python handlers: started when needed, kept, killed as a group.

A worker serves the handlers of one file. At most `size` run at once; an idle one of another file makes room. Cancelling
a call kills its worker with everything it started (one process group), so that the work has really stopped. A worker
gets no descriptor and no environment of the server's beyond the few names of `_PASSED` (reliability S20: no credential
of a store reaches a handler); it is trusted code in a separate process, not a sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson

from flowrunner.jsonvalue import JSONObject
from flowrunner.ports.tasks import begin
from flowrunner.tasks.secrecy import exposed
from flowrunner.vault.scrub import scrubber_of

DEFAULT_SIZE = 16  # processes
MAX_REPLY_BYTES = 64 * 1024 * 1024  # a reply line: a result of MAX_RESULT_BYTES with its quotes escaped fits in
_LOG_CHUNK_BYTES = 64 * 1024
_PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROGRAM = Path(__file__).with_name("function_worker.py")
_log = logging.getLogger(__name__)
_Key = tuple[Path, tuple[tuple[str, str], ...]]


class WorkerExited(Exception):
    """The worker ended during a call; the message is Lambda's wording of how."""


class _Worker:
    def __init__(self, key: _Key, process: Process) -> None:
        self.key = key
        self._process = process
        self._exposed: frozenset[str] = frozenset()  # secrets it has been given: what it prints may come at any time later
        self._log = asyncio.create_task(self._pass_on(), name=f"log of worker {process.pid}")

    @classmethod
    async def start(cls, key: _Key) -> _Worker:
        file, environment = key
        passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-u", str(_PROGRAM),
            stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=file.parent, env=passed | dict(environment), start_new_session=True, limit=MAX_REPLY_BYTES,
        )  # fmt: skip
        return cls(key, process)

    def hide(self, values: frozenset[str]) -> None:
        """Show none of these in what it prints from now on."""
        self._exposed |= values

    async def ask(self, line: bytes) -> JSONObject:
        """Send a request, wait for its reply. Raises WorkerExited."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101 - piped above
        assert stdout is not None  # noqa: S101
        with contextlib.suppress(ConnectionError):
            stdin.write(line)
            await stdin.drain()
        reply = await stdout.readline()
        if not reply.endswith(b"\n"):
            code = await self._process.wait()
            raise WorkerExited(f"exit status {code}" if code >= 0 else f"signal: {signal.Signals(-code).name.removeprefix('SIG').lower()}")
        return orjson.loads(reply)  # type: ignore[no-any-return]

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def kill(self) -> None:
        """Kill the process group and wait for the process; the signal is sent before the first await."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._log.cancel()
        await asyncio.wait([self._log])
        # Something that left the group may still hold the pipes: they are closed here, not by its end.
        self._process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio has no public way

    async def _pass_on(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None  # noqa: S101 - piped above
        rest = b""
        try:
            while chunk := await stderr.read(_LOG_CHUNK_BYTES):
                whole, newline, rest = (rest + chunk).rpartition(b"\n")
                if len(rest) > _LOG_CHUNK_BYTES:  # a line without end
                    whole, newline, rest = whole + newline + rest, b"", b""
                self._print(whole + newline)
        finally:
            self._print(rest)

    def _print(self, lines: bytes) -> None:
        shown = scrubber_of(self._exposed).bytes(lines) if self._exposed and lines else lines
        for line in shown.decode("utf-8", "replace").splitlines():
            _log.info("%s: %s", self.key[0].name, line)


class WorkerPool:
    """The processes; `start` gives their end to an exit stack."""

    def __init__(self, size: int = DEFAULT_SIZE) -> None:
        self.size = size
        self._places = asyncio.Semaphore(size)
        self._idle: dict[_Worker, None] = {}  # oldest first
        self._busy: set[_Worker] = set()
        self._spawned = 0  # workers there are or are being started
        self._closed = False

    async def start(self, stack: AsyncExitStack) -> None:
        """Nothing runs yet; at the end of `stack` every worker is killed."""
        stack.push_async_callback(self.close)

    async def close(self) -> None:
        """Kill every worker; calls that are still running are cancelled, for nobody knows how they would have ended."""
        self._closed = True
        workers = [*self._idle, *self._busy]
        self._idle.clear()
        self._spawned -= len(workers) - len(self._busy)
        await asyncio.gather(*(worker.kill() for worker in workers))

    async def call(self, file: Path, environment: Mapping[str, str], request: Mapping[str, Any], seconds: float | None = None) -> JSONObject:
        """Run one request in a worker for `file`, give its reply (see ``function_worker``).

        Waits for a place. Raises WorkerExited; AttemptLost; TimeoutError after `seconds` in the handler. Cancelled or timed out, the
        worker is killed first.
        """
        line = orjson.dumps(request) + b"\n"
        key = (file, tuple(sorted(environment.items())))
        async with self._places:
            while True:
                if self._closed:
                    raise asyncio.CancelledError
                worker = await self._take(key)
                worker.hide(exposed())
                keep = True  # nothing has been asked of it yet
                self._busy.add(worker)
                try:
                    await begin()
                    keep = False
                    async with asyncio.timeout(seconds):
                        reply = await worker.ask(line)
                    keep = not reply.pop("retire", False) and "stale" not in reply
                except WorkerExited:
                    if self._closed:
                        raise asyncio.CancelledError from None
                    raise
                finally:
                    self._busy.discard(worker)
                    if keep and worker.alive and not self._closed:
                        self._idle[worker] = None
                    else:
                        self._spawned -= 1
                        await asyncio.shield(worker.kill())
                if "stale" not in reply:
                    return reply

    async def _take(self, key: _Key) -> _Worker:
        while worker := next((one for one in reversed(self._idle) if one.key == key), None):
            del self._idle[worker]
            if worker.alive:
                return worker
            await self._drop(worker)
        if self._spawned >= self.size:  # every other place is idle: the oldest makes room
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            await self._drop(oldest)
        self._spawned += 1
        try:
            return await _Worker.start(key)
        except BaseException:
            self._spawned -= 1
            raise

    async def _drop(self, worker: _Worker) -> None:
        self._spawned -= 1
        await asyncio.shield(worker.kill())
