"""Places for the states of a graph, in layers, so that no way runs through a state and no label lies on anything.

Every state sits one layer below the lowest state before it. Where a way passes a layer it has a place of its own among the
states, and labels have layers of their own between those of the states; a way back takes its places upwards. Layers are sorted
so that few ways cross, then each place moves to the middle of what it is connected with. Sizes are pixels.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise

from flowrunner.core.arrange import arrange, nearest
from flowrunner.core.draw import Edge, Graph, Node
from flowrunner.core.places import Layout, Place, Route

LETTER_WIDTH = 7.2  # an average letter of a 13 pixel sans-serif font
LABEL_LETTER_WIDTH = 6.2  # as above, of 11 pixels
LABEL_LINE_HEIGHT = 14.0
LABEL_LINE_LETTERS = 26  # a label is broken into lines of this many letters
NODE_HEIGHT = 36.0
LOOP_WIDTH = 28.0  # of a way from a state to itself, without its label
PADDING = 18.0
HEADER = 26.0
GAP_DOWN = 44.0
GAP_AT_LABELS = 22.0
MOST_SLOPE_GAP = 40.0  # more room for ways that go far across; they would be flat otherwise
CORNER = 20.0  # at both ends of a side, where no way begins: the roundest corners take 18
PORT_GAP = 26.0  # between the ends of ways at one side of a state
MOST_POINTS = 50_000  # beyond, ways that pass more than LONG_WAY layers go straight to their ends, through whatever lies there
LONG_WAY = 8


def lay_out(graph: Graph) -> Layout:
    """Find the places of a whole graph, and of the graphs within its states."""
    boxes = {node.id: _box(node) for node in graph.nodes}
    layers = _layers(graph)
    for name, layer in layers.items():
        boxes[name].rank = 2 * layer
    for edge in graph.edges:
        if edge.source == edge.target:
            _make_loop(boxes[edge.source], edge.label)
    ways, points = _ways(graph, boxes, layers)
    found: dict[int, list[Place]] = {}
    for place in (*boxes.values(), *points):
        found.setdefault(place.rank, []).append(place)
    ranks = [found[rank] for rank in sorted(found)]
    _connect(ways, ranks)
    arrange(ranks)
    width = _move_to_edge(ranks)
    height = _set_heights(ranks)
    _draw_lines(ways)
    return Layout(list(boxes.values()), ways, width, height)


def text_width(text: str, letter: float = LETTER_WIDTH) -> float:
    """About how wide a text is; East Asian letters count twice."""
    return letter * sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def title_of(node: Node) -> str:
    """What is written on a state."""
    return f"{node.name} ({node.kind})" if node.parts else node.name


def _box(node: Node) -> Place:
    wide = max(72.0, text_width(title_of(node)) + 28)
    if not node.parts:
        return Place(wide, NODE_HEIGHT, node)
    parts = [lay_out(part) for part in node.parts]
    return Place(max(wide, inner_width(parts) + 2 * PADDING), max(part.height for part in parts) + HEADER + 3 * PADDING, node, parts)


def inner_width(parts: Sequence[Layout]) -> float:
    """The parts of a state side by side."""
    return sum(part.width + 2 * PADDING for part in parts) + PADDING * (len(parts) - 1)


# --- layers


def _layers(graph: Graph) -> dict[str, int]:
    """The layer of each node: the longest way from a first node, ways back left out."""
    following: dict[str, list[str]] = {node.id: [] for node in graph.nodes}
    for edge in graph.edges:
        following[edge.source].append(edge.target)
    order, back = _depth_first(following)
    layer = dict.fromkeys(following, 0)
    for name, targets in ((name, following[name]) for name in reversed(order)):
        below = layer[name] + 1
        for target in targets:
            if (name, target) not in back:
                layer[target] = max(layer[target], below)
    return layer


def _depth_first(following: dict[str, list[str]]) -> tuple[list[str], set[tuple[str, str]]]:
    """Nodes in the order they are finished, and the ways back; iterative, for any size."""
    order: list[str] = []
    back: set[tuple[str, str]] = set()
    state: dict[str, int] = {}  # 1 being visited, 2 finished
    for first, ways in following.items():
        if first in state:
            continue
        state[first] = 1
        stack = [(first, iter(ways))]
        while stack:
            name, targets = stack[-1]
            for target in targets:
                if target not in state:
                    state[target] = 1
                    stack.append((target, iter(following[target])))
                    break
                if state[target] == 1:
                    back.add((name, target))
            else:
                state[name] = 2
                order.append(name)
                stack.pop()
    return order, back


# --- ways


def _ways(graph: Graph, boxes: dict[str, Place], layers: dict[str, int]) -> tuple[list[Route], list[Place]]:
    """Every way with the points it passes. Catchers' ways to one state join below their labels."""
    edges = [edge for edge in graph.edges if edge.source != edge.target]
    label_ranks = _label_ranks(edges, boxes)
    too_many = sum(2 * abs(layers[edge.source] - layers[edge.target]) for edge in edges) > MOST_POINTS
    joined: dict[tuple[str, int], Place] = {}
    ways, points = [], []
    for edge in edges:
        source, target = boxes[edge.source], boxes[edge.target]
        upward = target.rank < source.rank
        upper, lower = (target, source) if upward else (source, target)
        own = source.rank + (-1 if upward else 1)  # the rank of its label
        direct = too_many and lower.rank - upper.rank > 2 * LONG_WAY
        passed: list[Place] = []
        joins: Place | None = None
        for rank in range(upper.rank + 1, lower.rank):
            if (rank % 2 and rank not in label_ranks) or (direct and rank != own):
                continue
            point = joined.get((edge.target, rank)) if edge.way == "catch" and rank > own else None
            if point is None:
                point = _point(edge.label if rank == own else "", rank)
                points.append(point)
                if edge.way == "catch" and rank > own and not upward:
                    joined[edge.target, rank] = point
            else:
                joins = joins or point
            passed.append(point)
        ways.append(Route(edge, [upper, *passed, lower], upward, joins))
    return ways, points


