"""The kinds that are only scripts, as the task of nodes runs them."""

from __future__ import annotations

import json

import pytest
from nodes_calls import Secrets, node_call
from task_calls import call

from flowrunner.core.resource import parse_resource
from flowrunner.flow.parse import parse_flow
from flowrunner.kinds import BUILT_IN
from flowrunner.lang.environment import Environment
from flowrunner.ports.tasks import Succeeded, say
from flowrunner.tasks.functions import read_functions
from flowrunner.tasks.javascript.scripts import Scripts
from flowrunner.tasks.nodes.condition import ConditionKind
from flowrunner.tasks.nodes.kind import NodeFailed
from flowrunner.tasks.nodes.script import ScriptKind
from flowrunner.tasks.nodes.scripting import Scripting
from flowrunner.tasks.nodes.table import NodeTable
from flowrunner.tasks.nodes.task import NodeTask
from flowrunner.tasks.nodes.transform import TransformKind


@pytest.fixture
async def scripting(stack):
    scripts = Scripts(1)
    await scripts.start(stack)
    return Scripting(scripts, Secrets(DB={"user": "u", "password": "p-456-secret"}))


async def failure(kind, params, input=None):  # noqa: A002
    with pytest.raises(NodeFailed) as caught:
        await kind.run(node_call(params, input))
    return caught.value


async def test_transform_gives_what_its_script_returns(scripting):
    """And takes the edge success."""
    result = await TransformKind(scripting).run(node_call({"script": "const { a, ...rest } = input; return { ...rest, b: a + 1 }"}, {"a": 1, "c": 2}))
    assert (result.output, result.action, result.shared) == ({"c": 2, "b": 2}, "success", None)


async def test_transform_without_a_script_gives_its_input_on(scripting):
    assert (await TransformKind(scripting).run(node_call({}, {"a": 1}))).output == {"a": 1}


async def test_transform_may_change_what_is_shared(scripting):
    assert (await TransformKind(scripting).run(node_call({"script": "shared.n = 1; return 2"}))).shared == {"n": 1}


@pytest.mark.parametrize(
    ("source", "action"),
    [
        ("return 'high'", "high"),
        ("input.n > 1", "true"),
        ("input.n < 1", "false"),
        ("return { ...input, branch: 'partial_success' }", "partial_success"),
        ("return { branch_decision: 'low', a: 1 }", "low"),
        ("return { success_rate: 0.7 }", "success"),
        ("return { branch: 5 }", "success"),
        ("return 5", "success"),
        ("return [1]", "success"),
        ("return", "success"),
        ("({ n }) => n === 2 ? 'two' : 'other'", "two"),
    ],
)
@pytest.mark.parametrize("name", ["condition_script", "script"])
async def test_condition_picks_the_edge(scripting, name, source, action):
    """By a text, a boolean, or an object's branch; the output is what it returned."""
    assert (await ConditionKind(scripting).run(node_call({name: source}, {"n": 2}))).action == action


async def test_condition_needs_a_script(scripting):
    found = await failure(ConditionKind(scripting), {})
    assert (found.error, found.cause) == ("FlowRunner.InvalidParameters", "The parameter 'condition_script' must be a text, not nothing.")


async def test_script_sees_arguments_and_environment(scripting):
    params = {"script": "return [args[0], env.MODE, input.n, results, accountID]", "args": ["x"], "env": {"MODE": "fast"}}
    assert (await ScriptKind(scripting).run(node_call(params, {"n": 2}))).output == ["x", "fast", 2, {}, "123456789012"]


@pytest.mark.parametrize(
    ("params", "error", "says"),
    [
        ({"script": "for (;;);", "timeout": "100ms"}, "FlowRunner.ScriptTimeout", "did not end within 0.1 s"),
        ({"script": "throw new Error('my fault')"}, "FlowRunner.ScriptError", "my fault (line 1, column 11)"),
        ({"script": "secrets.NO"}, "FlowRunner.SecretNotFound", "There is no secret 'NO'."),
        ({"script": "const a = 1", "strict": True}, "FlowRunner.ScriptError", "returned nothing"),
        ({"script": "1", "timeout": "1y"}, "FlowRunner.InvalidParameters", "'timeout'"),
        ({"script": "1", "timeout": "2h"}, "FlowRunner.InvalidParameters", "at most 900 seconds"),
        ({"script": 5}, "FlowRunner.InvalidParameters", "must be a text"),
        ({}, "FlowRunner.InvalidParameters", "'script' must be a text"),
        ({"language": "shell", "script": "ls"}, "FlowRunner.InvalidParameters", "Write the script in JavaScript"),
        ({"language": "python", "script": "print(1)"}, "FlowRunner.InvalidParameters", "only as a function that the operator has registered"),
        ({"script": "1", "function": "f"}, "FlowRunner.InvalidParameters", "write language: python"),
    ],
)
async def test_script_fails_by_name(scripting, params, error, says):
    """Each failure is typed, and says what to do."""
    found = await failure(ScriptKind(scripting), params)
    assert found.error == error
    assert says in found.cause


