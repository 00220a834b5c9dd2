"""From the URL of a database to its store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from flowrunner.errors import ConfigurationError
from flowrunner.stores.memory.store import MemoryStore

if TYPE_CHECKING:
    from flowrunner.clock import Clock
    from flowrunner.ports.store import Store
    from flowrunner.ports.upkeep import Upkeep

SPELLINGS = "Use memory:, sqlite:///relative.db, sqlite:////absolute/path.db, postgresql://user:password@host:5432/database or dynamodb://REGION."


def open_store(url: str, *, clock: Clock, readonly: bool = False) -> Store:
    """The store of this URL, not yet started; raises ConfigurationError, saying what can be written instead.

    `memory:` keeps everything in this process. `sqlite:///flowrunner.db` is a file in the working directory,
    `sqlite:////var/lib/flowrunner.db` (four slashes) an absolute path; `?synchronous=normal` gives up the last commits at a
    power cut for speed. `postgresql://user:password@host:5432/database` (or `postgres://`) is a database that several nodes may share,
    `dynamodb://eu-central-1?prefix=flowrunner_` a table in that region.
    `readonly` is for a look beside a running server: nothing is made, migrated or locked.
    """
    scheme, separator, rest = url.partition(":")
    if scheme == "memory":
        if rest.strip("/"):
            raise ConfigurationError(f"The store {url!r} has something after 'memory:'.", remedy=SPELLINGS)
        return MemoryStore()
    if scheme == "sqlite":
        from flowrunner.stores.sqlite.store import SqliteStore  # noqa: PLC0415  # a memory store needs no SQLite

        path, synchronous = _sqlite(url)
        return SqliteStore(path, clock=clock, synchronous=synchronous, readonly=readonly)
    if scheme in ("postgres", "postgresql"):
        return _postgres(url, clock)
    if scheme == "dynamodb":
        return _dynamodb(url, clock)
    if not separator:
        raise ConfigurationError(f"The store {url!r} is not a URL.", remedy=SPELLINGS)
    raise ConfigurationError(f"There is no {scheme!r} store.", remedy=SPELLINGS)


def open_upkeep(url: str) -> Upkeep | None:
    """What operators can do to the database of this URL; None where there is nothing but its archive. Raises ConfigurationError."""
    if url.partition(":")[0] != "sqlite":
        return None
    from flowrunner.stores.sqlite.upkeep import SqliteUpkeep  # noqa: PLC0415  # as above

    return SqliteUpkeep(_sqlite(url)[0])


def _sqlite(url: str) -> tuple[Path, str]:
    """The file, and how it is synchronised."""
    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not url.startswith("sqlite:///") or path.strip("/") == "" or path.endswith("/"):
        raise ConfigurationError(f"The store {url!r} names no file.", remedy=SPELLINGS)
    if "\0" in path:
        raise ConfigurationError(f"The file name in {url!r} has a NUL character.", remedy=SPELLINGS)
    settings = dict(parse_qsl(parts.query, keep_blank_values=True))
    synchronous = settings.pop("synchronous", "full").upper()
    if synchronous not in ("FULL", "NORMAL"):
        raise ConfigurationError(f"synchronous={synchronous.lower()} cannot be used in {url!r}.", remedy="It is full or normal.")
    if settings or parts.fragment:
        raise ConfigurationError(f"The store {url!r} has unknown settings.", remedy="Only ?synchronous=full or normal is known.")
    return Path(path), synchronous


def _postgres(url: str, clock: Clock) -> Store:
    try:
        from flowrunner.stores.postgres.store import PostgresStore  # noqa: PLC0415  # the driver is an extra
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise ConfigurationError("The PostgreSQL driver is not installed.", remedy='Install it: pip install "flowrunner[postgres]"') from error
    return PostgresStore(url, clock=clock)


def _dynamodb(url: str, clock: Clock) -> Store:
    try:
        from flowrunner.stores.dynamodb.settings import read_settings  # noqa: PLC0415  # the client is an extra
        from flowrunner.stores.dynamodb.store import DynamoStore  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name not in ("aiobotocore", "botocore"):
            raise
        raise ConfigurationError("The DynamoDB client is not installed.", remedy='Install it: pip install "flowrunner[dynamodb]"') from error
    return DynamoStore(read_settings(url), clock=clock)
