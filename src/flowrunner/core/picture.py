"""A graph as SVG, laid out in layers by ourselves: no other program is needed.

Every state sits one layer below the lowest state before it (ways back are not counted), layers are sorted by the middle of
what leads to them, and a state with parts is as big as its parts side by side. Sizes are pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

from flowrunner.core.draw import Edge, Graph, Node

LETTER_WIDTH = 7.2  # an average letter of a 13 pixel sans-serif font
NODE_HEIGHT = 36.0
GAP_ACROSS = 32.0
GAP_DOWN = 52.0
PADDING = 18.0
HEADER = 26.0
SWEEPS = 4  # of sorting the layers; more changes little on graphs of this size

_FILL = {"Task": "#e8f0fe", "Choice": "#fef7e0", "Wait": "#f3e8fd", "Succeed": "#e6f4ea", "Fail": "#fce8e6", "Parallel": "#f8f9fa", "Map": "#f8f9fa"}


@dataclass(slots=True)
class _Box:
    node: Node
    width: float
    height: float
    parts: list[_Layout] = field(default_factory=list)
    left: float = 0.0
    top: float = 0.0

    @property
    def middle(self) -> float:
        return self.left + self.width / 2


@dataclass(slots=True)
class _Layout:
    boxes: dict[str, _Box]
    edges: tuple[Edge, ...]
    width: float
    height: float


def as_svg(graph: Graph) -> str:
    """Draw the whole picture."""
    layout = _lay_out(graph)
    width, height = layout.width + 2 * PADDING, layout.height + 2 * PADDING
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="13">'
    marker = '<marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#5f6368"/></marker>'
    body = "\n".join(_draw(layout, PADDING, PADDING))
    return f'{head}\n<defs>{marker}</defs>\n<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'


# --- places


def _lay_out(graph: Graph) -> _Layout:
    boxes = {node.id: _box(node) for node in graph.nodes}
    layers = _sorted(_layers(graph), graph.edges)
    widths = [sum(boxes[name].width for name in layer) + GAP_ACROSS * (len(layer) - 1) for layer in layers]
    width, top = max(widths), 0.0
    for layer, used in zip(layers, widths, strict=True):
        left, height = (width - used) / 2, max(boxes[name].height for name in layer)
        for name in layer:
            box = boxes[name]
            box.left, box.top = left, top + (height - box.height) / 2
            left += box.width + GAP_ACROSS
        top += height + GAP_DOWN
    returns = any(boxes[edge.target].top <= boxes[edge.source].top for edge in graph.edges)
    return _Layout(boxes, graph.edges, width + (GAP_ACROSS if returns else 0), top - GAP_DOWN)


def _box(node: Node) -> _Box:
    wide = max(64.0, len(node.name) * LETTER_WIDTH + 28)
    if not node.parts:
        return _Box(node, wide, NODE_HEIGHT)
    parts = [_lay_out(part) for part in node.parts]
    inner = sum(part.width + 2 * PADDING for part in parts) + PADDING * (len(parts) - 1)
    height = max(part.height for part in parts) + HEADER + 3 * PADDING
    return _Box(node, max(wide, inner + 2 * PADDING), height, parts)


def _layers(graph: Graph) -> list[list[str]]:
    """Node ids by layer: the longest way from a first node, ways back left out."""
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
    layers: list[list[str]] = [[] for _ in range(max(layer.values()) + 1)]
    for name in following:
        layers[layer[name]].append(name)
    return layers


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


def _sorted(layers: list[list[str]], edges: tuple[Edge, ...]) -> list[list[str]]:
    before: dict[str, list[str]] = {}
    for edge in edges:
        before.setdefault(edge.target, []).append(edge.source)
        before.setdefault(edge.source, []).append(edge.target)
    for _ in range(SWEEPS):
        place = {name: index / max(1, len(layer) - 1) if len(layer) > 1 else 0.5 for layer in layers for index, name in enumerate(layer)}
        for layer in layers:
            middle = {name: sum(place[other] for other in before.get(name, [name])) / len(before.get(name, [name])) for name in layer}
            layer.sort(key=middle.__getitem__)
            place |= {name: index / max(1, len(layer) - 1) if len(layer) > 1 else 0.5 for index, name in enumerate(layer)}
    return layers


# --- shapes


def _draw(layout: _Layout, left: float, top: float) -> Iterator[str]:
    for edge in layout.edges:
        yield from _edge(edge, layout, left, top)
    for box in layout.boxes.values():
        yield from _node(box, left + box.left, top + box.top)


def _node(box: _Box, left: float, top: float) -> Iterator[str]:
    node, middle = box.node, left + box.width / 2
    if node.kind in ("START", "END"):
        yield f'<ellipse cx="{middle:.1f}" cy="{top + box.height / 2:.1f}" rx="32" ry="{NODE_HEIGHT / 2}" fill="#ffffff" stroke="#5f6368"/>'
        yield _label(node.name, middle, top + box.height / 2 + 4)
        return
    corner = 18 if node.kind in ("Choice", "Wait") else 6
    fill = _FILL.get(node.kind, "#ffffff")
    yield (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="{corner}" fill="{fill}" stroke="#5f6368">'
        f"<title>{escape(node.kind)}</title></rect>"
    )
    if not box.parts:
        yield _label(node.name, middle, top + box.height / 2 + 4)
        return
    yield _label(f"{node.name} ({node.kind})", middle, top + HEADER - 6)
    inner = sum(part.width + 2 * PADDING for part in box.parts) + PADDING * (len(box.parts) - 1)
    across = left + (box.width - inner) / 2
    for part in box.parts:
        height = box.height - HEADER - PADDING
        yield (
            f'<rect x="{across:.1f}" y="{top + HEADER:.1f}" width="{part.width + 2 * PADDING:.1f}" height="{height:.1f}" '
            'fill="#ffffff" stroke="#dadce0" stroke-dasharray="4 3"/>'
        )
        yield from _draw(part, across + PADDING, top + HEADER + PADDING)
        across += part.width + 3 * PADDING


def _edge(edge: Edge, layout: _Layout, left: float, top: float) -> Iterator[str]:
    source, target = layout.boxes[edge.source], layout.boxes[edge.target]
    from_x, from_y = left + source.middle, top + source.top + source.height
    to_x, to_y = left + target.middle, top + target.top
    if to_y > from_y:
        bend = (to_y - from_y) / 2
        path = f"M{from_x:.1f} {from_y:.1f}C{from_x:.1f} {from_y + bend:.1f} {to_x:.1f} {to_y - bend:.1f} {to_x:.1f} {to_y:.1f}"
        label_x, label_y = (from_x + to_x) / 2, (from_y + to_y) / 2
    else:  # a way back, to the same layer or to itself: out at the right side and in at the right side
        from_x, from_y = left + source.left + source.width, top + source.top + source.height / 2
        to_x, to_y = left + target.left + target.width, top + target.top + target.height / 2 - (8 if source is target else 0)
        out = max(from_x, to_x) + GAP_ACROSS
        path = f"M{from_x:.1f} {from_y:.1f}C{out:.1f} {from_y:.1f} {out:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"
        label_x, label_y = out, (from_y + to_y) / 2
    dashes = ' stroke-dasharray="5 4"' if edge.way == "catch" else ""
    yield f'<path d="{path}" fill="none" stroke="#5f6368"{dashes} marker-end="url(#arrow)"/>'
    if edge.label:
        yield f'<text x="{label_x:.1f}" y="{label_y:.1f}" text-anchor="middle" font-size="11" fill="#3c4043" stroke="#ffffff" stroke-width="3" paint-order="stroke">{_text(edge.label)}</text>'


def _label(text: str, middle: float, base: float) -> str:
    return f'<text x="{middle:.1f}" y="{base:.1f}" text-anchor="middle" fill="#202124">{_text(text)}</text>'


def _text(text: str) -> str:
    return escape("".join(letter if letter.isprintable() else " " for letter in text))
