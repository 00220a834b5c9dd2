"""The graph of a flow: where it starts, edges that lead nowhere, nodes that nothing leads to, and how far each is from the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flowrunner.reading.findings import Findings, Place
from flowrunner.reading.wording import meant

MISSING_NODE = "MISSING_NODE"
NO_START = "NO_START_NODE"
SEVERAL_STARTS = "MULTIPLE_START_NODES"
UNREACHABLE = "UNREACHABLE_NODE"
_MOST_NAMED = 10  # nodes in one message

Edges = Mapping[str, Mapping[str, str]]  # node -> action -> node


def check_targets(found: Findings, edges: Edges, nodes: Mapping[str, object]) -> None:
    """Every edge leads to a node of `nodes`."""
    for name, ways in edges.items():
        for action, target in ways.items():
            if target not in nodes:
                place: Place = ("nodes", name, "next", action)
                found.error(place, f"The edge '{action}' of '{name}' leads to '{target}', which is no node.", MISSING_NODE, hint=meant(target, nodes))


def start_of(found: Findings, edges: Edges, given: str | None, place: Place) -> str | None:
    """The node to start with: the one that is named, or else the only one that no other points to."""
    if given is not None:
        if given in edges:
            return given
        found.error(place, f"'start' names '{given}', which is no node.", MISSING_NODE, hint=meant(given, edges))
        return None
    pointed = {target for name, ways in edges.items() for target in ways.values() if target != name}
    starts = [name for name in edges if name not in pointed]
    if len(starts) == 1:
        return starts[0]
    if starts:
        named = ", ".join(starts[:_MOST_NAMED]) + (", ..." if len(starts) > _MOST_NAMED else "")
        found.error(("nodes", starts[1]), f"multiple start nodes found: {named}. Lead an edge to all but one, or name one with 'start'.", SEVERAL_STARTS)
    else:
        found.error(("nodes",), "no start node found: every node is pointed to by another. Name one with 'start'.", NO_START)
    return None


def warn_unreachable(found: Findings, edges: Edges, start: str) -> None:
    """Say which nodes no execution comes to."""
    reached, waiting = {start}, [start]
    while waiting:
        for target in edges[waiting.pop()].values():
            if target in edges and target not in reached:
                reached.add(target)
                waiting.append(target)
    for name in edges:
        if name not in reached:
            found.warning(("nodes", name), f"No execution comes to '{name}'.", UNREACHABLE)


def remaining(edges: Edges) -> dict[str, int]:
    """The number of nodes on the longest way from each to an end, itself included. Edges that lead back are left out."""
    lengths: dict[str, int] = {}
    for first in edges:
        if first not in lengths:
            _walk(first, edges, lengths)
    return lengths


def _walk(first: str, edges: Edges, lengths: dict[str, int]) -> None:
    """Depth first without recursion: a flow may have as many nodes as fit into its text."""
    open_nodes = {first}
    path: list[tuple[str, Iterator[str]]] = [(first, iter(edges[first].values()))]
    best = {first: 0}
    while path:
        name, ways = path[-1]
        target = next((way for way in ways if way in edges and way not in open_nodes and not _known(way, lengths, best, name)), None)
        if target is not None:
            open_nodes.add(target)
            best[target] = 0
            path.append((target, iter(edges[target].values())))
            continue
        path.pop()
        open_nodes.discard(name)
        lengths[name] = 1 + best.pop(name)
        if path:
            best[path[-1][0]] = max(best[path[-1][0]], lengths[name])


def _known(way: str, lengths: dict[str, int], best: dict[str, int], name: str) -> bool:
    if way not in lengths:
        return False
    best[name] = max(best[name], lengths[way])
    return True
