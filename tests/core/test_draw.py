"""Drawings of programs."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.asl.parse import parse_definition
from flowrunner.core.draw import Edge, Graph, Node, as_dot, as_json, as_mermaid, graph_of
from flowrunner.core.picture import as_svg

HOSTILE = '"<b>]|\\ end &\n'
MACHINE = {
    "StartAt": "Check",
    "States": {
        "Check": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.n", "NumericGreaterThan": 5, "Next": "All"},
                {"And": [{"Variable": "$.a", "IsPresent": True}, {"Not": {"Variable": "$.b", "StringEqualsPath": "$.c"}}], "Next": HOSTILE},
            ],
            "Default": "Bad",
        },
        "All": {
            "Type": "Parallel",
            "Branches": [
                {"StartAt": "B1", "States": {"B1": {"Type": "Pass", "Next": "B2"}, "B2": {"Type": "Pass", "End": True}}},
                {"StartAt": "C1", "States": {"C1": {"Type": "Pass", "End": True}}},
            ],
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Bad"}],
            "Next": "Each",
        },
        "Each": {"Type": "Map", "ItemProcessor": {"StartAt": "I", "States": {"I": {"Type": "Pass", "End": True}}}, "End": True},
        HOSTILE: {"Type": "Wait", "Seconds": 1, "Next": "Check"},
        "Bad": {"Type": "Fail"},
    },
}


def graph(machine=MACHINE):
    parsed = parse_definition(json.dumps(machine))
    assert parsed.program is not None, parsed.diagnostics
    return graph_of(parsed.program)


def test_json_has_every_state_and_way():
    """Nodes, ways and the graphs within states are all there."""
    found = as_json(graph())
    ids = {node["name"]: node["id"] for node in found["nodes"]}
    assert list(ids) == ["Start", "Check", "All", "Each", HOSTILE, "Bad", "End"]
    ways = {(edge["source"], edge["target"], edge["type"], edge["label"]) for edge in found["edges"]}
    assert ways == {
        (ids["Start"], ids["Check"], "start", ""),
        (ids["Check"], ids["All"], "choice", "$.n > 5"),
        (ids["Check"], ids[HOSTILE], "choice", "$.a IsPresent true and not $.b = $.c"),
        (ids["Check"], ids["Bad"], "default", "default"),
        (ids["All"], ids["Each"], "next", ""),
        (ids["All"], ids["Bad"], "catch", "catch States.ALL"),
        (ids[HOSTILE], ids["Check"], "next", ""),
        (ids["Each"], ids["End"], "end", ""),
        (ids["Bad"], ids["End"], "end", ""),
    }
    parts = {node["name"]: [[inner["name"] for inner in part["nodes"]] for part in node.get("parts", [])] for node in found["nodes"]}
    assert parts["All"] == [["B1", "B2"], ["C1"]]
    assert parts["Each"] == [["I"]]


def test_text_forms_quote_names():
    """Names cannot break out of their quotes, and no id is a word of the language."""
    mermaid, dot = as_mermaid(graph()), as_dot(graph())
    assert '"#34;#60;b#62;]#124;#92; end #38;#10;"' in mermaid
    assert "\n  end((" not in mermaid
    assert mermaid.count("subgraph ") == mermaid.count(" end\n")
    assert '"\\"<b>]|\\\\ end & "' in dot
    assert dot.count("{") == dot.count("}")


def test_svg_is_well_formed_and_nothing_overlaps():
    """Every state has a box of its own within the picture."""
    root = ET.fromstring(as_svg(graph()))
    space = "{http://www.w3.org/2000/svg}"
    names = {text.text for text in root.iter(f"{space}text")}
    assert {"Check", "All (Parallel)", "B1", "B2", "C1", "Each (Map)", "I", "Bad", "Start", "End"} <= names
    width, height = float(root.get("width")), float(root.get("height"))
    boxes = [tuple(float(box.get(side)) for side in ("x", "y", "width", "height")) for box in root.iter(f"{space}rect") if box.get("rx")]
    for left, top, across, down in boxes:
        assert left >= 0
        assert top >= 0
        assert left + across <= width
        assert top + down <= height
    for place, (left, top, across, down) in enumerate(boxes):
        for other_left, other_top, other_across, other_down in boxes[place + 1 :]:
            apart = left + across <= other_left or other_left + other_across <= left or top + down <= other_top or other_top + other_down <= top
            inside = left <= other_left and other_left + other_across <= left + across and top <= other_top and other_top + other_down <= top + down
            assert apart or inside


SPACE = "{http://www.w3.org/2000/svg}"
EXAMPLES = Path(__file__).parents[2] / "examples"
TASK = {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:f"}
POLLING = {
    "StartAt": "Submit",
    "States": {
        "Submit": {**TASK, "Catch": [{"ErrorEquals": ["Busy"], "Next": "Pause"}, {"ErrorEquals": ["States.ALL"], "Next": "Bad"}], "Next": "Ready"},
        "Ready": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.status", "StringEquals": status, "Next": following}
                for status, following in (("DONE", "Good"), ("SKIPPED", "Good"), ("LOST", "Submit"), ("AGAIN", "Ready"), ("STUCK", "Bad"))
            ],
            "Default": "Pause",
        },
        "Pause": {"Type": "Wait", "Seconds": 1, "Next": "Submit"},
        "Good": {**TASK, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Bad"}], "End": True},
        "Bad": {"Type": "Fail"},
    },
}


def sides(rect):
    left, top, width, height = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
    return left, top, left + width, top + height


def holds(outer, x, y):
    """Whether a point is within, not just at the edge."""
    return outer[0] + 1 < x < outer[2] - 1 and outer[1] + 1 < y < outer[3] - 1


def along(data):
    """Points on an SVG path of M, L and C."""
    at, found = (0.0, 0.0), []
    for command, rest in re.findall(r"([MLC])([^MLC]+)", data):
        numbers = [float(number) for number in rest.split()]
        corners = [at, *zip(numbers[::2], numbers[1::2], strict=True)]
        if command == "C":
            for step in range(1, 20):
                t = step / 20
                weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
                found.append(tuple(sum(weight * corner[axis] for weight, corner in zip(weights, corners, strict=True)) for axis in (0, 1)))
        elif command == "L":
            found += [tuple(at[axis] + (corners[1][axis] - at[axis]) * step / 10 for axis in (0, 1)) for step in range(1, 10)]
        at = corners[-1]
        found.append(at)
    return found


def check_picture(found):
    """No way runs through a state or another's label, no label lies on anything, and everything is within the picture."""
    root = ET.fromstring(as_svg(found))
    rects = [rect for rect in root.iter(f"{SPACE}rect") if rect.get("width") != "100%"]
    boxes = [(sides(rect), rect.find(f"{SPACE}title").text in ("Parallel", "Map")) for rect in rects if rect.get("rx")]
    labels = [sides(rect) for rect in rects if rect.get("rx") is None and rect.get("stroke") is None]
    data = [path.get("d") for path in root.findall(f"{SPACE}path")]
    assert len(set(data)) == len(data)
    ways = [along(line) for line in data]
    picture = (-1, -1, float(root.get("width")) + 1, float(root.get("height")) + 1)
    for way in ways:
        assert all(holds(picture, *point) for point in way)
        for box, container in boxes:
            if not (container and holds(box, *way[0]) and holds(box, *way[-1])):
                assert not any(holds(box, *point) for point in way)
    for place, label in enumerate(labels):
        assert holds(picture, *label[:2])
        assert holds(picture, *label[2:])
        assert sum(any(holds(label, *point) for point in way) for way in ways) <= 1
        for other in labels[:place]:
            assert apart(label, other)
        for box, container in boxes:
            assert apart(label, box) or (container and holds(box, *label[:2]) and holds(box, *label[2:]))


