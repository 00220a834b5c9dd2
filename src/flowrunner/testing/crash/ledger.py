"""The outside truth about effects: a process of its own that appends each to a file, and answers once that is on the disk.

    python -m flowrunner.testing.crash.ledger FILE SOCKET

It outlives every server under test. Who has an answer knows that the line is kept; who has none knows nothing, as in life.
The client side uses the standard library only: it runs in handlers.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

VARIABLE = "FLOWRUNNER_LEDGER"
"""Names the ledger's socket in a handler's environment, and after a ``#`` the book."""

ANSWER_SECONDS = 30.0
_KEPT = b"kept\n"


def note(line: dict[str, Any], *, at: str | None = None) -> None:
    """Have a line kept; returns when it is. `at` is a book's place, else the environment names it. Raises OSError."""
    path, _, book = (at or os.environ[VARIABLE]).partition("#")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(path)
        connection.sendall(json.dumps({"book": book, **line}).encode() + b"\n")
        if connection.recv(len(_KEPT)) != _KEPT:
            raise OSError("The ledger did not keep the line.")


class Book:
    """The lines of one campaign; several share a ledger."""

    def __init__(self, file: Path, socket: str, name: str) -> None:
        self.at = f"{socket}#{name}"
        self._file = file
        self._name = name
        self._read = 0  # bytes of the file
        self._lines: list[dict[str, Any]] = []

    def lines(self) -> list[dict[str, Any]]:
        """Everything kept so far; a line that is being written does not count yet."""
        if self._file.exists():
            with self._file.open("rb") as kept:
                kept.seek(self._read)
                for line in kept:
                    if not line.endswith(b"\n"):
                        break
                    self._read += len(line)
                    noted = json.loads(line)
                    if noted.pop("book") == self._name:
                        self._lines.append(noted)
        return self._lines


class Ledger:
    """A ledger's process, from `with` to its end; `socket` is where it listens."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._folder = tempfile.mkdtemp(prefix="ledger-")  # the path of a socket has 107 bytes at most
        self.socket = f"{self._folder}/socket"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", __spec__.name, str(self.file), self.socket]
        # Its own session: a signal to a group of servers never reaches it.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(), start_new_session=True)  # noqa: S603
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "the ledger did not start"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process is not None
        with self._process:
            self._process.kill()
        with contextlib.suppress(FileNotFoundError):
            Path(self.socket).unlink()
        Path(self._folder).rmdir()

    def book(self, name: str) -> Book:
        """The lines of this name."""
        return Book(self.file, self.socket, name)


def _environment() -> dict[str, str]:
    """The child finds this very package, installed or not."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def serve(file: Path, path: str) -> None:
    """Keep lines until killed, or until whoever started this is gone; says ``ready`` once it listens."""
    threading.Thread(target=_end_with_starter, daemon=True).start()
    with socket.socket(socket.AF_UNIX) as listener, file.open("ab") as kept:
        listener.bind(path)
        listener.listen(512)
        os.write(1, b"ready\n")
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):  # a caller that is killed in between
                connection.settimeout(ANSWER_SECONDS)
                with connection.makefile("rb") as asked:
                    line = asked.readline()
                if line.endswith(b"\n"):  # half a line was never asked for
                    kept.write(line)
                    kept.flush()
                    os.fsync(kept.fileno())
                    connection.sendall(_KEPT)


def _end_with_starter() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
