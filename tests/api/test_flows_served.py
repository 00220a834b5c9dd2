"""Flows through the whole application: YAML in, scripts and branches run, status and logs out, on SQLite."""

import asyncio
import json
import textwrap
import time

import pytest

from applications import serving

FLOW = textwrap.dedent("""\
    metadata: {name: Two delays, description: One after the other, version: "2.1.0"}
    nodes:
      start:
        type: delay
        params: {duration: 1ms}
        next: {success: last}
      last: {type: delay, params: {duration: 1ms}}
    """)


BRANCHES = textwrap.dedent("""\
    metadata: {name: Simple branching}
    nodes:
      start:
        type: transform
        params: {script: "return {value: input.value * 2};"}
        next: {success: decide}
      decide:
        type: condition
        params: {condition_script: "return input.value > 10 ? 'high' : 'low';"}
        next: {high: big, low: small}
      big: {type: transform, params: {script: "console.log('big one'); return {size: 'big'};"}}
      small: {type: transform, params: {script: "throw new Error('too small');"}}
    """)
STEPS = {
    "name": "Two steps",
    "version": "1.0.0",
    "variables": {"greeting": "hello", "who": "nobody"},
    "steps": {
        "first": {"id": "first", "name": "First", "type": "delay", "config": {"duration": 1, "unit": "ms"}},
        "second": {"id": "second", "name": "Second", "type": "delay", "config": {"duration": 1, "unit": "ms"}, "dependsOn": ["first"]},
    },
}


@pytest.fixture
async def served(tmp_path):
    async with serving(tmp_path, "http://localhost/api/v1") as served:
        yield served


async def test_a_flow(served):
    """Made, described by its text, run to its end."""
    application, client = served
    flow = (await client.post("/flows", json={"content": FLOW})).json()["id"]
    info = (await client.get(f"/flows/{flow}/metadata")).json()
    assert (info["name"], info["description"], info["version"]) == ("Two delays", "One after the other", "2.1.0")
    started = await client.post(f"/flows/{flow}/run", json={"input": {"value": 1}})
    assert started.status_code == 201
    execution = started.json()["execution_id"]
    async with asyncio.timeout(30):
        await application.feed.ended(execution)
    shown = (await client.get(f"/executions/{execution}")).json()
    assert (shown["status"], shown["error"], shown["flow_id"]) == ("completed", None, flow)
    assert (shown["progress"], shown["current_node"]) == (100, "last")
    assert shown["results"].keys() == {"start", "last"}
    logs = (await client.get(f"/executions/{execution}/logs?node_id=last")).json()
    assert [entry["message"] for entry in logs] == ["Starting step: last"]


async def test_what_is_wrong(served):
    """A YAML text with errors: each with its place, line and column."""
    _, client = served
    for right, wrong, pointer, line in (
        ("type: delay\n", "type: dely\n", "/nodes/start/type", 4),
        ("success: last", "success: last, error: lats", "/nodes/start/next/error", 6),
    ):
        answer = await client.post("/flows", json={"content": FLOW.replace(right, wrong)})
        assert answer.status_code == 400
        errors = [error for error in answer.json()["errors"] if error["severity"] == "ERROR"]
        assert [(error["pointer"], error["line"]) for error in errors] == [(pointer, line)]
        assert all(error["column"] for error in errors)
        assert all(error.keys() == {"pointer", "line", "column", "code", "severity", "detail", "hint"} and error["hint"] for error in answer.json()["errors"])


SCRIPTED = """\
metadata: {name: Scripted}
nodes:
  count:
    type: transform
    params:
      script: |
        const items = input.items;
        return items.length +* 2;
"""


