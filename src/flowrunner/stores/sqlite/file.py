"""Opening the file: what is refused, what is created, what is checked. A file that is refused is left byte for byte as it is.

The header is read before SQLite opens the file, because SQLite would recover and checkpoint the write-ahead log of a file
that belongs to somebody else (https://www.sqlite.org/fileformat.html section 1.3).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NoReturn

import apsw

from flowrunner.errors import StoreRefused
from flowrunner.stores.queries import load_text
from flowrunner.stores.revisions import ABSENT_REMEDY, latest, stamp
from flowrunner.stores.sqlite.faults import is_full
from flowrunner.stores.sqlite.migrate import APPLICATION_ID, PACKAGE, create, header_number, is_current, migrate, newest, revision_of

MAGIC = b"SQLite format 3\0"
HEADER_BYTES = 100
CHECKED_WHOLE_BYTES = 64 * 1024 * 1024  # larger files would start too late; SQLite itself sees a cut file of any size
BUSY_MILLISECONDS = 5000
WRITER_CACHE_KIB = 64 * 1024
READER_CACHE_KIB = 16 * 1024
WAL_KEPT_BYTES = 64 * 1024 * 1024
RESTORE = "Restore a backup, or move the file away to begin with an empty one."


def open_writer(path: Path, *, synchronous: str, alone: bool = True) -> apsw.Connection:
    """The connection that writes; creates or (when `alone`) migrates what is ours, raises StoreRefused for everything else."""
    try:
        fresh = _probe(path)
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    except OSError as error:
        raise StoreRefused(f"The file {path} cannot be opened ({error.strerror}).", remedy="FlowRunner must be able to read and write it.") from error
    except apsw.Error as error:
        raise _unopened(path, error, "FlowRunner must be able to read and write it.") from error
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # until it is known to be ours and whole
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        if connection.readonly("main"):
            _refuse_read_only(path)
        if fresh:
            create(connection)
        _examine(connection, path)
        if not is_current(connection):
            if not alone:
                _refuse_older(path)
            migrate(connection)
            _examine(connection, path)
        _configure(connection, path, synchronous)
    except (apsw.Error, UnicodeDecodeError) as error:  # a name or a version that is no text
        connection.close()
        raise _refusal(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def open_untouched(path: Path, *, current: bool = True, whole: bool = True) -> apsw.Connection:
    """A connection that reads beside a running server, or without one; raises StoreRefused for what is not a file of ours.

    An older one is refused too, unless `current` is false. With `whole` false damage is no reason: who asks will look for it.
    """
    try:
        if not path.exists():
            raise StoreRefused(f"There is no file {path}.", remedy=ABSENT_REMEDY)
        if _probe(path):
            raise StoreRefused(f"The file {path} is empty.", remedy=ABSENT_REMEDY)
        connection = open_reader(path)
    except OSError as error:
        raise StoreRefused(f"The file {path} cannot be opened ({error.strerror}).", remedy="FlowRunner must be able to read it.") from error
    except apsw.Error as error:
        raise _unopened(path, error, "FlowRunner must be able to read it.") from error
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        _examine(connection, path, whole=whole)
        if current and not is_current(connection):
            _refuse_older(path)
        if whole:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)  # the last one to close leaves no log behind
    except (apsw.Error, UnicodeDecodeError) as error:  # a name or a version that is no text
        connection.close()
        raise _refusal(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def is_absent(path: Path) -> bool:
    """Whether there is no such file, or an empty one; raises StoreRefused if its header shows that it is not ours. Nothing is made."""
    return not path.exists() or _probe(path)


def open_reader(path: Path) -> apsw.Connection:
    """A connection that only reads; never waits for the writer (WAL)."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)  # WAL readers write the shared memory file
    connection.set_busy_timeout(100)
    connection.pragma("query_only", 1)
    connection.pragma("cache_size", -READER_CACHE_KIB)
    return connection


