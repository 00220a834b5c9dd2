"""Commands about the users of the account: ``user create|list|delete|role|password``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowrunner.cli.accounts import PasswordStdin
from flowrunner.cli.login import ask, new_password
from flowrunner.cli.options import Config, Json, NoColor, Output, Quiet, Server, Yes, client_of, confirm, form_of, settings_of
from flowrunner.cli.output import Form, say, show_document, show_rows, wait_for
from flowrunner.errors import NotFound
from flowrunner.identity.permissions import Role

if TYPE_CHECKING:
    from flowrunner.client import Client

USERS = "/api/v1/accounts/me/users"
PASSWORD = "/api/v1/accounts/me/password"  # noqa: S105 - a path
COLUMNS = {"id": "USER", "username": "NAME", "role": "ROLE", "email": "E-MAIL", "created_at": "CREATED"}
User = Annotated[str, typer.Argument(metavar="USER", help="A user's name or id.")]


def create(
    username: Annotated[str, typer.Argument(metavar="USERNAME", help="What the user logs in as; unique on the server.")],
    *,
    role: Annotated[Role, typer.Option("--role", help="What the user may do.")] = Role.VIEWER,
    email: Annotated[str | None, typer.Option("--email", help="Whom to write to.")] = None,
    password_stdin: PasswordStdin = False,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
) -> None:
    """Make a user of the account.

    Example: flowrunner user create grace --role editor
    """
    settings = settings_of(config, server=server)
    body = {"username": username, "password": new_password(from_stdin=password_stdin), "role": role.value, "email": email}

    async def work() -> dict[str, Any]:
        async with client_of(settings) as client:
            return await client.rest("POST", USERS, body)

    show_document(wait_for(work()), form_of(output, json))


def listing(
    *,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    no_color: NoColor = False,
) -> None:
    """List the users of the account.

    Example: flowrunner user list
    """
    settings = settings_of(config, server=server)

    async def work() -> list[dict[str, Any]]:
        async with client_of(settings) as client:
            return await client.rest_pages(USERS, "users")

    show_rows(wait_for(work()), COLUMNS, form_of(output, json), no_color=no_color)


def delete(
    user: User,
    *,
    yes: Yes = False,
    server: Server = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Remove a user with its API tokens and AWS keys. The last owner of an account stays.

    Example: flowrunner user delete grace --yes
    """
    settings = settings_of(config, server=server)
    confirm(f"Remove the user {user} with its tokens and keys?", yes=yes)

    async def work() -> None:
        async with client_of(settings) as client:
            await client.rest("DELETE", f"{USERS}/{await id_of(client, user)}")

    wait_for(work())
    say(f"Removed {user}.", quiet=quiet)


def change_role(
    user: User,
    role: Annotated[Role, typer.Argument(help="What the user may do from now on.")],
    *,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
) -> None:
    """Give a user another role; its tokens and keys follow at once.

    Example: flowrunner user role grace admin
    """
    settings = settings_of(config, server=server)

    async def work() -> dict[str, Any]:
        async with client_of(settings) as client:
            return await client.rest("PATCH", f"{USERS}/{await id_of(client, user)}", {"role": role.value})

    show_document(wait_for(work()), form_of(output, json))


def password(
    user: Annotated[str | None, typer.Argument(metavar="USER", help="A user of the account; oneself unless given.")] = None,
    *,
    password_stdin: Annotated[
        bool,
        typer.Option("--password-stdin", help="Read from standard input: the old password (not for another user), then, on a line of its own, the new one."),
    ] = False,
    server: Server = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Change a password. All log-ins of that user end; API tokens and AWS keys stay.

    Example: flowrunner user password
    """
    settings = settings_of(config, server=server)
    current = None if user is not None else (new_password(from_stdin=True) if password_stdin else ask("Current password", hidden=True))
    new = new_password(from_stdin=password_stdin)

    async def work() -> None:
        async with client_of(settings) as client:
            if user is None:
                await client.rest("PUT", PASSWORD, {"current_password": current, "new_password": new})
            else:
                await client.rest("PATCH", f"{USERS}/{await id_of(client, user)}", {"password": new})

    wait_for(work())
    say("Changed. Log in again: flowrunner login", quiet=quiet)


async def id_of(client: Client, user: str) -> str:
    """The id of a user who was named by name or id; raises NotFound."""
    for found in await client.rest_pages(USERS, "users"):
        if user in (found["id"], found["username"]) or found["username"].casefold() == user.casefold():
            return str(found["id"])
    raise NotFound("user", user)


COMMANDS: dict[str, Callable[..., None]] = {"create": create, "list": listing, "delete": delete, "role": change_role, "password": password}
