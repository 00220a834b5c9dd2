"""What a workflow misspells, contradicts or has in vain is told, with its place, and the JSON Schema agrees."""

import json
from pathlib import Path

import jsonschema_rs
import pytest
from ruamel.yaml import YAML
from workflowplay import Player

from flowrunner.kinds import BUILT_IN, KINDS
from flowrunner.workflow.fields import NOT_IN_WORKFLOWS
from flowrunner.workflow.parse import LOWERS, parse_workflow
from flowrunner.workflow.schema import workflow_schema
from flowrunner.workflow.testcase import parse_testcase

CASES = YAML(typ="safe").load((Path(__file__).parents[1] / "cases" / "workflow" / "findings.yaml").read_text(encoding="utf-8"))
SAY = {
    "type": "command", "config": {"command": "echo", "args": ["{{who}}", "{{tone}}"]}, "version": 3,
    "parameters": [{"name": "who", "type": "string", "required": True}, {"name": "n", "type": "number"}],
}  # fmt: skip


def workflow_of(case):
    return case.get("workflow") or {"steps": {"first": {"type": "merge"}, "s": case["step"]}}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["about"])
def test_findings(case):
    """Severity, code and place of every finding, with a remedy; what was accepted before is told of, and runs on."""
    text = json.dumps(workflow_of(case))
    parsed = parse_workflow(text, BUILT_IN, {"say": SAY})
    below = "" if "workflow" in case else "/steps/s"
    assert [f"{one.severity} {one.code} {one.pointer.removeprefix(below)}" for one in parsed.diagnostics] == case.get("finds", [])
    assert all(one.hint and one.line for one in parsed.diagnostics)
    assert case.get("says", "") in " ".join(f"{one.message} {one.hint}" for one in parsed.diagnostics)
    assert (parsed.program is None) == any(one.severity == "ERROR" for one in parsed.diagnostics)
    assert (parse_workflow(text, BUILT_IN, {"say": SAY}, kept=True).program is None) == case.get("hard", False)


def test_a_step_with_an_empty_list_is_repeated_itself():
    """Its own list, or its loop's: an editor writes both for a step without steps within."""
    for step in ({"loopOver": [1, 2], "children": []}, {"loop": {"type": "count", "count": 2, "children": []}, "children": []}):
        played = Player({"steps": {"s": {"type": "transform", "config": {"script": "1"}, **step}}})
        played.answer("s", 1)
        played.answer("s", 1)
        assert played.outcome.status == "SUCCEEDED"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["about"])
def test_editors_are_told_too(case):
    """The schema refuses what it can see, and nothing that the reader takes."""
    valid = jsonschema_rs.validator_for(workflow_schema(KINDS)).is_valid(workflow_of(case))
    refused = any(found.startswith("ERROR") for found in case.get("finds", []))
    assert valid is not case.get("editor", False)
    assert valid or refused


def test_the_kinds_that_are_offered_are_those_that_are_taken():
    """By the schema; each of the others has a remedy."""
    offered = set(workflow_schema(KINDS)["$defs"]["step"]["properties"]["type"]["enum"])
    assert {name for name, info in BUILT_IN.items() if info.name in NOT_IN_WORKFLOWS}.isdisjoint(offered)
    for name in offered - {"action-template"}:
        found = parse_workflow(json.dumps({"steps": {"s": {"type": name}}}), BUILT_IN).diagnostics
        assert "UNKNOWN_KIND" not in {one.code for one in found}, name
    assert {info.name for info in KINDS if info.structural} - LOWERS.keys() <= NOT_IN_WORKFLOWS.keys()


@pytest.mark.parametrize(
    ("case", "pointer"),
    [
        ({"environment": "prod", "workflowId": "w"}, "/environment"),
        ({"workflowDef": {"environment": "prod", "steps": {"a": {"type": "merge"}}}}, "/workflowDef/environment"),
    ],
)
def test_a_test_case_names_no_environment(case, pointer):
    """Nor does a workflow within it."""
    text = json.dumps({"testId": "t", **case})
    [found] = parse_testcase(text, BUILT_IN).diagnostics
    assert (found.severity, found.pointer) == ("ERROR", pointer)
    assert parse_testcase(text, BUILT_IN, kept=True).program is not None


@pytest.mark.parametrize(
    ("case", "finds"),
    [
        ({"http": {"url": "http://h", "hedaers": {}}}, ["ERROR UNKNOWN_FIELD /http/hedaers"]),
        ({"command": {"cmd": "echo", "arg": []}}, ["ERROR UNKNOWN_FIELD /command/arg"]),
        ({"setupHooks": [{"http": {"url": "http://h", "hedaers": {}}}], "workflowId": "w"}, ["ERROR UNKNOWN_FIELD /setupHooks/0/http/hedaers"]),
        ({"http": {"url": "http://h"}, "retry": {"maxAttempts": 2}, "retryCount": 3}, ["ERROR CONTRADICTING_FIELDS /retryCount"]),
        ({"steps": [{"id": "a", "type": "merge", "children": [{"id": "b", "type": "merge"}]}]}, ["ERROR NEVER_RUNS /steps/0/children"]),
        ({"steps": [{"id": "a", "type": "merge"}], "retryCount": 3}, ["WARNING IGNORED_FIELD /retryCount"]),
        ({"workflowDef": {"timeout": 3, "steps": {"a": {"type": "merge"}}}}, ["WARNING IGNORED_FIELD /workflowDef/timeout"]),
    ],
)
def test_test_cases_are_told_the_same(case, finds):
    """Of their request, their command, their hooks and their steps."""
    found = parse_testcase(json.dumps({"testId": "t", **case}), BUILT_IN).diagnostics
    assert [f"{one.severity} {one.code} {one.pointer}" for one in found] == finds
    assert all(one.hint for one in found)


def test_a_step_of_a_test_takes_data_of_a_hook():
    """Hooks have ended before the test."""
    mapper = {"sourceStep": "setup-1", "sourcePath": "stdout", "targetParam": "body"}
    case = {
        "testId": "t",
        "setupHooks": [{"command": {"cmd": "echo"}}],
        "steps": [{"id": "a", "type": "http", "config": {"url": "http://h"}, "dataMappers": [mapper]}],
    }
    assert not parse_testcase(json.dumps(case), BUILT_IN).diagnostics


def test_many_data_mappers_are_read_quickly():
    """A chain of thousands of steps, each with data of the first."""
    mapper = {"sourceStep": "s0", "sourcePath": "a", "targetParam": "body"}
    steps = {"s0": {"type": "merge"}}
    for number in range(1, 4000):
        steps[f"s{number}"] = {"type": "http", "config": {"url": "http://h"}, "dependsOn": [f"s{number - 1}"], "dataMappers": [mapper]}
    assert not parse_workflow(json.dumps({"steps": steps}), BUILT_IN).diagnostics
