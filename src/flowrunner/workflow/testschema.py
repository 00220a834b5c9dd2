"""The formats of test cases and test suites as JSON Schemas, made of the tables that the reader checks with: for editors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flowrunner.jsonvalue import JSONObject
from flowrunner.kinds.info import KindInfo
from flowrunner.workflow.checks import TYPES
from flowrunner.workflow.fields import ASSERTION, HOOK, RETRY, SUITE, TESTCASE
from flowrunner.workflow.schema import DIALECT, object_schema, workflow_schema
from flowrunner.workflow.testcase import STATUSES
from flowrunner.workflow.testparts import KINDS_OF_TESTS, TYPES_OF_TESTS

_ASSERTIONS: JSONObject = {"type": "array", "items": {"$ref": "#/$defs/assertion"}}
_HOOKS: JSONObject = {"type": "array", "items": {"$ref": "#/$defs/hook"}}


def testcase_schema(kinds: Iterable[KindInfo]) -> JSONObject:
    """The schema of a file with one test case."""
    return {
        "$schema": DIALECT,
        "title": "FlowRunner test case",
        "description": "A test case: one request, one command, steps, or a workflow, with what is asserted of it.",
        **_case(),
        "$defs": _defined(kinds),
    }


def suite_schema(kinds: Iterable[KindInfo]) -> JSONObject:
    """The schema of a file with several."""
    tests = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/testCase"}}
    return {
        "$schema": DIALECT,
        "title": "FlowRunner test suite",
        "description": "Test cases that are run one after the other, with variables for all of them.",
        **object_schema(SUITE, tests=tests),
        "required": ["tests"],
        "$defs": {**_defined(kinds), "testCase": _case()},
    }


def _case() -> JSONObject:
    made = object_schema(
        TESTCASE,
        type={"enum": list(TYPES_OF_TESTS)},
        status={"enum": list(STATUSES)},
        priority={"type": "string", "examples": ["P0", "P1", "P2", "P3"]},
        retry={"$ref": "#/$defs/retry"},
        http={"type": "object", "properties": {"url": {"type": "string"}, "method": {"type": "string"}, "assertions": _ASSERTIONS}},
        command={"type": "object"},
        steps={"$ref": "#/$defs/steps"},
        workflowDef={"$ref": "#/$defs/workflow"},
        assertions=_ASSERTIONS,
        setupHooks=_HOOKS,
        teardownHooks=_HOOKS,
    )
    return {**made, "required": ["testId"], "oneOf": [{"required": [name]} for name in KINDS_OF_TESTS]}


def _defined(kinds: Iterable[KindInfo]) -> JSONObject:
    whole = workflow_schema(kinds)
    workflow: JSONObject = {name: part for name, part in whole.items() if name not in ("$schema", "$defs", "title")}
    shared: Mapping[str, JSONObject] = whole["$defs"]
    return {
        **shared,
        "retry": object_schema(RETRY, backoff={"enum": ["fixed", "linear", "exponential"]}),
        "workflow": workflow,
        "assertion": {**object_schema(ASSERTION, type={"enum": list(TYPES)}), "required": ["type"]},
        "hook": object_schema(HOOK, type={"enum": ["http", "command"]}),
    }
