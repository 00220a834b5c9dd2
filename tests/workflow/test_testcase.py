"""Test cases played through the pure machine: what they do, what is asserted, hooks, verdicts."""

import json

import pytest
from workflowplay import Player

from flowrunner.kinds import BUILT_IN
from flowrunner.workflow.testcase import parse_testcase

ANSWER = {"status": 200, "id": 7, "response": {"statusCode": 200, "headers": {}, "body": {"id": 7, "tags": ["a"]}, "bodyRaw": ""}}


@pytest.fixture(params=[False, True], ids=["warm", "restored"])
def play(request):
    return lambda definition, variables=None, **more: Player(definition, variables, restored=request.param, parse=parse_testcase, **more)


def request(**more):
    return {"testId": "t1", "name": "Get user", "type": "http", "http": {"url": "{{base}}/u"}, "variables": {"base": "http://h"}, **more}


def verdict(played):
    """The result: the output, or what stands behind the first line of the cause."""
    if played.outcome.status == "SUCCEEDED":
        return played.output
    result = json.loads(played.outcome.cause.partition("\n")[2])
    assert (played.outcome.error == "FlowRunner.AssertionFailed") == (result["status"] == "failed")
    return result


def failed_report(*messages):
    report = {
        "passed": False,
        "total": len(messages),
        "failed": len(messages),
        "assertions": [{"type": "equals", "passed": False, "message": one} for one in messages],
    }
    return f"{messages[0]}\n{json.dumps(report)}"


def test_a_request(play):
    """What is asserted is evaluated when it has been answered; the result says what held."""
    played = play(
        request(assertions=[{"type": "status_code", "expected": 200}, {"type": "json_path", "path": "$.id", "expected": "{{wanted}}"}]), {"wanted": 7}
    )
    assert played.params("test") == {"url": "http://h/u"}
    assert (played.called("test")["language"], played.called("test")["asserted"]) == ("test", {"statuses": [200], "retries": 0})
    played.answer("test", ANSWER)
    assert played.params("assertions")["assertions"] == [
        {"actual": ANSWER, "type": "equals", "path": "status", "expected": 200, "message": "the status is 200; asserted: 200"},
        {"actual": ANSWER, "type": "equals", "path": "response.body.id", "expected": 7},
    ]
    played.answer("assertions", {"assertions": [{"type": "equals", "passed": True}]})
    assert played.output == {
        "testId": "t1", "name": "Get user", "status": "passed", "error": None, "assertions": [{"type": "equals", "passed": True}],
        "variables": {"base": "http://h", "wanted": 7}, "outputs": {"test": ANSWER}, "duration": 20,
    }  # fmt: skip


def test_secrets_in_what_is_asserted(play):
    """They are resolved in the task that compares."""
    played = play(request(assertions=[{"type": "json_path", "path": "$.id", "expected": "{{secrets.card.number}}"}]))
    played.answer("test", ANSWER)
    assert played.params("assertions")["assertions"][0]["expected"] == "{{resolve:secretsmanager:card:SecretString:number}}"
    (place,) = (
        parse_testcase(json.dumps(request(assertions=[{"type": "equals", "expected": "{{secrets.card}}"}])), BUILT_IN)
        .program.root.states["assertions"]
        .work.secrets
    )
    assert place[0] == ("params", "assertions", 0, "expected")


@pytest.mark.parametrize(
    ("failure", "status", "said", "assertions"),
    [
        (("FlowRunner.AssertionFailed", failed_report("the status is 404")), "failed", "the status is 404", 1),
        (("FlowRunner.HttpStatus", "The server answered 500"), "failed", "The server answered 500", 0),
        (("FlowRunner.HttpFailed", "refused"), "error", "refused", 0),
        (("States.Timeout", None), "error", None, 0),
    ],
)
def test_verdicts(play, failure, status, said, assertions):
    """What is not as asserted has failed; what could not be found out is an error."""
    played = play(request())
    played.answer("test", error=failure[0], cause=failure[1])
    assert (verdict(played)["status"], verdict(played)["error"]["cause"], len(verdict(played)["assertions"])) == (status, said, assertions)
    assert verdict(played)["error"]["stage"] == "test"


