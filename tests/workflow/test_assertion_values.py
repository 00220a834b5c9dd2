"""The values that assertions check: what leads nowhere is null there, in workflows, in test cases, and in what they are converted to."""

import pytest
from workflowplay import Player

from flowrunner.tasks.nodes.assertions import check
from flowrunner.workflow.testcase import parse_testcase

HOLDS = {"exists": False, "notExists": True}


def checks(path):
    return [{"type": name, "actual": path} for name in HOLDS]


@pytest.mark.parametrize(
    "path", ["{{nope.id}}", "{{known.no}}", "{{known.inner.no[0]}}", "{{$prev.body.no}}", "{{nodes.before.output.no}}", "{{nodes.no.output}}"]
)
@pytest.mark.parametrize("member", ["config", "input"])
def test_what_leads_nowhere_is_null(path, member):
    """Whether the checks are config or input."""
    before = {"type": "command", "config": {"cmd": "x"}}
    step = {"type": "assert", "dependsOn": ["before"], member: {"assertions": checks(path)}}
    played = Player({"variables": {"known": {"inner": {}}}, "steps": {"before": before, "a": step}})
    played.answer("before", {"body": {}})
    told = [check(assertion, {}, "it") for assertion in played.params("a")["assertions"]]
    assert {one.type: one.passed for one in told} == HOLDS
    assert [one.actual for one in told] == [None, None]


def test_what_is_there_keeps_its_type():
    """And what stands beside `actual`, or around the expression, stays as it was written."""
    assertions = [{"type": "equals", "actual": "{{n}}", "expected": "{{no}}"}, {"type": "equals", "actual": "x{{no}}", "expected": None, "message": "{{no}}"}]
    played = Player({"variables": {"n": {"a": [1]}}, "steps": {"a": {"type": "assert", "config": {"assertions": assertions}}}})
    assert played.params("a")["assertions"] == [{**assertions[0], "actual": {"a": [1]}}, assertions[1]]


def test_a_request_that_checks_its_answer():
    """Its assertions are of the same language."""
    config = {"url": "http://h", "assertions": checks("{{no}}"), "body": {"assertions": [{"actual": "{{no}}"}]}}
    played = Player({"steps": {"a": {"type": "http", "config": config}}})
    assert played.params("a") == {**config, "assertions": [{"type": name, "actual": None} for name in HOLDS]}


@pytest.mark.parametrize(
    ("step", "case"),
    [("s", {"steps": [{"id": "s", "type": "command", "config": {"cmd": "x"}}]}), ("test", {"http": {"url": "http://h"}}), ("test", {"command": {"cmd": "x"}})],
)
def test_assertions_of_a_test_case(step, case):
    """`$prev` is the last step."""
    played = Player({"testId": "t", **case, "assertions": checks("{{$prev.response.body.nope}}")}, parse=parse_testcase)
    played.answer(step, {"response": {"body": {}}})
    assert [one["actual"] for one in played.params("assertions")["assertions"]][:2] == [None, None]
