"""``flowrunner config``: what is set, and where it comes from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flowrunner.cli.options import Config, Json, NoColor, Output, form_of, settings_of
from flowrunner.cli.output import Form, say, show_rows

COLUMNS = {"key": "SETTING", "value": "VALUE"}


def show(
    *,
    config: Config = None,
    origin: Annotated[bool, typer.Option("--origin", help="Also show where each value comes from.")] = False,
    output: Output = Form.table,
    json: Json = False,
    no_color: NoColor = False,
) -> None:
    """Show every setting; secrets are masked.

    Example: flowrunner config show --origin
    """
    from flowrunner.config import SETTINGS, masked, redacted  # noqa: PLC0415  # --help does not pay for it

    settings = settings_of(config)
    found = {row.name: (row.file_key, _plain(masked(row, getattr(settings, row.name)))) for row in sorted(SETTINGS, key=lambda one: one.file_key)}
    rows: list[dict[str, Any]] = [{"key": key, "value": value, "origin": settings.origins.get(name, "default")} for name, (key, value) in found.items()]
    rows += [{"key": f"functions.{name}", "value": redacted(one.target), "origin": settings.origins["functions"]} for name, one in settings.functions.items()]
    show_rows(rows, COLUMNS | ({"origin": "ORIGIN"} if origin else {}), form_of(output, json), no_color=no_color, folded=("value", "origin"))


def check(*, config: Config = None) -> None:
    """Read the settings and say whether a server can use them (exit code 2 if not); the store is not looked at.

    Example: flowrunner config check --config production.toml
    """
    from flowrunner.cli import checkup  # noqa: PLC0415  # --help does not pay for it

    settings = settings_of(config)
    for look in (checkup.configuration, checkup.certificate, checkup.keys):
        look(settings)
    say(f"The settings can be used; {len(settings.origins)} of them are not the defaults.")


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, bool | int | float | None) else str(value)


COMMANDS = {"show": show, "check": check}
