"""Commands that look after a store: ``db upgrade``, ``current``, ``check``, ``size`` and ``prune``."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowrunner.cli.options import Config, Database, Json, NoColor, Output, Quiet, form_of, settings_of
from flowrunner.cli.output import FAILED, Ended, Form, print_text, say, show_document, show_rows, wait_for
from flowrunner.errors import ConfigurationError

if TYPE_CHECKING:
    from flowrunner.ports.documents import DocumentStore

PRUNED_AT_ONCE = 500
MOST_FINDINGS = 1000
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}  # seconds
PRUNE_WHY = "Pruning writes to the file, and an SQLite file has one server that writes."


def upgrade(
    *,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL script and change nothing.")] = False,
    store: Database = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring the schema of a store up to date, or make it where there is none; a server does the same when it starts.

    All of it is one transaction: if it is interrupted the store is as it was. For DynamoDB it makes the table, and there is no SQL.

    Example: flowrunner db upgrade --store sqlite:///orders.db
    """
    from flowrunner.cli.dbstore import upkeep_of  # noqa: PLC0415  # --help does not pay for it
    from flowrunner.config import make_folder  # noqa: PLC0415  # as above

    settings = settings_of(config, store=store)
    upkeep = upkeep_of(settings.store)
    if sql:
        statements = wait_for(upkeep.script())
        print_text("".join(f"{statement.rstrip(';')};\n\n" for statement in ("BEGIN", *statements, "COMMIT")) if statements else "")
        say("The schema is up to date; there is nothing to do." if not statements else "Nothing was changed.", quiet=quiet)
        return
    make_folder(settings.store)
    before = wait_for(upkeep.upgrade())
    show_document({"before": before.revision or None, "revision": before.latest}, form_of(output, json))
    done = "is up to date now" if before.revision else "was made"
    say("The schema was up to date." if before.is_current else f"The schema {done}.", quiet=quiet)


def current(*, store: Database = None, config: Config = None, output: Output = Form.table, json: Json = False, quiet: Quiet = False) -> None:
    """Show the revision of a store's schema, and the latest.

    Example: flowrunner db current --store sqlite:///orders.db
    """
    from flowrunner.cli.dbstore import upkeep_of  # noqa: PLC0415  # as above

    settings = settings_of(config, store=store)
    schema = wait_for(upkeep_of(settings.store).schema())
    show_document({"revision": schema.revision, "latest": schema.latest, "upToDate": schema.is_current}, form_of(output, json))
    if not schema.is_current:
        say("A server of this version brings it up to date when it starts, and so does: flowrunner db upgrade", quiet=quiet)


def check(
    *,
    store: Database = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    no_color: NoColor = False,
    quiet: Quiet = False,
) -> None:
    """Check a store: the database itself, every log, and whether what runs would replay. Exit code 1 when something is wrong.

    A server may be running meanwhile. The first 1000 findings are shown.

    Example: flowrunner db check --store sqlite:///orders.db
    """
    settings = settings_of(config, store=store)
    found, looked_at = wait_for(_check(settings))
    show_rows(found, {"where": "WHERE", "finding": "FINDING"}, form_of(output, json), no_color=no_color, folded=("finding",))
    if found:
        say(f"{len(found)} findings. Restore a backup, or ask before you change anything.", quiet=quiet)
        raise Ended(FAILED)
    say(f"No findings in {looked_at} executions.", quiet=quiet)


async def _check(settings: Any) -> tuple[list[dict[str, str]], int]:
    from flowrunner.cli.dbstore import reading, upkeep_of  # noqa: PLC0415  # as above
    from flowrunner.cli.inspection import Inspection  # noqa: PLC0415  # as above
    from flowrunner.limits import PROFILES  # noqa: PLC0415  # as above

    damage = [{"where": "database", "finding": text} for text in await upkeep_of(settings.store).findings()]
    if damage:
        return damage[:MOST_FINDINGS], 0
    found: list[dict[str, str]] = []
    async with reading(settings.store) as opened:
        inspection = Inspection(opened, region=settings.region, limits=PROFILES[settings.limits])
        async for finding in inspection.findings():
            found.append(finding._asdict())
            if len(found) >= MOST_FINDINGS:
                break
    return found, inspection.executions


def size(*, store: Database = None, config: Config = None, output: Output = Form.table, json: Json = False, no_color: NoColor = False) -> None:
    """Show how much a store holds: rows of each kind, and bytes. A server may be running meanwhile.

    Example: flowrunner db size --store sqlite:///orders.db --json
    """
    from flowrunner.cli.dbstore import reading  # noqa: PLC0415  # as above

    settings = settings_of(config, store=store)

    async def work() -> dict[str, int]:
        async with reading(settings.store) as opened:
            return dict(await opened.archive.size())

    form, found = form_of(output, json), wait_for(work())
    if form is Form.table:
        show_rows([{"kind": kind, "count": count} for kind, count in found.items()], {"kind": "KIND", "count": "COUNT"}, form, no_color=no_color)
    else:
        show_document(found, form)


