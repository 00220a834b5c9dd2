"""What a laid out graph is made of: places in ranks, and the routes of the edges between them. Sizes are pixels.

States are in the ranks with even numbers; the points that edges pass are among them and, with the labels, in the odd ranks between.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flowrunner.core.draw import Edge, Node


@dataclass(slots=True, eq=False)
class Place:
    """What takes room in a rank: a state's box, or the point where a way passes. The rank is from `top` to `bottom`.

    `lines` are a label's; a state has them when it leads to itself, and then a `margin` at both sides of its box for that way.
    `above` and `below` are the neighbours in the next ranks, and how strongly they should be in line with this.
    """

    width: float
    height: float
    node: Node | None = None
    parts: list[Layout] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    margin: float = 0.0
    is_loop: bool = False
    rank: int = 0
    index: int = 0
    middle: float = 0.0
    top: float = 0.0
    bottom: float = 0.0
    above: dict[Place, float] = field(default_factory=dict)
    below: dict[Place, float] = field(default_factory=dict)


@dataclass(slots=True)
class Route:
    """An edge and the places it passes, from above; `line` are the corners to draw, from its source.

    One that `joins` another at a place is drawn up to there, for the rest is the same.
    """

    edge: Edge
    places: list[Place]
    upward: bool = False
    joins: Place | None = None
    line: list[tuple[float, float]] = field(default_factory=list)

    @property
    def label(self) -> Place | None:
        """The place of its label."""
        return next((place for place in self.places if place.lines and place.node is None), None)


@dataclass(slots=True)
class Layout:
    """A graph with its places."""

    boxes: list[Place]
    ways: list[Route]
    width: float
    height: float
