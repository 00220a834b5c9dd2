"""Commands about what lets programs in: ``key create|list|revoke``, for AWS access keys and API tokens."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from flowrunner.cli.accounts import segment
from flowrunner.cli.environment import LINES, Shell, variables_of
from flowrunner.cli.options import Config, Json, NoColor, Output, Quiet, Server, Yes, client_of, confirm, form_of, server_url, settings_of
from flowrunner.cli.output import Form, print_text, say, show_document, show_rows, wait_for
from flowrunner.cli.users import id_of
from flowrunner.errors import ConfigurationError

TOKENS = "/api/v1/accounts/me/tokens"
ACCESS_KEYS = "/api/v1/accounts/me/access-keys"
COLUMNS = {"id": "KEY", "kind": "KIND", "name": "NAME", "user": "USER", "created_at": "CREATED", "expires_at": "EXPIRES", "last_used": "LAST USED"}
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_TOKEN = re.compile(r"flr_([0-9A-Za-z]{12})_[0-9A-Za-z]+")


class Kind(StrEnum):
    """What is made: a key pair for AWS's SDKs, or a token for the REST API and this command."""

    aws = "aws"
    token = "token"  # noqa: S105 - the name of a kind


def _seconds(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,6})([smhdw])", text)
    if found is None or int(found[1]) == 0:
        raise ConfigurationError(f"--expires: {text!r} must be a number and one of s, m, h, d, w, such as 90d.")
    return int(found[1]) * SECONDS[found[2]]


def create(
    *,
    kind: Annotated[Kind, typer.Option("--kind", help="An AWS key pair, or an API token.")] = Kind.aws,
    name: Annotated[str, typer.Option("--name", help="What it is for.")] = "",
    scope: Annotated[
        list[str] | None, typer.Option("--scope", metavar="PERMISSION", help="Let a token do this only, such as executions:read; may be repeated.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="Until when it is good, from now: 12h, 90d, 4w. For ever unless given.")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="USER", help="For this user, by name or id; for oneself unless given.")] = None,
    shell: Annotated[Shell, typer.Option("--shell", help="The shell that reads the lines of an AWS key pair.")] = Shell.posix,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make an AWS key pair or an API token. Its secret is printed now, and never again.

    Example: eval "$(flowrunner key create --name laptop --expires 90d)"
    """
    if kind is Kind.aws and scope:
        raise ConfigurationError("--scope is for --kind token: an AWS key pair can do what its user can.", remedy="Make a user with a smaller role for it.")
    settings = settings_of(config, server=server)
    body = {"name": name, "scopes": scope or None, "expires_in": None if expires is None else _seconds(expires)}

    async def work() -> dict[str, Any]:
        async with client_of(settings) as client:
            whose = None if user is None else await id_of(client, user)
            return await client.rest("POST", ACCESS_KEYS if kind is Kind.aws else TOKENS, body | {"user": whose})

    made, form = wait_for(work()), form_of(output, json)
    if form is not Form.table:
        show_document(made, form)
    elif kind is Kind.token:
        print_text(f"{made['token']}\n")
    else:
        pairs = variables_of(server_url(settings), settings.region) | {"AWS_ACCESS_KEY_ID": made["id"], "AWS_SECRET_ACCESS_KEY": made["secret"]}
        print_text("".join(f"{LINES[shell](variable, value)}\n" for variable, value in pairs.items()))
    say(f"Keep the secret: it is not shown again. To end it: flowrunner key revoke {made['id']}", quiet=quiet)


def listing(
    *,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    no_color: NoColor = False,
) -> None:
    """List AWS key pairs and API tokens: one's own, and everybody's for who manages them. Never a secret.

    Example: flowrunner key list
    """
    settings = settings_of(config, server=server)

    async def work() -> list[dict[str, Any]]:
        async with client_of(settings) as client:
            pairs = (await client.rest("GET", ACCESS_KEYS))["access_keys"]
            return [{"kind": "aws", **pair} for pair in pairs] + [{"kind": "token", **token} for token in (await client.rest("GET", TOKENS))["tokens"]]

    show_rows(wait_for(work()), COLUMNS, form_of(output, json), no_color=no_color)


def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The id of a key pair or of a token; a whole token does too.")],
    *,
    yes: Yes = False,
    server: Server = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """End an AWS key pair or an API token: it lets nobody in from now on.

    Example: flowrunner key revoke AKIAIOSFODNN7EXAMPLE --yes
    """
    settings = settings_of(config, server=server)
    whole = _TOKEN.fullmatch(key)
    identity = key if whole is None else whole[1]
    path = f"{ACCESS_KEYS if identity.startswith('AKIA') else TOKENS}/{segment(identity)}"
    confirm(f"Revoke {identity}?", yes=yes)

    async def work() -> None:
        async with client_of(settings) as client:
            await client.rest("DELETE", path)

    wait_for(work())
    say(f"Revoked {identity}.", quiet=quiet)


COMMANDS: dict[str, Callable[..., None]] = {"create": create, "list": listing, "revoke": revoke}
