from __future__ import annotations

import json
from importlib.metadata import EntryPoint

import pytest
from task_calls import call

from flowrunner.core.resource import parse_resource
from flowrunner.errors import ConfigurationError
from flowrunner.kinds import BUILT_IN, KINDS, KindInfo
from flowrunner.kinds.info import anything, fields, script, text
from flowrunner.ports.secrets import Revealed
from flowrunner.ports.tasks import AttemptLost, Failed, Succeeded, say
from flowrunner.tasks.javascript.scripts import Scripts
from flowrunner.tasks.nodes.kind import NodeFailed, NodeKind, NodeResult
from flowrunner.tasks.nodes.scripting import NoScripts, Scripting
from flowrunner.tasks.nodes.table import NodeTable
from flowrunner.tasks.nodes.task import NodeTask, action_of
from flowrunner.tasks.secrecy import Guarded

OWN = "arn:aws:states:::flowrunner:"


class Vault:
    async def reveal(self, account, name, path=None):
        return Revealed(value=f"{name}-of-{account}", hidden=(f"{name}-of-{account}",), type="general", version=1)


class Echo(NodeKind):
    """Gives back what it is given; fails as it is told."""

    info = KindInfo(
        name="test.echo",
        title="Echo",
        description="Gives back its parameters.",
        parameters=fields({"say": text("What."), "code": script("Code.")}),
        outputs=anything("The parameters."),
    )

    async def run(self, call):
        error = call.params.get("fail")
        if error == "timeout":
            raise TimeoutError
        if error == "lost":
            raise AttemptLost
        if error:
            raise NodeFailed("as told", error=error)
        return NodeResult({"params": dict(call.params), "input": call.input, **call.params.get("more", {})}, call.params.get("action", "success"))


def echo():
    return Echo()


def point(name, value):
    return EntryPoint(name=name, value=value, group="flowrunner.nodes")


@pytest.fixture
async def handle(stack):
    """Runs the echo node with real scripts and a vault."""
    scripts = Scripts(1)
    await scripts.start(stack)
    vault = Vault()
    task = Guarded(NodeTask(NodeTable([Echo()], []), Scripting(scripts, vault)), vault)

    async def run(params, kind="test.echo", retry=0, **more):
        return await task.run(call(f"{OWN}{kind}", {"params": params, "input": {"n": 2}, "language": "flow", **more}, retry=retry))

    return run


def value(outcome):
    assert isinstance(outcome, Succeeded), outcome
    return json.loads(outcome.output)


async def test_expressions_are_filled_and_scripts_are_not(handle):
    """A flow's parameters are evaluated where they are used; a parameter that is code keeps its own `${`."""
    made = value(await handle({"say": "n is ${input.n}", "whole": "${input.n + 1}", "code": "return `${input.n}`"}))
    assert made == {"output": {"params": {"say": "n is 2", "whole": 3, "code": "return `${input.n}`"}, "input": {"n": 2}}, "action": "success"}


@pytest.mark.parametrize("told", [None, {}, {"id": "another", "name": "n"}, "text"])
async def test_the_execution_id_is_the_one_in_the_store(handle, told):
    """Whatever a state machine says of its execution: the id is the one that REST and sockets take."""
    made = value(await handle({"say": "${execution.id}"}, execution=told))
    assert made["output"]["params"] == {"say": "e1"}


async def test_in_a_workflow_nothing_is_evaluated_here(handle):
    """What stands in a workflow's parameters when they arrive is data."""
    made = value(await handle({"say": "${input.n}"}, language="workflow"))
    assert made["output"]["params"] == {"say": "${input.n}"}


async def test_a_secret_is_read_and_never_shown(handle):
    """`secrets.NAME` is the account's secret, and stars in what comes out."""
    outcome = await handle({"say": "Bearer ${secrets.KEY}"})
    assert "KEY-of" not in outcome.output
    assert "Bearer" in outcome.output


async def test_a_cut_line_or_message_shows_no_part_of_a_secret(handle):
    """Both are cut within the script's process, which hides nothing: the beginning of a secret at their ends is hidden afterwards."""
    lines = []
    token = say.set(lambda level, message, data: lines.append(message))
    try:
        made = await handle({"say": "hi"}, hooks={"prep": "console.log('x'.repeat(8180) + secrets.KEY); throw new Error('y'.repeat(8180) + secrets.KEY)"})
    finally:
        say.reset(token)
    assert isinstance(made, Failed)
    assert made.cause.startswith("y" * 8180 + "*** (line 1")
    assert lines == ["x" * 8180 + "***…"]
    assert "KEY-" not in made.cause + lines[0]


