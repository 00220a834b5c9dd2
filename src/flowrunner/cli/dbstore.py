"""Opening stores for the commands of ``flowrunner db``: for a look beside a running server, or alone."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flowrunner.errors import ConfigurationError, StoreInUse

if TYPE_CHECKING:
    from flowrunner.ports.store import Store
    from flowrunner.ports.upkeep import Upkeep


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[Store]:
    """A store for a look; a running server does not mind. Raises StoreRefused if it is not there."""
    async with _open(url, readonly=True) as store:
        yield store


@asynccontextmanager
async def writing(url: str, why: str) -> AsyncIterator[Store]:
    """A store to write to, made if it is not there; raises StoreInUse, saying `why` no server may be using it."""
    make_folder(url)
    try:
        async with _open(url, readonly=False) as store:
            yield store
    except StoreInUse as error:
        raise StoreInUse(error.message, remedy=f"{why} Stop the server first.") from None


@asynccontextmanager
async def _open(url: str, *, readonly: bool) -> AsyncIterator[Store]:
    from flowrunner.clock import SystemClock  # noqa: PLC0415  # --help does not pay for it
    from flowrunner.stores.open import open_store  # noqa: PLC0415  # as above

    refuse_memory(url)
    async with AsyncExitStack() as stack:
        store = open_store(url, clock=SystemClock(), readonly=readonly)
        await store.start(stack)
        yield store


def upkeep_of(url: str) -> Upkeep | None:
    """What can be done to the database beside its archive."""
    from flowrunner.stores.open import open_upkeep  # noqa: PLC0415  # as above

    refuse_memory(url)
    return open_upkeep(url)


def schema_of(url: str) -> Upkeep:
    """The same; raises ConfigurationError for a store without schema revisions."""
    upkeep = upkeep_of(url)
    if upkeep is None:
        raise ConfigurationError(f"A {url.partition(':')[0]} store has no revisions to look at.", remedy="Its server brings it up to date when it starts.")
    return upkeep


def refuse_memory(url: str) -> None:
    """Memory is gone when its process is, and this is another process; raises ConfigurationError."""
    if url.startswith("memory:"):
        raise ConfigurationError("A memory: store is inside its server and gone with it.", remedy="Name another: --store sqlite:///PATH")


def make_folder(url: str) -> None:
    """The folder of the default store, as a server makes it."""
    from flowrunner.config import DEFAULT_STORE  # noqa: PLC0415  # as above

    if url == DEFAULT_STORE:
        os.makedirs(".flowrunner", mode=0o700, exist_ok=True)  # noqa: PTH103  # once, before anything runs


def is_sqlite(path: Path) -> bool:
    """Whether a file is an SQLite database, by its first bytes; raises ConfigurationError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}.") from None


def refuse_existing(path: Path) -> None:
    """A file that is there is never written over; raises ConfigurationError."""
    if path.exists() or path.is_symlink():
        raise ConfigurationError(f"{path} exists.", remedy="Name a new file.")
    if not path.parent.is_dir():
        raise ConfigurationError(f"There is no folder {path.parent}.", remedy="Create it first.")
