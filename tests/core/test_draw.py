"""Drawings of programs."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from flowrunner.asl.parse import parse_definition
from flowrunner.core.draw import as_dot, as_json, as_mermaid, graph_of
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


@pytest.mark.parametrize("size", [1, 2000])
def test_long_machines_are_drawn(size):
    """A long chain, and a loop back to its start, need no recursion."""
    states = {f"S{number}": {"Type": "Pass", "Next": f"S{number + 1}"} for number in range(size)}
    states[f"S{size}"] = {"Type": "Choice", "Choices": [{"Variable": "$.x", "IsNull": True, "Next": "S0"}], "Default": "Done"}
    found = graph({"StartAt": "S0", "States": {**states, "Done": {"Type": "Succeed"}}})
    assert ET.fromstring(as_svg(found)) is not None
    assert as_mermaid(found).count("-->") == size + 4
