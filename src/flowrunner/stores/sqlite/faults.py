"""SQLite's errors as ours: one table of who is hit and what to do.

Three kinds. One write is wrong (a key is there twice): only that write fails. The database does not answer now (busy, full):
the whole transaction fails and the next may succeed. The file cannot be trusted any more (I/O error, damage): after a failed
fsync the kernel may have dropped the pages and the next fsync may say ok, so the handle is never used again (reliability R10).
"""

from __future__ import annotations

import apsw

from flowrunner.errors import StoreError, StoreUnavailable

FATAL = (apsw.IOError, apsw.CorruptError, apsw.NotADBError)

HITS_ALL = (
    *FATAL,
    apsw.BusyError,
    apsw.LockedError,
    apsw.FullError,
    apsw.NoMemError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.InterruptError,
    apsw.ProtocolError,
    apsw.PermissionsError,
)


SPACE = (apsw.SQLITE_IOERR_SHMSIZE, apsw.SQLITE_IOERR_NOMEM)  # a full disk or memory in the disguise of an I/O error; no data was at stake


def extended(error: apsw.Error) -> int:
    """SQLite's extended result code; 0 for an error that a file system written in Python has raised."""
    return getattr(error, "extendedresult", 0)


def is_fatal(error: apsw.Error) -> bool:
    """Whether the file must not be used any more."""
    return isinstance(error, FATAL) and extended(error) not in SPACE


def is_full(error: Exception) -> bool:
    """Whether it is the disk's room that is missing."""
    return isinstance(error, apsw.FullError) or (isinstance(error, apsw.Error) and extended(error) == apsw.SQLITE_IOERR_SHMSIZE)


def unavailable(error: apsw.Error, path: str) -> StoreUnavailable:
    """What to tell a caller when the database as a whole did not do it."""
    if isinstance(error, apsw.BusyError | apsw.LockedError | apsw.ProtocolError):
        return StoreUnavailable(f"Another process is writing to {path}.", remedy="Try again; only FlowRunner should write to its file.")
    if is_full(error):
        return StoreUnavailable(f"The disk that holds {path} is full.", remedy="Free some space; no restart is needed.")
    if isinstance(error, apsw.IOError):
        return StoreUnavailable(f"Reading or writing {path} failed ({error}).", remedy="Look at the disk, then restart FlowRunner.")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return StoreUnavailable(f"The file {path} is damaged ({error}).", remedy="Stop FlowRunner and restore a backup.")
    return StoreUnavailable(f"The file {path} cannot be used now ({error}).")


def refused_write(error: Exception) -> Exception:
    """What to tell the caller whose write alone was wrong."""
    if isinstance(error, apsw.ConstraintError):
        return StoreError(f"A part of this write is stored already ({error}).")
    if isinstance(error, apsw.TooBigError):
        return StoreError("A part of this write is larger than SQLite can hold.")
    if isinstance(error, apsw.Error):
        return StoreError(f"SQLite refused this write ({error}).")
    if isinstance(error, OverflowError | UnicodeError):  # a number beyond 64 bits, a lone surrogate
        return StoreError(f"SQLite cannot hold a part of this write ({error}).")
    return error
