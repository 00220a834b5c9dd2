"""Profiles: which servers this user has logged in to, in ``$XDG_CONFIG_HOME/flowrunner/config.toml``, a file that nobody else can read.

A token goes to the server that it was got from and to no other.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import tomllib
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path

from flowrunner.errors import ConfigurationError

DEFAULT = "default"
TOKEN_VARIABLES = ("FLOWRUNNER_TOKEN", "FLOWRUNNER_TOKEN_FILE")
named: ContextVar[str | None] = ContextVar("named", default=None)  # what --profile says
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One server, and who the user is there. `token` is an API token, or that of a log-in, which ends some day."""

    server: str
    token: str = field(repr=False)
    account: str = ""
    username: str = ""


def profiles_file(variables: Mapping[str, str] | None = None) -> Path:
    """Where profiles are kept (XDG base directories)."""
    variables = os.environ if variables is None else variables
    base = variables.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base.startswith("/") else Path(variables.get("HOME") or "~").expanduser() / ".config") / "flowrunner" / "config.toml"


def read_profiles(path: Path) -> dict[str, Profile]:
    """Every profile by name; none when there is no file. Raises ConfigurationError, also for a file that others may read."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & _FOR_OTHERS:
                raise ConfigurationError(
                    f"Others may read {path}, which holds tokens.", remedy=f"chmod 600 {path}; then log in again, for who could read it may have."
                )
            document = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not a file of profiles: {error}.", remedy="Repair it, or remove it and log in again.") from None
    profiles = document.get("profiles", {})
    if not isinstance(profiles, dict):
        raise ConfigurationError(f"{path} is not a file of profiles: profiles is no table.", remedy="Repair it, or remove it and log in again.")
    return {name: _profile(name, table, path) for name, table in profiles.items()}


def _profile(name: str, table: object, path: Path) -> Profile:
    known = {"server", "token", "account", "username"}
    if not isinstance(table, dict) or not {"server", "token"} <= table.keys() <= known or not all(isinstance(value, str) for value in table.values()):
        raise ConfigurationError(f"{path}: profile {name!r} has server, token, account and username, all of them texts, and nothing else.")
    return Profile(**table)


def write_profiles(path: Path, profiles: Mapping[str, Profile]) -> None:
    """Replace the file by these profiles, as a whole. Raises ConfigurationError."""
    text = "".join(f"[profiles.{_quoted(name)}]\n{_lines(profile)}\n" for name, profile in profiles.items())
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}.") from None


def _lines(profile: Profile) -> str:
    return "".join(f"{name} = {_quoted(value)}\n" for name, value in asdict(profile).items() if value)


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's, with the one character more that TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def same_server(one: str, other: str) -> bool:
    """Whether two URLs are spelt as one server."""
    return one.rstrip("/").lower() == other.rstrip("/").lower()


def chosen_profile() -> str:
    """The name of the profile to read or write: --profile, FLOWRUNNER_PROFILE, or the default."""
    return named.get() or os.environ.get("FLOWRUNNER_PROFILE") or DEFAULT


def profile_for(server: str | None) -> Profile | None:
    """The profile to use: the chosen one; if it is of another server than the one asked for, one that is of that server.

    Raises ConfigurationError for a profile that was asked for by name and is not there or is of another server.
    """
    path = profiles_file()
    profiles, name = read_profiles(path), chosen_profile()
    asked = bool(named.get() or os.environ.get("FLOWRUNNER_PROFILE"))
    profile = profiles.get(name)
    if asked and profile is None:
        known = f"Those in {path}: {', '.join(profiles)}." if profiles else "There is none yet."
        raise ConfigurationError(f"There is no profile {name!r}. {known}", remedy=f"flowrunner --profile {name} login")
    if profile is None or server is None or same_server(profile.server, server):
        return profile if profile is not None or server is None else _of_server(profiles, server)
    if asked:
        raise ConfigurationError(f"Profile {name!r} is of {profile.server}, not of {server}.", remedy="Leave one of --server and --profile out.")
    return _of_server(profiles, server)


def _of_server(profiles: Mapping[str, Profile], server: str) -> Profile | None:
    return next((profile for profile in profiles.values() if same_server(profile.server, server)), None)


def token_of_environment() -> str | None:
    """The token that the environment gives, for programs that have no home: ``FLOWRUNNER_TOKEN``, or the file it is in."""
    token, file = (os.environ.get(name) for name in TOKEN_VARIABLES)
    if token:
        return token.strip()
    if not file:
        return None
    from flowrunner.config.variables import read_secret_file  # noqa: PLC0415  # --help does not pay for it

    return read_secret_file(Path(file), "FLOWRUNNER_TOKEN_FILE")
