"""Options that several commands have, and what they come to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowrunner.cli.output import Form
from flowrunner.cli.profiles import profile_for, token_of_environment
from flowrunner.errors import ConfigurationError

if TYPE_CHECKING:
    from flowrunner.client import Client
    from flowrunner.config import Settings

Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Read settings from this file instead of flowrunner.toml.")]
Store = Annotated[str | None, typer.Option("--store", metavar="URL", help="Where runs are kept: sqlite:///PATH, memory:, postgresql://... or dynamodb://...")]
Database = Annotated[str | None, typer.Option("--store", metavar="URL", help="The store; without it the one that the settings name.")]
Server = Annotated[str | None, typer.Option("--server", metavar="URL", help="The server to talk to (FLOWRUNNER_SERVER).")]
Output = Annotated[Form, typer.Option("--output", "-o", help="How data looks.")]
Json = Annotated[bool, typer.Option("--json", help="Short for --output json.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print data only.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colours (also: NO_COLOR).")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Timeout = Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="Stop waiting after this time (exit code 124).")]


def form_of(output: Form, json: bool) -> Form:  # noqa: FBT001  # both are options
    """The form that was asked for."""
    return Form.json if json else output


def confirm(question: str, *, yes: bool) -> None:
    """Ask before what cannot be undone; raises ConfigurationError where nobody can be asked, typer.Abort for a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError("There is no terminal to ask on whether you mean it.", remedy="Add --yes.")
    typer.confirm(question, abort=True, err=True)


def settings_of(config: Path | None = None, **flags: object) -> Settings:
    """The settings, with these flags."""
    from flowrunner.config import load  # noqa: PLC0415  # --help does not pay for it

    return load(flags=flags, config=config)


def client_of(settings: Settings) -> Client:
    """The client of the server that the settings or the profile name, with the user's credential for it."""
    from flowrunner.client import Client  # noqa: PLC0415  # as above

    return Client(server_url(settings), region=settings.region, account=settings.account, token=token_for(settings))


def token_for(settings: Settings) -> str | None:
    """The user's credential for that server: of the environment, or of a profile; None for a server that was never logged in to."""
    token = token_of_environment()
    if token is not None:
        return token
    profile = profile_for(server_url(settings))
    return None if profile is None else profile.token


def server_url(settings: Settings) -> str:
    """The server that the settings name, or the profile; otherwise where one of these settings is for clients of this machine."""
    if settings.server is not None:
        return settings.server
    if "host" not in settings.origins and "port" not in settings.origins and (profile := profile_for(None)) is not None:
        return profile.server
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104  # compared, not listened on
    scheme = "http" if settings.tls_cert_file is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{settings.port}"
