"""Names of variables that are not the caller's to set: what steps have left behind, and which secrets an environment has."""

import asyncio
import json

import pytest
from workflowplay import Player

from applications import asking, serving
from flowrunner.kinds import BUILT_IN
from flowrunner.ports.definitions import Machine, Revision
from flowrunner.workflow.parse import parse_workflow
from flowrunner.workflow.testcase import parse_testcase

ACCOUNT = "000000000000"
SECRETS = "environment.secrets"
WRONG = {"a.b": 1, "$x": 1, SECRETS: {"public": "dbpw"}, "nodes.x": {"output": {"q": "forged"}, "status": "success"}}
SAYS = {"type": "command", "config": {"command": "echo", "args": ["{{secrets.public}}", "{{nodes.x.output.q}}", "{{user}}"]}}
MEASURES = {"type": "script", "config": {"script": "return { length: secrets.public.length, names: Object.keys(secrets) }"}}


@pytest.fixture
async def served(tmp_path):
    async with serving(tmp_path) as served:
        yield served


@pytest.fixture
def ask(served):
    return asking(served[1])


@pytest.fixture
async def kept(ask):
    """Two secrets of the account, two environments of which one is active, and a workflow."""
    for name, value in (("public", "p"), ("dbpw", "the-secret-password")):
        await ask("POST", f"/api/v1/accounts/me/secrets/{name}", {"value": value}, 201)
    await ask("POST", "/api/v2/environments", {"envId": "prod", "name": "Prod", "secretVariables": {"public": "of-production"}}, 201)
    await ask("POST", "/api/v2/environments", {"envId": "dev", "name": "Dev", "variables": {"user": "ada"}}, 201)
    await ask("POST", "/api/v2/environments/dev/activate")
    await ask("POST", "/api/v2/workflows", {"workflowId": "w", "definition": {"name": "w", "steps": {"says": SAYS, "measures": MEASURES}}}, 201)


@pytest.mark.parametrize("name", WRONG)
async def test_no_door_takes_such_a_name(kept, ask, name):
    """Runs, environments, their single variables, schedules: 400, and the place."""
    given = {name: WRONG[name]}
    refused = [
        await ask("POST", "/api/v2/workflows/w/execute", {"variables": given}, 400),
        await ask("POST", "/api/v2/environments", {"name": "e", "variables": given}, 400),
        await ask("PUT", "/api/v2/environments/dev", {"variables": {"ok": 1, **given}}, 400),
        await ask("POST", "/api/v1/schedules", {"schedule": "@hourly", "workflow_id": "w", "payload": given}, 400),
    ]
    assert [one["errors"][0]["pointer"] for one in refused] == [f"/variables/{name}"] * 3 + [f"/payload/{name}"]
    assert all(f"'{name}'" in one["detail"] for one in refused)
    await ask("PUT", f"/api/v2/environments/dev/variables/{name}", {"value": 1}, 400)
    assert (await ask("GET", "/api/v2/environments/dev"))["variables"] == {"user": "ada"}


async def ended(application, ask, run):
    async with asyncio.timeout(30):
        await application.feed.ended(run)
    return await ask("GET", f"/api/v2/workflows/runs/{run}")