async def test_javascript_that_does_not_compile(served):
    """Kept nowhere: told at the script's own line, by a check and by what would keep it; of workflows as of flows."""
    _, client = served
    sound = SCRIPTED.replace("+*", "*")
    flow = (await client.post("/flows", json={"content": sound})).json()["id"]
    assert (await client.post("/flows/validate", json={"content": sound})).json() == {"valid": True, "errors": [], "warnings": []}
    checked = (await client.post("/flows/validate", json={"content": SCRIPTED})).json()
    refused = [await client.post("/flows", json={"content": SCRIPTED}), await client.put(f"/flows/{flow}", json={"content": SCRIPTED})]
    assert [answer.status_code for answer in refused] == [400, 400]
    for errors in (checked["errors"], *(answer.json()["errors"] for answer in refused)):
        [error] = errors
        assert (error["pointer"], error["line"], error["column"], error["code"]) == ("/nodes/count/params/script", 8, 30, "INVALID_SCRIPT")
        assert error["hint"]
    client.base_url = "http://localhost/api/v2"
    steps = {"name": "W", "steps": {"count": {"type": "script", "config": {"script": "return 1 +* 2"}}}}
    checked = (await client.post("/workflows/validate", json={"definition": json.dumps(steps, indent=1)})).json()
    assert [(error["pointer"], error["line"], error["column"]) for error in checked["errors"]] == [("/definition/steps/count/config/script", 7, 26)]
    refused = await client.post("/workflows", json={"workflowId": "w", "definition": steps})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/definition/steps/count/config/script")


async def test_a_script_that_is_hard_to_read_holds_nobody_up(served):
    """It is refused in time, and others are served meanwhile."""
    _, client = served
    hostile = SCRIPTED.replace("items.length +* 2", "(" * 400 + "a+" * 200_000)
    asked = asyncio.create_task(client.post("/flows", json={"content": hostile}))
    began = time.monotonic()
    while not asked.done():
        assert (await client.get("/flows")).status_code == 200
    assert time.monotonic() - began < 30
    [error] = asked.result().json()["errors"]
    assert (error["code"], error["pointer"]) == ("INVALID_SCRIPT", "/nodes/count/params/script")


async def test_branches(served):
    """Scripts choose the way; what they log and how they fail is there to be read."""
    application, client = served
    flow = (await client.post("/flows", json={"content": BRANCHES})).json()["id"]
    shown = {}
    for value in (6, 1):
        execution = (await client.post(f"/flows/{flow}/run", json={"input": {"value": value}})).json()["execution_id"]
        async with asyncio.timeout(30):
            await application.feed.ended(execution)
        shown[value] = (await client.get(f"/executions/{execution}")).json()
        logs = (await client.get(f"/executions/{execution}/logs")).json()
        assert ("big", "info", "big one") in {(entry["node_id"], entry["level"], entry["message"]) for entry in logs} or value == 1
    assert (shown[6]["status"], shown[6]["current_node"], shown[6]["results"]["big"]) == ("completed", "big", {"size": "big"})
    assert (shown[1]["status"], shown[1]["current_node"]) == ("failed", "small")
    assert "too small" in shown[1]["error"]


async def test_a_workflow(served):
    """Kept, executed with variables, and read step by step."""
    application, client = served
    client.base_url = "http://localhost/api/v2"
    made = await client.post("/workflows", json={"workflowId": "two-steps", "definition": STEPS})
    assert made.status_code == 201, made.text
    assert (made.json()["name"], made.json()["definition"]) == ("Two steps", STEPS)
    run = (await client.post("/workflows/two-steps/execute", json={"variables": {"who": "ada"}})).json()["runId"]
    async with asyncio.timeout(30):
        await application.feed.ended(run)
    shown = (await client.get(f"/workflows/runs/{run}")).json()
    assert (shown["status"], shown["workflowId"], shown["context"]["variables"]) == ("success", "two-steps", {"greeting": "hello", "who": "ada"})
    assert shown["context"]["outputs"].keys() == {"first", "second"}
    steps = (await client.get(f"/workflows/runs/{run}/steps")).json()
    assert [(step["stepId"], step["stepName"], step["status"]) for step in steps] == [("first", "First", "success"), ("second", "Second", "success")]
    logs = (await client.get(f"/workflows/runs/{run}/logs?stepId=second")).json()
    assert [line["message"] for line in logs] == ["Starting step: Second"]
    wrong = {**STEPS, "steps": {**STEPS["steps"], "first": {**STEPS["steps"]["first"], "dependsOn": ["second"]}}}
    answer = await client.post("/workflows/validate", json={"definition": wrong})
    assert (answer.json()["valid"], answer.status_code) == (False, 200)
    assert all(error["pointer"].startswith("/definition/steps") for error in answer.json()["errors"])


