"""How the vault writes: through whoever adds something to the write, such as the entry of the audit log, so that neither is stored without the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flowrunner.ports.documents import Change


class Write(Protocol):
    """Makes a write of documents; `DocumentStore.write` is one."""

    async def __call__(self, changes: Sequence[Change], /) -> None:
        """Make these changes, and perhaps others, or none. Raises DocumentConflict with the position among `changes`, or one behind them."""
        ...
