"""Settings: what can be set, and where each value is looked for.

Precedence: flags, ``FLOWRUNNER_*`` environment, ``.env`` in the working folder, ``flowrunner.toml`` (or ``[tool.flowrunner]``
in ``pyproject.toml``), defaults. Relative paths in a file are relative to that file. Unknown keys in a file are errors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from flowrunner.config.files import checked, from_file
from flowrunner.config.settings import DEFAULT_STORE, FUNCTION_KEYS, SETTINGS, Function, Setting, Settings
from flowrunner.config.variables import composed_store, dotenv, from_variables
from flowrunner.errors import StoreRefused

__all__ = ["DEFAULT_STORE", "FUNCTION_KEYS", "SETTINGS", "Function", "Setting", "Settings", "load", "make_folder", "masked", "redacted"]

_STORES = ("postgresql", "postgres")


def load(
    *, flags: Mapping[str, object] | None = None, config: Path | None = None, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Settings:
    """Read the settings from every source. A flag of None is not set. Raises ConfigurationError, naming place and remedy.

    The parts of a store (``FLOWRUNNER_POSTGRES_HOST`` and its like) are not looked at where a flag names the store, nor for a
    command that has the flag `server`, set or not: such a command opens no store.
    """
    here = Path.cwd() if folder is None else folder
    variables = os.environ if environment is None else environment
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    named = str(config) if config is not None else variables.get("FLOWRUNNER_CONFIG")
    for name, value, origin in from_file(here, Path(named) if named else None):
        values[name], origins[name] = value, origin
    stored = values.get("store")
    written = dotenv(here / ".env")
    for source, place in ((written, ".env"), (variables, "environment")):
        for name, value, variable in from_variables(source):
            values[name], origins[name] = value, f"{place} {variable}"
    given = flags or {}
    if "server" not in given and given.get("store") is None:
        composed = composed_store(variables, written, None if stored is None else str(stored))
        if composed is not None:
            values["store"], origins["store"] = composed
    rows = {row.name: row for row in SETTINGS}
    for name, value in given.items():
        if value is not None:
            values[name], origins[name] = checked(rows[name], value, f"--{name.replace('_', '-')}"), "flag"
    return Settings(**values, origins=origins)  # type: ignore[arg-type]  # each value went through its row's reader


def make_folder(store: str) -> None:
    """The folder of the default store, where that is the store; every other folder is there already. Raises StoreRefused."""
    if store != DEFAULT_STORE:
        return
    try:
        os.makedirs(".flowrunner", mode=0o700, exist_ok=True)  # noqa: PTH103 - once, before anything runs
    except OSError as error:
        raise StoreRefused(
            f"The folder .flowrunner cannot be made here ({error.strerror}).", remedy="Start where FlowRunner may write, or name a --store."
        ) from None


def redacted(url: str) -> str:
    """A URL without its password, for people and logs; what is none is as it was. A user without one may be a token, and is hidden too."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url
    name, colon, _ = user.partition(":")
    store = parts.scheme in _STORES  # its user is a role of the database
    return urlunsplit(parts._replace(netloc=f"{name}:***@{host}" if colon else f"{name if store else '***'}@{host}"))


def masked(row: Setting, value: object) -> object:
    """A value as it may be shown: secrets are not, and of a URL not the password."""
    if row.secret and row.name != "store":
        return "***" if value else value
    return redacted(value) if isinstance(value, str) else value