def prune(
    *,
    ended_before: Annotated[str, typer.Option("--ended-before", metavar="WHEN", help="An age such as 30d, 12h or 90m, or a date or time (ISO 8601, UTC).")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; a server may be running.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: Database = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove executions that ended before a time, with their logs and names. Open ones stay, whatever their age.

    Whatever has expired by now (tickets, tokens, secrets) is removed too: until then it only takes room. Pruning an SQLite file needs it alone: stop its server first. Revisions and state machines stay.

    Example: flowrunner db prune --ended-before 30d --dry-run
    """
    from flowrunner.clock import SystemClock  # noqa: PLC0415  # as above

    now = SystemClock().now()
    before = moment_of(ended_before, now)
    settings = settings_of(config, store=store)
    shown = datetime.fromtimestamp(before / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if not dry_run and not yes and sys.stdin.isatty():
        typer.confirm(f"Remove every execution that ended before {shown}?", abort=True, err=True)
    executions, documents = wait_for(_count(settings.store, before, now) if dry_run else _prune(settings.store, before, now))
    show_document({"endedBefore": shown, "executions": executions, "documents": documents, "removed": not dry_run}, form_of(output, json))
    if dry_run:
        say("Nothing was removed.", quiet=quiet)


async def _count(url: str, before: int, now: int) -> tuple[int, int]:
    """How many executions and documents there are to remove."""
    from flowrunner.cli.dbstore import reading  # noqa: PLC0415  # as above

    async with reading(url) as opened:
        executions = [len(page) async for page in _pages(opened.archive.ended, before)]
        documents = [len(page) async for page in _pages(opened.archive.expired, now)]
    return sum(executions), sum(documents)


async def _prune(url: str, before: int, now: int) -> tuple[int, int]:
    """Remove them; how many."""
    from flowrunner.cli.dbstore import upkeep_of, writing  # noqa: PLC0415  # as above
    from flowrunner.ports.upkeep import FileUpkeep  # noqa: PLC0415  # as above

    upkeep = upkeep_of(url)
    await upkeep.schema()  # what is not there is not made
    executions = documents = 0
    async with writing(url, PRUNE_WHY) as opened:
        async for page in _pages(opened.archive.ended, before):
            await asyncio.gather(*map(opened.executions.forget, page))
            executions += len(page)
        async for page in _pages(opened.archive.expired, now):
            documents += sum(await asyncio.gather(*(_remove(opened.documents, key) for key in page)))
    if isinstance(upkeep, FileUpkeep) and executions + documents:
        await upkeep.shrink()
    return executions, documents


async def _pages(read: Callable[[int, Any, int], Awaitable[Sequence[Any]]], before: int) -> AsyncIterator[Sequence[Any]]:
    after = None
    while page := await read(before, after, PRUNED_AT_ONCE):
        yield page
        after = page[-1]


async def _remove(documents: DocumentStore, key: tuple[str, str, str]) -> bool:
    """Remove what has expired; False if somebody has just stored it anew."""
    from flowrunner.errors import DocumentConflict  # noqa: PLC0415  # as above
    from flowrunner.ports.documents import Remove  # noqa: PLC0415  # as above

    account, kind, name = key
    try:
        await documents.write([Remove(account=account, kind=kind, id=name, version=0)])
    except DocumentConflict:
        return False
    return True


def moment_of(text: str, now: int) -> int:
    """A time in milliseconds since 1970 UTC; raises ConfigurationError for what is none."""
    age = re.fullmatch(r"([0-9]{1,9})([smhdw])", text)
    if age is not None:
        moment = now - int(age[1]) * UNITS[age[2]] * 1000
    else:
        try:
            given = datetime.fromisoformat(text)
        except ValueError:
            raise ConfigurationError(
                f"--ended-before {text!r} is neither an age nor a time.", remedy="Write 30d, 12h, 90m, 2026-01-31 or 2026-01-31T12:00:00Z."
            ) from None
        moment = round((given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp() * 1000)
    if moment < 0:
        raise ConfigurationError(f"--ended-before {text!r} is before 1970, when nothing had run.")
    return moment


COMMANDS: dict[str, Callable[..., None]] = {"upgrade": upgrade, "current": current, "check": check, "size": size, "prune": prune}
