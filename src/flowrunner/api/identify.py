"""Who is calling, from where, and whether the route lets them: everything that is not allowed is refused."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from flowrunner.errors import ConfigurationError, Overloaded, Unauthenticated
from flowrunner.identity.gate import Gate
from flowrunner.identity.permissions import Permission
from flowrunner.identity.principal import Actor, Principal

PUBLIC = "public"  # the permission of routes that need none: liveness, readiness, metrics
RUNS_READ = Permission.EXECUTIONS_READ
_CREDENTIAL = re.compile(r"Credential=(?!9{12})([0-9]{12})/")  # nobody has the account of the system
_NEVER = asyncio.Event()
EVERYTHING: frozenset[str] = frozenset(Permission)


class Authenticator(Protocol):
    """Tells who sent a request."""

    async def identify(self, scope: Mapping[str, Any]) -> Principal | None:
        """The caller by the headers of an ASGI scope; None without a credential. Raises Unauthenticated for one that is wrong."""
        ...

    async def still(self, principal: Principal) -> bool:
        """Whether who was let in would be let in now."""
        ...

    def changed(self) -> asyncio.Event:
        """Set when open sockets should be asked about again at once; every change brings another event."""
        ...


class GateAuthenticator:
    """Asks the accounts of the store: ``Authorization: Bearer`` and ``Basic``, and ``?ticket=`` for sockets."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def identify(self, scope: Mapping[str, Any]) -> Principal | None:
        """Let the caller in. Raises Unauthenticated, Overloaded (too many failed log-ins), StoreUnavailable."""
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) > 1:
            raise Unauthenticated("There is more than one Authorization header.")
        if not given:
            tickets = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("ticket") if scope["type"] == "websocket" else None
            return None if not tickets else await self._gate.ticket(tickets[0])
        kind, _, credential = given[0].decode("latin-1").partition(" ")
        match kind.lower():
            case "bearer":
                return await self._gate.bearer(credential.strip())
            case "basic":
                return await self._gate.basic(credential.strip(), address_of(scope))
            case _:
                raise Unauthenticated("The Authorization header is neither Bearer nor Basic.")

    async def still(self, principal: Principal) -> bool:
        """Ask the store."""
        return await self._gate.still(principal)

    def changed(self) -> asyncio.Event:
        """The gate's event."""
        return self._gate.changed


class DevAuthenticator:
    """Everybody is let in: only for a server that nobody else can reach.

    A credential that `known` knows counts. Otherwise the account is the AWS access key id when that is 12 digits (as at the
    AWS endpoint), or else the one given here.
    """

    def __init__(self, account: str, known: Authenticator | None = None) -> None:
        self._account = account
        self._known = known

    async def identify(self, scope: Mapping[str, Any]) -> Principal | None:
        """Return the credential's principal, or the account's."""
        if self._known is not None:
            with contextlib.suppress(Unauthenticated, Overloaded):
                principal = await self._known.identify(scope)
                if principal is not None:
                    return principal
        found = _CREDENTIAL.search(header(scope, b"authorization") or "")
        return Principal(self._account if found is None else found[1], EVERYTHING)

    async def still(self, principal: Principal) -> bool:
        """Nothing changes."""
        del principal
        return True

    def changed(self) -> asyncio.Event:
        """An event that is never set."""
        return _NEVER


class NoAccounts:
    """Nobody is known yet."""

    async def identify(self, scope: Mapping[str, Any]) -> Principal | None:
        """Return None."""
        del scope
        return None

    async def still(self, principal: Principal) -> bool:
        """Nothing changes."""
        del principal
        return True

    def changed(self) -> asyncio.Event:
        """An event that is never set."""
        return _NEVER


def address_of(scope: Mapping[str, Any]) -> str:
    """The caller's address; empty when the server does not know it."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def actor_of(scope: Mapping[str, Any], principal: Principal | None) -> Actor:
    """Who the audit log says it was."""
    return Actor(principal.name if principal is not None else "", address_of(scope), str(scope.get("trace_id", "")))


def check_bind(host: str, *, dev: bool, tls: bool = False, insecure: bool = False) -> None:
    """Refuse to listen for the network while anybody is let in, and without TLS unless the operator says so. Raises ConfigurationError."""
    if is_loopback(host):
        return
    if dev:
        raise ConfigurationError(
            f"--dev accepts any credential and so listens on this machine only, not on {host}.", remedy="Use --host 127.0.0.1, or leave --dev out."
        )
    if not tls and not insecure:
        raise ConfigurationError(
            f"Credentials would travel in the clear to {host}.",
            remedy="Set cert_file and key_file under [server.tls], or FLOWRUNNER_TLS_CERT_FILE and FLOWRUNNER_TLS_KEY_FILE; "
            "or, behind a proxy that has TLS, --insecure (insecure = true).",
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


def origin_allowed(scope: Mapping[str, Any], allowed: Collection[str], *, local: bool = False) -> bool:
    """Whether a page of this origin may call: none given, the server's own, one of the list, and with `local` those that this machine serves.

    The origin of a file, ``null``, is no such: any page of the web can give itself that one.
    """
    origin = header(scope, b"origin")
    if origin is None or origin in allowed:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    return parts.netloc.lower() == (header(scope, b"host") or "").lower() or (local and is_loopback(parts.hostname))


def check_routes(routes: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Refuse a route that declares no permission, before the server exists; `routes` are paths and handlers' options."""
    for path, options in routes:
        if options.get("permission") not in EVERYTHING | {PUBLIC}:
            raise TypeError(f"The route {path} declares no permission that exists.")