def _label_ranks(edges: Sequence[Edge], boxes: dict[str, Place]) -> set[int]:
    """The ranks between layers that are needed: for labels, and to keep ways between the same two states apart."""
    pairs = Counter(frozenset((edge.source, edge.target)) for edge in edges)
    found = set()
    for edge in edges:
        if edge.label or pairs[frozenset((edge.source, edge.target))] > 1:
            source, target = boxes[edge.source], boxes[edge.target]
            found.add(source.rank + (1 if target.rank > source.rank else -1))
    return found


def _point(label: str, rank: int) -> Place:
    lines = textwrap.wrap(label, LABEL_LINE_LETTERS)
    return Place(label_width(lines), LABEL_LINE_HEIGHT * len(lines), lines=lines, rank=rank)


def label_width(lines: Sequence[str]) -> float:
    """How wide a label is, with a little room at both sides."""
    return max((text_width(line, LABEL_LETTER_WIDTH) for line in lines), default=-10.0) + 10


def _make_loop(box: Place, label: str) -> None:
    """Give a state room for a way to itself; several such ways are one, with all their labels."""
    box.lines += textwrap.wrap(label, LABEL_LINE_LETTERS)
    drawn, box.is_loop = box.width - 2 * box.margin, True
    box.margin = LOOP_WIDTH + label_width(box.lines)
    box.width, box.height = drawn + 2 * box.margin, max(box.height, LABEL_LINE_HEIGHT * len(box.lines))


def _connect(ways: Sequence[Route], ranks: Sequence[Sequence[Place]]) -> None:
    """Tell places in neighbouring ranks of each other: long ways should be straight, and what goes well be more in line than what does not."""
    following = {upper[0].rank: lower[0].rank for upper, lower in pairwise(ranks)}
    for way in ways:
        weight = 1.0 if way.edge.way == "catch" or way.upward else 4.0
        for upper, lower in pairwise(way.places):
            if following[upper.rank] == lower.rank:
                upper.below[lower] = lower.above[upper] = weight * (1 if upper.node or lower.node else 8)


def _move_to_edge(ranks: Sequence[Sequence[Place]]) -> float:
    """Let the leftmost place begin at 0; return the width."""
    left = min(place.middle - place.width / 2 for rank in ranks for place in rank)
    for rank in ranks:
        for place in rank:
            place.middle -= left
    return max(place.middle + place.width / 2 for rank in ranks for place in rank)


def _set_heights(ranks: Sequence[Sequence[Place]]) -> float:
    """Put the ranks below each other; return the height."""
    top = 0.0
    for rank in ranks:
        bottom = top + max(place.height for place in rank)
        for place in rank:
            place.top, place.bottom = top, bottom
        at_labels = rank[0].rank % 2 or any(other.rank % 2 for place in rank for other in place.below)
        across = max((abs(place.middle - other.middle) for place in rank for other in place.below), default=0.0)
        top = bottom + (GAP_AT_LABELS if at_labels else GAP_DOWN) + min(MOST_SLOPE_GAP, across / 12)
    return max(place.bottom for rank in ranks for place in rank)


def _draw_lines(ways: Sequence[Route]) -> None:
    """The corners of every way: upright where it passes a rank, and out of and into states side by side with others."""
    downwards: dict[Place, dict[Place, None]] = {}  # the next places of each box, in a steady order
    upwards: dict[Place, dict[Place, None]] = {}
    for way in ways:
        downwards.setdefault(way.places[0], {})[way.places[1]] = None
        upwards.setdefault(way.places[-1], {})[way.places[-2]] = None
    leaving = {box: _ports(box, others) for box, others in downwards.items()}
    entering = {box: _ports(box, others) for box, others in upwards.items()}
    for way in ways:
        first, *passed, last = way.places
        out, into = leaving[first][way.places[1]], entering[last][way.places[-2]]
        way.line = [(out, first.top + first.height), (out, first.bottom)]
        for place in passed[: passed.index(way.joins)] if way.joins is not None else passed:
            way.line += [(place.middle, place.top), (place.middle, place.bottom)]
        way.line.append((into, last.top) if way.joins is None else (way.joins.middle, way.joins.top))
        if way.upward:
            way.line.reverse()


def _ports(box: Place, neighbours: Collection[Place]) -> dict[Place, float]:
    """Where the ways to these places touch a side of a box: near its middle, below or above their places where it is a wide one."""
    others = sorted(neighbours, key=lambda place: place.middle)
    most = box.width / 2 - box.margin - CORNER
    reach = most if box.parts else min(most, PORT_GAP * (len(others) - 1) / 2)
    distance = min(PORT_GAP, 2 * reach / max(1, len(others) - 1))
    wanted = [min(max(other.middle, box.middle - reach), box.middle + reach) for other in others]
    return dict(zip(others, nearest(wanted, [distance] * (len(others) - 1), [1.0] * len(others)), strict=True))
