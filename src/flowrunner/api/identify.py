"""Who is calling, from where, and whether the route lets them: everything that is not allowed is refused."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import urlsplit

from flowrunner.errors import ConfigurationError

PUBLIC = "public"  # the permission of routes that need none: liveness, readiness, metrics
RUNS_READ = "runs:read"
_CREDENTIAL = re.compile(r"Credential=([0-9]{12})/")
EVERYTHING = frozenset({RUNS_READ})


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: the account it acts in, and what it may do."""

    account: str
    permissions: frozenset[str]


class Authenticator(Protocol):
    """Tells who sent a request."""

    async def identify(self, scope: Mapping[str, Any]) -> Principal | None:
        """The caller by the headers of an ASGI scope; None without a credential. Raises AccessDenied for one that is wrong."""
        ...


class DevAuthenticator:
    """Everybody is let in: only for a server that nobody else can reach.

    The account is the AWS access key id when that is 12 digits (as at the AWS endpoint), otherwise the one given here.
    """

    def __init__(self, account: str) -> None:
        self._account = account

    async def identify(self, scope: Mapping[str, Any]) -> Principal | None:
        """Return the account's principal."""
        found = _CREDENTIAL.search(header(scope, b"authorization") or "")
        return Principal(self._account if found is None else found[1], EVERYTHING)


class NoAccounts:
    """Nobody is known yet."""

    async def identify(self, scope: Mapping[str, Any]) -> Principal | None:
        """Return None."""
        del scope
        return None


def check_bind(host: str, *, dev: bool) -> None:
    """Refuse to listen for the network while anybody is let in."""
    if dev and not is_loopback(host):
        raise ConfigurationError(
            f"--dev accepts any credential and so listens on this machine only, not on {host}.", remedy="Use --host 127.0.0.1, or leave --dev out."
        )


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether this name or address can only be this machine."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_of(authority: str) -> str:
    """The host of ``host[:port]``, without the ``sync-`` that the AWS SDKs put before it."""
    name = authority.rsplit("]", 1)[0].lstrip("[") if authority.startswith("[") else authority.partition(":")[0]
    return name.lower().removeprefix("sync-")


def header(scope: Mapping[str, Any], name: bytes) -> str | None:
    """The first header of this name (lower case)."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


def host_allowed(scope: Mapping[str, Any]) -> bool:
    """Whether the Host names this machine: a page elsewhere may point its own name here (DNS rebinding)."""
    authority = header(scope, b"host")
    return authority is None or is_loopback(host_of(authority))


def origin_allowed(scope: Mapping[str, Any], allowed: Collection[str]) -> bool:
    """Whether a page of this origin may open sockets here: none given, the server's own, or one of the list."""
    origin = header(scope, b"origin")
    if origin is None or origin in allowed:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc != "" and parts.netloc.lower() == (header(scope, b"host") or "").lower()


def check_routes(routes: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Refuse a route that declares no permission, before the server exists; `routes` are paths and handlers' options."""
    for path, options in routes:
        if options.get("permission") not in EVERYTHING | {PUBLIC}:
            raise TypeError(f"The route {path} declares no permission that exists.")
