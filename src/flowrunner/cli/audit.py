"""Commands about the audit log: ``audit list|verify``."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowrunner.cli.accounts import ACCOUNTS
from flowrunner.cli.options import Config, Json, NoColor, Output, Quiet, Server, client_of, form_of, settings_of
from flowrunner.cli.output import FAILED, Ended, Form, complain, say, show_document, show_rows, wait_for
from flowrunner.errors import ConfigurationError

if TYPE_CHECKING:
    from flowrunner.client import Client

COLUMNS = {"seq": "SEQ", "at": "TIME", "who": "WHO", "address": "FROM", "action": "ACTION", "target": "TARGET", "result": "RESULT", "detail": "DETAIL"}
AUDIT = f"{ACCOUNTS}/me/audit"
PAGE = 1000


def listing(
    *,
    after: Annotated[int, typer.Option("--after", metavar="SEQ", min=0, help="Only entries after this one.")] = 0,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000_000, help="How many.")] = 100,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    no_color: NoColor = False,
) -> None:
    """List entries in order: who changed what, from where, with what result.

    What callers do to executions is in their histories, not here.

    Example: flowrunner audit list --after 100 -o jsonl
    """
    settings = settings_of(config, server=server)

    async def work() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with client_of(settings) as client:
            async for entry in _entries(client, after):
                found.append(entry)
                if len(found) >= limit:
                    break
        return found

    form = form_of(output, json)
    rows = wait_for(work())
    show_rows([{**row, "at": _moment(row["at"])} for row in rows] if form is Form.table else rows, COLUMNS, form, no_color=no_color)


def verify(
    *,
    since: Annotated[
        str | None, typer.Option("--since", metavar="SEQ:HASH", help="What an earlier verify printed: this entry must still be there, with this hash.")
    ] = None,
    server: Server = None,
    config: Config = None,
    output: Output = Form.table,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check the chain of the audit log here, entry by entry: removed, altered or moved entries are found (exit code 1).

    The last entry's number and hash are printed. Keep them elsewhere: who can write to the database could make a whole new chain,
    but not one that still has the entry that --since names.

    Example: flowrunner audit verify
    """
    anchor = None if since is None else re.fullmatch(r"([0-9]{1,16}):([0-9a-f]{64})", since)
    if since is not None and anchor is None:
        raise ConfigurationError("--since is a number and 64 hex digits with a colon between them, as audit verify prints them.")
    settings = settings_of(config, server=server)

    async def work() -> dict[str, Any]:
        import msgspec  # noqa: PLC0415  # --help does not pay for it

        from flowrunner.identity.chain import AuditEntry, Chain  # noqa: PLC0415  # as above

        async with client_of(settings) as client:
            head = (await client.rest("GET", AUDIT, params={"limit": 1}))["head"]
            chain = Chain({head["seq"]: head["hash"]} | ({} if anchor is None else {int(anchor[1]): anchor[2]}))
            async for entry in _entries(client, 0):
                chain.add(msgspec.convert(entry, AuditEntry))
        fault, last = chain.end(), chain.last
        return {"intact": fault is None, "entries": last.seq, "last": f"{last.seq}:{last.hash}"} | (
            {} if fault is None else {"seq": fault.seq, "fault": fault.message}
        )

    found = wait_for(work())
    show_document(found, form_of(output, json))
    if not found["intact"]:
        complain(f"The audit log was tampered with at entry {found['seq']}: {found['fault']}")
        raise Ended(FAILED)
    say("Every entry is there, unaltered and in its place.", quiet=quiet)


async def _entries(client: Client, after: int) -> AsyncIterator[dict[str, Any]]:
    while True:
        page = await client.rest("GET", AUDIT, params={"after": after, "limit": PAGE})
        for entry in page["entries"]:
            yield entry
        if not page["entries"]:
            return
        after = page["entries"][-1]["seq"]


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


COMMANDS: dict[str, Callable[..., None]] = {"list": listing, "verify": verify}
