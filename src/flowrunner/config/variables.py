"""Settings in the environment and in ``.env``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from flowrunner.config.files import checked
from flowrunner.config.settings import DEFAULT_STORE, SETTINGS
from flowrunner.errors import ConfigurationError

FILE = "_FILE"
_PARTS = (
    "FLOWRUNNER_STORAGE_TYPE", "FLOWRUNNER_POSTGRES_HOST", "FLOWRUNNER_POSTGRES_PORT", "FLOWRUNNER_POSTGRES_DATABASE", "FLOWRUNNER_POSTGRES_USER",
    "FLOWRUNNER_POSTGRES_PASSWORD", "FLOWRUNNER_POSTGRES_SSL_MODE", "FLOWRUNNER_DYNAMODB_REGION", "FLOWRUNNER_DYNAMODB_ENDPOINT",
    "FLOWRUNNER_DYNAMODB_TABLE_PREFIX",
)  # fmt: skip
_PASSWORDS = frozenset({"FLOWRUNNER_POSTGRES_PASSWORD", f"FLOWRUNNER_POSTGRES_PASSWORD{FILE}"})
_STORE_PARTS = (*_PARTS, f"FLOWRUNNER_POSTGRES_PASSWORD{FILE}")
_KIND = "FLOWRUNNER_STORAGE_TYPE"
# What means a store of its own. A password, port, role or mode of TLS is only a detail of one that is named elsewhere.
_FAMILIES = {
    "postgres": ("FLOWRUNNER_POSTGRES_HOST", "FLOWRUNNER_POSTGRES_DATABASE"),
    "dynamodb": ("FLOWRUNNER_DYNAMODB_REGION", "FLOWRUNNER_DYNAMODB_ENDPOINT", "FLOWRUNNER_DYNAMODB_TABLE_PREFIX"),
}
# A Kubernetes service called "flowrunner" sets FLOWRUNNER_SERVICE_HOST, _SERVICE_PORT and _SERVICE_PORT_HTTP in every pod beside it.
_KUBERNETES = re.compile(r"FLOWRUNNER_(\w+_)?SERVICE_(HOST|PORT(_\w+)?)")
# A value ends at a "#" only after a blank: one within it, as passwords have, belongs to it.
_LINE = re.compile(r"""\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?:"([^"]*)"\s*(?:#.*)?|'([^']*)'\s*(?:#.*)?|((?:[^#]|(?<!\s)#)*?)\s*(?:(?<=\s)#.*)?)""")
_STORE = next(row for row in SETTINGS if row.name == "store")
_OTHERS = (
    *("FLOWRUNNER_CONFIG", "FLOWRUNNER_TRACEBACK", "FLOWRUNNER_CRASH_AT", "FLOWRUNNER_IDEMPOTENCY_KEY"),
    *("FLOWRUNNER_TOKEN", "FLOWRUNNER_TOKEN_FILE", "FLOWRUNNER_PROFILE", "FLOWRUNNER_USERNAME"),  # of client commands
)


def dotenv(path: Path) -> Mapping[str, str]:
    """``NAME=value`` lines; ``export``, quotes and comments as shells have them, nothing is expanded."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (FileNotFoundError, IsADirectoryError):  # a folder of this name is often a virtual environment
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from None
    found: dict[str, str] = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        if match:
            name, *values = match.groups()
            found[name] = next((value for value in values if value is not None), "")
    return found


def from_variables(source: Mapping[str, str]) -> Iterator[tuple[str, object, str]]:
    """The settings among these variables: name, value, variable. Raises ConfigurationError.

    A secret may be in a file instead, which ``NAME_FILE`` names (as Docker and Kubernetes hand secrets over). A variable that
    is almost the name of a setting is an error, and so is one that is the key of a setting in a file; other programs'
    ``FLOWRUNNER_*`` are left alone. The parts of a store are read by `composed_store`.
    """
    _refuse_misspelt(source)
    for row in SETTINGS:
        for variable in row.variables:
            value = _value(source, variable) if row.secret else source.get(variable, "")
            # A Kubernetes service called "flowrunner" sets FLOWRUNNER_PORT=tcp://10.0.0.1:8080 in every pod beside it.
            if value and not (row.name == "port" and value.startswith("tcp://")):
                yield row.name, checked(row, value, variable), variable
                break


def known_variables() -> frozenset[str]:
    """Every variable that means something."""
    own = {variable for row in SETTINGS for variable in row.variables}
    files = {f"{variable}{FILE}" for row in SETTINGS if row.secret for variable in row.variables}
    return frozenset(own | files | {*_STORE_PARTS, *_OTHERS})


def _value(source: Mapping[str, str], variable: str) -> str:
    """A secret from its variable or from the file that ``NAME_FILE`` names."""
    given, named = source.get(variable, ""), source.get(f"{variable}{FILE}", "")
    if not named or f"{variable}{FILE}" == "FLOWRUNNER_MASTER_KEY_FILE":  # a setting of its own: that file may hold several keys
        return given
    if given:
        raise ConfigurationError(f"{variable} and {variable}{FILE} are both set.", remedy="Leave one of them out.")
    return read_secret_file(Path(named), f"{variable}{FILE}")


def read_secret_file(path: Path, named: str) -> str:
    """The first line of a file that only its owner reads (under /run/secrets the platform sees to that). Raises ConfigurationError."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{named}: {path} cannot be read: {error}.") from None
    if mode & 0o077 and not path.is_relative_to("/run/secrets"):
        raise ConfigurationError(f"{named}: others than its owner can read {path}.", remedy=f"chmod 600 {path}")
    value = text.splitlines()[0].strip() if text else ""
    if not value:  # to pass over it might lead to another store than was meant
        raise ConfigurationError(f"{named}: the first line of {path} is empty.", remedy="Write the value there, or do not name the file.")
    return value


