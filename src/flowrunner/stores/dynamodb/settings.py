"""What the URL of a DynamoDB store says."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, fields
from urllib.parse import parse_qsl, urlsplit

from flowrunner.errors import ConfigurationError

SPELLING = "Use dynamodb://REGION, e.g. dynamodb://eu-central-1?prefix=flowrunner_."
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z0-9]+)+-[0-9]+|local(?:host)?")
_PREFIX = re.compile(r"[A-Za-z0-9_.-]{0,200}")  # a table's name has 3 to 255 of these characters
MOST_SHARDS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamoSettings:
    """Where the table is and how it is made.

    `endpoint` stands in for AWS's own address (a local stand-in, a VPC endpoint). `billing` (on-demand, or provisioned with
    `read` and `write` units) and `shards` only matter when the table is made. `shards` is over how many partitions each list
    that all executions share is spread: DynamoDB writes about 1,000 units a second to one partition.
    """

    region: str
    endpoint: str | None = None
    prefix: str = ""
    billing: str = "on-demand"
    read: int = 25
    write: int = 25
    shards: int = 4

    @property
    def table(self) -> str:
        """The name of the table."""
        return f"{self.prefix}flowrunner"

    @property
    def url(self) -> str:
        """As it is shown; there is nothing secret in it."""
        given = {name: getattr(self, name) for name in QUERY if getattr(self, name) != _DEFAULTS[name]}
        return f"dynamodb://{self.region}" + ("?" + "&".join(f"{name}={value}" for name, value in given.items()) if given else "")

    @property
    def place(self) -> str:
        """Table, region and endpoint, for messages."""
        return f"the table {self.table} in {self.region}" + (f" at {self.endpoint}" if self.endpoint else "")

    @property
    def is_local(self) -> bool:
        """Whether the endpoint is this machine, where keys mean nothing."""
        host = urlsplit(self.endpoint or "").hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def is_plain(self) -> bool:
        """Whether the endpoint is spoken to without TLS."""
        return urlsplit(self.endpoint or "").scheme == "http"


_DEFAULTS = {field.name: field.default for field in fields(DynamoSettings)}
QUERY = tuple(name for name in _DEFAULTS if name != "region")


def read_settings(url: str) -> DynamoSettings:
    """The settings of ``dynamodb://REGION?...``; raises ConfigurationError for anything it does not know."""
    parts = urlsplit(url)
    region, query = parts.netloc, dict(parse_qsl(parts.query, keep_blank_values=True))
    if "@" in region:
        raise ConfigurationError("The URL of the DynamoDB store has credentials in it.", remedy="AWS's own chain finds them: environment, profile or role.")
    if not url.startswith("dynamodb://") or not _REGION.fullmatch(region) or parts.path.strip("/") or parts.fragment:
        raise ConfigurationError(f"The store {url!r} names no region.", remedy=SPELLING)
    unknown = sorted(query.keys() - set(QUERY))
    if unknown:
        raise ConfigurationError(f"The store {url!r} has unknown settings: {', '.join(unknown)}.", remedy=f"Known are {', '.join(QUERY)}.")
    endpoint, prefix, billing = query.get("endpoint"), query.get("prefix", ""), query.get("billing", "on-demand")
    if endpoint is not None and (urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname):
        raise ConfigurationError(f"endpoint={endpoint} cannot be used in {url!r}.", remedy="It is a URL such as http://127.0.0.1:8000.")
    if not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(f"prefix={prefix} cannot be used in {url!r}.", remedy="It has letters, digits, '_', '-' and '.' only.")
    if billing not in ("on-demand", "provisioned"):
        raise ConfigurationError(f"billing={billing} cannot be used in {url!r}.", remedy="It is on-demand or provisioned.")
    if billing == "on-demand" and query.keys() & {"read", "write"}:
        raise ConfigurationError(f"The store {url!r} has units but is on-demand.", remedy="Units (read, write) belong to billing=provisioned.")
    numbers = {name: _number(url, name, query[name], most) for name, most in (("read", 40_000), ("write", 40_000), ("shards", MOST_SHARDS)) if name in query}
    return DynamoSettings(region=region, endpoint=endpoint, prefix=prefix, billing=billing, **numbers)


def _number(url: str, name: str, text: str, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= most:
        raise ConfigurationError(f"{name}={text} cannot be used in {url!r}.", remedy=f"It is a whole number from 1 to {most}.")
    return int(text)
