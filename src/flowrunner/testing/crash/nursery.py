"""Servers that are there in a moment: a process that has everything loaded forks, and the child runs the command line.

    python -m flowrunner.testing.crash.nursery [MODULE:FUNCTION]

A crash campaign starts thousands of servers, and nine tenths of a start are imports. Each fork is a process and a session of
its own and runs the very code of ``flowrunner serve``; only its modules are loaded already. One JSON object a line comes on
standard input (`arguments`, `environment`, `folder`, `log`); for each, ``{"pid": ...}`` goes to standard output, and
``{"pid": ..., "status": ...}`` when that process has ended. Everything it forked dies with it.

FUNCTION is called in each fork before the command line runs: tests of the checker plant bugs with it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import sys
from collections.abc import Callable
from typing import Any

LOADED = (
    "uvloop", "flowrunner.cli.main", "flowrunner.cli.hosting", "flowrunner.wiring", "flowrunner.stores.sqlite.store", "flowrunner.stores.postgres.store",
    "flowrunner.stores.dynamodb.store", "uvicorn.protocols.http.httptools_impl", "uvicorn.loops.uvloop", "uvicorn.lifespan.on",
    "litestar.plugins.attrs", "litestar.plugins.pydantic", "litestar.middleware.allowed_hosts", "litestar.middleware.csrf",
    "litestar.middleware.response_cache", "litestar.exceptions.responses", "litestar._kwargs", "litestar.middleware._internal.exceptions", "typer._adapters",
)  # fmt: skip
"""What a server imports late; a store or a plugin whose library is not installed is left out."""


def serve(prepare: Callable[[], None]) -> None:
    """Fork a server for each line of standard input, until that ends."""
    for name in LOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    run = importlib.import_module("flowrunner.cli.main").run
    gc.collect()
    gc.freeze()  # no fork looks through what all of them share: that would copy it, too
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(waking)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    children: set[int] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        rest = b""
        _say({"ready": True})
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if woken in ready:
                os.read(woken, 512)
                _reap(children)
            if 0 in ready:
                chunk = os.read(0, 65536)
                if not chunk:
                    break
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    pid = _fork(json.loads(line), run, prepare)
                    children.add(pid)
                    _say({"pid": pid})
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _fork(order: dict[str, Any], run: Callable[[list[str]], int], prepare: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 70  # EX_SOFTWARE
    try:
        _become(order)
        prepare()
        status = run(order["arguments"])
        sys.stderr.flush()
        sys.stdout.flush()
    finally:
        os._exit(status)


def _become(order: dict[str, Any]) -> None:
    """A session, an environment, a folder and a log of its own, and nothing of the parent's."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.closerange(3, 1024)


def _reap(children: set[int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        children.discard(pid)
        _say({"pid": pid, "status": os.waitstatus_to_exitcode(status)})


def _say(what: dict[str, Any]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def _nothing() -> None:
    """Prepare nothing."""


if __name__ == "__main__":
    named = sys.argv[1] if len(sys.argv) > 1 else ""
    module, _, function = named.partition(":")
    serve(getattr(importlib.import_module(module), function) if named else _nothing)