def test_a_command(play):
    """Its exit code is a result; without an assertion about it, it has to be 0."""
    played = play({"testId": "c", "command": {"cmd": "echo", "args": ["x"]}, "assertions": [{"type": "stdout_contains", "expected": "x"}]})
    assert played.called("test")["language"] == "test"
    output = {"exitCode": 3, "stdout": "x\n", "stderr": ""}
    played.answer("test", output)
    assert played.params("assertions") == {
        "assertions": [
            {"actual": output, "type": "contains", "path": "stdout", "expected": "x"},
            {"actual": output, "type": "equals", "path": "exitCode", "expected": 0},
        ]
    }
    played.answer("assertions", error="FlowRunner.AssertionFailed", cause=failed_report("exitCode is 3"))
    assert (verdict(played)["status"], verdict(played)["error"]["stage"], verdict(played)["assertions"][0]["message"]) == (
        "failed",
        "assertions",
        "exitCode is 3",
    )


def test_steps_in_order(play):
    """Steps of a list run one after the other; assertions are about the last one."""
    steps = [
        {"id": "make", "type": "http", "config": {"url": "http://h", "method": "POST"}, "output": {"id": "id"}},
        {"id": "pause", "type": "delay", "config": {"duration": 5}},
        {"id": "get", "type": "http", "config": {"url": "http://h/{{id}}"}},
    ]
    checks = [{"type": "status_code", "in": [200, 304]}, {"type": "json_path", "path": "tags[0]"}, {"type": "json_path", "path": "x", "exists": False}]
    played = play({"name": "n", "steps": steps, "assertions": checks})
    assert played.running() == ["make"]
    played.answer("make", ANSWER)
    played.wake()
    assert played.params("get")["url"] == "http://h/7"
    played.answer("get", ANSWER)
    assert played.params("assertions")["assertions"] == [
        {"type": "contains", "actual": [200, 304], "expected": 200, "message": "the status is 200; asserted: one of [200, 304]"},
        {"actual": ANSWER, "type": "exists", "path": "response.body.tags[0]", "expected": None},
        {"actual": ANSWER, "type": "notExists", "path": "response.body.x", "expected": None},
    ]
    played.answer("assertions", {"passed": True, "total": 1, "failed": 0, "assertions": [{"passed": True}]})
    assert (verdict(played)["status"], verdict(played)["assertions"], list(verdict(played)["outputs"])) == (
        "passed",
        [{"passed": True}],
        ["make", "pause", "get"],
    )


def test_assertions_know_the_step_before(play):
    """``$prev`` is the output of the last step, in messages too."""
    check = {"type": "equals", "actual": "{{$prev.words}}", "expected": 6, "message": "six, not {{$prev.words}}"}
    played = play({"steps": [{"id": "count", "type": "transform", "config": {"script": "return 1"}}], "assertions": [check]})
    played.answer("count", {"words": 5})
    assert played.params("assertions")["assertions"] == [{**check, "actual": 5, "message": "six, not 5"}]


def test_an_embedded_workflow(play):
    """Its own variables are below those of the test."""
    embedded = {"variables": {"a": 1, "b": 1}, "steps": {"s": {"type": "command", "config": {"command": "echo", "args": ["{{a}}", "{{b}}"]}}}}
    played = play({"workflowDef": embedded, "variables": {"b": 2}})
    assert played.params("s")["args"] == [1, 2]
    played.answer("s", error="FlowRunner.CommandFailed")
    assert verdict(played)["status"] == "failed"


