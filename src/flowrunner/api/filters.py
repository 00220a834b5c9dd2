"""What the filters of lists may name."""

from __future__ import annotations

from collections.abc import Mapping

from flowrunner.api.problems import Refused, of_status
from flowrunner.ports.executions import Status


def statuses_of(text: str | None, shown: Mapping[Status, str]) -> tuple[Status | None, ...]:
    """The statuses that a filter means: an exact one (``TIMED_OUT``) or a shown one (``failed`` is two). Raises Refused."""
    if text is None:
        return (None,)
    found = tuple(exact for exact, name in shown.items() if text in (exact, name))
    if not found:
        raise Refused(of_status(400, f"status must be one of {', '.join((*dict.fromkeys(shown.values()), *shown))}."))
    return found


def level_of(text: str | None, levels: tuple[str, ...]) -> str | None:
    """The level that a filter names. Raises Refused."""
    if text is not None and text not in levels:
        raise Refused(of_status(400, f"level must be one of {', '.join(levels)}."))
    return text


def asked_for(text: str | None) -> bool:
    """Whether a switch in a query is on."""
    return text is not None and text.lower() in ("1", "true", "yes")
