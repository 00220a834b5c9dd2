"""Everything wrong with a flow is said at its line and column, with what was meant."""

import time

import pytest
from flowplay import ROOT, found_in
from ruamel.yaml import YAML

from flowrunner.flow.parse import parse_flow
from flowrunner.kinds import BUILT_IN

CASES = YAML(typ="safe").load((ROOT / "tests" / "cases" / "flow" / "findings.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["about"])
def test_findings(case):
    """Place, code and severity of every finding, in order."""
    parsed = parse_flow(case["text"], BUILT_IN)
    told = found_in(case["text"])
    if case.get("accepts_any_place"):
        assert len(told) == 1
        assert parsed.diagnostics[0].line > 0
    else:
        assert told == case["finds"]
    assert (parsed.program is None) == any(" error " in one for one in told)
    if "says" in case:
        assert case["says"] in f"{parsed.diagnostics[0].message} {parsed.diagnostics[0].hint}"
    assert all(found.hint for found in parsed.diagnostics)


def test_what_a_flow_says_of_itself_is_told_even_if_it_is_broken():
    """Name, description and version, for lists of flows."""
    parsed = parse_flow("metadata: {name: Orders, description: All of them, version: 2.5}\nnodes: {a: {type: nothing}}\n", BUILT_IN)
    assert parsed.program is None
    assert (parsed.name, parsed.description, parsed.version) == ("Orders", "All of them", "2.5")


def test_a_long_flow_is_read_without_recursion():
    """Ten thousand nodes in a row, the last leading back: read in seconds, each with the way that is left."""
    count = 10_000
    nodes = "".join(f"  n{place}: {{type: transform, next: n{place + 1}}}\n" for place in range(count)) + f"  n{count}: {{type: transform, next: n1}}\n"
    begun = time.perf_counter()
    parsed = parse_flow(f"metadata: {{name: long}}\nnodes:\n{nodes}", BUILT_IN)
    assert parsed.program is not None, parsed.diagnostics[:3]
    states = parsed.program.root.states
    assert [states[name].label.remaining for name in ("n0", "n1", f"n{count}")] == [count + 1, count, 1]
    assert time.perf_counter() - begun < 30


@pytest.mark.parametrize(
    "hostile", ["nodes: {}", "metadata: 5", "nodes: 5\nmetadata: {}", "nodes: {a: 5}", "nodes: {a: [1]}", "5", "null", "nodes: {'': {}}", "\x00"]
)
def test_no_text_makes_the_reader_raise(hostile):
    """Whatever stands where: findings, never an exception."""
    parsed = parse_flow(hostile, BUILT_IN)
    assert parsed.program is None
    assert parsed.diagnostics