@pytest.mark.parametrize("said", ["${secrets.KEY}", "Bearer ${secrets.KEY}"])
async def test_what_is_kept_openly_gets_no_secret(handle, said):
    """Another flow's input, the items of batches: they would be stars there, and nobody would know why."""
    refused = await handle({"say": said}, openly=True)
    assert isinstance(refused, Failed)
    assert (refused.error, "KEY-of" in refused.cause) == ("FlowRunner.SecretNotAllowed", False)
    assert value(await handle({"say": "${secrets.KEY.length}"}, openly=True))["output"]["params"] == {"say": 19}


async def test_hooks_run_around_the_work(handle):
    """Prep makes the input, exec the output, post the action; what they write into `shared` is reported."""
    hooks = {
        "prep": "shared.a = 1; return {n: input.n * 10}",
        "exec": "return {was: output.input.n, a: shared.a}",
        "post": "return output.was > 5 ? 'big' : 'small'",
    }
    made = value(await handle({}, hooks=hooks))
    assert made == {"output": {"was": 20, "a": 1}, "action": "big", "shared": {"a": 1}}


async def test_hooks_that_return_nothing_change_nothing(handle):
    """An undefined result leaves input, output and action."""
    hooks = dict.fromkeys(("prep", "exec", "post"), "const x = 1;")
    assert value(await handle({}, hooks=hooks)) == {"output": {"params": {}, "input": {"n": 2}}, "action": "success"}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"fail": "My.Error"}, "My.Error"),
        ({"fail": "timeout"}, "States.Timeout"),
        ({"say": "${nothing.here}"}, "FlowRunner.ScriptError"),
        ({"say": "${ 1 +"}, "FlowRunner.ScriptError"),
    ],
)
async def test_failures_are_typed(handle, given, error):
    """A failure has a name that retries match, never a traceback."""
    outcome = await handle(given)
    assert isinstance(outcome, Failed)
    assert outcome.error == error
    assert "Traceback" not in outcome.cause


async def test_a_lost_attempt_passes_through(handle):
    """Another node has the attempt: that is no failure of the node."""
    with pytest.raises(AttemptLost):
        await handle({"fail": "lost"})


@pytest.mark.parametrize("kind", ["no.such", "loop", "http.request"])
async def test_an_unknown_kind_names_those_that_exist(handle, kind):
    """A kind that does not exist, is structural or is not to be had here."""
    outcome = await handle({}, kind=kind)
    assert (outcome.error, outcome.phase) == ("FlowRunner.UnknownKind", "start")
    assert kind in outcome.cause
    assert kind == "loop" or "test.echo" in outcome.cause


@pytest.mark.parametrize("parameters", [None, [], {"params": []}, {"params": {}, "hooks": "x"}, {"params": {}, "hooks": {"prep": 1}}])
async def test_parameters_of_another_shape(parameters):
    """Anything but the documented object is refused."""
    task = NodeTask(NodeTable([Echo()], []), Scripting(NoScripts(), Vault()))
    outcome = await task.run(call(f"{OWN}test.echo", parameters))
    assert outcome.error in ("States.Runtime", "FlowRunner.InvalidParameters")


async def test_without_scripts_expressions_fail():
    """A server without the service says so; nodes without expressions work."""
    task = NodeTask(NodeTable([Echo()], []), Scripting(NoScripts(), Vault()))
    assert isinstance(await task.run(call(f"{OWN}test.echo", {"params": {"say": "x"}, "language": "flow"})), Succeeded)
    outcome = await task.run(call(f"{OWN}test.echo", {"params": {"say": "${1}"}, "language": "flow"}))
    assert outcome.error == "FlowRunner.ScriptError"


def test_kinds_have_dots_in_their_resources():
    """`flowrunner:http.request` is a resource whose action is the kind."""
    resource = parse_resource(f"{OWN}http.request")
    assert (resource.service, resource.action, resource.pattern) == ("flowrunner", "http.request", "")


def test_plugins_are_entry_points():
    """An installed kind is in the table, with where it comes from."""
    table = NodeTable([], [point("test.echo", "test_node_task:echo")])
    assert isinstance(table.get("test.echo"), Echo)
    assert table.plugins == {"test.echo": "test_node_task:echo"}
    assert table.known["test.echo"].title == "Echo"
    assert len(table.infos) == len(KINDS) + 1


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("http", "test_node_task:echo", "there is one"),
        ("other", "test_node_task:echo", "test.echo"),
        ("test.echo", "test_node_task:nothing", "cannot be loaded"),
        ("test.echo", "builtins:dict", "no NodeKind"),
    ],
)
def test_a_broken_plugin_is_named(name, value, says):
    """The server does not start, and says which plug-in is to blame."""
    with pytest.raises(ConfigurationError, match=says):
        NodeTable([], [point(name, value)])


