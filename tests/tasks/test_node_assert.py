from __future__ import annotations

import json

import pytest

from flowrunner.kinds.checks import COMPARISONS
from flowrunner.tasks.nodes.assertions import MISSING, at, check, same
from flowrunner.tasks.nodes.kind import NodeFailed

# type, actual, expected, whether it holds
CASES = [
    ("equals", 200, 200, True), ("equals", "200", 200, True), ("equals", 200, "200", True), ("equals", 1, True, False), ("equals", "true", True, False), ("equals", True, "true", False),
    ("equals", 1.0, 1, True), ("equals", {"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}, True), ("equals", [1, 2], [2, 1], False), ("equals", None, None, True),
    ("equals", [True], [1], False), ("equals", "1e999", 1, False),
    ("notEquals", "a", "b", True), ("notEquals", "5", 5, False),
    ("contains", "hello", "ell", True), ("contains", [1, "2"], 2, False), ("contains", [1], "1", False), ("contains", [1.0, [2]], 1, True), ("contains", [[2]], [2], True), ("contains", "n is 5", 5, True), ("contains", {"a": 1}, "a", True), ("contains", {"a": 1}, 1, False), ("contains", 5, 5, False),
    ("notContains", "hello", "x", True), ("notContains", [1], 1, False),
    ("regex", "abc-12", r"^\w+-\d{2}$", True), ("regex", "abc", r"^\d", False), ("regex", 42, "4", True), ("regex", None, ".*", False),
    ("exists", 0, None, True), ("exists", None, None, False), ("exists", None, False, True),
    ("notExists", None, None, True), ("notExists", "", None, False),
    ("greaterThan", 2, 1, True), ("greaterThan", "10", 9, True), ("greaterThan", "b", "a", True), ("greaterThan", 1, 1, False), ("greaterThan", None, 1, False),
    ("lessThan", 1, 2, True), ("lessThan", "10", "9", False), ("gte", 1, 1, True), ("gte", 0.5, 1, False), ("lte", 1, 1, True), ("lte", 2, 1, False),
    ("arrayLength", [1, 2], 2, True), ("arrayLength", [1, 2], "2", True), ("arrayLength", "ab", 2, False), ("arrayLength", [], 0, True),
    ("type", "a", "string", True), ("type", 1, "number", True), ("type", 1, "integer", True), ("type", 1.5, "integer", False), ("type", True, "number", False),
    ("type", [], "array", True), ("type", {}, "object", True), ("type", None, "null", True),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "actual", "expected", "holds"), CASES)
def test_comparisons(kind, actual, expected, holds):
    """Thirteen kinds, each true and false."""
    checked = check({"type": kind, "actual": actual, "expected": expected}, None, "assertions[0]")
    assert checked.passed is holds, checked
    assert checked.message


def test_all_thirteen_are_tried():
    """The cases above name each kind, both ways."""
    for holds in (True, False):
        assert {kind for kind, _, _, one in CASES if one is holds} == set(COMPARISONS)
    assert len(COMPARISONS) == 13


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.b[1].c", 3), ("$.a.b[1].c", 3), ("$", {"a": {"b": [1, {"c": 3}], "x y": 4, "d.e": 5}}), ("a.b.1.c", 3), ("a.b[-1].c", 3), ('a["x y"]', 4), ("a['d.e']", 5),
        ("a.none", MISSING), ("a.b[9]", MISSING), ("a.b.c", MISSING),
    ],
)  # fmt: skip
def test_paths(path, found):
    """Names, indexes, names in quotes; what is not there is missing."""
    value = {"a": {"b": [1, {"c": 3}], "x y": 4, "d.e": 5}}
    assert at(value, path) == found if found is not MISSING else at(value, path) is MISSING


@pytest.mark.parametrize("path", ["a..b", "a[", "a[x]", "[]", "a.b]"])
def test_a_path_that_cannot_be_read(path):
    """Is an error that says where."""
    with pytest.raises(NodeFailed, match="at character"):
        at({"a": {"b": 1}}, path)


def test_true_is_not_one():
    """As JSON has it."""
    assert not same({"a": True}, {"a": 1})
    assert same([1, None], [1.0, None])


async def test_a_node_reports_each_assertion(node):
    """With what was there, what was expected, and whether it holds."""
    assertions = [
        {"type": "equals", "actual": "200", "expected": 200, "message": "status"},
        {"type": "exists", "path": "user.name"},
        {"type": "arrayLength", "path": "tags", "expected": 2},
    ]
    outcome = await node("assert", {"assertions": assertions}, input={"user": {"name": "ada"}, "tags": [1, 2]})
    made = json.loads(outcome.output)
    assert made["action"] == "success"
    assert (made["output"]["passed"], made["output"]["total"], made["output"]["failed"]) == (True, 3, 0)
    assert made["output"]["assertions"][0] == {"type": "equals", "actual": "200", "expected": 200, "passed": True, "message": "status"}
    assert made["output"]["assertions"][1]["actual"] == "ada"


async def test_a_failed_assertion_fails_the_node(node):
    """The cause says what was wrong, and holds the whole report."""
    assertions = [
        {"type": "equals", "actual": 404, "expected": 200, "message": "status must be 200"},
        {"type": "exists", "actual": 1},
        {"type": "type", "actual": 1, "expected": "string"},
    ]
    outcome = await node("assert", {"assertions": assertions})
    first, _, rest = outcome.cause.partition("\n")
    assert (outcome.error, first) == ("FlowRunner.AssertionFailed", "status must be 200 (and 1 more)")
    report = json.loads(rest)
    assert [one["passed"] for one in report["assertions"]] == [False, True, False]
    stopped = await node("assert", {"assertions": assertions, "stopOnFirst": True})
    assert json.loads(stopped.cause.partition("\n")[2])["total"] == 1


@pytest.mark.parametrize(
    ("assertions", "says"),
    [
        (None, "assertions"), ([], "assertions"), ("x", "assertions"), ([7], "assertions[0]"), ([{"type": "near"}], "equals"), ([{"actual": 1}], "type"),
        ([{"type": "regex", "actual": "a", "expected": "(?=a)"}], "RE2"), ([{"type": "regex", "actual": "a", "expected": "a" * 2001}], "2000"),
        ([{"type": "type", "actual": 1, "expected": "float"}], "integer"), ([{"type": "gte", "actual": 1, "expected": {}}], "number"),
        ([{"type": "arrayLength", "actual": [], "expected": None}], "number"), ([{"type": "exists", "path": "a["}], "character"),
    ],
)  # fmt: skip
async def test_assertions_that_cannot_be_evaluated(node, assertions, says):
    """Are named with their place."""
    outcome = await node("assert", {"assertions": assertions} if assertions is not None else {})
    assert outcome.error == "FlowRunner.InvalidParameters"
    assert says in outcome.cause


async def test_a_hostile_pattern_takes_no_time(node):
    """RE2 has no catastrophic patterns."""
    outcome = await node("assert", {"assertions": [{"type": "regex", "actual": "a" * 100_000 + "b", "expected": "(a+)+$"}]})
    assert outcome.error == "FlowRunner.AssertionFailed"
