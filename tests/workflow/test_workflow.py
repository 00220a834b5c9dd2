"""Step workflows played through the pure machine: what the guide shows, and every rule of the format."""

import json

import pytest
from workflowplay import Player

from flowrunner.kinds import BUILT_IN
from flowrunner.workflow.parse import merged_variables, parse_workflow

GUIDE = {
    "name": "test-websocket-workflow",
    "version": "1.0.0",
    "variables": {"apiUrl": "http://127.0.0.1:9/users/1"},
    "steps": {
        "step1": {
            "id": "step1", "name": "Fetch User Data", "type": "http",
            "config": {"url": "{{apiUrl}}", "method": "GET"}, "output": {"userId": "userId", "title": "title"},
        },
        "step2": {
            "id": "step2", "name": "Process Data", "type": "command", "dependsOn": ["step1"],
            "config": {"command": "echo", "args": ["Processing user {{userId}}"]},
        },
    },
}  # fmt: skip
FETCHED = {"status": 200, "response": {"statusCode": 200, "headers": {}, "body": {"userId": 1, "title": "t"}, "bodyRaw": ""}}


@pytest.fixture(params=[False, True], ids=["warm", "restored"])
def play(request):
    return lambda definition, variables=None, **more: Player(definition, variables, restored=request.param, **more)


def command(**more):
    return {"type": "command", "config": {"command": "echo"}, **more}


def workflow(variables=None, **steps):
    return {"name": "w", "variables": variables or {}, "steps": steps}


def test_the_workflow_of_the_guide(play):
    """Step 2 gets what step 1 found in the body; both variables are new, so their old values are null."""
    played = play(GUIDE, {"apiUrl": "http://127.0.0.1:8/u"})
    assert played.params("step1") == {"url": "http://127.0.0.1:8/u", "method": "GET"}
    played.answer("step1", FETCHED)
    assert played.params("step2") == {"command": "echo", "args": ["Processing user 1"]}
    played.answer("step2", {"exitCode": 0, "stdout": "Processing user 1\n", "stderr": ""})
    assert played.output["variables"] == {"apiUrl": "http://127.0.0.1:8/u", "userId": 1, "title": "t"}
    assert played.output["outputs"]["step2"]["stdout"] == "Processing user 1\n"
    told = [(note["is"], note["stepId"]) for note in played.notes("StepStarted", "StepCompleted", "VariableChanged")]
    assert told == [
        ("StepStarted", "step1"), ("StepCompleted", "step1"), ("VariableChanged", "step1"), ("VariableChanged", "step1"), ("StepStarted", "step2"), ("StepCompleted", "step2"),
    ]  # fmt: skip
    assert [(note["name"], note["oldValue"], note["newValue"], note["changeType"]) for note in played.notes("VariableChanged")] == [
        ("userId", None, 1, "create"),
        ("title", None, "t", "create"),
    ]
    assert [note["progress"] for note in played.notes("StepStarted")] == [0, 50]
    assert played.notes("StepLogged")[0]["message"] == "Starting step: Fetch User Data"


def test_steps_start_as_soon_as_they_can(play):
    """Not layer by layer."""
    played = play(workflow(a=command(), b=command(), c=command(dependsOn=["a"]), d=command(dependsOn=["b", "c"])))
    assert played.running() == ["a", "b"]
    played.answer("a")
    assert played.running() == ["b", "c"]


@pytest.mark.parametrize(("when", "runs"), [("{{x}} == 1", True), ("{{x}} == 2", False), ("{{missing}}", False), (True, True)])
def test_when(play, when, runs):
    """A step whose condition does not hold is skipped, and those after it run."""
    played = play(workflow({"x": 1}, a=command(when=when), b=command(dependsOn=["a"])))
    assert played.running() == (["a"] if runs else ["b"])
    if not runs:
        assert played.notes("StepCompleted")[0]["status"] == "skipped"
        played.answer("b", "x")
        assert played.output["outputs"] == {"a": None, "b": "x"}


def test_a_disabled_step_is_skipped(play):
    assert play(workflow(a=command(disabled=True), b=command())).running() == ["b"]


