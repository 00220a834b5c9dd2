"""Secrets as tasks meet them: resolved at the last moment, together with what must be hidden from then on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flowrunner.errors import NotFound
from flowrunner.jsonvalue import JSONValue

OF_ENVIRONMENTS = "environments/"  # what the names of secrets begin with that are variables of environments


@dataclass(frozen=True, slots=True, kw_only=True)
class Revealed:
    """A secret's value. `hidden` are the values that may not be seen outside the task: texts, numbers, or containers of them.

    `type` is general, oauth, api_key, database, jwt or custom; `version` counts the changes of the value.
    """

    value: JSONValue = field(repr=False)
    hidden: tuple[JSONValue, ...] = field(repr=False)
    type: str
    version: int


class SecretSource(Protocol):
    """Where tasks get secrets; handed over by wiring."""

    async def reveal(self, account: str, name: str, path: str | None = None) -> Revealed:
        """The value of an account's secret: the field at `path` (names with dots between), or all of it (a simple one's text, a structured one's fields).

        Notes that the secret was used. Raises NotFound, UnknownKey, SealBroken, StoreUnavailable.
        """
        ...

    async def names(self, account: str) -> Sequence[str]:
        """The names of an account's secrets, without their values. Raises StoreUnavailable."""
        ...


class NoSecrets:
    """An installation without a vault."""

    async def reveal(self, account: str, name: str, path: str | None = None) -> Revealed:
        """Raise NotFound, always."""
        del account, path
        raise NotFound("secret", name)

    async def names(self, account: str) -> Sequence[str]:
        """None."""
        del account
        return ()