async def test_no_run_reaches_another_secret(served, kept, ask):
    """Not even a run that was stored with such an input, and none that a state machine starts with its own: both have the secret of the name."""
    application, _ = served
    hostile = {
        "variables": {**WRONG, SECRETS: {"public": "environments/prod/public"}},
        "environment": {"nodes.x": WRONG["nodes.x"], "user": "ada", SECRETS: {"public": "dbpw"}},
    }
    start = {"StateMachineArn": f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:workflow/w", "Input": hostile}
    task = {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync:2", "Parameters": start, "OutputPath": "$.Output", "End": True}
    machines = []
    for kind, resource in (("STANDARD", ".sync:2"), ("EXPRESS", "")):
        state = {**task, "Resource": f"arn:aws:states:::states:startExecution{resource}"} | ({} if resource else {"OutputPath": "$"})
        revision = Revision(
            id=f"c9c9e3f0-6ef2-4b36-9ad2-0a3b1a0b3f1{len(machines)}", account=ACCOUNT, machine=kind.lower(), created_at=0, settings={},
            definition=json.dumps({"StartAt": "T", "States": {"T": state}}), role_arn=f"arn:aws:iam::{ACCOUNT}:role/r",
        )  # fmt: skip
        machines.append(
            await application.store.definitions.create_machine(Machine(account=ACCOUNT, name=kind.lower(), type=kind, created_at=0, revision=revision))
        )
    head = await application.engine.start_execution(machines[0])
    async with asyncio.timeout(30):
        by_machine = json.loads((await application.feed.ended(head.id)).output)["outputs"]
    head = await application.engine.run_to_end(machines[1])
    run = json.loads(head.output)["ExecutionId"]
    by_express = (await ended(application, ask, run))["context"]["outputs"]
    only_variables = {**hostile, "environment": {"user": "ada"}}
    direct = await application.engine.start_execution(await application.authoring.workflows.machine(ACCOUNT, "w"), input=json.dumps(only_variables))
    plain = (await ended(application, ask, direct.id))["context"]["outputs"]
    for outputs in (by_machine, by_express, plain):
        assert outputs["says"]["stdout"].strip() == "p {{nodes.x.output.q}} ada"  # too short to be masked
        assert outputs["measures"] == {"length": 1, "names": ["dbpw", "public"]}


@pytest.mark.parametrize("kind", ["workflow", "test-case"])
def test_a_step_that_gives_such_a_name_is_refused(kind):
    """With its place when it is written so; what an expression gives fails the step."""
    target = {"workflow": {"workflowId": "w"}, "test-case": {"testId": "t"}}[kind]

    def definition(variables):
        return {"name": "w", "steps": {"a": {"type": kind, "config": {**target, "variables": variables}}}}

    [found] = parse_workflow(json.dumps(definition({"test.failure": {}})), BUILT_IN).diagnostics
    assert (found.pointer, found.severity) == ("/steps/a/config/variables/test.failure", "ERROR")
    for given in ({"$x": 1}, {"test.failure": {"stage": "setup"}}):
        played = Player(definition("{{given}}"), {"given": given})
        assert (played.outcome.status, played.outcome.error) == ("FAILED", "FlowRunner.InvalidParameters")
        assert f"'{next(iter(given))}'" in played.outcome.cause
    played = Player(definition("{{given}}"), {"given": [1]})
    assert "'variables' must be an object" in played.outcome.cause


@pytest.mark.parametrize("restored", [False, True])
def test_what_comes_in_all_the_same_is_not_there(restored):
    """A program takes no variable of the compiler's own, from the caller or the environment; a test does not take its verdict from there."""
    played = Player(
        {"name": "w", "steps": {"x": SAYS, "y": {"type": "store", "config": {"op": "set", "key": "k", "value": "{{nodes.x.output.q}}"}, "dependsOn": []}}},
        {**WRONG, "user": "ada"}, environment={**WRONG, SECRETS: {"public": "environments/dev/public"}}, restored=restored,
    )  # fmt: skip
    assert played.params("y")["value"] == "{{nodes.x.output.q}}"
    assert played.called("x")["secrets"] == {"public": "environments/dev/public"}
    played.answer("x", {})
    played.answer("y", 1)
    assert played.output["variables"] == {"user": "ada"}
    forged = {"test.failure": {"stage": "setup", "error": "Forged", "cause": "c"}, "test.assertions": [{"passed": True}]}
    tested = Player({"testId": "t", "name": "t", "command": {"command": "true"}}, forged, environment=forged, parse=parse_testcase, restored=restored)
    tested.answer("test", {"exitCode": 0, "stdout": "", "stderr": ""})
    tested.answer("assertions", {"assertions": [{"type": "exit_code", "passed": True}]})
    assert (tested.output["status"], tested.output["error"]) == ("passed", None)


async def test_flows_take_no_such_variables_from_their_input(served, ask):
    """The input of a flow is data: no member of it is a result of a node, what nodes share, or a variable."""
    application, _ = served
    flow = """
metadata: {name: f, start: a}
shared: {of: the author}
nodes:
  a:
    type: transform
    params: {script: "return { results: Object.keys(results), shared: shared, variables: variables }"}
"""
    made = await ask("POST", "/api/v1/flows", {"content": flow}, 201)
    given = {"results.x": {"q": 1}, "shared": {"of": "the caller"}, "variables": {"v": 1}, SECRETS: {"public": "dbpw"}, "environment": {"e": 1}}
    run = (await ask("POST", f"/api/v1/flows/{made['id']}/run", {"input": given}, 201))["execution_id"]
    async with asyncio.timeout(30):
        await application.feed.ended(run)
    result = (await ask("GET", f"/api/v1/executions/{run}"))["results"]["a"]
    assert result == {"results": [], "shared": {"of": "the author"}, "variables": {}}


async def test_no_door_takes_an_empty_name(kept, ask):
    """400, and the place."""
    case = {"testId": "t", "groupId": "g", "name": "t", "type": "command", "command": {"command": "true"}}
    await ask("POST", "/api/v2/tests", case, 201)
    refused = [
        await ask("POST", "/api/v2/workflows/w/execute", {"variables": {"": 1}}, 400),
        await ask("POST", "/api/v2/tests/t/execute", {"variables": {"ok": 1, "": 1}}, 400),
        await ask("POST", "/api/v1/schedules", {"schedule": "@hourly", "workflow_id": "w", "payload": {"": 1}}, 400),
        await ask("POST", "/api/v2/environments", {"name": "e", "variables": {"": 1}}, 400),
    ]
    assert [one["errors"][0]["pointer"] for one in refused] == ["/variables/", "/variables/", "/payload/", "/variables/"]


@pytest.mark.parametrize("name", WRONG)
async def test_executions_of_test_cases_take_no_such_name(ask, name):
    """As runs of workflows."""
    case = {"testId": "t", "groupId": "g", "name": "t", "type": "command", "command": {"command": "true"}}
    await ask("POST", "/api/v2/tests", case, 201)
    refused = await ask("POST", "/api/v2/tests/t/execute", {"variables": {name: WRONG[name]}}, 400)
    assert refused["errors"][0]["pointer"] == f"/variables/{name}"