def test_an_error_aborts_or_is_passed_by(play):
    """Abort is the default; with continue the step is kept as failed, and others see that."""
    played = play(workflow(a=command(), b=command()))
    played.answer("a", error="FlowRunner.CommandFailed")
    assert (played.outcome.status, played.outcome.error) == ("FAILED", "FlowRunner.CommandFailed")
    played = play(workflow(a=command(onError="continue"), b=command(dependsOn=["a"], when="{{nodes.a.status}} == 'failed'")))
    played.answer("a", error="FlowRunner.CommandFailed")
    assert played.notes("StepCompleted")[0]["status"] == "failed"
    assert played.running() == ["b"]


@pytest.mark.parametrize(
    ("retry", "waits"),
    [
        ({"retry": {"maxAttempts": 3, "interval": 200}}, [200, 200]),
        ({"retry": {"maxAttempts": 3, "interval": "1s", "backoff": "exponential"}}, [1000, 2000]),
        ({"retry": {"maxAttempts": 4, "interval": 100, "backoff": "linear", "maxInterval": 250}}, [100, 200, 250]),
        ({"retryCount": 2, "retryDelay": 50}, [50, 50]),
        ({"retry": {"maxAttempts": 1}}, []),
    ],
)
def test_retries(play, retry, waits):
    """MaxAttempts counts all attempts, retryCount those after the first."""
    played = play(workflow(a=command(**retry)))
    for wait in waits:
        played.answer("a", error="E")
        assert played.machine.wake_at - played.now == wait
        played.wake()
    played.answer("a", error="E")
    assert played.outcome.error == "E"


def test_timeouts(play):
    """Seconds, or a text with a unit."""
    for timeout, wait in ((2, 2000), ("250ms", 250)):
        assert play(workflow(a=command(timeout=timeout))).machine.wake_at == 1_700_000_000_000 + wait


def test_inputs_and_data_mappers(play):
    """Inputs are variables of the step; mappers take parts of another step's output into parameters."""
    mapper = {"id": "m", "sourceStep": "login", "sourcePath": "output.response.body.token", "targetParam": "headers.Authorization", "transform": "trim"}
    get = {
        "type": "http", "dependsOn": ["login"], "input": {"place": "{{base}}/items"},
        "config": {"url": "{{place}}?n={{n}}", "headers": {"Accept": "*/*"}}, "dataMappers": [mapper],
    }  # fmt: skip
    login = {"type": "http", "config": {"url": "{{base}}"}}
    played = play(workflow({"base": "http://h", "n": 2}, login=login, get=get))
    played.answer("login", {"response": {"body": {"token": " T "}}})
    assert played.params("get") == {"url": "http://h/items?n=2", "headers": {"Accept": "*/*", "Authorization": "T"}}


def test_outputs_by_path_and_by_expression(play):
    """Paths look into the output and into the response's body; expressions see ``result``."""
    step = {"type": "http", "config": {"url": "http://h"}, "output": {"first": "items[0].id", "code": "status", "none": "nope", "sum": "{{result.status + 1}}"}}
    played = play(workflow(a=step))
    played.answer("a", {"status": 200, "response": {"body": {"items": [{"id": 5}]}}})
    assert played.output["variables"] == {"first": 5, "code": 200, "sum": 201}


def test_a_script_sees_all(play):
    """Its variables, the outputs of others and its input."""
    played = play(
        workflow({"x": 1}, a=command(), s={"type": "script", "config": {"script": "return variables.x"}, "input": {"y": "{{x}}"}, "dependsOn": ["a"]})
    )
    played.answer("a", {"exitCode": 0})
    called = played.called("s")
    assert (called["variables"], called["results"], called["input"], called["language"]) == ({"x": 1}, {"a": {"exitCode": 0}}, {"y": 1}, "workflow")
    assert (called["execution"]["id"], called["execution"]["flow_id"]) == ("0123456789abcdef0123456789abcdef", "w")


