"""From the URL of a database to its store."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from flowrunner.errors import ConfigurationError
from flowrunner.stores.memory.store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        if rest.strip("/"):
            raise ConfigurationError(f"The store {url!r} has something after 'memory:'.", remedy=SPELLINGS)
        return MemoryStore(clock=clock)
    if scheme == "sqlite":
        from flowrunner.stores.sqlite.store import SqliteStore  # noqa: PLC0415  # a memory store needs no SQLite

        path, synchronous = _sqlite(url)
        return SqliteStore(path, clock=clock, synchronous=synchronous, readonly=readonly)
    if scheme in ("postgres", "postgresql"):
        with _extra("postgres", "The PostgreSQL driver", "asyncpg"):
            from flowrunner.stores.postgres.store import PostgresStore  # noqa: PLC0415  # the driver is an extra

        return PostgresStore(url, clock=clock, readonly=readonly)
    if scheme == "dynamodb":
        with _extra("dynamodb", "The DynamoDB client", "aiobotocore", "botocore"):
            from flowrunner.stores.dynamodb.settings import read_settings  # noqa: PLC0415  # the client is an extra
            from flowrunner.stores.dynamodb.store import DynamoStore  # noqa: PLC0415  # as above

        return DynamoStore(read_settings(url), clock=clock, readonly=readonly)
    raise _unknown(url)


def open_upkeep(url: str) -> Upkeep:
    """What operators can do to the database of this URL; raises ConfigurationError where there is none to look after."""
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        from flowrunner.stores.sqlite.upkeep import SqliteUpkeep  # noqa: PLC0415  # as above

        return SqliteUpkeep(_sqlite(url)[0])
    if scheme in ("postgres", "postgresql"):
        with _extra("postgres", "The PostgreSQL driver", "asyncpg"):
            from flowrunner.stores.postgres.upkeep import PostgresUpkeep  # noqa: PLC0415  # as above
            from flowrunner.stores.postgres.url import parse_address  # noqa: PLC0415  # as above

        return PostgresUpkeep(parse_address(url))
    if scheme == "dynamodb":
        with _extra("dynamodb", "The DynamoDB client", "aiobotocore", "botocore"):
            from flowrunner.stores.dynamodb.settings import read_settings  # noqa: PLC0415  # as above
            from flowrunner.stores.dynamodb.upkeep import DynamoUpkeep  # noqa: PLC0415  # as above

        return DynamoUpkeep(read_settings(url))
    if scheme == "memory":
        raise ConfigurationError("A memory: store is inside its server and gone with it.", remedy="Name another: --store sqlite:///PATH")
    raise _unknown(url)


def _unknown(url: str) -> ConfigurationError:
    scheme, separator, _ = url.partition(":")
    if not separator:
        return ConfigurationError(f"The store {url!r} is not a URL.", remedy=SPELLINGS)
    return ConfigurationError(f"There is no {scheme!r} store.", remedy=SPELLINGS)


@contextmanager
def _extra(extra: str, what: str, *modules: str) -> Iterator[None]:
    """Imports of what comes with an extra; raises ConfigurationError, naming it, if it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in modules:
            raise
        raise ConfigurationError(f"{what} is not installed.", remedy=f'Install it: pip install "flowrunner[{extra}]"') from error


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