async def test_an_action_template(served):
    """A workflow is read with the template it names, keeps it as it was, and takes a change when it is kept again."""
    application, client = served
    client.base_url = "http://localhost/api/v2"
    template = {"templateId": "pause", "name": "Pause", "type": "delay", "config": {"duration": 1, "unit": "ms"}}
    definition = {"name": "Templated", "steps": {"one": {"id": "one", "name": "One", "actionTemplateId": "pause"}}}
    refused = await client.post("/workflows", json={"workflowId": "w", "definition": definition})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/definition/steps/one/actionTemplateId")
    assert (await client.post("/action-templates", json=template)).status_code == 201
    assert (await client.post("/workflows", json={"workflowId": "w", "definition": definition})).status_code == 201
    assert (await client.get("/action-templates/pause/usage")).json() == {"templateId": "pause", "usageCount": 1, "workflows": ["w"]}
    await client.put("/action-templates/pause", json={"config": {"duration": 2, "unit": "ms"}})
    for version in (1, 2):
        run = (await client.post("/workflows/w/execute", json={})).json()["runId"]
        async with asyncio.timeout(30):
            await application.feed.ended(run)
        assert (await client.get(f"/workflows/runs/{run}")).json()["status"] == "success"
        assert (await client.get("/workflows/w")).json()["versionNumber"] == version
        await client.put("/workflows/w", json={"definition": definition})
    await client.delete("/action-templates/pause")
    run = (await client.post("/workflows/w/execute", json={})).json()["runId"]
    async with asyncio.timeout(30):
        await application.feed.ended(run)
    assert (await client.get(f"/workflows/runs/{run}")).json()["status"] == "success"


