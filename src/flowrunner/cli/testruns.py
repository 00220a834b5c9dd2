"""Running test cases and test suites in this process: each assertion's verdict is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from flowrunner.cli.output import FAILED, Form, complain, print_text, say, show_document, show_rows
from flowrunner.cli.source import Source
from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import dumps, loads

if TYPE_CHECKING:
    from flowrunner.cli.progress import Progress
    from flowrunner.config import Settings
    from flowrunner.ports.executions import Head
    from flowrunner.wiring import Application

TOLD = ("testId", "name", "status", "error", "assertions", "duration", "runId")


async def run_tests(settings: Settings, source: Source, variables: dict[str, Any], *, shown: Progress | None, seconds: float | None) -> list[dict[str, Any]]:
    """The results in order; `seconds` bound them all. Raises TimeoutError."""
    from flowrunner.telemetry import logs  # noqa: PLC0415  # --help does not pay for it
    from flowrunner.wiring import build  # noqa: PLC0415  # as above
    from flowrunner.workflow.testsuite import Case, cases_of  # noqa: PLC0415  # as above

    logs.configure(settings.log_level, settings.log_format)
    cases = cases_of(source.definition) if source.format == "suite" else [Case(loads(source.definition)["testId"], source.definition)]
    async with AsyncExitStack() as stack:
        application = build(settings)
        await application.start(stack)
        async with asyncio.timeout(seconds):
            return [await _run(application, case.id, case.text, variables, shown) for case in cases]


async def _run(application: Application, name: str, text: str, variables: dict[str, Any], shown: Progress | None) -> dict[str, Any]:
    from flowrunner.cli.running import follow  # noqa: PLC0415  # it imports this module

    authoring, account = application.authoring, application.settings.account
    machine = await authoring.cases.unlisted(account, name, text)
    started = await application.engine.start_execution(machine, input=dumps(await authoring.input_of(account, variables)))
    await follow(application, started.id, shown)
    head = await application.store.executions.head(started.id)
    return result_of(started if head is None else head, loads(text).get("name"))


def result_of(head: Head, name: str | None = None) -> dict[str, Any]:
    """The result of a test case: what its execution gave, or what stands behind the first line of its cause."""
    from flowrunner.definitions import testcases  # noqa: PLC0415  # --help does not pay for it

    first, _, report = (head.cause or "").partition("\n")
    text = head.output if head.status == "SUCCEEDED" else report
    try:
        told = loads(text or "null")
    except InvalidDocument:
        told = None
    found: dict[str, Any] = (
        told if isinstance(told, dict) and "status" in told else {"assertions": [], "error": {"stage": None, "error": head.error, "cause": first}}
    )
    duration = 0 if head.stopped_at is None else head.stopped_at - head.started_at
    known = {"testId": testcases.result_of(head).test, "name": name, "status": testcases.result_of(head).outcome, "duration": duration, "runId": head.id}
    return {part: {**known, **found}[part] for part in TOLD}


def tell(results: Sequence[dict[str, Any]], form: Form, *, suite: bool, quiet: bool) -> int:
    """Print verdicts as data, and how it came out as a sentence; the exit code."""
    if form is Form.table:
        print_text("".join(_lines(result) for result in results))
    elif suite:
        show_rows(results, {}, form)
    else:
        show_document(results[0], form)
    counts = {status: sum(result["status"] == status for result in results) for status in ("passed", "failed", "error", "skipped")}
    more = "".join(f", {count} {'ended in error' if status == 'error' else status}" for status, count in counts.items() if count and status != "passed")
    said = f"{counts['passed']} of {len(results)} passed{more}."
    if counts["failed"] or counts["error"]:
        complain(said)
        return FAILED
    say(said, quiet=quiet)
    return 0


def _lines(result: dict[str, Any]) -> str:
    """The test case, and below it one line for each assertion; what kept it from being judged."""
    lines = [f"{result['testId']}: {result['status']} ({result['duration']} ms)"]
    asserted = [one for one in result["assertions"] if isinstance(one, dict)]
    lines += [f"  {'passed' if one.get('passed') else 'failed'}  {_one_line(one.get('message') or one.get('type'))}" for one in asserted]
    error = result["error"]
    if isinstance(error, dict) and all(one.get("passed") for one in asserted):
        lines.append(
            f"  {result['status']}  {_one_line(': '.join(str(part) for part in (error.get('stage'), error.get('error'), error.get('cause')) if part))}"
        )
    return "".join(f"{line}\n" for line in lines)


def _one_line(text: object) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in str(text))
