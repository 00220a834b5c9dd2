"""The command line as a process of its own, there in a moment: forked from one that has everything loaded.

Nine tenths of a short command are imports. Each fork is a process and a session of its own and runs the very code of
``python -m flowrunner``; only its modules are loaded already. Tests of the start itself start the real command.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

LOADED = (
    "uvloop", "httpx", "flowrunner.cli.main", "flowrunner.cli.hosting", "flowrunner.wiring", "flowrunner.client", "flowrunner.stores.sqlite.store",
    "flowrunner.stores.postgres.store", "flowrunner.stores.dynamodb.store", "uvicorn.protocols.http.httptools_impl", "uvicorn.loops.uvloop", "uvicorn.lifespan.on",
    "litestar.plugins.attrs", "litestar.plugins.pydantic", "litestar.middleware.allowed_hosts", "litestar.middleware.csrf",
    "litestar.middleware.response_cache", "litestar.exceptions.responses", "litestar._kwargs", "litestar.middleware._internal.exceptions", "typer._adapters",
    "httpcore", "flowrunner.cli.dbstore", "flowrunner.cli.inside", "flowrunner.stores.transfer", "flowrunner.stores.soundness",
)  # fmt: skip


class Forked:
    """A command that runs; what `subprocess.Popen` offers of it."""

    def __init__(self, *words, cwd, env, stdin=None, stdout=None, stderr=None):
        ours, theirs = socket.socketpair()
        order = {"arguments": list(map(str, words)), "environment": env, "folder": str(cwd)}
        parent = _parent()
        with theirs, Path(os.devnull).open("r+") as nothing:
            files = [nothing if file is None else file for file in (stdin, stdout, stderr)]
            parent.sendall(len(body := json.dumps(order).encode()).to_bytes(4))
            socket.send_fds(parent, [body[:1]], [*(file if isinstance(file, int) else file.fileno() for file in files), theirs.fileno()])
            parent.sendall(body[1:])
        self._end = ours.makefile("r")
        self._socket = ours
        self.pid = int(self._end.readline())
        self.returncode = None

    def poll(self):
        """Its exit code, or None while it runs."""
        if self.returncode is None and select.select([self._socket], [], [], 0)[0]:
            self._ended()
        return self.returncode

    def wait(self, timeout=None):
        """Its exit code, once it has ended."""
        if self.returncode is None:
            if not select.select([self._socket], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("flowrunner", timeout)
            self._ended()
        return self.returncode

    def _ended(self):
        self.returncode = int(self._end.readline() or -signal.SIGKILL)  # nothing: it went with its parent
        self._end.close()
        self._socket.close()

    def send_signal(self, number):
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def run(*words, cwd, env, text=None, timeout):
    """Run one command to its end, as `subprocess.run` does with captured output."""
    out, err = os.memfd_create("out"), os.memfd_create("err")
    given = os.memfd_create("in")
    try:
        os.write(given, (text or "").encode())
        os.lseek(given, 0, os.SEEK_SET)
        process = Forked(*words, cwd=cwd, env=env, stdin=given, stdout=out, stderr=err)
        try:
            code = process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return subprocess.CompletedProcess(words, code, *(os.pread(file, os.fstat(file).st_size, 0).decode() for file in (out, err)))
    finally:
        for file in (out, err, given):
            os.close(file)


@functools.cache
def _parent():
    """The socket of the process that forks; it ends with us."""
    ours, theirs = socket.socketpair()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen([sys.executable, __file__, str(theirs.fileno())], env=environment, pass_fds=[theirs.fileno()], start_new_session=True)
    theirs.close()
    assert ours.recv(1) == b"!", "what forks commands did not start"

    def end():
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


# --- the process that forks


def serve(asked):
    """Fork a command for each order, until whoever asks has gone; everything that still runs goes with it."""
    for name in LOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(waking)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    ends = {}
    asked.sendall(b"!")
    while True:
        ready, _, _ = select.select([asked, woken], [], [])
        if woken in ready:
            os.read(woken, 512)
            _reap(ends)
        if asked in ready:
            length = asked.recv(4, socket.MSG_WAITALL)
            if not length:
                break
            first, fds, _, _ = socket.recv_fds(asked, 1, 4)
            rest = asked.recv(int.from_bytes(length) - 1, socket.MSG_WAITALL)
            pid = _fork(json.loads(first + rest), fds)
            with contextlib.suppress(BrokenPipeError):
                os.write(fds[3], b"%d\n" % pid)
            ends[pid] = fds.pop()
            for file in fds:
                os.close(file)
    for pid in ends:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _fork(order, fds):
    pid = os.fork()
    if pid:
        return pid
    status = 70  # EX_SOFTWARE
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        for number, file in enumerate(fds[:3]):
            os.dup2(file, number)
        os.closerange(3, 1024)
        sys.argv = ["flowrunner", *order["arguments"]]
        status = importlib.import_module("flowrunner.cli.main").run(order["arguments"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _reap(ends):
    while ends:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        end = ends.pop(pid)
        with contextlib.suppress(BrokenPipeError):
            os.write(end, b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(end)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as given:
        serve(given)
