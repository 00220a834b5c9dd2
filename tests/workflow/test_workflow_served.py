"""Workflows and test cases on a whole server: scripts, assertions, a test case that a workflow runs, and a workflow that a test case runs."""

import json
import os
from contextlib import AsyncExitStack

import pytest

from flowrunner.clock import SystemClock
from flowrunner.config import Settings
from flowrunner.definitions.entries import About
from flowrunner.definitions.service import Definitions
from flowrunner.formats import reader
from flowrunner.kinds import BUILT_IN
from flowrunner.wiring import build

ACCOUNT = "000000000000"
DOUBLE = {
    "name": "double",
    "variables": {"n": 1},
    "steps": {"s": {"type": "script", "config": {"script": "return { twice: variables.n * 2 }"}, "output": {"twice": "twice"}}},
}
CHECKED = {
    "testId": "checked",
    "name": "Doubled",
    "workflowId": "double",
    "variables": {"n": 4},
    "assertions": [{"type": "json_path", "path": "variables.twice", "equals": 8}],
}
LETTERS = {
    "name": "letters", "variables": {"words": ["to", "be", "or"]},
    "steps": {
        "each": {
            "loop": {"type": "forEach", "source": "words", "itemVar": "word", "parallel": True, "children": [
                {"id": "count", "type": "script", "config": {"script": "return { letters: args.length }", "args": "{{word}}"}},
                {"id": "check", "type": "assert", "config": {"assertions": [{"type": "equals", "actual": "{{$prev.letters}}", "expected": 2, "message": "{{word}}"}]}},
            ]},
        },
    },
}  # fmt: skip


@pytest.fixture
async def server():
    async with AsyncExitStack() as stack:
        application = build(Settings(store="memory:", dev=True))
        await application.start(stack)
        yield application


async def ran(server, definition, *, form="workflow", name=None, given=None):
    """The output of an execution of a new definition."""
    kept = server.authoring.workflows if form == "workflow" else cases_of(server)
    made = await kept.create(ACCOUNT, json.dumps(definition), by="ada", about=About(), name=name)
    head = await server.engine.start_execution(await kept.machine(ACCOUNT, made.definition.id), input=json.dumps({"variables": given or {}}))
    ended = await server.feed.ended(head.id)
    return json.loads(ended.output) if ended.status == "SUCCEEDED" else (ended.error, ended.cause)


def cases_of(server):
    return Definitions(server.store, form="test", parse=reader("test", BUILT_IN), clock=SystemClock(), randomness=os.urandom)


async def test_a_loop_whose_iterations_run_at_once(server):
    """Each checks what it has counted itself."""
    output = await ran(server, LETTERS)
    assert [one["count"] for one in output["outputs"]["each"]["results"]] == [{"letters": 2}] * 3


async def test_a_test_case_runs_a_workflow_and_a_workflow_runs_the_test_case(server):
    """All three ways in which they meet."""
    await ran(server, DOUBLE, name="double")
    result = await ran(server, CHECKED, form="test", name="checked")
    assert (result["status"], result["error"], result["assertions"][0]["passed"]) == ("passed", None, True)
    step = {"type": "test-case", "config": {"testId": "checked", "variables": {"n": "{{n}}"}}}
    passed = await ran(server, {"name": "around", "variables": {"n": 4}, "steps": {"t": step}})
    assert passed["outputs"]["t"]["status"] == "passed"
    error, cause = await ran(server, {"name": "other", "variables": {"n": 5}, "steps": {"t": step}})
    assert error == "FlowRunner.AssertionFailed"
    assert cause.startswith("The test case 'checked' ended as failed: ")
    assert "10" in cause
    error, cause = await ran(
        server, {"testId": "own", "name": "own", "workflowDef": DOUBLE, "assertions": [{"type": "json_path", "path": "twice", "equals": 3}]}, form="test"
    )
    embedded = json.loads(cause.partition("\n")[2])
    assert error == "FlowRunner.AssertionFailed"
    assert (embedded["status"], embedded["assertions"][0]["actual"], embedded["error"]["stage"]) == ("failed", 2, "assertions")


async def test_a_test_case_that_is_not_there(server):
    """The step fails, and says why."""
    error, cause = await ran(server, {"name": "x", "steps": {"t": {"type": "test-case", "config": {"testId": "nobody"}}}})
    assert (error, cause) == ("States.TaskFailed", "There is no test case 'nobody'.")