def test_a_stored_workflow(play):
    """It runs with the variables of the test; those of the environment stay below its own."""
    definition = {"workflowId": "w1", "variables": {"x": 1}}
    played = play(definition, {"y": 2}, environment={"x": 0, "z": 3})
    started = {
        "StateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:workflow/w1",
        "Input": {"variables": {"x": 1, "y": 2}, "environment": {"x": 0, "z": 3}},
    }
    assert played.called("test") == started
    played.answer("test", {"Output": {"variables": {}, "outputs": {}}})
    assert (verdict(played)["status"], verdict(played)["outputs"]["test"]) == ("passed", {"variables": {}, "outputs": {}})
    played = play(definition)
    played.answer("test", error="States.TaskFailed", cause=json.dumps({"Error": "FlowRunner.AssertionFailed", "Cause": failed_report("no")}))
    assert (verdict(played)["status"], verdict(played)["error"]["error"], verdict(played)["error"]["cause"]) == ("failed", "FlowRunner.AssertionFailed", "no")


def hook(url, **more):
    return {"type": "http", "http": {"url": url}, **more}


def test_hooks(play):
    """Before and after, with what they answered as variables."""
    hooks = {"setupHooks": [hook("http://h/login", name="Log in", saveResponse="login")], "teardownHooks": [hook("http://h/out"), hook("http://h/end")]}
    played = play(request(http={"url": "http://h/{{login.id}}"}, **hooks))
    played.answer("setup-1", ANSWER)
    assert played.params("test")["url"] == "http://h/7"
    played.answer("test", ANSWER)
    played.answer("teardown-1", ANSWER)
    played.answer("teardown-2", ANSWER)
    assert (verdict(played)["status"], verdict(played)["variables"]["login"]["id"]) == ("passed", 7)
    assert [note["stepName"] for note in played.notes("StepStarted")] == ["Log in", "Get user", "teardown-1", "teardown-2"]


def test_hooks_after_a_failure(play):
    """Only those that say so run, and the verdict stays that of the test."""
    played = play(request(teardownHooks=[hook("http://h/1"), hook("http://h/2", runOnFailure=True)]))
    played.answer("test", error="FlowRunner.HttpStatus")
    assert played.running() == ["teardown-2"]
    played.answer("teardown-2", error="FlowRunner.HttpFailed")
    assert (verdict(played)["status"], verdict(played)["error"]["stage"]) == ("failed", "test")


@pytest.mark.parametrize(("member", "state"), [("setupHooks", "setup-1"), ("teardownHooks", "teardown-1")])
def test_a_hook_that_fails(play, member, state):
    """Without continueOnError nobody knows whether the test is good."""
    for goes_on, status in ((False, "error"), (True, "passed")):
        played = play(request(**{member: [hook("http://h", continueOnError=goes_on)]}))
        for step in ("test", state) if member == "teardownHooks" else (state, "test"):
            if step in played.running():
                played.answer(step, ANSWER, error="FlowRunner.AssertionFailed" if step == state else None)
        assert verdict(played)["status"] == status


@pytest.mark.parametrize(
    "more",
    [{"disabled": True}, {"status": "inactive"}, {"http": None, "steps": {"a": {"type": "command", "config": {"command": "x"}, "when": False}}, "type": None}],
)
def test_skipped(play, more):
    """A test that is switched off, or all of whose steps are skipped."""
    played = play(request(**more))
    assert verdict(played)["status"] == "skipped"


def test_a_test_case_step(play):
    """In a workflow it is an execution of its own, and fails the step unless it passes."""
    step = {"type": "test-case", "config": {"testId": "t1", "variables": {"x": "{{y}}"}}}
    for status in ("passed", "skipped", "failed", "error"):
        played = Player({"variables": {"y": 1}, "steps": {"a": step, "b": {"type": "command", "config": {"command": "x"}, "dependsOn": ["a"]}}})
        assert played.called("a (test)") == {"StateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:test/t1", "Input": {"variables": {"x": 1}}}
        if status in ("passed", "skipped"):
            played.answer("a (test)", {"Output": {"testId": "t1", "status": status}})
            assert played.running() == ["b"]
            continue
        child = {"Error": "FlowRunner.AssertionFailed" if status == "failed" else "States.Timeout", "Cause": "why\n{}"}
        played.answer("a (test)", error="States.TaskFailed", cause=json.dumps(child))
        assert (played.outcome.error, played.outcome.cause) == ("FlowRunner.AssertionFailed", f"The test case 't1' ended as {status}: why")
    for error, cause in (("StepFunctions.StateMachineDoesNotExistException", "no such"), ("States.TaskFailed", None)):
        played = Player({"steps": {"a": step}})
        played.answer("a (test)", error=error, cause=cause)
        assert (played.outcome.error, played.outcome.cause) == (error, cause)