def test_every_kind_is_documented():
    """Title, description, a schema with a description for each parameter, and errors that say when."""
    for info in KINDS:
        assert info.title
        assert info.description.endswith("."), info.name
        for name, part in info.parameters["properties"].items():
            assert part.get("description"), f"{info.name}.{name}"
        assert all(error and when for error, when in info.errors)
    assert BUILT_IN["http"] is BUILT_IN["http.request"]
    assert BUILT_IN["postgres"].name == "database"
    assert BUILT_IN["transform"].scripts() == {"script"}


@pytest.mark.parametrize(
    ("given", "action"), [("high", "high"), (True, "true"), (False, "false"), ({"branch": "b"}, "b"), ({"branch_decision": "d"}, "d"), ({}, None), (7, None)]
)
def test_values_name_edges(given, action):
    """Texts, booleans, and objects with a branch."""
    assert action_of(given) == action


async def test_an_action_may_count_as_a_failure(handle):
    """Of a batch: what the node would only tell by its edge. The status of an answer is said."""
    failing = ["server_error", "error"]
    assert value(await handle({"action": "client_error"}, failing=failing))["action"] == "client_error"
    outcome = await handle({"action": "server_error", "more": {"status_code": 503}}, failing=failing)
    assert isinstance(outcome, Failed)
    assert (outcome.error, outcome.cause) == ("FlowRunner.NodeFailed", "The node ended with the action 'server_error' (status 503).")
    outcome = await handle({}, failing=failing, hooks={"exec": "return null", "post": "return 'error'"})
    assert isinstance(outcome, Failed)


async def test_an_action_may_count_as_a_failure_while_retries_are_left(handle):
    """Then it is the node's, as without retries."""
    again = {"actions": ["server_error"], "retries": 2}
    for retry in (0, 1):
        outcome = await handle({"action": "server_error"}, retry=retry, again=again)
        assert (outcome.error, outcome.cause) == ("FlowRunner.NodeFailed", "The node ended with the action 'server_error'.")
    assert value(await handle({"action": "server_error"}, retry=2, again=again))["action"] == "server_error"
    assert value(await handle({"action": "client_error"}, again=again))["action"] == "client_error"


async def test_a_hook_neither_hides_nor_makes_what_is_tried_again(handle):
    """While retries are left, the kind's own action counts; afterwards the hook's picks the edge."""
    again = {"actions": ["server_error"], "retries": 1}
    hides, makes = {"exec": "return 1", "post": "return 'ok'"}, {"post": "return 'server_error'"}
    assert isinstance(await handle({"action": "server_error"}, again=again, hooks=hides), Failed)
    assert value(await handle({"action": "server_error"}, retry=1, again=again, hooks=hides)) == {"output": 1, "action": "ok"}
    assert value(await handle({}, again=again, hooks=makes))["action"] == "server_error"


async def test_what_is_shared_may_only_be_read(handle):
    """Of batches that run at once: a script that writes to it fails, and is told why."""
    hooks = {"exec": "shared.n += 1"}
    assert value(await handle({}, shared={"n": 1}, hooks=hooks))["shared"] == {"n": 2}
    outcome = await handle({}, shared={"n": 1}, hooks=hooks, reads_shared=True)
    assert isinstance(outcome, Failed)
    assert outcome.error == "FlowRunner.ScriptError"
    assert "'shared' can only be read in batches that run at once" in outcome.cause
    assert isinstance(await handle({}, shared={"n": 1}, hooks={"exec": "return shared.n"}, reads_shared=True), Succeeded)


async def test_hooks_of_work_that_is_done(handle):
    """The kind does not run again; the hook sees what was made, and may name another edge."""
    made = {"output": {"met": False}, "action": "timeout"}
    assert value(await handle({"fail": "x"}, made=made, hooks={"post": "return output.met ? null : action + input.n"})) == {**made, "action": "timeout2"}
    assert value(await handle({"fail": "x"}, made=made, hooks={"post": "return"})) == made


async def test_prep_takes_no_names_away(handle):
    """What it returns is the input; `item` and its like stay names in hooks and expressions, and are those of that input if it has them."""
    given = {"input": {"item": 7, "index": 0}, "names": ["item", "index"]}
    made = value(await handle({"say": "${item}/${index}/${input.q}"}, **given, hooks={"prep": "return {q: item}", "exec": "return [output.params.say, item]"}))
    assert made["output"] == ["7/0/7", 7]
    for prepared in ("5", "null", "'text'"):
        assert value(await handle({"say": "${item}"}, **given, hooks={"prep": f"return {prepared}"}))["output"]["params"] == {"say": 7}
    made = value(await handle({"say": "${item}"}, **given, hooks={"prep": "return {...input, item: item * 2}"}))
    assert made["output"]["params"] == {"say": 14}
