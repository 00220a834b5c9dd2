"""Commands that serve: ``serve`` and ``dev``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowrunner import __version__
from flowrunner.cli.options import Config, Quiet, Store, settings_of
from flowrunner.cli.output import say
from flowrunner.errors import ConfigurationError

if TYPE_CHECKING:
    from flowrunner.config import Settings
    from flowrunner.identity.service import FirstRun
    from flowrunner.wiring import Application

Host = Annotated[str | None, typer.Option("--host", metavar="ADDRESS", help="The address to listen on (127.0.0.1).")]
Port = Annotated[int | None, typer.Option("--port", "-p", min=0, max=65535, help="The port to listen on (8080); 0 takes a free one.")]


def serve(
    *,
    host: Host = None,
    port: Port = None,
    store: Store = None,
    config: Config = None,
    dev: Annotated[bool, typer.Option("--dev", help="Accept any credential; on this machine only.")] = False,
    insecure: Annotated[bool, typer.Option("--insecure", help="Listen for the network without TLS: behind a proxy that has it.")] = False,
    quiet: Quiet = False,
) -> None:
    """Run the server until Ctrl-C or SIGTERM; running executions go on at the next start.

    Example: flowrunner serve --dev --store sqlite:///orders.db
    """
    _host(settings_of(config, host=host, port=port, store=store, dev=dev or None, insecure=insecure or None), None, quiet=quiet)


def dev(
    folder: Annotated[Path, typer.Argument(help="Definitions in it (*.asl.json, *.asl.yaml) are registered, and again when they change.")] = Path(),
    *,
    host: Host = None,
    port: Port = None,
    store: Store = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Run a server for development: any credential, this machine only, and a folder of definitions kept registered.

    Example: flowrunner dev machines/
    """
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder.")
    _host(settings_of(config, host=host, port=port, store=store, dev=True), folder, quiet=quiet)


def _host(settings: Settings, folder: Path | None, *, quiet: bool) -> None:
    import uvloop  # noqa: PLC0415  # only servers pay for it

    from flowrunner.cli.hosting import host  # noqa: PLC0415  # as above

    def announce(application: Application, url: str) -> None:
        say(_announcement(settings, url, folder), quiet=quiet)
        if application.first_run is not None:
            say(_admission(application.first_run, url))  # also when quiet: it is told this once

    uvloop.run(host(settings, announce, None if folder is None else _watcher(settings, folder)))
    say("Stopped.", quiet=quiet)


def _watcher(settings: Settings, folder: Path) -> Callable[[Application], Awaitable[None]]:
    async def watch(application: Application) -> None:
        from flowrunner.cli.folder import Folder  # noqa: PLC0415  # as above
        from flowrunner.cli.inside import client_inside, role_arn  # noqa: PLC0415  # as above
        from flowrunner.clock import SystemClock  # noqa: PLC0415  # as above

        async with client_inside(application) as client:
            await Folder(folder, client, SystemClock(), role_arn=role_arn(settings.account)).watch()

    return watch


def _announcement(settings: Settings, url: str, folder: Path | None) -> str:
    from flowrunner.config import redacted  # noqa: PLC0415  # as above

    server = "" if url == "http://127.0.0.1:8080" else f" --server {url}"
    who = "any credential is accepted, from this machine only" if settings.dev else "calls need a credential"
    lines = [
        f"FlowRunner {__version__} listens on {url}",
        f"  store   {redacted(settings.store)}",
        f"  access  {who}",
    ]
    if folder is not None:
        lines.append(f"  folder  {folder.resolve()}")
    lines += [
        "Next, in another terminal:",
        *([] if settings.dev else [f"  flowrunner login{server}            # with your user name, or --token"]),
        f'  eval "$(flowrunner env{server})"    # then boto3, aws and terraform talk to it',
        f"  flowrunner ls{server}               # what runs",
        "Ctrl-C stops it; what runs goes on at the next start.",
    ]
    return "\n".join(lines)


def _admission(first: FirstRun, url: str) -> str:
    """The credential of a new store's operator. It is shown once and kept nowhere in the clear."""
    return "\n".join(
        [
            "This store is new. Its operator's credential is shown this once:",
            f"  account {first.account}",
            f"  user    {first.username}",
            f"  token   {first.token.secret}",
            f"Log in with it:  flowrunner login --server {url} --token -",
        ]
    )


COMMANDS: dict[str, Callable[..., Any]] = {"serve": serve, "dev": dev}
