"""``flowrunner ...`` with every callback of its event loop timed; started by ``probe.py``, never by hand.

    FLOWRUNNER_CALLBACKS=FILE python bench/watched.py serve --dev ...

It runs on asyncio's own loop (uvloop's callbacks cannot be timed), so rates are lower, callbacks the same. SIGUSR1 begins anew;
at the end FILE holds, as JSON, how many callbacks ran and the longest of them: seconds of wall clock, of CPU and of garbage collection, what ran, and
the stack a sampler saw when it had run for longer than SLOW_SECONDS. Much wall clock with little CPU is waiting: for the GIL,
for a core, or for the disk.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import heapq
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import uvloop

SLOW_SECONDS = 0.005
LONGEST = 40
FRAMES = 14

_state: dict[str, Any] = {"count": 0, "wall": 0.0, "slow": 0, "longest": [], "began": 0.0, "stack": None, "gc": 0.0, "gc_before": 0.0, "gc_began": 0.0}
_run = asyncio.Handle._run  # noqa: SLF001  # the one place every callback passes


def _timed(handle: asyncio.Handle) -> None:
    began, cpu = time.perf_counter(), time.thread_time()
    _state["stack"], _state["began"], collecting = None, began, _state["gc"]
    _run(handle)
    wall = time.perf_counter() - began
    _state["began"] = 0.0
    _state["count"] += 1
    _state["wall"] += wall
    if wall > SLOW_SECONDS:
        _state["slow"] += 1
    if wall > SLOW_SECONDS / 5:
        entry = (wall, time.thread_time() - cpu, _state["count"], _state["gc"] - collecting, _what(handle), _state["stack"])
        (heapq.heappush if len(_state["longest"]) < LONGEST else heapq.heappushpop)(_state["longest"], entry)


def _collecting(phase: str, info: dict[str, int]) -> None:
    del info
    if phase == "start":
        _state["gc_began"] = time.perf_counter()
    else:
        _state["gc"] += time.perf_counter() - _state["gc_began"]


def _what(handle: asyncio.Handle) -> str:
    callback = handle._callback  # type: ignore[attr-defined]  # noqa: SLF001
    task = getattr(callback, "__self__", None)
    coroutine = task.get_coro() if isinstance(task, asyncio.Task) else None
    return str(getattr(coroutine or callback, "__qualname__", repr(callback)))


def _sample() -> None:
    main = threading.main_thread().ident or 0
    while True:
        time.sleep(0.002)
        began = _state["began"]
        if began and _state["stack"] is None and time.perf_counter() - began > SLOW_SECONDS:
            frames = traceback.extract_stack(sys._current_frames()[main])[-FRAMES:]  # noqa: SLF001
            _state["stack"] = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]


def _begin(*_: object) -> None:
    _state.update(count=0, wall=0.0, slow=0, gc_before=_state["gc"], longest=[])


def _write(file: str) -> None:
    longest = [
        {"wall": wall, "cpu": cpu, "gc": collecting, "what": what, "stack": stack}
        for wall, cpu, _, collecting, what, stack in sorted(_state["longest"], reverse=True)
    ]
    Path(file).write_text(
        json.dumps({"count": _state["count"], "wall": _state["wall"], "gc": _state["gc"] - _state["gc_before"], "slow": _state["slow"], "longest": longest})
    )


def main() -> None:
    asyncio.Handle._run = _timed  # type: ignore[method-assign,assignment]  # noqa: SLF001
    uvloop.run = asyncio.run  # type: ignore[assignment]
    gc.callbacks.append(_collecting)
    signal.signal(signal.SIGUSR1, _begin)
    atexit.register(_write, os.environ["FLOWRUNNER_CALLBACKS"])
    threading.Thread(target=_sample, daemon=True).start()
    from flowrunner.cli.main import main as run  # noqa: PLC0415  # after the patches

    run()


if __name__ == "__main__":
    main()