def test_secrets_stay_references(play):
    """The machine never sees them; their places go to the task."""
    step = {"type": "http", "config": {"url": "http://h", "headers": {"Authorization": "Bearer {{secrets.api.token}}"}}}
    played = play(workflow(a=step))
    [attempt] = played.open.values()
    text = "Bearer {{resolve:secretsmanager:api:SecretString:token}}"
    assert attempt.secrets == ((("params", "headers", "Authorization"), text),)
    assert json.loads(attempt.parameters)["params"]["headers"]["Authorization"] == text


def test_delay(play):
    """A durable wait with a unit."""
    for unit, milliseconds in ((None, 3000), ("s", 3000), ("ms", 3), ("m", 180_000), ("h", 10_800_000)):
        for kind in ("delay", "wait"):
            for duration in (3, "{{n}}"):
                given = {} if unit is None else {"unit": unit}
                played = play(workflow({"n": 3}, a={"type": kind, "config": {"duration": duration, **given}}))
                assert played.machine.wake_at - played.now == milliseconds
                played.wake()
                assert played.output["outputs"]["a"] == {"waited": milliseconds}
    played = play(workflow(a={"type": "delay", "config": {"duration": "200ms", "jitter": 0.5}}))
    begun = played.now
    played.wake()
    assert 200 <= played.now - begun <= 300
    assert played.output["outputs"]["a"] == {"waited": played.now - begun}


def test_wait(play):
    """Until a moment."""
    played = play(workflow({"at": "2023-11-14T22:14:00Z"}, a={"type": "wait", "config": {"until_time": "{{at}}"}}))
    assert played.machine.wake_at == 1_700_000_040_000
    played.wake()
    assert played.outcome.status == "SUCCEEDED"


def test_merge(play):
    """All or any."""
    steps = {"a": command(), "b": command(), "m": {"type": "merge", "config": {"mode": "any"}, "dependsOn": ["a", "b"]}, "z": command(dependsOn=["m"])}
    played = play(workflow(**steps))
    played.answer("b", 1)
    assert played.running() == ["a", "z"]


def test_group(play):
    """Its steps are one step to others."""
    group = {"type": "group", "children": {"a": command(), "b": command(dependsOn=["a"])}}
    played = play(workflow(g=group, z=command(dependsOn=["g"])))
    played.answer("a", 1)
    played.answer("b", 2)
    assert played.running() == ["z"]
    played.answer("z", 3)
    assert played.output["outputs"] == {"g": {"a": 1, "b": 2}, "z": 3}


@pytest.mark.parametrize(("x", "taken", "label"), [(5, "big", "big"), (1, "one", "one"), (0, "rest", "default")])
def test_branch(play, x, taken, label):
    """By priority; default last."""
    branches = [
        {"condition": "default", "children": [{"id": "rest", **command()}]},
        {"condition": "{{x}} > 0", "label": "one", "priority": 2, "children": [{"id": "one", **command()}]},
        {"condition": "{{x}} > 1", "label": "big", "priority": 1, "children": [{"id": "big", **command()}]},
    ]
    played = play(workflow({"x": x}, b={"type": "branch", "branches": branches}))
    assert played.running() == [taken]
    played.answer(taken, "out")
    assert played.output["outputs"] == {"b": {"selectedBranch": label, taken: "out"}}
    assert played.notes("BranchDecided")[0]["selectedBranch"] == label


@pytest.mark.parametrize(("x", "taken"), [(1, "yes"), (0, "no")])
def test_children_or_else(play, x, taken):
    """A condition with children and elseChildren."""
    step = {"type": "branch", "condition": "{{x}} == 1", "children": {"yes": command()}, "elseChildren": {"no": command()}}
    assert play(workflow({"x": x}, b=step)).running() == [taken]


def test_loops(play):
    """ForEach with its own variables, while with a bound, count, break."""
    body = {"s": command(config={"command": "echo", "args": ["{{item}}", "{{$loopIndex}}", "{{index}}"]})}
    played = play(workflow({"names": ["x", "y"]}, l={"type": "loop", "loop": {"type": "forEach", "source": "{{names}}", "children": body}}))
    assert played.params("s")["args"] == ["x", 0, 0]
    played.answer("s", 1)
    assert played.params("s")["args"] == ["y", 1, 1]
    played.answer("s", 2)
    result = played.output["outputs"]["l"]
    assert result == {"totalIterations": 2, "completedIterations": 2, "failedIterations": 0, "exitReason": "completed", "results": [{"s": 1}, {"s": 2}]}


