"""How many sockets and streams each address and each account may have open."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from flowrunner.api.problems import Refused, of_status


@dataclass(slots=True, kw_only=True)
class Openings:
    """Limits of sockets and streams; None is any number."""

    per_address: int | None = None
    per_account: int | None = None
    _open: Counter[tuple[str, str]] = field(default_factory=Counter)

    @contextlib.contextmanager
    def opened(self, address: str, account: str) -> Iterator[None]:
        """Count one while the block runs. Raises Refused (429) when the address or the account has as many as it may."""
        keys = (("address", address), ("account", account))
        for key, limit in zip(keys, (self.per_address, self.per_account), strict=True):
            if limit is not None and self._open[key] >= limit:
                raise Refused(of_status(429, f"This {key[0]} has {limit} sockets and streams open; close some.", headers={"retry-after": "5"}))
        self._open.update(keys)
        try:
            yield
        finally:
            self._open.subtract(keys)
            for key in keys:
                if not self._open[key]:
                    del self._open[key]
