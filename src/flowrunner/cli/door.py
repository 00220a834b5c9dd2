"""What the server's door knows of all connections together: the limits, and how many each address has open."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from flowrunner.api.problems import Problem, of_status
from flowrunner.api.proxies import Proxies
from flowrunner.config import Settings
from flowrunner.limits import MIB, PROFILES
from flowrunner.ports.observe import NullObserver
from flowrunner.wiring import per_peer

HELD_BYTES = 32 * MIB
RESERVED_FILES = 256  # of what the process may open, for its store, its workers and the requests that it makes itself
LARGE_BODIES = 4  # of the largest allowed size, that many may be on their way at once

TOO_MANY_CONNECTIONS = of_status(429, "This address has too many connections open.", headers={"retry-after": "1"})
_NOBODY = NullObserver().on_refused
SERVER_IS_FULL = of_status(503, "The server has as many connections open as it may.", headers={"retry-after": "1"})


class Holder(Protocol):
    """A connection with a request that is not whole, or that waits for the answer to an earlier one."""

    def give_way(self) -> None:
        """Drop what was received, and close."""
        ...


@dataclass(slots=True, kw_only=True)
class Door:
    """Limits of connections, and their count by address. Times are in seconds.

    `connections` is how many one address may have open, None for any number; whom `exempt` names (proxies, which speak for many) is not counted.
    `all_connections` is how many there may be in all: the process would have no file left to work with.
    `held_bytes` is what all connections together may hold of requests that are not whole: a thousand bodies that stop just before
    their end are a gigabyte otherwise.
    """

    connections: int | None = None
    all_connections: int | None = None
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 60.0
    held_bytes: int = HELD_BYTES
    exempt: Callable[[str], bool] = Proxies().trusts
    _open: dict[str, int] = field(default_factory=dict)
    _holders: dict[Holder, int] = field(default_factory=dict)  # those that began first are first
    held: int = 0  # bytes, at the moment
    count: int = 0  # of connections, at the moment
    refused: Callable[[str], None] = _NOBODY

    @classmethod
    def of(cls, settings: Settings, refused: Callable[[str], None] = _NOBODY) -> Door:
        """The door of these settings; `refused` is told what it refuses. Raises ConfigurationError for a proxy that is no address."""
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return cls(
            connections=per_peer(settings, "connections_per_address"),
            all_connections=None if files == resource.RLIM_INFINITY else max(files - RESERVED_FILES, files // 2),
            refused=refused,
            header_seconds=settings.header_seconds,
            body_seconds=settings.body_seconds,
            idle_seconds=settings.idle_seconds,
            held_bytes=max(HELD_BYTES, LARGE_BODIES * PROFILES[settings.limits].request_bytes),
            exempt=Proxies(settings.trusted_proxies).trusts,
        )

    def enter(self, address: str) -> Problem | None:
        """Count one more connection of this address; when there are as many as may be, it is not counted, and the problem is returned."""
        count = self._open.get(address, 0)
        if self.all_connections is not None and self.count >= self.all_connections:
            return SERVER_IS_FULL
        if self.connections is not None and count >= self.connections and not self.exempt(address):
            return TOO_MANY_CONNECTIONS
        self._open[address] = count + 1
        self.count += 1
        return None

    def leave(self, address: str) -> None:
        """One connection less."""
        count = self._open.get(address, 0) - 1
        self.count -= 1
        if count > 0:
            self._open[address] = count
        else:
            self._open.pop(address, None)

    def open(self, address: str) -> int:
        """How many connections of this address are open."""
        return self._open.get(address, 0)

    def hold(self, holder: Holder, size: int) -> None:
        """Note how many bytes a connection holds now. Beyond the limit those give way that began first: who is honest has long ended."""
        self.held += size - self._holders.get(holder, 0)
        if size:
            self._holders[holder] = size
        else:
            self._holders.pop(holder, None)
        while self.held > self.held_bytes and len(self._holders) > 1:
            next(iter(self._holders)).give_way()