def test_a_while_loop_sees_what_its_steps_set(play):
    """Pages until the condition no longer holds; at most so many."""
    body = {"s": {**command(), "output": {"page": "next"}}}
    played = play(workflow({"page": 1}, l={"loop": {"type": "while", "condition": "{{page}} <= 2", "children": body}}))
    played.answer("s", {"next": 2})
    played.answer("s", {"next": 3})
    assert played.output["outputs"]["l"]["exitReason"] == "conditionFalse"
    assert [note["changeType"] for note in played.notes("VariableChanged")] == ["update", "update"]


def test_a_loop_around_one_step(play):
    """The older spelling: loopOver and loopVar on any step."""
    played = play(workflow({"names": ["x", "y"]}, s=command(config={"command": "echo", "args": ["{{name}}"]}, loopOver="names", loopVar="name", parallel=True)))
    assert sorted(json.loads(attempt.parameters)["params"]["args"][0] for attempt in played.open.values()) == ["x", "y"]
    played.answer("s", 1)
    played.answer("s", 2)
    assert played.output["outputs"]["s"]["results"] == [1, 2]


def test_a_break_condition(play):
    """It is looked at after each iteration."""
    step = {"loop": {"type": "count", "count": 5, "breakCondition": "{{done}}", "children": {"s": command(output={"done": "done"})}}}
    played = play(workflow({"done": False}, l=step))
    played.answer("s", {"done": False})
    played.answer("s", {"done": True})
    assert played.output["outputs"]["l"]["exitReason"] == "break"


def test_another_workflow(play):
    """A run of its own, which is waited for."""
    played = play(workflow({"x": 1}, a={"type": "workflow", "config": {"workflowId": "other", "variables": {"y": "{{x}}"}}}))
    assert played.called("a") == {"StateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:workflow/other", "Input": {"variables": {"y": 1}}}
    played.answer("a", {"Output": {"variables": {}, "outputs": {"z": 1}}})
    assert played.output["outputs"]["a"] == {"variables": {}, "outputs": {"z": 1}}


def test_action_templates(play):
    """Type and config from the template, parameters from the step, their defaults from the template."""
    templates = {
        "say": {
            "type": "command", "config": {"command": "echo", "args": ["{{greeting}}, {{who}}"]},
            "parameters": [{"name": "who", "required": True}, {"name": "greeting", "default": "Hello"}], "outputs": {"said": "stdout"},
        }
    }  # fmt: skip
    played = play(workflow(a={"actionTemplateId": "say", "inputs": {"who": "Ada"}}), templates=templates)
    assert played.params("a") == {"command": "echo", "args": ["Hello, Ada"]}
    played.answer("a", {"stdout": "x"})
    assert (played.output["variables"], played.output["outputs"]) == ({}, {"a": {"stdout": "x", "said": "x"}})


def test_what_the_step_before_gave(play):
    """``$prev`` is the output of the last step it depends on; a step that depends on none has no such thing."""
    say = {"command": "echo", "args": ["{{$prev.stdout}}"]}
    steps = {"a": command(config=say), "b": command(), "c": command(dependsOn=["a", "b"], config=say, when="{{$prev.stdout}} == 'B'")}
    inner = {"d": command(dependsOn=["c"]), "g": {"type": "group", "dependsOn": ["d"], "children": [{"id": "e", **command(config=say)}]}}
    played = play(workflow(**steps, **inner))
    assert played.params("a")["args"] == ["{{$prev.stdout}}"]
    for step, said in (("a", "A"), ("b", "B")):
        played.answer(step, {"stdout": said})
    assert played.params("c")["args"] == ["B"]
    played.answer("c", {})
    played.answer("d", {"stdout": "D"})
    assert played.params("e")["args"] == ["D"]


