"""Who was refused what: an entry of the account's audit log for every denied request, as many as an address may fill in a minute."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Protocol

from flowrunner.api.identify import actor_of
from flowrunner.errors import DocumentConflict, StoreError
from flowrunner.identity.principal import Actor, Principal

LONGEST_TARGET = 512  # characters of a path or an operation that are kept


class Refusals(Protocol):
    """Where refusals are written down (identity.audit.AuditLog)."""

    async def refused(self, account: str, actor: Actor, action: str, target: str = "", *, detail: str = "", result: str = "denied") -> None:
        """Append a refusal to the account's log, within bounds."""
        ...


class Denials:
    """Writes denials down. A store that does not answer changes nothing about the denial."""

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals

    async def note(self, scope: Mapping[str, Any], principal: Principal, action: str, needed: str = "") -> None:
        """The caller was not let do `action`, which takes the permission `needed`."""
        detail = f"needs {needed}" if needed else ""
        with contextlib.suppress(StoreError, DocumentConflict):
            await self._refusals.refused(principal.account, actor_of(scope, principal), action, str(scope.get("path", ""))[:LONGEST_TARGET], detail=detail)
