"""Commands about secrets: ``secret set|get|list|delete|rotate``. No value is ever an argument: a process list shows those to everybody."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from flowrunner.cli.accounts import ACCOUNTS, segment
from flowrunner.cli.options import Config, Json, NoColor, Output, Quiet, Server, Yes, client_of, confirm, form_of, settings_of
from flowrunner.cli.output import Form, print_text, say, show_document, show_rows, wait_for
from flowrunner.errors import ConfigurationError, InvalidDocument

SECRETS = f"{ACCOUNTS}/me/secrets"
STRUCTURED = f"{ACCOUNTS}/me/structured-secrets"
COLUMNS = {"key": "SECRET", "type": "TYPE", "version": "VERSION", "updated_at": "CHANGED", "expires_at": "EXPIRES", "last_used": "LAST USED"}
MAX_BYTES = 1024 * 1024  # of a value that is read; the server takes 64 KiB

Name = Annotated[str, typer.Argument(metavar="NAME", help="The secret's name.")]
ValueFile = Annotated[Path | None, typer.Option("--value-file", metavar="FILE", help="Read the value from this file, all of it; - is standard input.")]


class Type(StrEnum):
    """Types of structured secrets."""

    general = "general"
    oauth = "oauth"
    api_key = "api_key"
    database = "database"
    jwt = "jwt"
    custom = "custom"


def put(
    name: Name,
    *,
    value_file: ValueFile = None,
    kind: Annotated[Type | None, typer.Option("--type", help="Make it a structured secret of this type: the value is a JSON object of its fields.")] = None,
    description: Annotated[str | None, typer.Option("--description", help="What it is for.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="A word to find it by; may be repeated.")] = None,
    expires_at: Annotated[str | None, typer.Option("--expires-at", metavar="TIME", help="When it should be replaced, such as 2027-01-02T03:04:05Z.")] = None,
    server: Server = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Make a secret, or change its value. The value comes from a file, from standard input, or is asked for on a terminal.

    A line break at the end of standard input is left out; a file is taken as it is.

    Example: flowrunner secret set API_KEY < key.txt
    """
    value = _value(name, value_file)
    settings = settings_of(config, server=server)
    about = {"description": description, "tags": tag or None, "expires_at": expires_at}

    async def work() -> dict[str, Any]:
        async with client_of(settings) as client:
            path = _path(STRUCTURED if kind else SECRETS, name)
            body: dict[str, Any] = {"value": value}
            if kind is not None:
                body = {"type": kind.value, "data": _fields(value), **about}
            there = any(one["key"] == name for one in (await client.rest("GET", SECRETS))["secrets"])
            made = await client.rest("PUT" if there else "POST", path, body)
            if kind is None and any(part is not None for part in about.values()):
                made = await client.rest("PATCH", f"{_path(STRUCTURED, name)}/metadata", about)
            return made

    made = wait_for(work())
    say(f"{made['key']} has version {made['version']}. In a task: {{{{resolve:secretsmanager:{made['key']}}}}}", quiet=quiet)


def show(
    name: Name,
    *,
    field: Annotated[str | None, typer.Option("--field", metavar="PATH", help="One field of a structured secret, such as user.name.")] = None,
    reveal: Annotated[bool, typer.Option("--reveal", help="Print the value.")] = False,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
) -> None:
    """Show what is known of a secret; with --reveal print its value, and nothing else.

    Example: flowrunner secret get API_KEY --reveal
    """
    settings = settings_of(config, server=server)

    async def work() -> dict[str, Any]:
        async with client_of(settings) as client:
            if not reveal:
                found = [one for one in (await client.rest("GET", SECRETS))["secrets"] if one["key"] == name]
                return found[0] if found else await client.rest("GET", _path(SECRETS, name))  # for its error
            if field is not None:
                return await client.rest("GET", _path(STRUCTURED, name), params={"field": field})
            return await client.rest("GET", _path(SECRETS, name))

    found, form = wait_for(work()), form_of(output, json)
    if not reveal or form is not Form.table:
        show_document(found, form)
        if not reveal:
            say("Its value is printed with --reveal.")
        return
    value = found["value"]
    if not isinstance(value, str):
        from flowrunner.jsonvalue import dumps  # noqa: PLC0415  # --help does not pay for it

        value = dumps(value)
    print_text(f"{value}\n" if sys.stdout.isatty() else value)


def listing(
    *,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    no_color: NoColor = False,
    quiet: Quiet = False,
) -> None:
    """List secrets: names and what is known of them, never a value.

    Example: flowrunner secret list -o jsonl
    """
    settings = settings_of(config, server=server)

    async def work() -> list[dict[str, Any]]:
        async with client_of(settings) as client:
            return list((await client.rest("GET", SECRETS))["secrets"])

    rows = wait_for(work())
    show_rows(rows, COLUMNS, form_of(output, json), no_color=no_color)
    if not rows:
        say("No secrets. Make one with: flowrunner secret set NAME", quiet=quiet)


def delete(name: Name, *, yes: Yes = False, server: Server = None, config: Config = None, quiet: Quiet = False) -> None:
    """Delete a secret. Tasks that name it fail from now on.

    Example: flowrunner secret delete API_KEY --yes
    """
    settings = settings_of(config, server=server)
    confirm(f"Delete the secret {name}?", yes=yes)

    async def work() -> None:
        async with client_of(settings) as client:
            await client.rest("DELETE", _path(SECRETS, name))

    wait_for(work())
    say(f"Deleted {name}.", quiet=quiet)


def rotate(
    *,
    master: Annotated[bool, typer.Option("--master", help="Replace the master key of the whole store (operators only).")] = False,
    everyone: Annotated[bool, typer.Option("--all", help="Replace the data key of every account (operators only).")] = False,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
) -> None:
    """Give the account a new data key and seal every secret anew, while everybody works. One that was broken off is finished.

    Example: flowrunner secret rotate
    """
    if master and everyone:
        raise ConfigurationError("--master and --all are two rotations: run one after the other.")
    settings = settings_of(config, server=server)

    async def work() -> dict[str, Any]:
        async with client_of(settings) as client:
            if master or everyone:
                return await client.rest("POST", "/api/v1/vault/rotation", {"master": master})
            return await client.rest("POST", f"{ACCOUNTS}/me/vault/rotation")

    show_document(wait_for(work()), form_of(output, json))


def _path(base: str, name: str) -> str:
    return f"{base}/{segment(name)}"


def _value(name: str, file: Path | None) -> str:
    try:
        if file is not None and str(file) != "-":
            with file.open("rb") as opened:
                raw = opened.read(MAX_BYTES + 1)
        elif sys.stdin.isatty():
            return str(typer.prompt(f"Value of {name}", hide_input=True, err=True))
        else:
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
            raw = raw[:-2] if raw.endswith(b"\r\n") else raw.removesuffix(b"\n")
        text = raw.decode()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise ConfigurationError("The value is no UTF-8 text.", remedy="Encode it first, in base64 for example.") from None
    if len(raw) > MAX_BYTES:
        raise ConfigurationError(f"The value has more than {MAX_BYTES} bytes.")
    return text


def _fields(text: str) -> dict[str, Any]:
    from flowrunner.jsonvalue import loads  # noqa: PLC0415  # as above

    value = loads(text)
    if not isinstance(value, dict):
        raise InvalidDocument("The value of a structured secret is a JSON object of its fields.")
    return value


COMMANDS: dict[str, Callable[..., None]] = {"set": put, "get": show, "list": listing, "delete": delete, "rotate": rotate}