def test_children_in_a_list_run_in_order(play):
    """Unless one of them says what it waits for; steps of the first level run at once."""
    children = [{"id": "a", **command()}, {"id": "b", **command(config={"command": "echo", "args": ["{{$prev}}"]})}]
    played = play({"steps": [{"id": "g", "type": "group", "children": children}, {"id": "z", **command()}]})
    assert sorted(played.running()) == ["a", "z"]
    played.answer("a", 1)
    assert played.params("b")["args"] == [1]
    apart = [{"id": "a", **command()}, {"id": "b", **command()}, {"id": "c", **command(dependsOn=["a"])}]
    assert play(workflow(g={"type": "group", "children": apart})).running() == ["a", "b"]


def test_iterations_side_by_side_do_not_see_each_other(play):
    """A step sees what its own iteration has set, whatever others have set since."""
    children = [
        {"id": "a", **command(config={"command": "echo", "args": ["{{item}}"]}, output={"found": "stdout"})},
        {"id": "b", **command(config={"command": "echo", "args": ["{{found}}", "{{a.stdout}}", "{{$loopIndex}}"]})},
    ]
    played = play(workflow({"names": ["x", "y"]}, l={"loop": {"type": "forEach", "source": "names", "parallel": True, "children": children}}))
    played.answer("a", {"stdout": "1"})
    played.answer("a", {"stdout": "2"})
    assert [json.loads(attempt.parameters)["params"]["args"] for attempt in played.open.values()] == [["1", "1", 0], ["2", "2", 1]]
    played.answer("b", 1)
    played.answer("b", 2)
    assert played.output["variables"] == {"names": ["x", "y"], "found": "2"}
    assert played.output["outputs"]["l"]["results"] == [{"a": {"stdout": "1"}, "b": 1}, {"a": {"stdout": "2"}, "b": 2}]


def test_a_loop_around_one_step_tries_each_iteration_again(play):
    """Not the whole loop; and with continue the other iterations run."""
    played = play(workflow(s=command(loop={"type": "count", "count": 2}, retry={"maxAttempts": 2, "interval": 10}, onError="continue")))
    for _ in range(2):
        played.answer("s", error="E")
        if played.machine.wake_at is not None:
            played.wake()
    played.answer("s", {"exitCode": 0})
    loop = played.output["outputs"]["s"]
    assert (loop["completedIterations"], loop["failedIterations"], loop["results"]) == (1, 1, [{"error": "E", "cause": "because"}, {"exitCode": 0}])


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (command(config={"command": "ls", "args": ["a", "{{x / 0}}"]}), "In 's': 'args.1': 5 / 0 has no result."),
        ({"type": "delay", "config": {"duration": "{{x}} parsecs"}}, "In 's': 'duration' must be a number of seconds from 0 to a year, or a text with"),
        ({"type": "wait", "config": {"until_time": "{{x}}"}}, "In 's': 'until_time' must be a moment such as 2026-01-31T08:00:00Z; 5 stands there."),
    ],
)
def test_a_value_that_cannot_be_had_is_named(play, step, said):
    """With its step and its place in the config, not in the words of state machines."""
    played = play(workflow({"x": 5}, s=step))
    assert (played.outcome.status, played.outcome.error) == ("FAILED", "FlowRunner.InvalidParameters")
    assert said in played.outcome.cause
    assert "event id" not in json.dumps(played.records)


def test_a_loop_over_what_is_no_list(play):
    """A failure of the step like any other: it may be passed by."""
    step = {"loop": {"type": "forEach", "source": "x", "children": {"a": command()}}}
    played = play(workflow({"x": 5}, l=step))
    assert (played.outcome.status, played.outcome.error) == ("FAILED", "FlowRunner.InvalidParameters")
    assert "needs a list, but its source gave: 5" in played.outcome.cause
    assert play(workflow({"x": 5}, l={**step, "onError": "continue"}, z=command(dependsOn=["l"]))).running() == ["z"]


def test_a_loop_around_a_branch(play):
    """Its children are those of the branch, not of the loop."""
    step = {"type": "branch", "condition": "{{item}} > 1", "children": {"big": command()}, "elseChildren": {"small": command()}, "loopOver": "{{n}}"}
    played = play(workflow({"n": [1, 2]}, b=step))
    assert played.running() == ["small"]
    played.answer("small", "s")
    played.answer("big", "b")
    assert played.output["outputs"]["b"]["results"] == [{"selectedBranch": "false", "small": "s"}, {"selectedBranch": "true", "big": "b"}]


