"""The command ``flowrunner``: its verbs, and how every failure ends: a sentence, a remedy and an exit code, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from flowrunner import __version__
from flowrunner.cli import (
    accounts,
    audit,
    configuring,
    db,
    dbmove,
    definitions,
    doctor,
    environment,
    executions,
    keys,
    login,
    profiles,
    running,
    schedules,
    secrets,
    serving,
    users,
)
from flowrunner.cli.output import INTERRUPTED, USAGE, Ended, code_of, complain, explain, let_go, prepare_streams, say

EXAMPLES = """\b
  flowrunner serve --dev                    a server on this machine that lets you in
  flowrunner run order.asl.json --follow    one run here, without a server
  eval "$(flowrunner env)"                  point the AWS SDKs and CLI at the server

Exit codes: 0 success, 1 the run failed, db check or doctor found something (or something unexpected happened), 2 usage, 3 definition or input
invalid, 4 not found, 5 denied, 6 server or store unreachable, 7 the run timed out, 8 the run was stopped, 124 --timeout passed, 130 interrupted.
"""

app = typer.Typer(
    name="flowrunner",
    help=f"Run Amazon States Language workflows: durable, live, on your own machine.\n\n{EXAMPLES}",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for commands in (serving.COMMANDS, running.COMMANDS, definitions.COMMANDS, executions.COMMANDS, environment.COMMANDS, login.COMMANDS, doctor.COMMANDS):
    for name, command in commands.items():
        app.command(name)(command)
GROUPS: dict[str, tuple[str, dict[str, Callable[..., Any]]]] = {
    "account": ("Accounts: tenants that see nothing of each other.", accounts.COMMANDS),
    "user": ("Users of the account, and what they may do.", users.COMMANDS),
    "key": ("AWS access keys and API tokens: what lets programs in.", keys.COMMANDS),
    "schedule": ("Schedules: when flows and workflows start by themselves.", schedules.COMMANDS),
    "secret": ("Secrets: sealed in the store, resolved inside tasks, never shown.", secrets.COMMANDS),
    "audit": ("The audit log: who changed what.", audit.COMMANDS),
    "config": ("Look at the settings.", configuring.COMMANDS),
    "db": ("Look after a store: its schema, health, size, backups and moves.", db.COMMANDS | dbmove.COMMANDS),
}
for group, (meaning, commands) in GROUPS.items():
    grouped = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=meaning)
    for name, command in commands.items():
        grouped.command(name)(command)
    app.add_typer(grouped, name=group)


def _version(asked: bool) -> None:  # noqa: FBT001  # the shape of Typer's callbacks
    if asked:
        typer.echo(f"flowrunner {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)] = False,
    profile: Annotated[str | None, typer.Option("--profile", metavar="NAME", help="The log-in to use (FLOWRUNNER_PROFILE).")] = None,
) -> None:
    del version
    profiles.named.set(profile)


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line and return its exit code."""
    try:
        result = app(list(arguments), standalone_mode=False)
    except Ended as ended:
        return ended.code
    except (typer.Abort, KeyboardInterrupt):
        complain("Interrupted.")
        return INTERRUPTED
    except SystemExit as leaving:
        if not isinstance(leaving.__context__, BrokenPipeError):
            raise
        for stream in (sys.stdout, sys.stderr):  # the reader of a pipe has seen enough; Typer makes an end of its own of that
            let_go(stream)
        return 0
    except typer.Exit as leaving:
        return leaving.exit_code
    except Exception as error:  # noqa: BLE001  # the last line of defence, so that nobody sees a traceback
        if hasattr(error, "format_message"):  # Typer's own complaints about a command line
            complaint = str(error.format_message())
            if complaint.startswith("Usage:"):  # the help of a command line that names no command
                say(complaint)
            else:
                complain(complaint, remedy="See: flowrunner --help")
            return USAGE
        explain(error)
        return code_of(error)
    if result == INTERRUPTED:  # what Typer makes of Ctrl-C
        complain("Interrupted.")
    return result if isinstance(result, int) else 0


def main() -> None:
    """Be the process."""
    prepare_streams()
    sys.exit(run(sys.argv[1:]))
