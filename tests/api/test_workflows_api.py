"""Workflows and their runs by REST."""

import json

import pytest
from accountsworld import TWO
from flowsworld import EDITOR, VIEWER, flows_world

from flowrunner.identity.permissions import Role

OTHER = (TWO, Role.OWNER)
DEFINITION = {"Comment": "Orders", "StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}
WAIT = {"Comment": "Waits", "StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 60, "End": True}}}
BODY = {
    "workflowId": "test-websocket-workflow", "name": "Test", "version": "1.0.0", "description": "Streams", "definition": DEFINITION,
    "isTestCase": False, "createdBy": "ada",
}  # fmt: skip
WORKFLOWS = "/api/v2/workflows"


@pytest.fixture
async def world():
    async with flows_world() as made:
        yield made


@pytest.fixture
def ask(world):
    async def ask(method, path, body=None, status=200, *, token=EDITOR, headers=None):
        answer = await world.client.request(method, f"/api/v2{path}", json=body, headers={**(headers or {}), "authorization": f"Bearer {world.tokens[token]}"})
        assert answer.status_code == status, answer.text
        if status >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
        return answer

    return ask


@pytest.fixture
async def workflow(ask):
    return (await ask("POST", "/workflows", BODY, 201)).json()["workflowId"]


async def test_life_of_a_workflow(ask):
    """With the source's bodies: created, read, changed, listed, deleted."""
    made = await ask("POST", "/workflows", BODY, 201)
    assert made.json().items() >= BODY.items()
    assert made.headers["location"] == f"{WORKFLOWS}/test-websocket-workflow"
    path = "/workflows/test-websocket-workflow"
    assert (await ask("GET", path)).json() == made.json()
    changed = (await ask("PUT", path, {**BODY, "name": "Other", "definition": WAIT})).json()
    assert (changed["name"], changed["definition"], changed["versionNumber"]) == ("Other", WAIT, 2)
    assert (await ask("PUT", path, {"description": "d"})).json()["name"] == "Other"
    await ask("PUT", path, {"workflowId": "x"}, 400)
    page = (await ask("GET", "/workflows")).json()
    assert (page["total"], page["limit"], page["offset"], page["next_cursor"]) == (1, 20, 0, None)
    assert "definition" not in page["data"][0]
    assert (await ask("DELETE", path)).json().keys() == {"message"}
    assert (await ask("GET", path, status=404)).json()["code"] == "not_found"


async def test_definition_as_text(ask):
    """A definition may be JSON text: its errors have its lines; those of an object have the lines of the body."""
    made = (await ask("POST", "/workflows", {"definition": json.dumps(DEFINITION)}, 201)).json()
    assert (made["definition"], made["name"]) == (DEFINITION, "Orders")
    wrong = {"StartAt": "B", "States": {"A": {"Type": "Pass", "End": True}}}
    for given, line in ((json.dumps(wrong, indent=1), 2), (wrong, 1)):
        problem = (await ask("POST", "/workflows", {"definition": given}, 400)).json()
        assert problem["code"] == "invalid_definition"
        assert (problem["errors"][0]["pointer"], problem["errors"][0]["line"]) == ("/definition/StartAt", line)


async def test_taken_and_strange_ids(ask, workflow):
    """An id is given once, and not one that a path means otherwise."""
    assert (await ask("POST", "/workflows", BODY, 409)).json()["code"] == "conflict"
    for name in ("runs", "validate", "a/b", ""):
        await ask("POST", "/workflows", {**BODY, "workflowId": name}, 400)


async def test_validate(ask):
    """A definition is checked without being kept."""
    assert (await ask("POST", "/workflows/validate", BODY, token=VIEWER)).json() == {"valid": True, "errors": [], "warnings": []}
    answer = (await ask("POST", "/workflows/validate", {"definition": {"StartAt": "A", "States": {}}})).json()
    assert (answer["valid"], answer["errors"][0]["severity"]) == (False, "ERROR")
    assert (await ask("GET", "/workflows")).json()["total"] == 0


async def test_list(ask):
    """Pages by offset and by cursor; test cases apart."""
    for number in range(5):
        await ask("POST", "/workflows", {**BODY, "workflowId": f"w{number}", "isTestCase": number % 2 == 1}, 201)
    ids = [f"w{number}" for number in range(5)]

    async def listed(query):
        return [one["workflowId"] for one in (await ask("GET", f"/workflows?{query}")).json()["data"]]

    assert await listed("") == ids
    assert await listed("isTestCase=true") == ["w1", "w3"]
    assert await listed("isTestCase=false&limit=2&offset=1") == ["w2", "w4"]
    first = (await ask("GET", "/workflows?limit=3")).json()
    assert first["total"] == 5
    assert [*(one["workflowId"] for one in first["data"]), *await listed(f"limit=3&cursor={first['next_cursor']}")] == ids
    for wrong in ("isTestCase=yes", "limit=0", "offset=x", "cursor=x"):
        await ask("GET", f"/workflows?{wrong}", status=400)


async def test_execute(world, ask, workflow):
    """A run is answered at once, before it has ended; then it has its variables, steps and logs."""
    started = await ask("POST", f"/workflows/{workflow}/execute", {"variables": {"apiUrl": "http://localhost"}}, 202)
    run = started.json()
    assert {"workflowId": workflow, "status": "running"}.items() <= run.items()
    assert run.keys() >= {"runId", "startTime"}
    await world.engine.feed.ended(run["runId"])
    shown = (await ask("GET", f"/workflows/runs/{run['runId']}")).json()
    assert (shown["status"], shown["workflowId"]) == ("success", workflow)
    assert isinstance(shown["duration"], int)
    assert shown["context"] == {"variables": {"apiUrl": "http://localhost"}, "outputs": {}}
    assert (await ask("GET", f"/workflows/runs/{run['runId']}/steps")).json() == []
    logs = (await ask("GET", f"/workflows/runs/{run['runId']}/logs")).json()
    assert [line["message"] for line in logs] == ["Execution started", "Execution completed"]
    assert (await ask("GET", f"/workflows/runs/{run['runId']}/logs?level=error&stepId=x")).json() == []
    await ask("GET", f"/workflows/runs/{run['runId']}/logs?level=loud", status=400)
    assert [one["runId"] for one in (await ask("GET", f"/workflows/{workflow}/runs")).json()["items"]] == [run["runId"]]
    assert (await ask("GET", f"/workflows/{workflow}/runs?status=failed")).json()["items"] == []
    assert [one["runId"] for one in (await ask("GET", f"/workflows/runs?workflow={workflow}")).json()["items"]] == [run["runId"]]
    for wrong in ({"variables": 1}, {"other": {}}):
        await ask("POST", f"/workflows/{workflow}/execute", wrong, 400)
    await ask("POST", "/workflows/none/execute", {}, 404)


async def test_cancel_of_a_run(ask):
    """A run is cancelled, once."""
    await ask("POST", "/workflows", {"workflowId": "w", "definition": WAIT}, 201)
    run = (await ask("POST", "/workflows/w/execute", {}, 202)).json()["runId"]
    assert (await ask("POST", f"/workflows/runs/{run}/cancel")).json()["status"] == "cancelled"
    assert (await ask("GET", f"/workflows/runs/{run}")).json()["status"] == "cancelled"
    assert (await ask("POST", f"/workflows/runs/{run}/cancel", status=409)).json()["code"] == "already_ended"


async def test_workflows_of_others(ask, workflow):
    """Another account finds nothing, a viewer changes nothing."""
    run = (await ask("POST", f"/workflows/{workflow}/execute", {}, 202)).json()["runId"]
    for method, path, body in (
        ("GET", f"/workflows/{workflow}", None), ("PUT", f"/workflows/{workflow}", {}), ("DELETE", f"/workflows/{workflow}", None),
        ("POST", f"/workflows/{workflow}/execute", {}), ("GET", f"/workflows/{workflow}/runs", None), ("GET", f"/workflows/runs/{run}", None),
        ("GET", f"/workflows/runs/{run}/steps", None), ("GET", f"/workflows/runs/{run}/logs", None), ("POST", f"/workflows/runs/{run}/cancel", None),
    ):  # fmt: skip
        await ask(method, path, body, 404, token=OTHER)
    assert (await ask("GET", "/workflows", token=OTHER)).json()["data"] == []
    for method, path, body in (("POST", "/workflows", BODY), ("PUT", f"/workflows/{workflow}", {}), ("POST", f"/workflows/{workflow}/execute", {})):
        await ask(method, path, body, 403, token=VIEWER)


async def test_etag_of_a_workflow(ask, workflow):
    """A writer that names what it has read is refused once that has changed."""
    first = (await ask("GET", f"/workflows/{workflow}")).headers["etag"]
    await ask("PUT", f"/workflows/{workflow}", {"name": "n"}, headers={"if-match": first})
    await ask("PUT", f"/workflows/{workflow}", {"name": "m"}, 412, headers={"if-match": first})
    await ask("DELETE", f"/workflows/{workflow}", status=412, headers={"if-match": first})
