"""Commands about accounts: ``account create|info|list|delete|recover``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowrunner.cli.login import new_password
from flowrunner.cli.options import Config, Database, Json, NoColor, Output, Quiet, Server, Yes, client_of, confirm, form_of, settings_of
from flowrunner.cli.output import Form, print_text, say, show_document, show_rows, wait_for

if TYPE_CHECKING:
    from flowrunner.config import Settings

ACCOUNTS = "/api/v1/accounts"
COLUMNS = {"id": "ACCOUNT", "name": "NAME", "email": "E-MAIL", "created_at": "CREATED"}
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]


def create(
    username: Annotated[str, typer.Argument(metavar="USERNAME", help="The account's first user, its owner.")],
    *,
    name: Annotated[str | None, typer.Option("--name", help="What the account is called; the user's name unless given.")] = None,
    email: Annotated[str | None, typer.Option("--email", help="Whom to write to.")] = None,
    number: Annotated[str | None, typer.Option("--id", metavar="DIGITS", help="The account's 12 digits (operators only); random unless given.")] = None,
    password_stdin: PasswordStdin = False,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make an account with its owner. Unless registration is open on the server, this is the operator's.

    Example: flowrunner account create ada --name "Analytical Engines"
    """
    settings = settings_of(config, server=server)
    body = {"username": username, "password": new_password(from_stdin=password_stdin), "name": name, "email": email, "id": number}

    async def work() -> dict[str, Any]:
        async with client_of(settings) as client:
            return await client.rest("POST", ACCOUNTS, body)

    show_document(wait_for(work()), form_of(output, json))
    say(f"Next, as that user: flowrunner login --username {username}", quiet=quiet)


def info(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its 12 digits; one's own unless given.")] = "me",
    *,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
) -> None:
    """Show an account.

    Example: flowrunner account info
    """
    settings = settings_of(config, server=server)

    async def work() -> dict[str, Any]:
        async with client_of(settings) as client:
            return await client.rest("GET", f"{ACCOUNTS}/{segment(account)}")

    show_document(wait_for(work()), form_of(output, json))


def listing(
    *,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    no_color: NoColor = False,
) -> None:
    """List accounts: all of them for an operator, otherwise one's own.

    Example: flowrunner account list --json
    """
    settings = settings_of(config, server=server)

    async def work() -> list[dict[str, Any]]:
        async with client_of(settings) as client:
            return await client.rest_pages(ACCOUNTS, "accounts")

    show_rows(wait_for(work()), COLUMNS, form_of(output, json), no_color=no_color)


def delete(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its 12 digits; one's own is spelt out too.")],
    *,
    yes: Yes = False,
    server: Server = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Delete an account with its users, keys, secrets, definitions and executions. There is no way back.

    Example: flowrunner account delete 123456789012 --yes
    """
    settings = settings_of(config, server=server)
    confirm(f"Delete account {account} with everything it holds?", yes=yes)

    async def work() -> None:
        async with client_of(settings) as client:
            await client.rest("DELETE", f"{ACCOUNTS}/{segment(account)}")

    wait_for(work())
    say("Deleted: nobody gets into it any more. What it held is removed in the background.", quiet=quiet)


def recover(
    *,
    store: Database = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a new API token for the operator, where every other is lost. It is printed now, and never again.

    This works on the store itself, not through a server, and needs the store's master key. An SQLite file is needed alone: stop its server first.
    The audit log of the operator's account notes it. Tokens and keys that were issued before stay good.

    Example: flowrunner account recover --store sqlite:///orders.db
    """
    settings = settings_of(config, store=store)
    found = wait_for(_recovered(settings))
    form = form_of(output, json)
    if form is Form.table:
        print_text(f"{found['token']}\n")
    else:
        show_document(found, form)
    say(f"This is {found['username']} of account {found['account']}. Next, with the server running: flowrunner login --token -", quiet=quiet)


async def _recovered(settings: Settings) -> dict[str, str]:
    from flowrunner.cli.dbstore import upkeep_of, writing  # noqa: PLC0415  # --help does not pay for it
    from flowrunner.wiring import recovered  # noqa: PLC0415  # as above

    await upkeep_of(settings.store).schema()  # what is not there is not made
    async with writing(settings.store, "A token is written to the file, and an SQLite file has one server that writes.") as opened:
        made = await recovered(settings, opened)
    return {"account": made.account, "username": made.username, "token": made.token.secret}


def segment(text: str) -> str:
    """A text as one segment of a path. Raises ConfigurationError for an empty one."""
    from flowrunner.client import segment as of_path  # noqa: PLC0415  # --help does not pay for it

    return of_path(text)


COMMANDS: dict[str, Callable[..., None]] = {"create": create, "info": info, "list": listing, "delete": delete, "recover": recover}
