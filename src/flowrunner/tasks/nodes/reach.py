"""Connecting to servers that do not speak HTTP, under the same policy as requests (reliability S17).

A name is resolved once, every address is checked, and the connection goes to a checked address; TLS still proves the name.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver

from flowrunner.tasks.egress import Address, EgressPolicy, EgressRefused, address_of
from flowrunner.tasks.nodes.kind import INVALID_PARAMETERS, NodeFailed

EGRESS_REFUSED = "FlowRunner.EgressRefused"


class Reach:
    """Finds the address of a host that may be connected to. `names` replaces the system's resolver."""

    def __init__(self, policy: EgressPolicy, names: AbstractResolver | None = None) -> None:
        self._policy = policy
        self._names = names

    async def address(self, host: str, port: int, *, ports: frozenset[int], unreachable: str) -> str:
        """A checked address of `host`; `ports` are those of the protocol that need no exception.

        Raises NodeFailed: ``FlowRunner.EgressRefused``, or `unreachable` for a name without an address.
        """
        host = host.lower().rstrip(".")
        try:
            found = [given] if (given := address_of(host)) is not None else await self._resolved(host, port, unreachable)
            for address in found:
                self._policy.check(host, port, address, ports=ports)
        except EgressRefused as error:
            raise NodeFailed(str(error), error=EGRESS_REFUSED) from None
        return str(found[0])

    async def _resolved(self, host: str, port: int, unreachable: str) -> list[Address]:
        names = self._names or aiohttp.ThreadedResolver()
        try:
            found = await names.resolve(host, port)
        except OSError:
            found = []
        if not found:
            raise NodeFailed(f"The host {host} has no address.", error=unreachable)
        return [ip_address(one["host"].partition("%")[0]) for one in found]


class NamedContext(ssl.SSLContext):
    """A TLS client that proves `name`, whatever address its socket is connected to."""

    name: str = ""

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """As every context, for `name`."""
        return super().wrap_bio(*arguments, **{**named, "server_hostname": self.name})

    def wrap_socket(self, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        """As every context, for `name`."""
        return super().wrap_socket(*arguments, **{**named, "server_hostname": self.name})


def tls(name: str, *, verify: bool = True, check_name: bool = True, authorities: str | None = None) -> ssl.SSLContext:
    """A context for a connection to the host `name`. `authorities` are certificates (PEM) to trust instead of the system's.

    Raises NodeFailed when `authorities` cannot be read.
    """
    context = NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.name = name
    context.check_hostname = verify and check_name
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    try:
        if authorities is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cadata=authorities)
    except ssl.SSLError:
        raise NodeFailed("The certificates of the authority cannot be read; give them as PEM text.", error=INVALID_PARAMETERS) from None
    return context


async def connected(address: str, port: int, *, seconds: float) -> socket.socket:
    """A socket connected to a checked address, for blocking use with a time limit. Raises OSError, TimeoutError."""
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setblocking(False)  # noqa: FBT003 - the socket's own argument
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(made, (address, port))
        made.settimeout(seconds)
    except BaseException:
        made.close()
        raise
    return made