def test_only_functions_have_effects(scripting):
    """A script may simply be run again."""
    kind = ScriptKind(scripting)
    assert [kind.idempotent(node_call(params)) for params in ({"script": "1"}, {"language": "python", "function": "f"})] == [True, False]


PYTHON = """
def double(event, context):
    return {"twice": event["n"] * 2, "key": bool(context.idempotency_key)}

def broken(event, context):
    raise LookupError("nothing there")
"""


def node(kind, params, input):  # noqa: A002
    return call("arn:aws:states:::flowrunner:" + kind, {"params": params, "input": input, "language": "flow"})


@pytest.fixture
async def resolve(registry, tmp_path):
    """A whole registry, with registered functions."""
    (tmp_path / "functions.py").write_text(PYTHON)
    table = {"double": "functions.py:double", "broken": {"handler": "functions.py:broken", "idempotent": True}}
    made = await registry(functions=read_functions(table, tmp_path))

    async def run(kind, params, input):  # noqa: A002
        one = node(kind, params, input)
        return await made.resolve(one).run(one)

    return run


async def test_python_is_a_registered_function(resolve):
    """It is given the arguments, or the input; its errors keep their names."""
    outcome = await resolve("script", {"language": "python", "function": "double"}, {"n": 2})
    assert json.loads(outcome.output) == {"output": {"twice": 4, "key": True}, "action": "success"}
    outcome = await resolve("script", {"language": "python", "function": "double", "args": {"n": "${input.n + 1}"}}, {"n": 2})
    assert json.loads(outcome.output)["output"]["twice"] == 6
    outcome = await resolve("script", {"language": "python", "function": "broken"}, {})
    assert (outcome.error, outcome.cause) == ("LookupError", "nothing there")
    outcome = await resolve("script", {"language": "python", "function": "none"}, {})
    assert (outcome.error, "there are: broken, double" in outcome.cause) == ("FlowRunner.InvalidParameters", True)


async def test_a_registry_runs_scripts_of_flows(resolve):
    """Expressions in parameters are filled, templates in scripts are left, lines are heard."""
    lines = []
    token = say.set(lambda level, message, data: lines.append((level, message)))
    try:
        outcome = await resolve("script", {"script": "console.warn(`n is ${input.n}`); return `${args}`", "args": "<${input.n}>"}, {"n": 2})
    finally:
        say.reset(token)
    assert outcome == Succeeded('{"output":"<2>","action":"success"}')
    assert lines == [("warn", "n is 2")]


def test_kinds_with_dots_and_without_are_resources():
    assert parse_resource("arn:aws:states:::flowrunner:transform").action == "transform"


@pytest.mark.parametrize(
    ("hooks", "action"),
    [
        ({"exec": "return 'low'"}, "low"),
        ({"exec": "return {n: 1}"}, "success"),
        ({"post": "return 'success'"}, "success"),
        ({"post": "return {branch: true}"}, "true"),
        ({"exec": "return 'low'", "post": "return action + 'er'"}, "lower"),
        ({"post": "return null"}, "high"),
    ],
)
async def test_hooks_of_a_condition_have_the_last_word(scripting, hooks, action):
    """Of a condition the result is the action, and so is what `exec` made of it; what `post` says is the action, `success` as well."""
    task = NodeTask(NodeTable([ConditionKind(scripting)], []), scripting)
    made = await task.run(call("arn:aws:states:::flowrunner:condition", {"params": {"condition_script": "return 'high'"}, "hooks": hooks, "language": "flow"}))
    assert isinstance(made, Succeeded)
    result = json.loads(made.output)
    assert result["action"] == action
    nodes = {"c": {"type": "condition", "params": {"condition_script": "1"}, "next": {"default": "d", action: "x"}}}
    text = json.dumps({"metadata": {"name": "t"}, "nodes": nodes | {name: {"type": "transform"} for name in "dx"}})
    program = parse_flow(text, BUILT_IN).program
    picked = program.root.states["c"].route.action.evaluate(Environment(document=None, states={"result": result, "input": {}}))
    assert picked == action
