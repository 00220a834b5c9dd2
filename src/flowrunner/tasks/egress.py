"""Where FlowRunner may connect to: one policy for every outgoing request (reliability S17), on by default.

Every address a name resolves to is checked, and the connection goes to the checked address. Special addresses (loopback,
private, link-local, multicast, reserved, and IPv4 ones in IPv6 clothes) are refused unless the operator allows them.
Hosts are taken in one spelling only: names, dotted decimal IPv4, bracketed IPv6 without a zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from yarl import URL

from flowrunner.errors import AccessDenied, ConfigurationError
from flowrunner.tasks.secrecy import hidden

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
DEFAULT_PORTS = frozenset({80, 443, 8080, 8443})

# https://www.iana.org/assignments/iana-ipv4-special-registry (checked 2026-11); multicast and class E besides.
_SPECIAL_V4 = tuple(IPv4Network(text) for text in (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
    "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
))  # fmt: skip
# https://www.iana.org/assignments/iana-ipv6-special-registry: of what is routed at all (2000::/3), these are special.
_ROUTED_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)  # WHATWG URL, "ends in a number": such hosts are IPv4 or nothing
_CREDENTIAL = re.compile(r"//[^/?#]*@")
MOST_SHOWN = 200  # characters of a URL in a message
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")  # control characters, blanks; browsers read a backslash as a slash


class EgressRefused(AccessDenied):
    """The destination is not allowed."""

    code = "egress_refused"


@dataclass(frozen=True, slots=True)
class _Allowance:
    network: Network | None
    host: str | None
    port: int | None

    def covers(self, host: str, port: int, address: Address | None) -> bool:
        if self.port not in (None, port):
            return False
        if self.network is None:
            return self.host == host
        return address is not None and address.version == self.network.version and address in self.network


class EgressPolicy:
    """What may be connected to.

    `allow` lists exceptions: ``host``, ``host:port``, ``127.0.0.1:8081``, ``[::1]:8081``, ``10.0.0.0/8``. `ports` are the ports
    that need no exception, None for all. Raises ConfigurationError for an entry that cannot be read.
    """

    def __init__(self, allow: Iterable[str] = (), *, ports: frozenset[int] | None = DEFAULT_PORTS) -> None:
        self._allow = tuple(_allowance(entry) for entry in allow)
        self._ports = ports

    def check(self, host: str, port: int, address: Address, *, ports: frozenset[int] | None = None) -> None:
        """Raise EgressRefused unless `host`, which is at `address`, may be connected to; `ports` are those that another protocol has."""
        address = plain_address(address)
        if any(one.covers(host, port, address) for one in self._allow):
            return
        if is_special(address):
            raise EgressRefused(f"{host} is at {address}, which is not public.", remedy="The operator may allow it: [http] allow.")
        open_ports = self._ports if ports is None else ports
        if open_ports is not None and port not in open_ports:
            raise EgressRefused(f"Port {port} of {host} is not among the allowed ports.", remedy="The operator may allow it: [http] allow.")


def _allowance(entry: str) -> _Allowance:
    match = re.fullmatch(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:/]+))(?::(?P<port>\d{1,5}))?", entry)
    try:
        if match is None:
            return _Allowance(ip_network(entry), None, None)
        port = int(match["port"]) if match["port"] else None
        name = (match["v6"] or match["name"]).lower().rstrip(".")
        if match["v6"] or name.replace(".", "").isdigit():
            return _Allowance(ip_network(name), None, port)
        if all(_LABEL.fullmatch(label) for label in name.split(".")):
            return _Allowance(None, name, port)
    except ValueError:
        pass
    raise ConfigurationError(f"http.allow: {entry!r} is no host, host:port, address or network.")


def plain_address(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that is only its spelling (``::ffff:a.b.c.d``, NAT64); otherwise the address."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_special(address: Address) -> bool:
    """Whether an address is anything but an ordinary public one."""
    address = plain_address(address)
    if isinstance(address, IPv4Address):
        return any(address in network for network in _SPECIAL_V4)
    return address not in _ROUTED_V6 or any(address in network for network in _SPECIAL_V6)


@dataclass(frozen=True, slots=True)
class Destination:
    """A checked URL: `host` in its one spelling (no brackets), `address` when it is an IP address."""

    url: URL
    host: str
    port: int
    address: Address | None


def destination(text: str, base: URL | None = None) -> Destination:
    """Read a URL (a redirect's, relative to `base`). Raises EgressRefused for any but plain http and https URLs, which it names."""
    if _UNSAFE.search(text):
        raise _refused("The URL {} holds a blank, a control character or a backslash.", text)
    try:
        url = URL(text) if base is None else base.join(URL(text))
        scheme, host, port = url.scheme, url.raw_host, url.port
    except (ValueError, UnicodeError):
        raise _refused("The URL {} cannot be read.", text) from None
    if scheme not in ("http", "https") or not host or not port:
        raise _refused("Only http:// and https:// URLs with a host are allowed, not {}.", text)
    if url.raw_user is not None or url.raw_password is not None:
        raise EgressRefused("A URL with a user name is not allowed.", remedy="Use a header or a connection.")
    host = host.lower().rstrip(".")
    return Destination(url, host, port, address_of(host))


def _refused(said: str, text: str) -> EgressRefused:
    """`said` of a URL, which is shown without what may be a credential: the attempt's secrets, a user's part, the query."""
    whole = _CREDENTIAL.sub("//***@", hidden(text))
    plain, begin = whole.partition("?")[0], whole.find("{{")
    end = whole.find("}}", begin) + 2 if begin >= 0 else 0
    remedy = None if end < 2 else f"{whole[begin:end][:MOST_SHOWN]} could not be resolved: no variable and no output has this name."
    return EgressRefused(said.format(repr(plain[:MOST_SHOWN])), remedy=remedy)


def address_of(host: str) -> Address | None:
    """The address that `host` spells, None for a name. Raises EgressRefused for unusual spellings, and for what is neither."""
    last = host.rpartition(".")[2]
    if ":" in host or _NUMBER.fullmatch(last):
        try:
            if "%" not in host:
                return ip_address(host)
        except ValueError:
            pass
        raise EgressRefused(f"The host {host} is an unusual spelling of an address.", remedy="Write it as 192.0.2.1 or [2001:db8::1].")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise EgressRefused(f"The host {host[:253]!r} is no name.")
    return None
