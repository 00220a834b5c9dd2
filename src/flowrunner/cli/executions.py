"""Commands about runs on a server: ``ls``, ``describe``, ``history``, ``watch``, ``stop``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from flowrunner.cli.options import Config, Json, NoColor, Output, Quiet, Server, Timeout, client_of, form_of, settings_of
from flowrunner.cli.output import INTERRUPTED, RUN_CODES, RUN_ENDINGS, Ended, Form, as_json, complain, print_text, say, show_document, show_rows, wait_for
from flowrunner.cli.progress import Kind, progress_of
from flowrunner.errors import ConfigurationError

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's id or its execution ARN.")]

RUN_COLUMNS = {"runId": "RUN", "workflowId": "WORKFLOW", "executionStatus": "STATUS", "startTime": "STARTED", "duration": "MS", "error": "ERROR"}


def ls(
    *,
    workflow: Annotated[str | None, typer.Option("--workflow", "-w", metavar="NAME", help="Only runs of this state machine.")] = None,
    status: Annotated[str | None, typer.Option("--status", "-s", help="Only running, success, failed, cancelled, or an exact status.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="How many.")] = 20,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    no_color: NoColor = False,
    quiet: Quiet = False,
) -> None:
    """List runs, newest first.

    Example: flowrunner ls --status failed
    """
    from flowrunner.api.messages import STATUSES  # noqa: PLC0415  # --help does not pay for it

    if status is not None and status not in STATUSES:
        raise ConfigurationError(f"--status: {status!r} must be one of {', '.join(STATUSES)}.")
    settings = settings_of(config, server=server)

    async def work() -> list[dict[str, Any]]:
        async with client_of(settings) as client:
            return await client.runs(workflow=workflow, status=status, limit=limit)

    rows = wait_for(work())
    show_rows(rows, RUN_COLUMNS, form_of(output, json), no_color=no_color)
    if not rows:
        say("No runs. Start one with: flowrunner run FILE, or an AWS SDK (flowrunner env).", quiet=quiet)


def describe(run: Run, *, server: Server = None, config: Config = None, output: Output = Form.table, json: Json = False) -> None:
    """Show one run, with its input and output.

    Example: flowrunner describe 01890a5d1c2b7f3e8a4b5c6d7e8f9012 --json
    """
    settings = settings_of(config, server=server)

    async def work() -> dict[str, Any]:
        async with client_of(settings) as client:
            return await client.run(run)

    show_document(wait_for(work()), form_of(output, json))


def history(
    run: Run,
    *,
    reverse: Annotated[bool, typer.Option("--reverse", help="Newest first.")] = False,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    no_color: NoColor = False,
) -> None:
    """Show the history of a run, as GetExecutionHistory tells it.

    Example: flowrunner history 01890a5d1c2b7f3e8a4b5c6d7e8f9012 -o jsonl
    """
    settings = settings_of(config, server=server)

    async def work() -> list[dict[str, Any]]:
        async with client_of(settings) as client:
            arn = (await client.run(run))["executionArn"]
            return [event async for event in client.history(arn, reverse=reverse)]

    events, form = wait_for(work()), form_of(output, json)
    columns = {"id": "ID", "time": "TIME", "type": "TYPE", "name": "NAME", "error": "ERROR"}
    show_rows([_event(event) for event in events] if form is Form.table else events, columns, form, no_color=no_color)


def _event(event: dict[str, Any]) -> dict[str, Any]:
    details: dict[str, Any] = next((value for key, value in event.items() if key.endswith("EventDetails") and isinstance(value, dict)), {})
    time = datetime.fromtimestamp(event["timestamp"], UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"id": event["id"], "time": time, "type": event["type"], "name": details.get("name"), "error": details.get("error")}


def watch(
    run: Run,
    *,
    after: Annotated[int, typer.Option("--after", metavar="SEQ", min=0, help="Leave out what is not after this sequence number.")] = 0,
    progress: Annotated[Kind, typer.Option("--progress", help="How to show it.")] = Kind.auto,
    timeout: Timeout = None,
    server: Server = None,
    config: Config = None,
    no_color: NoColor = False,
    quiet: Quiet = False,
) -> None:
    """Follow a run to its end: what has happened first, then live. The exit code is the run's.

    Example: flowrunner watch 01890a5d1c2b7f3e8a4b5c6d7e8f9012 --progress json
    """
    settings = settings_of(config, server=server)

    async def work() -> str:
        shown = progress_of(progress, sys.stdout, no_color=no_color)
        try:
            async with client_of(settings) as client, asyncio.timeout(timeout):
                async for message in client.follow(run, after=after):
                    shown.show(message)
                    if message["type"] == "end":
                        return str(message["payload"]["executionStatus"])
        finally:
            shown.close()
        return "RUNNING"

    try:
        status = wait_for(work())
    except KeyboardInterrupt:
        complain("Interrupted; the run goes on.", remedy=f"Come back with: flowrunner watch {run}")
        raise Ended(INTERRUPTED) from None
    say(f"The run {RUN_ENDINGS.get(status, status)}.", quiet=quiet)
    raise Ended(RUN_CODES.get(status, 1))


def stop(
    run: Run,
    *,
    error: Annotated[str | None, typer.Option("--error", help="The error to record.")] = None,
    cause: Annotated[str | None, typer.Option("--cause", help="The cause to record.")] = None,
    server: Server = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Stop a run; its status becomes ABORTED. A run that has ended stays as it is.

    Example: flowrunner stop 01890a5d1c2b7f3e8a4b5c6d7e8f9012 --cause "no longer needed"
    """
    settings = settings_of(config, server=server)

    async def work() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        async with client_of(settings) as client:
            before = await client.run(run)
            answer = await client.call("StopExecution", executionArn=before["executionArn"], error=error, cause=cause)
            return before, answer, await client.run(run)

    before, answer, after = wait_for(work())
    print_text(as_json(answer, indent=False) + "\n")
    stopped = "endTime" not in before and after["executionStatus"] == "ABORTED"
    said = "Stopped." if stopped else f"It had ended already: {after['executionStatus']} at {after['endTime']}."
    say(f"{said} See: flowrunner describe {run}", quiet=quiet)


COMMANDS: dict[str, Callable[..., None]] = {"ls": ls, "describe": describe, "history": history, "watch": watch, "stop": stop}
