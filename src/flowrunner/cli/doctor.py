"""``flowrunner doctor``: whether a server can run here, and what to do where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flowrunner.cli.options import Config, Database, Json, NoColor, Output, Quiet, form_of, settings_of
from flowrunner.cli.output import FAILED, Ended, Form, say, show_rows, wait_for
from flowrunner.errors import FlowRunnerError

if TYPE_CHECKING:
    from flowrunner.cli.checkup import Finding
    from flowrunner.config import Settings

COLUMNS = {"check": "CHECK", "verdict": "VERDICT", "detail": "DETAIL"}


def doctor(
    *, store: Database = None, config: Config = None, output: Output = Form.table, json: Json = False, quiet: Quiet = False, no_color: NoColor = False
) -> None:
    """Check the settings, keys, port, store, clock, disk and limits of this machine. Exit code 1 when a server could not run well.

    Nothing is changed, and a server may be running meanwhile.

    Example: flowrunner doctor --json
    """
    from flowrunner.cli.checkup import failed, versions  # noqa: PLC0415  # --help does not pay for it

    try:
        settings = settings_of(config, store=store)
    except FlowRunnerError as error:
        found = [versions(), failed("configuration", error)]
    else:
        found = wait_for(_findings(settings))
    show_rows([asdict(one) for one in found], COLUMNS, form_of(output, json), no_color=no_color, folded=("detail",))
    for one in found:
        if one.remedy:
            say(f"{one.check}: {one.remedy}", quiet=quiet)
    bad = sum(one.verdict == "fail" for one in found)
    if bad:
        say(f"{bad} of {len(found)} checks failed.", quiet=quiet)
        raise Ended(FAILED)
    say(f"All {len(found)} checks passed.", quiet=quiet)


async def _findings(settings: Settings) -> list[Finding]:
    from flowrunner.cli.checkup import findings  # noqa: PLC0415  # as above
    from flowrunner.clock import SystemClock  # noqa: PLC0415  # as above

    return [one async for one in findings(settings, SystemClock())]


COMMANDS: dict[str, Callable[..., Any]] = {"doctor": doctor}
