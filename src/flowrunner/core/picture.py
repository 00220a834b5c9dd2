"""A graph as SVG, without another program: states first, ways between them, labels on top. `layout.py` finds the places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise

from flowrunner.core.draw import Graph, Way
from flowrunner.core.layout import (
    HEADER,
    LABEL_LINE_HEIGHT,
    LOOP_WIDTH,
    PADDING,
    inner_width,
    label_width,
    lay_out,
    title_of,
)
from flowrunner.core.places import Layout, Place

INK, LABEL_INK, LINE, CATCH_LINE, PART_LINE = "#202124", "#3c4043", "#5f6368", "#c5221f", "#bdc1c6"
_FILL = {"Task": "#e8f0fe", "Choice": "#fef7e0", "Wait": "#f3e8fd", "Succeed": "#e6f4ea", "Fail": "#fce8e6", "Parallel": "#f1f3f4", "Map": "#f1f3f4"}
_ROUND = {"START": 18, "END": 18, "Choice": 18, "Wait": 18}


def as_svg(graph: Graph) -> str:
    """Draw the whole picture."""
    layout = lay_out(graph)
    width, height = layout.width + 2 * PADDING, layout.height + 2 * PADDING
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" font-family="Helvetica, Arial, sans-serif" font-size="13">'
    markers = "".join(_marker(name, colour) for name, colour in (("arrow", LINE), ("catch", CATCH_LINE)))
    body = "\n".join(_draw(layout, PADDING, PADDING))
    return f'{head}\n<defs>{markers}</defs>\n<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'


def _marker(name: str, colour: str) -> str:
    shape = f'<path d="M0 0L8 4L0 8z" fill="{colour}"/>'
    return f'<marker id="{name}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">{shape}</marker>'


def _draw(layout: Layout, left: float, top: float) -> Iterator[str]:
    for box in layout.boxes:
        yield from _state(box, left, top)
    for box in layout.boxes:
        if box.is_loop:
            yield from _loop(box, left + box.middle + box.width / 2 - box.margin, top + box.top + box.height / 2)
    for way in layout.ways:
        corners = [(left + x, top + y) for x, y in way.line]
        yield _path(way.edge.way, f"M{corners[0][0]:.1f} {corners[0][1]:.1f}" + "".join(_steps(corners)), ends=way.joins is None)
    for way in layout.ways:
        if (place := way.label) is not None:
            yield from _label(place.lines, left + place.middle, top + (place.top + place.bottom) / 2, way.edge.way)


# --- states


def _state(box: Place, left: float, top: float) -> Iterator[str]:
    node = box.node
    assert node is not None  # noqa: S101 - only states have boxes
    middle, upper = left + box.middle, top + box.top
    width = box.width - 2 * box.margin
    fill = _FILL.get(node.kind, "#ffffff")
    yield (
        f'<rect x="{middle - width / 2:.1f}" y="{upper:.1f}" width="{width:.1f}" height="{box.height:.1f}" rx="{_ROUND.get(node.kind, 6)}" '
        f'fill="{fill}" stroke="{LINE}"><title>{escape(node.kind)}</title></rect>'
    )
    yield _text(title_of(node), middle, upper + (HEADER - 8 if box.parts else box.height / 2 + 4.5))
    across = middle - inner_width(box.parts) / 2
    for part in box.parts:
        height = box.height - HEADER - PADDING
        yield (
            f'<rect x="{across:.1f}" y="{upper + HEADER:.1f}" width="{part.width + 2 * PADDING:.1f}" height="{height:.1f}" '
            f'fill="#ffffff" stroke="{PART_LINE}" stroke-dasharray="4 3"/>'
        )
        yield from _draw(part, across + PADDING, upper + HEADER + PADDING)
        across += part.width + 3 * PADDING


def _text(text: str, middle: float, base: float) -> str:
    return f'<text x="{middle:.1f}" y="{base:.1f}" text-anchor="middle" fill="{INK}">{_printable(text)}</text>'


def _printable(text: str) -> str:
    return escape("".join(letter if letter.isprintable() else " " for letter in text))


# --- ways


def _steps(corners: Sequence[tuple[float, float]]) -> Iterator[str]:
    """Straight where it goes up or down, a bend that begins and ends upright where it goes across."""
    for (from_x, from_y), (to_x, to_y) in pairwise(corners):
        if (from_x, from_y) == (to_x, to_y):
            continue
        if abs(from_x - to_x) < 0.5:
            yield f"L{to_x:.1f} {to_y:.1f}"
        else:
            between = (from_y + to_y) / 2
            yield f"C{from_x:.1f} {between:.1f} {to_x:.1f} {between:.1f} {to_x:.1f} {to_y:.1f}"


def _loop(box: Place, right: float, middle: float) -> Iterator[str]:
    """A way from a state to itself: out at its right side, and in again above."""
    out = right + LOOP_WIDTH
    yield _path("choice", f"M{right:.1f} {middle + 8:.1f}C{out:.1f} {middle + 8:.1f} {out:.1f} {middle - 8:.1f} {right:.1f} {middle - 8:.1f}")
    yield from _label(box.lines, out + label_width(box.lines) / 2, middle, "choice")


def _path(way: Way, data: str, *, ends: bool = True) -> str:
    style = f'stroke="{CATCH_LINE}" stroke-dasharray="5 4"' if way == "catch" else f'stroke="{LINE}"'
    head = f' marker-end="url(#{"catch" if way == "catch" else "arrow"})"' if ends else ""
    return f'<path d="{data}" fill="none" {style}{head}/>'


def _label(lines: Sequence[str], middle: float, centre: float, way: Way) -> Iterator[str]:
    """A label on white, so that it can be read on its own way."""
    width, height = label_width(lines), LABEL_LINE_HEIGHT * len(lines)
    upper, colour = centre - height / 2, CATCH_LINE if way == "catch" else LABEL_INK
    if lines:
        yield f'<rect x="{middle - width / 2:.1f}" y="{upper:.1f}" width="{width:.1f}" height="{height:.1f}" fill="#ffffff"/>'
    for number, line in enumerate(lines, 1):
        base = upper + LABEL_LINE_HEIGHT * number - 3.5
        yield f'<text x="{middle:.1f}" y="{base:.1f}" text-anchor="middle" font-size="11" fill="{colour}">{_printable(line)}</text>'
