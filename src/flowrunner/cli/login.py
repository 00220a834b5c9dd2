"""Commands that get in and out: ``login`` and ``logout``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from flowrunner.cli.options import Config, Quiet, Server, server_url, settings_of
from flowrunner.cli.output import explain, say, wait_for
from flowrunner.cli.profiles import Profile, chosen_profile, profiles_file, read_profiles, write_profiles
from flowrunner.errors import ConfigurationError

ME = "/api/v1/accounts/me"
STANDARD_INPUT = "-"


def login(
    *,
    username: Annotated[str | None, typer.Option("--username", "-u", metavar="NAME", help="The user; asked for on a terminal.")] = None,
    token: Annotated[
        str | None, typer.Option("--token", metavar="TOKEN", help="An API token instead of a user and a password; - reads it from standard input.")
    ] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")] = False,
    server: Server = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Log in to a server and remember it, for all other commands.

    A log-in with a password ends after some time (a day, unless the server says otherwise); an API token lasts as it was made to.

    Example: flowrunner login --server https://flows.example.com --username ada
    """
    if token is not None and (username is not None or password_stdin):
        raise ConfigurationError("--token is instead of --username and --password-stdin.")
    read_profiles(profiles_file())  # what cannot be kept is not asked for
    url = server_url(settings_of(config, server=server))
    if token is not None:
        profile = wait_for(_by_token(url, _line("token") if token == STANDARD_INPUT else token))
    else:
        name = username or os.environ.get("FLOWRUNNER_USERNAME") or ask("User name")
        profile = wait_for(_by_password(url, name, _line("password") if password_stdin else ask("Password", hidden=True)))
    path, name = profiles_file(), chosen_profile()
    write_profiles(path, {**read_profiles(path), name: profile})
    who = f" as {profile.username}" if profile.username else ""
    where = f" to account {profile.account}" if profile.account else ""
    say(f"Logged in{who}{where} at {url}; kept in {path}.", quiet=quiet)
    say('Next: eval "$(flowrunner key create)"    # AWS keys for boto3, aws and terraform', quiet=quiet)


def logout(
    *,
    server: Server = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """End the log-ins of this user at the server, and forget the one kept here. An API token is forgotten only: key revoke ends it.

    Example: flowrunner logout
    """
    path, name = profiles_file(), chosen_profile()
    profiles = read_profiles(path)
    if server is not None:
        url = server_url(settings_of(config, server=server))
        name = next((one for one, profile in profiles.items() if profile.server == url), name)
    profile = profiles.pop(name, None)
    if profile is None or (server is not None and profile.server != url):
        say("There is no log-in to end.", quiet=quiet)
        return
    try:
        if not profile.token.startswith("flr_"):
            wait_for(_end(profile))
    except Exception as error:  # noqa: BLE001  # forgotten here in any case
        explain(error)
    write_profiles(path, profiles)
    say(f"Logged out of {profile.server}.", quiet=quiet)


def ask(what: str, *, hidden: bool = False, twice: bool = False) -> str:
    """Ask on the terminal; raises ConfigurationError when there is none."""
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{what}: there is no terminal to ask on.", remedy="Use options, and --password-stdin or --token - for what is secret.")
    return str(typer.prompt(what, hide_input=hidden, confirmation_prompt=twice, err=True))


def new_password(*, from_stdin: bool) -> str:
    """A password that somebody chooses."""
    return _line("password") if from_stdin else ask("Password (15 characters or more are best)", hidden=True, twice=True)


def _line(what: str) -> str:
    if sys.stdin.isatty():
        return ask(what.capitalize(), hidden=True)
    given = sys.stdin.readline().rstrip("\r\n")
    if not given:
        raise ConfigurationError(f"There is no {what} on standard input.")
    return given


async def _by_password(url: str, username: str, password: str) -> Profile:
    from flowrunner.client import Client  # noqa: PLC0415  # --help does not pay for it

    async with Client(url) as client:
        answer = await client.rest("POST", "/api/v1/login", {"username": username, "password": password})
    return Profile(server=url, token=str(answer["token"]), account=str(answer["account_id"]), username=str(answer["username"]))


async def _by_token(url: str, token: str) -> Profile:
    from flowrunner.client import Client, ServerRefused  # noqa: PLC0415  # as above

    account: dict[str, Any] = {}
    async with Client(url, token=token) as client:
        try:
            account = await client.rest("GET", ME)
        except ServerRefused as refused:
            if refused.status != 403:  # the token is good, and may not even see its account
                raise
    return Profile(server=url, token=token, account=str(account.get("id", "")))


async def _end(profile: Profile) -> None:
    from flowrunner.client import Client  # noqa: PLC0415  # as above

    async with Client(profile.server, token=profile.token) as client:
        await client.rest("POST", "/api/v1/logout")


COMMANDS: dict[str, Callable[..., None]] = {"login": login, "logout": logout}
