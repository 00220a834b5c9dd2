"""When a cron expression comes about: five fields, or six with seconds first, in a time zone; as Debian's cron has it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from flowrunner.errors import ExpressionSyntaxError

MOST_CHARACTERS = 200
_NAMES = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}  # fmt: skip
_START = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Cron:
    """An expression that can be read, and its time zone (an IANA name). Raises ExpressionSyntaxError, which names what is wrong."""

    expression: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if len(self.expression) > MOST_CHARACTERS:
            raise ExpressionSyntaxError(f"A cron expression has at most {MOST_CHARACTERS} characters.")
        try:
            never = next(CronSim(self._fields, _START.astimezone(self._zone)), None) is None
        except CronSimError as error:
            raise ExpressionSyntaxError(f"The cron expression {self.expression!r} cannot be read: {error}.", remedy="Write it as */5 * * * *.") from None
        if never:
            raise ExpressionSyntaxError(f"The cron expression {self.expression!r} never comes about.")

    @cached_property
    def _zone(self) -> tzinfo:
        if self.timezone in ("UTC", "Etc/UTC", "Z"):
            return UTC  # needs no database of time zones
        try:
            return ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
            raise ExpressionSyntaxError(f"There is no time zone {self.timezone[:64]!r}.", remedy="Write it as Europe/Berlin.") from None

    @property
    def _fields(self) -> str:
        return _NAMES.get(self.expression.strip().lower(), self.expression)

    def after(self, moment: int) -> int | None:
        """The first time after `moment`, both milliseconds since 1970 UTC; None when there is none any more.

        An hour that a time zone leaves out or has twice is fired in once, as Debian's cron does.
        """
        found = next(CronSim(self._fields, datetime.fromtimestamp(moment / 1000, self._zone)), None)
        return None if found is None else round(found.timestamp()) * 1000