def test_nothing_is_put_into_a_script(play):
    """Data that became code could read secrets; a warning says what to write instead."""
    definition = workflow({"x": "1; steal()"}, s={"type": "script", "config": {"script": "return {{x}}", "args": ["{{x}}"]}})
    assert play(definition).params("s") == {"args": ["1; steal()"], "script": "return {{x}}"}
    parsed = parse_workflow(json.dumps(definition), BUILT_IN)
    assert [(one.severity, one.pointer) for one in parsed.diagnostics] == [("WARNING", "/steps/s/config/script")]
    assert "variables.x" in parsed.diagnostics[0].message


def test_levels_of_a_run(play):
    """Environment, workflow, run: a later one wins. Another workflow gets the environment too."""
    step = {"type": "workflow", "config": {"workflowId": "o", "variables": {"x": "{{a}}{{b}}{{c}}"}}}
    played = play(workflow({"b": 2, "c": 2}, w=step), {"c": 3}, environment={"a": 1, "b": 1})
    assert played.called("w")["Input"] == {"variables": {"x": "123"}, "environment": {"a": 1, "b": 1}}
    played.answer("w", {"Output": {}})
    assert played.output["variables"] == {"b": 2, "c": 3, "a": 1}


def test_a_large_end(play):
    """What a run gives is bounded; a run does not fail because all its steps were good."""
    played = play(workflow(a=command(), b=command(), c=command()))
    for step in "abc":
        played.answer(step, step * 1_600_000)
    assert {name: value is None for name, value in played.output["outputs"].items()} == {"a": False, "b": True, "c": True}
    assert played.output["omitted"] == ["outputs.b", "outputs.c"]
    played = play(workflow(a=command()))
    played.answer("a", "\N{GRINNING FACE}" * 800_000)  # 3.2 MB
    assert played.output["omitted"] == ["outputs.a"]


def test_a_timeout_without_effect_is_told():
    parsed = parse_workflow(json.dumps(workflow(g={"type": "group", "timeout": 5, "children": {"a": command()}})), BUILT_IN)
    assert parsed.program is not None
    assert [(one.severity, one.pointer) for one in parsed.diagnostics] == [("WARNING", "/steps/g/timeout")]


