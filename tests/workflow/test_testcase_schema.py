"""The JSON Schemas of test cases and suites: published as they are made, and of one mind with the reader."""

import json
from pathlib import Path

import jsonschema_rs
import pytest

from flowrunner.kinds import BUILT_IN, KINDS
from flowrunner.workflow import testschema
from flowrunner.workflow.testcase import parse_testcase
from flowrunner.workflow.testsuite import parse_suite

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "user_test_case.json"
COMMAND = {"testId": "c", "command": {"cmd": "echo"}}
SOUND = [
    json.loads(EXAMPLE.read_text()),
    COMMAND,
    {
        **COMMAND,
        "assertions": [{"type": "exit_code", "expected": 1}, {"type": "regex", "path": "stdout", "expected": "^a"}],
        "retry": {"maxAttempts": 2},
        "x-note": 1,
    },
    {"testId": "s", "steps": [{"id": "a", "type": "delay", "config": {"duration": 1}}]},
    {"testId": "w", "workflowDef": {"steps": {"a": {"type": "merge"}}}},
    {"testId": "k", "workflowId": "other", "variables": {"a": 1}},
]
UNSOUND = [
    {"testId": "n"},
    {**COMMAND, "workflowId": "w"},
    {**COMMAND, "asertions": []},
    {**COMMAND, "assertions": [{"type": "like"}]},
    {**COMMAND, "setupHooks": [{"type": "mail"}]},
    {"testId": "w", "workflowDef": {"stepz": {}}},
    {"testId": 7, "command": {"cmd": "echo"}},
]


@pytest.mark.parametrize(("name", "make"), [("test-case", testschema.testcase_schema), ("test-suite", testschema.suite_schema)])
def test_they_are_published(name, make):
    """What `flowrunner schema` prints is what the documentation has."""
    assert json.loads((ROOT / "docs" / "reference" / f"{name}.schema.json").read_text()) == json.loads(json.dumps(make(KINDS)))


def test_the_example_names_its_schema():
    """Editors complete and check by it."""
    assert (EXAMPLE.parent / json.loads(EXAMPLE.read_text())["$schema"]).resolve() == ROOT / "docs" / "reference" / "test-case.schema.json"


@pytest.mark.parametrize("definition", SOUND)
def test_what_is_sound(definition):
    """For the schemas as for the readers, alone and in a suite."""
    assert jsonschema_rs.validator_for(testschema.testcase_schema(KINDS)).is_valid(definition)
    assert jsonschema_rs.validator_for(testschema.suite_schema(KINDS)).is_valid({"tests": [definition]})
    assert parse_testcase(json.dumps(definition), BUILT_IN).program is not None
    assert parse_suite(json.dumps({"tests": [definition]}), BUILT_IN).program is not None


@pytest.mark.parametrize("definition", UNSOUND)
def test_what_is_not(definition):
    """As above."""
    assert not jsonschema_rs.validator_for(testschema.testcase_schema(KINDS)).is_valid(definition)
    assert not jsonschema_rs.validator_for(testschema.suite_schema(KINDS)).is_valid({"tests": [definition]})
    assert parse_testcase(json.dumps(definition), BUILT_IN).program is None
    assert parse_suite(json.dumps({"tests": [definition]}), BUILT_IN).program is None
