"""Proxies whose word about the caller's address is believed; nobody else's is."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from flowrunner.errors import ConfigurationError

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Proxies:
    """The addresses and networks of trusted proxies. Raises ConfigurationError for what is neither."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        try:
            self._networks = tuple(ipaddress.ip_network(text) for text in trusted)
        except ValueError as error:
            raise ConfigurationError(f"trusted_proxies: {error}.", remedy="Each is an address or a network, such as 10.0.0.7 or 10.0.0.0/24.") from None

    def trusts(self, address: str) -> bool:
        """Whether this address is one of a trusted proxy."""
        found = _parsed(address) if self._networks else None
        return found is not None and any(found in network for network in self._networks)

    def resolve(self, scope: Any) -> None:
        """Put the caller's address, and whether it came by TLS, into an ASGI scope, if a trusted proxy tells.

        ``X-Forwarded-For`` is read from its end, over trusted proxies, to the first address that is none: what stands before it is the caller's own invention.
        """
        client = scope.get("client")
        if not self._networks or not client or not self.trusts(client[0]):
            return
        chain = [part.strip() for value in _values(scope, b"x-forwarded-for") for part in value.split(",")]
        caller = None
        for part in reversed(chain):
            found = _parsed(part)
            if found is None:
                break
            caller = str(found)
            if not self.trusts(caller):
                break
        if caller is not None:
            scope["client"] = (caller, 0)
        told = [part.strip().lower() for value in _values(scope, b"x-forwarded-proto") for part in value.split(",")]
        if told and told[-1] in ("http", "https"):
            secure = told[-1] == "https"
            scope["scheme"] = ("wss" if secure else "ws") if scope["type"] == "websocket" else told[-1]


def _values(scope: Mapping[str, Any], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


@lru_cache(maxsize=4096)
def _parsed(text: str) -> _Address | None:
    """An address, also as proxies write it: with a port, in brackets, IPv4 inside IPv6."""
    text = text.removeprefix("[").partition("]")[0] if text.startswith("[") else text
    if text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