class Refusing(asyncio.Protocol):
    """A server that answers 500 for paths with `bad`, and 200 for others."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        status = b"500 Broken" if b"bad" in data.split(b"\r\n")[0] else b"200 OK"
        self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 2\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{}")
        self.transport.close()


async def test_a_batch_of_requests_that_a_server_refuses(served):
    """An answer 500 loses its item after the retries, whatever the strategy; the edge goes by what is left."""
    application, client = served
    listening = await asyncio.get_running_loop().create_server(Refusing, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        for strategy in ("serial", "async", "parallel", "worker_pool"):
            node = {
                "type": "http.request",
                "params": {"url": address + "/${ item }"},
                "batch": {"strategy": strategy, "items": ["good", "bad", "fine"]},
                "retry": {"max_retries": 1, "wait": "1ms"},
            }
            text = json.dumps({"metadata": {"name": strategy}, "nodes": {"ask": {**node, "next": {"success": "last"}}, "last": {"type": "transform"}}})
            made = await client.post("/flows", json={"content": text})
            execution = (await client.post(f"/flows/{made.json()['id']}/run", json={})).json()["execution_id"]
            async with asyncio.timeout(30):
                await application.feed.ended(execution)
            shown = (await client.get(f"/executions/{execution}")).json()
            asked = shown["results"]["ask"]
            assert (shown["status"], asked["success_rate"], [lost["item"] for lost in asked["failed_items"]]) == ("completed", 66.6667, ["bad"]), strategy
            assert "500" in asked["failed_items"][0]["error"]


async def test_a_script_of_a_workflow_that_sets_what_flows_share(served):
    """Its output is what it returned, and its log says that nothing is shared."""
    application, client = served
    client.base_url = "http://localhost/api/v2"
    step = {"type": "script", "config": {"script": "shared.seen = 1; return {n: 2};"}, "output": {"n": "n"}}
    await client.post("/workflows", json={"workflowId": "sharing", "definition": {"name": "Sharing", "steps": {"one": step}}})
    run = (await client.post("/workflows/sharing/execute", json={})).json()["runId"]
    async with asyncio.timeout(30):
        await application.feed.ended(run)
    assert (await client.get(f"/workflows/runs/{run}")).json()["context"] == {"variables": {"n": 2}, "outputs": {"one": {"n": 2}}}
    logs = (await client.get(f"/workflows/runs/{run}/logs")).json()
    assert [line["level"] for line in logs if "Workflows have no 'shared'" in line["message"]] == ["warn"]


async def test_what_is_not_waited_for_is_found_by_its_id(served):
    """Nodes and steps that leave another execution alone give the id that REST takes; a started flow knows its own."""
    application, client = served

    async def ended(run):
        async with asyncio.timeout(30):
            await application.feed.ended(run)

    own = {"metadata": {"name": "Own"}, "nodes": {"own": {"type": "transform", "params": {"script": "return {id: execution.id}"}}}}
    child = (await client.post("/flows", json={"content": json.dumps(own)})).json()["id"]
    left = {"metadata": {"name": "Left"}, "nodes": {"left": {"type": "flow", "params": {"flow_id": child, "wait": False}}}}
    parent = (await client.post("/flows", json={"content": json.dumps(left)})).json()["id"]
    run = (await client.post(f"/flows/{parent}/run", json={})).json()["execution_id"]
    await ended(run)
    started = (await client.get(f"/executions/{run}")).json()["results"]["left"]["execution_id"]
    await ended(started)
    assert (await client.get(f"/executions/{started}")).json()["results"]["own"] == {"id": started}
    client.base_url = "http://localhost/api/v2"
    await client.post("/workflows", json={"workflowId": "steps", "definition": STEPS})
    alone = {"name": "Alone", "steps": {"alone": {"type": "workflow", "config": {"workflowId": "steps", "wait": False}}}}
    await client.post("/workflows", json={"workflowId": "alone", "definition": alone})
    run = (await client.post("/workflows/alone/execute", json={})).json()["runId"]
    await ended(run)
    started = (await client.get(f"/workflows/runs/{run}")).json()["context"]["outputs"]["alone"]["runId"]
    assert (await client.get(f"/workflows/runs/{started}")).json()["workflowId"] == "steps"


@pytest.mark.parametrize("slash", ["/", "%2F"])
async def test_a_run_is_named_by_its_arn(served, slash):
    """The ARN that a run is shown with names it in every path, although it has a slash."""
    application, client = served
    client.base_url = "http://localhost/api/v2"
    await client.post("/workflows", json={"workflowId": "two-steps", "definition": STEPS})
    run = (await client.post("/workflows/two-steps/execute", json={})).json()
    async with asyncio.timeout(30):
        await application.feed.ended(run["runId"])
    arn = run["executionArn"].replace("/", slash)
    assert (await client.get(f"/workflows/runs/{arn}")).json()["runId"] == run["runId"]
    assert len((await client.get(f"/workflows/runs/{arn}/steps")).json()) == 2
    assert (await client.get(f"/workflows/runs/{arn}/stream?wait=1ms")).json()["ended"] is True
    assert (await client.get(f"http://localhost/api/v1/executions/{arn}")).json()["id"] == run["runId"]
    assert (await client.get(f"/workflows/runs/{arn}0")).status_code == 404


async def test_what_is_doubtful_about_a_new_flow_is_told(served):
    """It is kept, and the answer says what has no effect."""
    _, client = served
    made = await client.post("/flows", json={"content": "metadata: {name: Meets}\nnodes: {a: {type: merge, hooks: {post: return 1}}}\n"})
    assert made.status_code == 201
    [warning] = made.json()["warnings"]
    assert (warning["code"], warning["pointer"], warning["line"]) == ("HAS_NO_EFFECT", "/nodes/a/hooks", 2)
    assert (await client.post("/flows", json={"content": FLOW})).json().keys() == {"id"}
