"""What operators do to a database that is durable, beside what every archive gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Schema:
    """The revision of a database's schema, empty for one that is not there, and the one this release works with."""

    revision: str
    latest: str

    @property
    def is_current(self) -> bool:
        """Whether nothing is to be done."""
        return self.revision == self.latest


class Upkeep(ABC):
    """Opens the database for each call. All methods raise StoreRefused, with the remedy, for what is not ours or cannot be opened.

    Methods that write raise StoreInUse while a server uses the database, if that matters.
    """

    @abstractmethod
    async def schema(self) -> Schema:
        """Tell the revision; a database that is not there is refused, not made."""

    @abstractmethod
    async def script(self) -> Sequence[str]:
        """What `upgrade` would execute, as SQL for one transaction, without its begin and end; empty if there is nothing to do."""

    @abstractmethod
    async def upgrade(self) -> Schema:
        """Bring the schema to the latest revision, completely or not at all, and make it where there is none; return what there was before."""

    @abstractmethod
    async def findings(self) -> Sequence[str]:
        """What the database itself and its keys show to be damaged; empty if all is well. Safe beside a running server."""

    async def cautions(self) -> Sequence[tuple[str, str]]:
        """What a server had better not do here, though it can: what it is, and the remedy. Empty if all is well."""
        return ()


class FileUpkeep(Upkeep):
    """The upkeep of a database that is a file, which is copied as such. All others are copied row by row, through their archive."""

    @abstractmethod
    async def back_up(self, file: Path) -> None:
        """Write all of it, as of one moment, to a new file in the database's own form. Safe beside a running server."""

    @abstractmethod
    async def restore(self, file: Path) -> None:
        """Become what `back_up` wrote, completely or not at all; raises StoreRefused if there is anything already."""

    @abstractmethod
    async def shrink(self) -> None:
        """Give room that is no longer used back to the disk, which files do not do by themselves."""