def _refuse_misspelt(source: Mapping[str, str]) -> None:
    known = known_variables()
    for variable in source:
        if variable.startswith("FLOWRUNNER_") and variable not in known and not _KUBERNETES.fullmatch(variable):
            meant = _meant(variable, known)
            if meant:
                raise ConfigurationError(f"{variable} is no setting.", remedy=f"Did you mean {meant}?")


def _meant(variable: str, known: frozenset[str]) -> str | None:
    """The variable that somebody had in mind who wrote the key of the file instead, or mistyped; None for another program's."""
    plain = re.sub("_+", "_", variable)  # some programs write the dot of a key as two
    base = plain.removesuffix(FILE)
    for row in SETTINGS:
        if f"FLOWRUNNER_{row.file_key.replace('.', '_').upper()}" in (plain, base):
            named = row.variables[0] + (FILE if row.secret and plain != base else "")
            return named if named in known else row.variables[0]
    if plain in known:
        return plain
    return next(iter(difflib.get_close_matches(variable, known, n=1, cutoff=0.9)), None)


def composed_store(environment: Mapping[str, str], written: Mapping[str, str], named: str | None) -> tuple[object, str] | None:
    """The store that the source documents' separate variables mean, and where that is said; None where they say nothing.

    The environment adds what ``.env`` (`written`) leaves out, and wins over it. The kind may be left out where the parts tell
    it: somebody who names the host of a database never means an empty file. `named` is the URL in the configuration file.
    Raises ConfigurationError where the parts do not tell one store, so that no server starts on another than was meant.
    """
    own, beneath = _parts(environment), _parts(written)
    if _has_url(environment) or (_has_url(written) and _KIND not in own):
        return None
    parts = {**{name: value for name, value in beneath.items() if name not in _PASSWORDS or not own.keys() & _PASSWORDS}, **own}
    families = {kind: name for kind, names in _FAMILIES.items() for name in reversed(names) if name in parts}
    if _KIND in parts:
        url, variable = _store_of(parts[_KIND].lower(), parts), _KIND
    elif len(families) > 1:
        raise ConfigurationError(f"{' and '.join(families.values())} are set, but a server has one store.", remedy=f"Set {_KIND} to {' or '.join(families)}.")
    elif families:
        ((kind, variable),) = families.items()
        url = _store_of(kind, parts)
    elif parts:
        url, variable = _with_password(named, parts), next(iter(parts))
    else:
        return None
    return checked(_STORE, url, variable), f"{'environment' if variable in own else '.env'} {variable}"


def _parts(source: Mapping[str, str]) -> dict[str, str]:
    """The parts of a store that are set."""
    # A Kubernetes service called "flowrunner-postgres" sets FLOWRUNNER_POSTGRES_PORT=tcp://10.0.0.1:5432 in every pod beside it.
    return {name: source[name] for name in _STORE_PARTS if source.get(name) and not source[name].startswith("tcp://")}


def _with_password(named: str | None, parts: Mapping[str, str]) -> str:
    """The PostgreSQL URL of the configuration file with the password that it leaves out; other details have no place of their own."""
    url = urlsplit(named or "")
    if parts.keys() <= _PASSWORDS and url.scheme in ("postgres", "postgresql") and url.username and url.password is None:
        role, _, place = url.netloc.rpartition("@")
        secret = quote(_value(parts, "FLOWRUNNER_POSTGRES_PASSWORD"), safe="")
        return urlunsplit(url._replace(netloc=f"{role.removesuffix(':')}:{secret}@{place}"))
    store = "no store is named" if named is None else "the configuration file names a store that it cannot be added to"
    raise ConfigurationError(
        f"{next(iter(parts))} is set, but {store}.",
        remedy=f"Set FLOWRUNNER_POSTGRES_HOST or {_KIND} as well, or write it into the URL of the store. Leave it out if another store is meant.",
    )


def _has_url(source: Mapping[str, str]) -> bool:
    """Whether the store is named by a URL of its own, which wins over the parts."""
    return any(source.get(name) or source.get(f"{name}{FILE}") for name in _STORE.variables)


def _store_of(kind: str, parts: Mapping[str, str]) -> str:
    def part(name: str, default: str = "") -> str:
        return parts.get(name, "") or default

    match kind:
        case "memory":
            return "memory:"
        case "sqlite":
            return DEFAULT_STORE
        case "postgres" | "postgresql":
            secret = _value(parts, "FLOWRUNNER_POSTGRES_PASSWORD")
            user = quote(part("FLOWRUNNER_POSTGRES_USER", "flowrunner"), safe="") + (f":{quote(secret, safe='')}" if secret else "")
            place = f"{part('FLOWRUNNER_POSTGRES_HOST', 'localhost')}:{part('FLOWRUNNER_POSTGRES_PORT', '5432')}"
            database, mode = quote(part("FLOWRUNNER_POSTGRES_DATABASE", "flowrunner"), safe=""), part("FLOWRUNNER_POSTGRES_SSL_MODE")
            return f"postgresql://{user}@{place}/{database}" + (f"?sslmode={quote(mode)}" if mode else "")
        case "dynamodb":
            query = {"endpoint": part("FLOWRUNNER_DYNAMODB_ENDPOINT"), "prefix": part("FLOWRUNNER_DYNAMODB_TABLE_PREFIX", "flowrunner_")}
            region = part("FLOWRUNNER_DYNAMODB_REGION", "us-west-2")
            return f"dynamodb://{region}?{urlencode({name: value for name, value in query.items() if value})}"
        case _:
            raise ConfigurationError(f"FLOWRUNNER_STORAGE_TYPE: {kind!r} must be one of memory, sqlite, postgres, dynamodb.")