def apart(one, other):
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


@pytest.mark.parametrize("name", ["order_processing", "choice", "approval", "map", "wait"])
def test_pictures_of_the_examples_are_clear(name):
    """What is shown to others."""
    check_picture(graph(json.loads((EXAMPLES / name / f"{name}.asl.json").read_text())))


def test_ways_back_and_ways_between_the_same_states_are_apart():
    """Two rules with one target, a way and its way back, a state that leads to itself: each is a line and a label of its own."""
    found = graph(POLLING)
    check_picture(found)
    check_picture(graph())
    shown = as_svg(found)
    for label in ("DONE", "SKIPPED", "LOST", "AGAIN", "STUCK"):
        assert f"$.status = &quot;{label}&quot;" in shown
    assert shown.rindex(" rx=") < shown.index("<path d=", shown.index("</defs>"))  # states first, so that they cover nothing


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_pictures_of_any_graph_are_clear(data):
    """Whatever leads wherever."""
    size = data.draw(st.integers(1, 9))
    ends = st.integers(0, size - 1)
    drawn = data.draw(
        st.lists(st.tuples(ends, ends, st.sampled_from(("next", "choice", "catch")), st.sampled_from(("", "a", "a label of some more words"))), max_size=18)
    )
    nodes = tuple(Node(f"n{number}", "N" * (1 + 7 * (number % 4)), "Task") for number in range(size))
    check_picture(Graph(nodes, tuple(Edge(f"n{source}", f"n{target}", way, label) for source, target, way, label in drawn)))


def test_pictures_of_huge_machines_are_bounded():
    """Thousands of states that all lead far away are drawn in seconds."""
    states = {
        f"S{number}": {**TASK, "Catch": [{"ErrorEquals": ["E"], "Next": f"S{min(number + 800, 1600)}"}], "Next": f"S{number + 1}"} for number in range(1600)
    }
    assert as_svg(graph({"StartAt": "S0", "States": {**states, "S1600": {"Type": "Succeed"}}})).count("<path d=") > 3200


@pytest.mark.parametrize("size", [1, 2000])
def test_long_machines_are_drawn(size):
    """A long chain, and a loop back to its start, need no recursion."""
    states = {f"S{number}": {"Type": "Pass", "Next": f"S{number + 1}"} for number in range(size)}
    states[f"S{size}"] = {"Type": "Choice", "Choices": [{"Variable": "$.x", "IsNull": True, "Next": "S0"}], "Default": "Done"}
    found = graph({"StartAt": "S0", "States": {**states, "Done": {"Type": "Succeed"}}})
    assert ET.fromstring(as_svg(found)) is not None
    assert as_mermaid(found).count("-->") == size + 4
