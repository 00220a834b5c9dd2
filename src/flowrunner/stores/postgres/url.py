"""The URL of a PostgreSQL database, taken apart; nothing of it but the password is secret."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from flowrunner.errors import ConfigurationError

SPELLING = "Write postgresql://user:password@host:5432/database; escape special characters as %XX."
SSL_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
SETTINGS = {
    "sslmode": "one of " + ", ".join(SSL_MODES),
    "sslrootcert": "the file with the certificate authority of the server",
    "schema": "the schema that holds FlowRunner's tables, flowrunner unless given",
    "pgbouncer": "true behind PgBouncer or another pooler that lends a connection for one transaction",
    "connections": "how many connections may be open for reading, 4 unless given; two more write",
    "connect_timeout": "seconds to wait for a connection, 5 unless given",
}
SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a database is and how to speak to it. Its text (`str`) has no password."""

    host: str
    port: int
    user: str
    database: str
    password: str | None = field(default=None, repr=False)
    sslmode: str = "prefer"
    sslrootcert: Path | None = None
    schema: str = "flowrunner"
    pooled: bool = False
    connections: int = 4
    connect_seconds: float = 5.0

    def __str__(self) -> str:
        return f"PostgreSQL at {self.host}:{self.port}"


def parse_address(url: str) -> Address:
    """The address that a URL means; raises ConfigurationError, saying what can be written instead, without its password."""
    parts = urlsplit(url)
    try:
        port = parts.port or 5432
    except ValueError:
        raise ConfigurationError("The port in the PostgreSQL URL is not a number from 1 to 65535.", remedy=SPELLING) from None
    user, database = unquote(parts.username or ""), unquote(parts.path.removeprefix("/"))
    for name, value in (("user", user), ("host", parts.hostname), ("database", database)):
        if not value or "\0" in value:
            raise ConfigurationError(f"The PostgreSQL URL names no {name}.", remedy=SPELLING)
    if parts.fragment:
        raise ConfigurationError("The PostgreSQL URL has a '#' in it.", remedy=SPELLING)
    settings = _settings(parts)
    rootcert = settings.get("sslrootcert")
    return Address(
        host=parts.hostname or "",
        port=port,
        user=user,
        database=database,
        password=None if parts.password is None else unquote(parts.password),
        sslmode=settings.get("sslmode", "prefer"),
        sslrootcert=Path(rootcert) if rootcert else None,
        schema=settings.get("schema", "flowrunner"),
        pooled=settings.get("pgbouncer", "false") == "true",
        connections=int(_number(settings, "connections", 4, 1, 100)),
        connect_seconds=_number(settings, "connect_timeout", 5, 0.1, 60),
    )


def _settings(parts: SplitResult) -> dict[str, str]:
    settings = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in settings:
        if name not in SETTINGS:
            known = "; ".join(f"{known}: {meaning}" for known, meaning in SETTINGS.items())
            raise ConfigurationError(f"The PostgreSQL URL has the unknown setting {name!r}.", remedy=f"Known are: {known}.")
    mode = settings.get("sslmode", "prefer")
    if mode not in SSL_MODES:
        raise ConfigurationError(f"sslmode={mode} cannot be used.", remedy=f"It is {SETTINGS['sslmode']}.")
    rootcert = settings.get("sslrootcert")
    if rootcert is not None and not Path(rootcert).is_file():
        raise ConfigurationError(f"There is no file {rootcert} (sslrootcert).", remedy="Name the certificate file of the server's authority.")
    if rootcert is not None and not mode.startswith("verify"):
        raise ConfigurationError(f"sslrootcert is not looked at with sslmode={mode}.", remedy="Use sslmode=verify-full.")
    if not SCHEMA.fullmatch(settings.get("schema", "flowrunner")):
        raise ConfigurationError("The schema in the PostgreSQL URL cannot be used.", remedy="Lower case letters, digits and _ are, up to 63 of them.")
    if settings.get("pgbouncer", "false") not in ("true", "false"):
        raise ConfigurationError("pgbouncer in the PostgreSQL URL is neither true nor false.", remedy=f"It is {SETTINGS['pgbouncer']}.")
    return settings


def _number(settings: dict[str, str], name: str, default: float, least: float, most: float) -> float:
    try:
        number = float(settings.get(name, default))
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise ConfigurationError(f"{name}={settings[name]} cannot be used in the PostgreSQL URL.", remedy=f"It is a number from {least:g} to {most:g}.")
    return number
