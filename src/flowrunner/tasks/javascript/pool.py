"""A bounded pool of processes for scripts: started when needed, kept, killed when a script outlives its limits, and then replaced."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path

from flowrunner.errors import ConfigurationError
from flowrunner.tasks.javascript.turns import MOST_WAITING, Turns
from flowrunner.tasks.javascript.worker import ANSWER, OUT

DEFAULT_SIZE = 8  # processes, about 12 MiB each
_PROGRAM = Path(__file__).with_name("worker.py")
_GRACE = 2.0  # seconds: how much longer the server waits than the worker's own alarm
_START = 30.0  # seconds for a process to start
_MOST_FRAME = 4 * 1024 * 1024  # bytes besides the allowed output: what a worker may ever send

Answer = Callable[[bytes, bytes], Awaitable[bytes | None]]  # letter and content of a frame -> content of the answer, if it has one


class ScriptLost(Exception):
    """The process ended during a call. `timed_out`: by its alarm, or because it did not answer."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        self.timed_out = timed_out
        super().__init__(message)


class _Worker:
    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> _Worker:
        found = find_spec("_quickjs")
        if found is None or found.origin is None:
            raise ConfigurationError("Scripts need the package quickjs-ng.", remedy="Install it: pip install quickjs-ng.")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-B", str(_PROGRAM), str(Path(found.origin).parent),
            stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd="/", env={"TZ": "UTC", "LC_ALL": "C.UTF-8"}, start_new_session=True,
        )  # fmt: skip
        worker = cls(process)
        try:
            async with asyncio.timeout(_START):
                await worker._take(_MOST_FRAME)  # it says that it is ready
        except BaseException as error:
            await asyncio.shield(worker.kill())
            if isinstance(error, TimeoutError | ScriptLost):
                raise ConfigurationError("A process for scripts could not be started.", remedy="Look at the limits of this machine.") from None
            raise
        return worker

    async def ask(self, frame: bytes, seconds: float, most: int, answer: Answer) -> tuple[bytes, bytes]:
        """Send a call, answer what it asks, give its last frame (letter ``r`` or ``x``). Raises ScriptLost."""
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - piped above
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds + _GRACE
        with contextlib.suppress(ConnectionError):
            stdin.write(frame)
            await stdin.drain()
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    letter, content = await self._take(most + _MOST_FRAME)
            except TimeoutError:
                raise ScriptLost("no answer", timed_out=True) from None
            if letter in b"rx":
                return letter, content
            began = loop.time()
            given = await answer(letter, content)
            deadline += loop.time() - began
            if given is not None:
                with contextlib.suppress(ConnectionError):
                    stdin.write(ANSWER.pack(len(given)) + given)

    async def _take(self, most: int) -> tuple[bytes, bytes]:
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - piped above
        try:
            length, letter = OUT.unpack(await stdout.readexactly(OUT.size))
            if length > most:
                raise ScriptLost(f"a frame of {length} bytes")
            return letter, await stdout.readexactly(length)
        except asyncio.IncompleteReadError:
            code = await self._process.wait()
            raise ScriptLost(f"exit status {code}", timed_out=code == -signal.SIGALRM) from None

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def kill(self) -> None:
        """Kill the process and wait for it; the signal is sent before the first await."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


class ScriptPool:
    """The processes; `start` gives their end to an exit stack."""

    def __init__(self, size: int = DEFAULT_SIZE, most_waiting: int = MOST_WAITING) -> None:
        self.size = size
        self._turns = Turns(size, most_waiting)
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self, stack: AsyncExitStack) -> None:
        """Nothing runs yet; at the end of `stack` every process is killed."""
        stack.push_async_callback(self.close)

    async def close(self) -> None:
        """Kill every process; calls that still run are cancelled."""
        self._closed = True
        starting = list(self._starting)
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
        workers = [*self._idle, *self._busy]
        self._idle.clear()
        await asyncio.gather(*(worker.kill() for worker in workers))

    async def call(self, frame: bytes, *, account: str = "", seconds: float, most: int, answer: Answer) -> tuple[bytes, bytes]:
        """Run one call: wait for a place, which accounts share fairly, give the last frame. Raises ScriptLost, TooManyWaiting, ConfigurationError.

        Cancelled or failed, the process is killed first, and another one takes its place. `seconds` is the script's own time, `most` the
        bytes of its output.
        """
        async with self._turns.turn(account):
            if self._closed:
                raise asyncio.CancelledError
            worker = await self._take()
            self._busy.add(worker)
            keep = False
            try:
                letter, content = await worker.ask(frame, seconds, most, answer)
                keep = True
            except ScriptLost:
                if self._closed:
                    raise asyncio.CancelledError from None
                raise
            finally:
                self._busy.discard(worker)
                if keep and worker.alive and not self._closed and len(self._idle) + len(self._busy) < self.size:
                    self._idle.append(worker)
                else:
                    await asyncio.shield(self._replace(worker))
            return letter, content

    async def _take(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
        return await _Worker.start()

    async def _replace(self, worker: _Worker) -> None:
        await worker.kill()
        if not self._closed and not self._idle and not self._starting:
            task = asyncio.create_task(self._spare(), name="a spare process for scripts")
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def _spare(self) -> None:
        with contextlib.suppress(ConfigurationError, OSError):  # the next call meets it again, and says so
            worker = await _Worker.start()
            if len(self._idle) + len(self._busy) < self.size and not self._closed:
                self._idle.append(worker)
            else:
                await worker.kill()
