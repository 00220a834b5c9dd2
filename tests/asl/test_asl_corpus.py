"""Definitions recorded against AWS, and those of other validators. Skipped where the corpus is not at hand."""

import json
import os
import re
from pathlib import Path

import pytest

from flowrunner.asl.parse import parse_definition, parse_state
from flowrunner.reading.findings import format_aws

CORPUS = Path(os.environ.get("FLOWRUNNER_CONFORMANCE") or Path(__file__).parents[3] / "shared" / "conformance")
pytestmark = pytest.mark.skipif(not (CORPUS / "open").is_dir(), reason=f"no conformance corpus at {CORPUS}; set FLOWRUNNER_CONFORMANCE")

_TOKENS = {"{{partition}}": "aws", "{{region}}": "us-east-1", "{{account}}": "123456789012"}
_ACTIVITY = "arn:aws:states:us-east-1:123456789012:activity:made-before"

# Where the other validators and AWS (or what AWS documents) disagree; AWS wins.
DISAGREE = {
    "asl-validator-invalid-json-surround-syntax-extra-spaces": "blanks within {% %} are allowed",
    "asl-validator-invalid-jsonata-surround-syntax-no-spaces": "blanks within {% %} are not required",
    "asl-validator-invalid-math-add": "the types of an intrinsic's arguments are checked when it is called",
    "asl-validator-valid-assign.asl": "AWS refuses a variable called top-level",
    "asl-validator-valid-task-credentials": "AWS requires RoleArn",
    "asl-validator-valid-task-intrisic-function": "Resource is an object of CloudFormation, not yet a text",
    "statelint-task-with-credentials": "AWS requires RoleArn",
}


def _filled(text):
    for token, value in _TOKENS.items():
        text = text.replace(token, value)
    text = re.sub(r"\{\{ref:\d+:activityArn\}\}", _ACTIVITY, text)
    return re.sub(r"\{\{[^}]*\}\}", "X1", text)


def _text(definition):
    if isinstance(definition, dict):
        definition = definition.get("$json", definition)
    return _filled(definition if isinstance(definition, str) else json.dumps(definition))


def _cases(kind):
    for path in sorted(CORPUS.glob("open/*/*.json")):
        case = json.loads(path.read_text())
        if case["kind"] == kind:
            yield f"{path.parent.name}/{path.stem}", case


def _steps(operations):
    for name, case in _cases("api"):
        told = case.get("missing_keys", {}).get("exception", {}).get("exception_value", "").partition("operation: ")[2]
        for step in case["steps"]:
            if told and "expect_error" not in step:  # the corpus could not link this answer to its call
                step["expect_error"] = {"code": "InvalidDefinition", "message": told}
            if not step.get("service") and step.get("op") in operations and "definition" in step.get("params", {}):
                yield name, step, _text(step["params"]["definition"])


def _parse(step, text):
    try:
        whole = "States" in json.loads(text)
    except (ValueError, TypeError):
        whole = True
    if step["op"] == "TestState" and not whole:
        return parse_state(text)
    return parse_definition(text, kind=step["params"].get("type", "STANDARD"))


def test_every_definition_that_aws_executed_is_valid():
    """What AWS ran has no error."""
    refused = {}
    for name, case in _cases("execution"):
        parsed = parse_definition(_text(case.get("definition") or case["definition_text"]), kind=case.get("type", "STANDARD"))
        if parsed.program is None:
            refused[name] = [str(diagnostic) for diagnostic in parsed.diagnostics]
    assert refused == {}


def test_what_aws_accepted_and_refused_in_api_calls():
    """Accepted definitions are valid; refusals of the definition itself have AWS's very words."""
    wrong = {}
    for name, step, text in _steps({"CreateStateMachine", "UpdateStateMachine", "TestState"}):
        parsed, error = _parse(step, text), step.get("expect_error", {})
        if error.get("message", "").startswith("Invalid State Machine Definition:"):
            if format_aws(parsed.diagnostics) != _filled(error["message"]):
                wrong[name] = format_aws(parsed.diagnostics)
        elif error.get("code") != "InvalidDefinition" and parsed.program is None:
            wrong[name] = format_aws(parsed.diagnostics)
    assert wrong == {}


def test_validate_state_machine_definition_has_the_recorded_diagnostics():
    """Code, place, message and number of the errors."""
    for name, step, text in _steps({"ValidateStateMachineDefinition"}):
        found = [
            {"code": each.code, "message": each.message, "severity": each.severity, **({"location": each.pointer} if each.pointer else {})}
            for each in _parse(step, text).diagnostics
            if each.severity == "ERROR"
        ]
        assert found == step["expect"]["diagnostics"], name


def test_variable_references_as_described_by_aws():
    """DescribeStateMachine lists the variables that each state refers to."""
    for name, case in _cases("api"):
        program = None
        for step in case["steps"]:
            if step.get("op") == "CreateStateMachine":
                program = parse_definition(_text(step["params"]["definition"])).program
            wanted = step.get("expect", {}).get("variableReferences") if isinstance(step.get("expect"), dict) else None
            if wanted is not None and step["op"].startswith("Describe"):
                assert program is not None, name
                assert {state: list(names) for state, names in program.variable_references.items()} == wanted, name


def test_other_validators_agree_but_for_the_named_exceptions():
    """Valid or not, as asl-validator and statelint have it."""
    differ = set()
    for path in sorted(CORPUS.glob("validation/open/*.json")):
        case = json.loads(path.read_text())
        parsed = parse_definition(case.get("definition_text") or json.dumps(case["definition"]))
        if (parsed.program is not None) != case["expect"]["valid"]:
            differ.add(path.stem)
    assert differ <= set(DISAGREE)
