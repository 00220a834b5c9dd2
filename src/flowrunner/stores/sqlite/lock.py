"""One server per file: an operating system lock beside it, gone with the process whatever ends it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from flowrunner.errors import StoreInUse, StoreRefused


class FileLock:
    """`flock` on `<path>.lock`, which holds the process id of its owner.

    A file of its own, because closing any handle of the database file would drop the locks SQLite has on it (POSIX).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock_path = Path(f"{path}.lock")
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock or raise StoreInUse, naming the holder."""
        while True:
            try:
                handle = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                raise StoreRefused(
                    f"The lock file {self.lock_path} cannot be opened ({error.strerror}).",
                    remedy="FlowRunner needs to write in the folder of its database.",
                ) from error
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
                os.close(handle)
                raise StoreInUse(
                    f"Another server{f' (process {holder})' if holder else ''} is using {self.path}.",
                    remedy="Stop it first, or give this one another file.",
                ) from error
            if self._is_current(handle):
                break
            os.close(handle)  # its last holder has just removed it
        self._handle = handle
        with contextlib.suppress(OSError):  # a full disk: who holds it is only told, that it is held counts
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Give the lock up and remove its file; harmless when not held."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            self.lock_path.unlink(missing_ok=True)
            os.close(handle)

    def _is_current(self, handle: int) -> bool:
        """Whether the locked file is still the one that has the name."""
        try:
            return os.path.samestat(os.fstat(handle), self.lock_path.stat())
        except FileNotFoundError:
            return False
