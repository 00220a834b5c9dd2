"""Which kinds of nodes there are here: the built-in ones, and those of plug-ins.

Plug-ins are entry points of the group ``flowrunner.nodes``: the name is the kind's, the object a `NodeKind` or a callable without arguments
that makes one. A built-in kind cannot be replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points

from flowrunner.errors import ConfigurationError
from flowrunner.kinds import KINDS, KindInfo, by_name
from flowrunner.tasks.nodes.kind import NodeKind

ENTRY_POINTS = "flowrunner.nodes"


class NodeTable:
    """Kinds by name. `built_in` are the handlers this server has; `points` replaces the installed entry points."""

    def __init__(self, built_in: Iterable[NodeKind] = (), points: Iterable[EntryPoint] | None = None) -> None:
        self._kinds: dict[str, NodeKind] = {}
        self._plugins: dict[str, str] = {}  # the kind's name -> the entry point's value
        for kind in built_in:
            self._add(kind)
        known = by_name(KINDS)
        for point in entry_points(group=ENTRY_POINTS) if points is None else points:
            if point.name in known or point.name in self._kinds:
                raise ConfigurationError(
                    f"The node plug-in {point.value} cannot be the kind {point.name!r}: there is one.", remedy="Give its entry point another name."
                )
            self._add(_made(point), name=point.name)
            self._plugins[point.name] = point.value

    def _add(self, kind: NodeKind, name: str | None = None) -> None:
        for one in (name or kind.info.name, *kind.info.aliases):
            self._kinds.setdefault(one, kind)

    def get(self, name: str) -> NodeKind | None:
        """Who carries out the nodes of this kind; None for one that does not exist, is structural, or is not to be had here."""
        return self._kinds.get(name)

    @property
    def infos(self) -> tuple[KindInfo, ...]:
        """Every kind an author can write, sorted by name: structural ones and those of plug-ins too."""
        found = {info.name: info for info in KINDS} | {kind.info.name: kind.info for kind in self._kinds.values()}
        return tuple(found[name] for name in sorted(found))

    @property
    def known(self) -> Mapping[str, KindInfo]:
        """Name, aliases too, to kind: what the front ends compile with."""
        return by_name(self.infos)

    @property
    def plugins(self) -> Mapping[str, str]:
        """The kinds of plug-ins, each with where it comes from (``package.module:object``)."""
        return dict(self._plugins)


def _made(point: EntryPoint) -> NodeKind:
    place = f"The node plug-in {point.name!r} ({point.value})"
    try:
        loaded = point.load()
        kind = loaded if isinstance(loaded, NodeKind) else loaded()
    except Exception as error:
        raise ConfigurationError(f"{place} cannot be loaded: {error}.") from error
    if not isinstance(kind, NodeKind):
        raise ConfigurationError(f"{place} is no NodeKind.")
    if kind.info.name != point.name:
        raise ConfigurationError(f"{place} makes the kind {kind.info.name!r}.", remedy="Give the entry point the kind's name.")
    return kind
