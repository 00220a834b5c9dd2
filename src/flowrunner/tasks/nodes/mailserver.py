"""What sending and receiving mail share: where the server is, how the connection is secured, and a thread that can be stopped."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TypeVar

from flowrunner.jsonvalue import JSONValue
from flowrunner.ports.tasks import begin
from flowrunner.tasks.nodes.kind import NodeFailed
from flowrunner.tasks.nodes.reach import Reach, connected, tls
from flowrunner.tasks.nodes.reading import bad, choice, optional_text, seconds, text, whole
from flowrunner.tasks.nodes.threads import Threads

T = TypeVar("T")
REFUSED = "FlowRunner.MailRefused"
UNREACHABLE = "FlowRunner.MailUnreachable"
SECONDS = 60.0
_SECURITY = {name: name for name in ("auto", "tls", "starttls", "none")}


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Where the server is. `security` is tls, starttls, none or auto; `address` has been checked."""

    host: str
    port: int
    address: str
    security: str
    username: str | None
    password: str = field(default="", repr=False)
    seconds: float = SECONDS
    authorities: str | None = None

    def context(self) -> ssl.SSLContext:
        """The TLS context, which proves the host's name."""
        return tls(self.host, authorities=self.authorities)

    def wants_starttls(self, *, offered: bool) -> bool:
        """Whether to upgrade now. Raises NodeFailed when it was asked for and is not offered."""
        if self.security == "starttls" and not offered:
            raise NodeFailed(f"The server {self.host} offers no STARTTLS, which security asks for.", error=REFUSED)
        return self.security == "starttls" or (self.security == "auto" and offered)

    def check_password(self, *, secured: bool) -> None:
        """Raise NodeFailed rather than send a password in the clear over a network."""
        if not secured and not ip_address(self.address).is_loopback:
            raise NodeFailed(f"The connection to {self.host} is not secured, so no password is sent. Set security to tls or starttls.", error=REFUSED)


async def mail_server(params: Mapping[str, JSONValue], reach: Reach, *, what: str, port: int, tls_port: int, ports: frozenset[int]) -> MailServer:
    """The server that the parameters ``WHAT_host``, ``WHAT_port``, ``security``, ``username`` and so on name. Raises NodeFailed."""
    host = text(params, f"{what}_host", "host")
    found = whole(params, f"{what}_port", "port", default=port, low=1, high=65535)
    security = choice(params, "security", among=_SECURITY, default="auto")
    if security == "auto" and found == tls_port:
        security = "tls"
    username = optional_text(params, "username", "user")
    for name, one in (("username", username), ("password", optional_text(params, "password"))):
        if one is not None and any(sign in one for sign in "\r\n\0"):
            raise bad(f"The parameter {name!r} holds a line break.")
    return MailServer(
        host=host,
        port=found,
        address=await reach.address(host, found, ports=ports, unreachable=UNREACHABLE),
        security=security,
        username=username,
        password=text(params, "password", default=""),
        seconds=seconds(params, "timeout", default=SECONDS),
        authorities=optional_text(params, "tls_ca"),
    )


async def talk(server: MailServer, threads: Threads, conversation: Callable[[socket.socket], T]) -> T:
    """Connect, and let `conversation` speak over the socket (TLS already, if that comes first) in a thread.

    Raises NodeFailed when the server cannot be reached; TimeoutError when all of it takes too long.
    """
    await begin()
    try:
        async with asyncio.timeout(server.seconds):
            plain = await connected(server.address, server.port, seconds=server.seconds)
            with plain, plain.dup() as handle:  # the latter ends the conversation, whatever wraps the socket meanwhile
                return await threads.run(lambda: _spoken(server, plain, conversation), lambda: _shut(handle))
    except TimeoutError:
        raise
    except OSError as error:
        raise NodeFailed(f"The server {server.host}:{server.port} cannot be reached: {type(error).__name__}.", error=UNREACHABLE) from None


def _spoken(server: MailServer, plain: socket.socket, conversation: Callable[[socket.socket], T]) -> T:
    if server.security != "tls":
        return conversation(plain)
    try:
        wrapped = server.context().wrap_socket(plain)
    except ssl.SSLError as error:
        raise unsafe(server, error) from None
    with wrapped:
        return conversation(wrapped)


def unsafe(server: MailServer, error: ssl.SSLError) -> NodeFailed:
    """The failure when TLS cannot be established."""
    text = getattr(error, "verify_message", None) or error.reason or "no TLS"
    return NodeFailed(f"The server {server.host} has not proved who it is: {text}.", error=UNREACHABLE)


def _shut(handle: socket.socket) -> None:
    with suppress(OSError):
        handle.shutdown(socket.SHUT_RDWR)