@pytest.mark.parametrize(
    ("definition", "pointer", "said"),
    [
        (request(type="htp"), "/type", "Did you mean 'http'"), (request(type="command"), "/type", "needs 'command', but has 'http'"), (request(type="workflow"), "/type", "needs 'workflowId'"),
        ({"type": "steps", "workflowId": "w"}, "/type", "needs 'steps', but has 'workflowId'"), (request(status="Inactive"), "/status", "Did you mean 'inactive'"),
        (request(http={"url": "http://h", "assertions": [{"type": "equals", "actual": "{{a b}}", "expected": 1}]}), "/http/assertions/0/actual", "'b' is not expected"),
        (request(assertions=[{"type": "status_code", "expected": "{{a b}}"}]), "/assertions/0/expected", "'b' is not expected"),
        ({"command": {"cmd": "x"}, "assertions": [{"type": "exit_code"}]}, "/assertions/0", "must be an exit code"), (request(http={"url": "http://h", "assertions": 5}), "/http/assertions", "must be a list"),
        ({}, "/", "There is nothing to test"), (request(workflowId="w"), "/workflowId", "exclude each other"), ({"workflowId": "a", "workflowDef": {}}, "/workflowId", "exclude each other"),
        ({"type": "http", "command": {"cmd": "x"}}, "/type", "needs 'http'"), (request(assertions=[{"type": "status_cod"}]), "/assertions/0/type", "Did you mean 'status_code'"),
        (request(assertions=[{"type": "status_code"}]), "/assertions/0", "must be a status"), (request(assertions=[{"type": "json_path"}]), "/assertions/0", "'path' is missing"),
        (request(assertions=[{"type": "json_path", "path": "a", "operator": "like"}]), "/assertions/0/operator", "no comparison"),
        (request(setupHooks=[{"type": "mail"}]), "/setupHooks/0/type", "http or command"), (request(setupHooks=[{"type": "http"}]), "/setupHooks/0", "'http' is missing"),
        (request(http={"url": "{{a b}}"}), "/http/url", "'b' is not expected"), (request(setupHooks=[hook("{{")]), "/setupHooks/0/http/url", "not closed"),
        ({"command": {"args": 5}}, "/command/args", "must be a list"), ({"workflowDef": {"steps": {"a": {"type": "x"}}}}, "/workflowDef/steps/a/type", "no kind of step"),
        ({"command": {"cmd": "x"}, "assertions": [{"type": "equals", "actual": "{{a b}}", "expected": 1}]}, "/assertions/0/actual", "'b' is not expected"), ({"steps": []}, "/steps", "at least one step"),
        (request(timeout="soon"), "/timeout", "units such as"), ({"workflowId": "w", "timeout": "soon"}, "/timeout", "units such as"),
    ],
)  # fmt: skip
def test_what_is_wrong(definition, pointer, said):
    """Each fault has its place."""
    parsed = parse_testcase(json.dumps(definition, indent=1), BUILT_IN)
    assert parsed.program is None
    found = [one for one in parsed.diagnostics if said in f"{one.message} {one.hint}"]
    assert found, [str(one) for one in parsed.diagnostics]
    assert {one.pointer for one in found} == {pointer}


def test_texts_that_are_no_test_case():
    for text in ("{", "[]", "5"):
        assert parse_testcase(text, BUILT_IN).program is None
