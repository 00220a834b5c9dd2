"""Commands about schedules: ``schedule create|list|show|pause|resume|delete``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from flowrunner.cli.accounts import segment
from flowrunner.cli.options import Config, Json, NoColor, Output, Quiet, Server, Yes, client_of, confirm, form_of, settings_of
from flowrunner.cli.output import Form, say, show_document, show_rows, wait_for
from flowrunner.cli.source import read_input
from flowrunner.errors import ConfigurationError, InvalidDocument

SCHEDULES = "/api/v1/schedules"
COLUMNS = {"id": "SCHEDULE", "schedule": "WHEN", "timezone": "ZONE", "target": "STARTS", "enabled": "ENABLED", "next_run": "NEXT", "fired": "FIRED"}
FIRED = {"scheduled_at": "TIME", "execution_id": "EXECUTION", "error": "ERROR"}

Name = Annotated[str, typer.Argument(metavar="SCHEDULE", help="The schedule's id.")]


def create(
    when: Annotated[str, typer.Argument(metavar="CRON", help='A cron expression of five or six fields (seconds first), such as "*/5 * * * *", or @hourly.')],
    *,
    flow: Annotated[str | None, typer.Option("--flow", metavar="ID", help="The flow to start.")] = None,
    workflow: Annotated[str | None, typer.Option("--workflow", metavar="ID", help="The workflow to start.")] = None,
    name: Annotated[str | None, typer.Option("--id", metavar="ID", help="How the schedule is called; as what it starts unless given.")] = None,
    timezone: Annotated[str, typer.Option("--timezone", metavar="ZONE", help="Whose clock it goes by, such as Europe/Berlin.")] = "UTC",
    given: Annotated[str | None, typer.Option("--input", "-i", metavar="JSON", help="A flow's input, a workflow's variables: a JSON object, or @FILE.")] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Make it, but do not let it start anything yet.")] = False,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Start a flow or a workflow again and again, at the times of a cron expression.

    Example: flowrunner schedule create "0 6 * * 1-5" --workflow nightly --timezone Europe/Berlin
    """
    if (flow is None) is (workflow is None):
        raise ConfigurationError("A schedule starts one thing: name it with --flow or --workflow.")
    settings = settings_of(config, server=server)
    body = {"id": name, "schedule": when, "flow_id": flow, "workflow_id": workflow, "timezone": timezone, "payload": _payload(given), "enabled": not paused}

    async def work() -> dict[str, Any]:
        async with client_of(settings) as client:
            return await client.rest("POST", SCHEDULES, body)

    made = wait_for(work())
    show_document(made, form_of(output, json))
    say(f"Its runs: flowrunner schedule show {made['id']}", quiet=quiet)


def listing(
    *,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    no_color: NoColor = False,
    quiet: Quiet = False,
) -> None:
    """List schedules, and when each comes about next.

    Example: flowrunner schedule list
    """
    settings = settings_of(config, server=server)

    async def work() -> list[dict[str, Any]]:
        async with client_of(settings) as client:
            return await client.rest_items(SCHEDULES)

    rows, form = wait_for(work()), form_of(output, json)
    shown = [{**row, "target": row["flow_id"] or row["workflow_id"]} for row in rows] if form is Form.table else rows
    show_rows(shown, COLUMNS, form, no_color=no_color)
    if not rows:
        say('No schedules. Make one with: flowrunner schedule create "*/5 * * * *" --flow ID', quiet=quiet)


def show(
    name: Name,
    *,
    runs: Annotated[bool, typer.Option("--runs", help="List the last 100 times that it came about instead, newest first.")] = False,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    no_color: NoColor = False,
) -> None:
    """Show a schedule, or what it has started.

    Example: flowrunner schedule show nightly --runs
    """
    settings = settings_of(config, server=server)

    async def work() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        async with client_of(settings) as client:
            if runs:
                return {}, await client.rest_items(f"{_path(name)}/executions")
            return await client.rest("GET", _path(name)), []

    found, history = wait_for(work())
    if runs:
        show_rows(history, FIRED, form_of(output, json), no_color=no_color)
    else:
        show_document(found, form_of(output, json))


def pause(name: Name, *, server: Server = None, config: Config = None, quiet: Quiet = False) -> None:
    """Let a schedule start nothing until it is resumed.

    Example: flowrunner schedule pause nightly
    """
    _said(name, "pause", server, config)
    say(f"Paused {name}. Go on with: flowrunner schedule resume {name}", quiet=quiet)


def resume(name: Name, *, server: Server = None, config: Config = None, quiet: Quiet = False) -> None:
    """Let a schedule come about again; the times that have passed are not made up for.

    Example: flowrunner schedule resume nightly
    """
    made = _said(name, "resume", server, config)
    say(f"{name} comes about next at {made['next_run']}.", quiet=quiet)


def delete(name: Name, *, yes: Yes = False, server: Server = None, config: Config = None, quiet: Quiet = False) -> None:
    """Delete a schedule with its history. What it has started goes on.

    Example: flowrunner schedule delete nightly --yes
    """
    settings = settings_of(config, server=server)
    confirm(f"Delete the schedule {name}?", yes=yes)

    async def work() -> None:
        async with client_of(settings) as client:
            await client.rest("DELETE", _path(name))

    wait_for(work())
    say(f"Deleted {name}.", quiet=quiet)


def _said(name: str, what: str, server: str | None, config: Path | None) -> dict[str, Any]:
    settings = settings_of(config, server=server)

    async def work() -> dict[str, Any]:
        async with client_of(settings) as client:
            return await client.rest("POST", f"{_path(name)}/{what}")

    return wait_for(work())


def _path(name: str) -> str:
    return f"{SCHEDULES}/{segment(name)}"


def _payload(given: str | None) -> dict[str, Any] | None:
    if given is None:
        return None
    from flowrunner.jsonvalue import loads  # noqa: PLC0415  # --help does not pay for it

    value = loads(read_input(given))
    if not isinstance(value, dict):
        raise InvalidDocument("What a schedule gives its runs is a JSON object.")
    return value


COMMANDS: dict[str, Callable[..., None]] = {"create": create, "list": listing, "show": show, "pause": pause, "resume": resume, "delete": delete}
