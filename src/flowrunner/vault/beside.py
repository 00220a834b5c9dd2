"""Further changes that ride in a write of the vault: the entry of the audit log, so that neither is stored without the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flowrunner.ports.documents import Change


class Beside(Protocol):
    """Makes the further changes; asked anew for each try of a write, since a conflict may be about one of them."""

    async def __call__(self) -> Sequence[Change]:
        """The changes: of other documents than the vault's own, and no more than 15."""
        ...


async def nothing() -> Sequence[Change]:
    """No further change."""
    return ()
