"""The kinds of nodes and steps: one table that the front ends, the handlers, the API and the reference page read. Data only."""

from collections.abc import Mapping

from flowrunner.kinds import batching, checks, http, mail, models, processes, scripting, storing, structure, timing
from flowrunner.kinds.info import NODE_FAILED, TIMEOUT, KindInfo

KINDS: tuple[KindInfo, ...] = tuple(
    sorted(
        (kind for family in (batching, checks, http, mail, models, processes, scripting, storing, structure, timing) for kind in family.KINDS),
        key=lambda kind: kind.name,
    )
)


def by_name(kinds: tuple[KindInfo, ...]) -> Mapping[str, KindInfo]:
    """Every name, aliases too, to its kind; whoever writes a resource takes the kind's own name."""
    return {name: kind for kind in kinds for name in (*kind.aliases, kind.name)}


BUILT_IN: Mapping[str, KindInfo] = by_name(KINDS)

__all__ = ["BUILT_IN", "KINDS", "NODE_FAILED", "TIMEOUT", "KindInfo", "by_name"]
