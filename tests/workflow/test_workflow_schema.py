"""The JSON Schema of workflows: published as it is made, and of one mind with the reader."""

import json
from pathlib import Path

import jsonschema_rs
import pytest

from flowrunner.kinds import BUILT_IN, KINDS
from flowrunner.workflow.parse import parse_workflow
from flowrunner.workflow.schema import workflow_schema

ROOT = Path(__file__).parents[2]
VALID = [
    json.loads((ROOT / "examples" / "two_step_workflow.json").read_text()),
    {"steps": [{"id": "a", "type": "delay", "config": {"duration": 1}, "x-note": 1}]},
    {"steps": {"l": {"loop": {"type": "count", "count": 2, "children": {"s": {"type": "merge"}}}}}},
]
INVALID = [
    {},
    {"steps": 1},
    {"steps": {"a": {"typ": "delay"}}},
    {"steps": [{"type": "delay"}]},
    {"steps": {"a": {"type": "merge", "dependsOn": "b"}}},
    {"nodes": {}},
]


@pytest.fixture(scope="module")
def validator():
    return jsonschema_rs.validator_for(workflow_schema(KINDS))


def test_it_is_published():
    """`flowrunner schema workflow` is what the documentation has."""
    assert json.loads((ROOT / "docs" / "reference" / "workflow.schema.json").read_text()) == json.loads(json.dumps(workflow_schema(KINDS)))


@pytest.mark.parametrize("definition", VALID)
def test_what_is_sound(validator, definition):
    assert validator.is_valid(definition)
    assert parse_workflow(json.dumps(definition), BUILT_IN).program is not None


@pytest.mark.parametrize("definition", INVALID)
def test_what_is_not(validator, definition):
    assert not validator.is_valid(definition)
    assert parse_workflow(json.dumps(definition), BUILT_IN).program is None