def _probe(path: Path) -> bool:
    """Whether the file is new or empty; raises StoreRefused if its header shows that it is not ours."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise StoreRefused(f"There is no folder {path.parent} for {path.name}.", remedy="Create it first.") from None
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return True
    if stat.S_ISDIR(mode):
        raise StoreRefused(f"{path} is a folder.", remedy="Name a file in it.")
    if not stat.S_ISREG(mode):
        raise StoreRefused(f"{path} is not an ordinary file.", remedy="Name another.")
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if not header:
        wal = Path(f"{path}-wal")
        if wal.exists() and wal.stat().st_size:
            raise StoreRefused(f"The file {path} is empty, but {wal.name} beside it is not: it was cut.", remedy=RESTORE)
        return True
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        raise StoreRefused(f"The file {path} is not an SQLite database.", remedy="Name another file; this one was left as it is.")
    application = int.from_bytes(header[68:72], "big")
    if application != APPLICATION_ID:
        raise StoreRefused(
            f"The file {path} is an SQLite database of another application (its application_id is {application:#x}).",
            remedy="Name another file; this one was left as it is.",
        )
    _refuse_newer(path, int.from_bytes(header[60:64], "big"))
    return False


def _refuse_read_only(path: Path) -> NoReturn:
    raise StoreRefused(f"The file {path} is read-only.", remedy="Give FlowRunner the right to write it and its folder.")


def _refuse_newer(path: Path, version: int) -> None:
    if version > newest():
        raise StoreRefused(
            f"The file {path} has schema version {version}; this FlowRunner knows {newest()}.",
            remedy="Run the newer FlowRunner that wrote it, or restore a backup from before.",
        )


def _refuse_older(path: Path) -> NoReturn:
    raise StoreRefused(
        f"The file {path} has an older schema, and a server may be using it.", remedy="Start the server of this version once, or run: flowrunner db upgrade"
    )


def _examine(connection: apsw.Connection, path: Path, *, whole: bool = True) -> None:
    """Raise StoreRefused if the file is newer, not as our schema says, or damaged."""
    _refuse_newer(path, header_number(connection))
    if revision_of(connection) is None:
        raise StoreRefused(f"The file {path} has no schema version, or two that do not agree: it is damaged.", remedy=RESTORE)
    if not whole:
        return
    if path.stat().st_size <= CHECKED_WHOLE_BYTES:
        finding = connection.execute("PRAGMA quick_check(1)").get
        if finding != "ok":
            raise StoreRefused(f"The file {path} is damaged ({finding}).", remedy=RESTORE)
    if is_current(connection):
        missing = _objects(None) - _objects(connection)
        if missing:
            raise StoreRefused(f"The file {path} lacks {', '.join(sorted(missing))}.", remedy=RESTORE)


def _objects(connection: apsw.Connection | None) -> set[str]:
    """Tables with their columns, and indexes; of the schema we ship when there is no connection."""
    if connection is None:
        connection = apsw.Connection(":memory:")
        connection.execute(";".join((load_text(PACKAGE, "schema.sql"), *stamp(latest(PACKAGE)))))
    named = connection.execute("SELECT type || ' ' || name FROM sqlite_schema WHERE name NOT LIKE 'sqlite%'")
    columns = connection.execute("SELECT m.name || '.' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table'")
    return {text for (text,) in named} | {f"column {text}" for (text,) in columns}


def _configure(connection: apsw.Connection, path: Path, synchronous: str) -> None:
    """Settings of the connection; journal_mode and auto_vacuum are also kept in the file."""
    if connection.pragma("journal_mode", "wal") != "wal":
        raise StoreRefused(f"The file system of {path} cannot hold a write-ahead log.", remedy="Use a local disk.")
    connection.pragma("synchronous", synchronous)
    connection.pragma("cache_size", -WRITER_CACHE_KIB)
    connection.pragma("journal_size_limit", WAL_KEPT_BYTES)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)


def _unopened(path: Path, error: apsw.Error, remedy: str) -> StoreRefused:
    return _refusal(path, error) if is_full(error) else StoreRefused(f"The file {path} cannot be opened ({error}).", remedy=remedy)


def _refusal(path: Path, error: Exception) -> StoreRefused:
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return StoreRefused(f"Another process holds {path}.", remedy="Stop it first.")
    if is_full(error):
        return StoreRefused(f"The disk that holds {path} is full.", remedy="Free some space.")
    if isinstance(error, apsw.ReadOnlyError | apsw.CantOpenError | apsw.PermissionsError | apsw.AuthError):
        return StoreRefused(f"The file {path} cannot be written ({error}).", remedy="Give FlowRunner the right to write it and its folder.")
    return StoreRefused(f"The file {path} is damaged ({error}).", remedy=RESTORE)
