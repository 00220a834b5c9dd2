"""The command ``run``: one definition, one run, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowrunner.cli.options import Config, Json, NoColor, Output, Quiet, Store, Timeout, form_of, settings_of
from flowrunner.cli.output import (
    CLIENT_TIMEOUT,
    FAILED,
    INTERRUPTED,
    RUN_CODES,
    RUN_ENDINGS,
    Ended,
    Form,
    as_json,
    complain,
    print_text,
    say,
    show_document,
)
from flowrunner.cli.progress import Kind, LiveTree, on_stderr
from flowrunner.cli.source import Source, read_input, read_source, sound_program
from flowrunner.cli.testruns import run_tests, tell
from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import loads

if TYPE_CHECKING:
    from flowrunner.cli.progress import Progress
    from flowrunner.client import Client
    from flowrunner.config import Settings
    from flowrunner.wiring import Application


def run(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A definition, JSON or YAML; - is standard input.")],
    *,
    given: Annotated[str, typer.Option("--input", "-i", metavar="JSON", help="The input, or @FILE.")] = "{}",
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="The name of the run.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show the states as they go, on stderr.")] = False,
    progress: Annotated[Kind | None, typer.Option("--progress", help="How to show them (implies --follow).")] = None,
    timeout: Timeout = None,
    store: Store = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    no_color: NoColor = False,
    quiet: Quiet = False,
) -> None:
    """Run a definition here, without a server, and print its output. The exit code is the run's; of tests it is 1 when one has not passed.

    The run is kept in memory, or in --store. Functions come from flowrunner.toml.

    Example: flowrunner run order.asl.json --input '{"orderId": 1}' --follow
    """
    source = read_source(file)
    sound_program(source)
    text = read_input(given)
    settings = settings_of(config, store=store or "memory:", dev=True, log_format="text", log_level="error" if quiet else "warning")
    shown = on_stderr(progress or Kind.auto, no_color=no_color) if follow or progress is not None else None
    try:
        if source.format in ("test", "suite"):
            raise Ended(
                tell(
                    asyncio.run(run_tests(settings, source, _variables(text), shown=shown, seconds=timeout)),
                    form_of(output, json),
                    suite=source.format == "suite",
                    quiet=quiet,
                )
            )
        answer = asyncio.run(_run(settings, source, text, name=name, shown=shown, seconds=timeout))
    except KeyboardInterrupt:
        kept = store is not None
        complain("Interrupted; the run goes on when a server opens that store." if kept else "Interrupted; the run was in memory and is gone.")
        raise Ended(INTERRUPTED) from None
    except TimeoutError:
        complain(f"The time of --timeout ({timeout:g} s) has passed; the run has not ended.")
        raise Ended(CLIENT_TIMEOUT) from None
    finally:
        if shown is not None:
            shown.close()
    _tell(answer, form_of(output, json), quiet=quiet)
    raise Ended(RUN_CODES.get(answer["executionStatus"], FAILED))


def _variables(text: str) -> dict[str, Any]:
    """The variables of a run, which are its input."""
    given = loads(text)
    if not isinstance(given, dict):
        raise InvalidDocument("--input: the variables of a test case are a JSON object.")
    return given


async def _run(settings: Settings, source: Source, text: str, *, name: str | None, shown: Progress | None, seconds: float | None) -> dict[str, Any]:
    from flowrunner.cli.inside import client_inside, role_arn  # noqa: PLC0415  # --help does not pay for it
    from flowrunner.telemetry import logs  # noqa: PLC0415  # as above
    from flowrunner.wiring import build  # noqa: PLC0415  # as above

    logs.configure(settings.log_level, settings.log_format)
    async with AsyncExitStack() as stack:
        application = build(settings)
        await application.start(stack)
        client = await stack.enter_async_context(client_inside(application))
        if source.format == "asl":
            machine = await client.register(source.name, source.definition, role_arn=role_arn(settings.account))
            started = (await client.call("StartExecution", stateMachineArn=machine, name=name, input=text))["executionArn"]
        else:
            started = await _start(client, source, text, name)
        found = await client.run(started)
        async with asyncio.timeout(seconds):
            await follow(application, found["runId"], shown)
        return await client.run(found["runId"])


async def _start(client: Client, source: Source, text: str, name: str | None) -> str:
    """Keep a flow or a workflow, and start it; the id of the run."""
    from flowrunner.client import ServerRefused  # noqa: PLC0415  # --help does not pay for it

    given = loads(text)
    if source.format == "flow":
        flow = await client.rest("POST", "/api/v1/flows", {"name": source.name, "content": source.definition})
        return str((await client.rest("POST", f"/api/v1/flows/{flow['id']}/run", {"input": given, "name": name}))["execution_id"])
    kept = {"workflowId": source.name, "name": source.name, "definition": source.definition}
    try:
        await client.rest("POST", "/api/v2/workflows", kept)
    except ServerRefused as error:
        if error.status != HTTPStatus.CONFLICT:
            raise
        await client.rest("PUT", f"/api/v2/workflows/{source.name}", kept)
    return str((await client.rest("POST", f"/api/v2/workflows/{source.name}/execute", {"variables": given, "name": name}))["runId"])


async def follow(application: Application, run_id: str, shown: Progress | None) -> None:
    """Wait for the end, showing every message on the way."""
    from flowrunner.api.messages import Renderer, kind_for  # noqa: PLC0415  # as above

    begun = await application.store.executions.head(run_id)
    # Only the tree is made of history events; a flow's own messages tell each node once.
    renderer = Renderer(run_id, "whole" if begun is None else kind_for(begun, history=isinstance(shown, LiveTree)))
    async for batch in application.feed.follow(run_id):
        for seq, record in batch:
            if shown is not None:
                for message in renderer.messages(seq, record):
                    shown.show(loads(message.text))
    head = await application.store.executions.head(run_id)
    if shown is not None and head is not None:
        shown.show(loads(renderer.last(head)))


def _tell(answer: dict[str, Any], form: Form, *, quiet: bool) -> None:
    """The output as data, the failure as a sentence; in the other forms the whole run as data."""
    if form is not Form.table:
        show_document(answer, form)
    elif answer["executionStatus"] == "SUCCEEDED":
        print_text(as_json(answer.get("output")) + "\n")
    ending = RUN_ENDINGS.get(answer["executionStatus"], answer["executionStatus"])
    if answer["executionStatus"] != "SUCCEEDED":
        says_more = answer["executionStatus"] != "TIMED_OUT" or answer.get("cause")
        why = ": ".join(part for part in (answer.get("error"), answer.get("cause")) if part and says_more)
        complain(f"The run {ending}: {why}" if why else f"The run {ending} after {answer['duration']} ms.")
    else:
        say(f"The run {ending} in {answer['duration']} ms.", quiet=quiet)


COMMANDS: dict[str, Callable[..., None]] = {"run": run}
