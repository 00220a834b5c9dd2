"""Opening stores for the commands of ``flowrunner db``: for a look beside a running server, or alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
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
    from flowrunner.config import make_folder  # noqa: PLC0415  # --help does not pay for it

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


def upkeep_of(url: str) -> Upkeep:
    """What can be done to the database beside its archive."""
    from flowrunner.stores.open import open_upkeep  # noqa: PLC0415  # as above

    refuse_memory(url)
    return open_upkeep(url)


def refuse_memory(url: str) -> None:
    """Memory is gone when its process is, and this is another process; raises ConfigurationError."""
    if url.startswith("memory:"):
        raise ConfigurationError("A memory: store is inside its server and gone with it.", remedy="Name another: --store sqlite:///PATH")


def is_sqlite(path: Path) -> bool:
    """Whether a file is an SQLite database, by its first bytes; raises ConfigurationError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}.") from None


@contextmanager
def new_file(path: Path) -> Iterator[None]:
    """Make a file within this block; raises ConfigurationError for one that is there, which is never written over, and where none can be made."""
    try:
        if path.exists() or path.is_symlink():
            raise ConfigurationError(f"{path} exists.", remedy="Name a new file.")
        if not path.parent.is_dir():
            raise ConfigurationError(f"There is no folder {path.parent}.", remedy="Create it first.")
        yield
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}.") from None