def test_levels_of_variables():
    assert merged_variables({"a": 1, "b": 1}, {"b": 2, "c": 2}, {}, {"c": 3}) == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize(
    ("definition", "pointer", "said"),
    [
        ("[]", "/", "It must be an object"), ("{", "", "at"), ("{}", "/", "'steps' is missing"), ({"steps": {}}, "/steps", "'steps' is missing"), ({"stepz": {}}, "/stepz", "Did you mean 'steps'"),
        (workflow(a={"config": {}}), "/steps/a", "'type' is missing"), (workflow(a={"type": "comand"}), "/steps/a/type", "Did you mean 'command'"),
        (workflow(a=command(dependsOn=["b"])), "/steps/a/dependsOn/0", "depends on 'b', which is no step"),
        (workflow(a=command(dependsOn=["c"]), b=command(dependsOn=["a"]), c=command(dependsOn=["b"])), "/steps", "cyclic dependency involving step 'a': a -> b -> c -> a"),
        (workflow(a=command(dependsOn=["a"])), "/steps", "cyclic dependency involving step 'a': a -> a"),
        (workflow(a=command(when="{{x")), "/steps/a/when", "'}}' is missing"), (workflow(a=command(config={"command": "{{a b}}"})), "/steps/a/config/command", "'b' is not expected"),
        (workflow(a=command(retry={"maxAttempts": 0})), "/steps/a/retry/maxAttempts", "1 or more"), (workflow(a=command(timeout="soon")), "/steps/a/timeout", "units such as"),
        (workflow(a=command(onError="stop")), "/steps/a/onError", "abort, continue or retry"), (workflow(a={"type": "command", "config": {"args": "x"}}), "/steps/a/config/args", "must be a list"),
        (workflow(a={"type": "http", "config": {"url": "{{secrets.k}}/{{x}}"}}), "/steps/a/config/url", "no other expressions"),
        (workflow(a={"type": "http", "config": {"url": "{{secrets.k + 1}}"}}), "/steps/a/config/url", "without operators"),
        (workflow(a={"actionTemplateId": "x"}), "/steps/a/actionTemplateId", "no action template"), (workflow(**{"a.b": command()}), "/steps/a.b", "no dots"),
        (workflow(g={"type": "group", "children": {"a": command()}}, a=command()), "/steps/g/children/a", "already"), (workflow(l={"loop": {"type": "forEach", "children": {}}}), "/steps/l/loop", "'source' is missing"),
        (workflow(b={"type": "branch"}), "/steps/b/config/branches", "'branches' is missing"), (workflow({"a.b": 1}, s=command()), "/variables/a.b", "no dots"),
        (workflow(a=5), "/steps/a", "must be an object"), (workflow(a=command(dataMappers=[{"sourceStep": "x"}])), "/steps/a/dataMappers/0", "'sourcePath' is missing"),
        (workflow(a={"type": "wait", "config": {"until": "soon"}}), "/steps/a/config/until", "must be a moment"),
        (workflow(**{" ": command()}), "/steps/ ", "1 to 128 characters"), (workflow(**{"a" * 129: command()}), f"/steps/{'a' * 129}", "1 to 128 characters"),
        (workflow(a=command(name="n" * 257)), "/steps/a/name", "at most 256 characters"),
        (workflow(a={"type": "http", "config": {"method": "GET"}}), "/steps/a/config", "The parameter url is missing, or path: "), (workflow(a={"type": "script"}), "/steps/a/config", "script is missing, or function"),
        (workflow(a={"type": "delay", "config": {"duration": 1, "unit": "d"}}), "/steps/a/config/unit", "ms, s, m or h"),
        (workflow(a={"type": "delay", "config": {"duration": 1, "jitter": "much"}}), "/steps/a/config/jitter", "must be true, or a share"),
        (workflow(a=command(dataMappers=[{"sourceStep": "x", "sourcePath": "y", "targetParam": "z"}])), "/steps/a/dataMappers/0/sourceStep", "no step 'x' to take"),
        (workflow(a={"type": "script", "config": {"script": "return '{{secrets.k}}'"}}), "/steps/a/config/script", "without braces"),
        (workflow(a={"type": "test-case", "config": {}}), "/steps/a/config", "'testId' is missing"), (workflow(a={"type": "flow", "config": {"flow_id": "x"}}), "/steps/a/type", "belongs to flows"),
        (workflow(a=command(retry={"maxAttempts": 2, "backoffRate": 0.5})), "/steps/a/retry/backoffRate", "1 or more"),
    ],
)  # fmt: skip
def test_what_is_wrong(definition, pointer, said):
    """Each fault has its place, a line, and what to do."""
    text = definition if isinstance(definition, str) else json.dumps(definition, indent=1)
    parsed = parse_workflow(text, BUILT_IN)
    assert parsed.program is None
    found = [one for one in parsed.diagnostics if said in f"{one.message} {one.hint}"]
    assert found, [str(one) for one in parsed.diagnostics]
    assert found[0].pointer == pointer or not pointer
    assert found[0].line > 0
    assert all(one.hint for one in parsed.diagnostics)


def test_what_is_told_has_bounds():
    """Names as long as the text stand in a message and a pointer by their beginnings: a thousand findings are no thousand texts."""
    name = "s" * 100_000
    diagnostics = parse_workflow(json.dumps(workflow(**{name: command(**{f"u{number}": 1 for number in range(1100)})})), BUILT_IN).diagnostics
    assert len(diagnostics) == 1000
    assert all(len(one.message) <= 1000 and len(one.pointer) <= 1000 for one in diagnostics)
    [unknown] = parse_workflow(json.dumps(workflow(a={"type": name})), BUILT_IN).diagnostics
    assert unknown.message.endswith("sss…")
