"""The command ``env``: the variables that point AWS SDKs and tools at the server."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from flowrunner.cli.options import Config, Json, Output, Server, form_of, server_url, settings_of, token_for
from flowrunner.cli.output import Form, print_text, say, show_document


class Shell(StrEnum):
    """Whose words are printed."""

    posix = "posix"
    fish = "fish"
    powershell = "powershell"


def env(
    *,
    server: Server = None,
    config: Config = None,
    shell: Annotated[Shell, typer.Option("--shell", help="The shell that reads the lines.")] = Shell.posix,
    keys: Annotated[bool, typer.Option("--keys/--no-keys", help="Set access keys of a development server too.")] = True,
    output: Output = Form.table,
    json: Json = False,
) -> None:
    """Print the variables that point the AWS SDKs, the AWS CLI and Terraform here.

    Example: eval "$(flowrunner env)"
    """
    settings = settings_of(config, server=server)
    url = server_url(settings)
    variables = variables_of(url, settings.region)
    logged_in = token_for(settings) is not None
    if keys and not logged_in:
        variables |= {"AWS_ACCESS_KEY_ID": settings.account, "AWS_SECRET_ACCESS_KEY": "flowrunner-dev"}
    form = form_of(output, json)
    if form is not Form.table:
        show_document(variables, form)
        return
    print_text("".join(f"{LINES[shell](name, value)}\n" for name, value in variables.items()))
    asked = "" if server is None else f" --server {shlex.quote(url)}"
    say(f'# {url}; in a POSIX shell: eval "$(flowrunner env{asked})"', quiet=shell is not Shell.posix)
    if keys and logged_in:
        say(f'# This server wants real keys; make a pair with: eval "$(flowrunner key create{asked})"')


def variables_of(url: str, region: str) -> dict[str, str]:
    """What points AWS's tools at a server, without keys."""
    return {
        "AWS_ENDPOINT_URL_SFN": url,
        # SDKs put "sync-" before the host of StartSyncExecution, which no local name resolves.
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
    }


LINES: dict[Shell, Callable[[str, str], str]] = {
    Shell.posix: lambda name, value: f"export {name}={shlex.quote(value)}",
    Shell.fish: lambda name, value: f"set -gx {name} {shlex.quote(value)}",
    Shell.powershell: lambda name, value: f"$Env:{name} = '{value.replace(chr(39), chr(39) * 2)}'",
}
COMMANDS: dict[str, Callable[..., None]] = {"env": env}
