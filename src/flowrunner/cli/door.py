"""What the server's door knows of all connections together: the limits, and how many each address has open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from flowrunner.api.proxies import Proxies
from flowrunner.config import Settings
from flowrunner.wiring import per_peer


@dataclass(slots=True, kw_only=True)
class Door:
    """Limits of connections, and their count by address. Times are in seconds.

    `connections` is how many one address may have open, None for any number; whom `exempt` names (proxies, which speak for many) is not counted.
    """

    connections: int | None = None
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 60.0
    exempt: Callable[[str], bool] = Proxies().trusts
    _open: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Door:
        """The door of these settings. Raises ConfigurationError for a proxy that is no address."""
        return cls(
            connections=per_peer(settings, "connections_per_address"),
            header_seconds=settings.header_seconds,
            body_seconds=settings.body_seconds,
            idle_seconds=settings.idle_seconds,
            exempt=Proxies(settings.trusted_proxies).trusts,
        )

    def enter(self, address: str) -> bool:
        """Count one more connection of this address; False, and not counted, when it has as many as it may."""
        count = self._open.get(address, 0)
        if self.connections is not None and count >= self.connections and not self.exempt(address):
            return False
        self._open[address] = count + 1
        return True

    def leave(self, address: str) -> None:
        """One connection less."""
        count = self._open.get(address, 0) - 1
        if count > 0:
            self._open[address] = count
        else:
            self._open.pop(address, None)

    def open(self, address: str) -> int:
        """How many connections of this address are open."""
        return self._open.get(address, 0)
