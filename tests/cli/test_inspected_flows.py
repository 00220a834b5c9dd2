"""Flows and workflows that wait: ``flowrunner db check`` reads them as the server would, and both say so when this release cannot go on with them."""

import json
import sqlite3

from applications import serving
from flowrunner.cli.inspection import Inspection
from flowrunner.limits import AWS

FLOW = {"metadata": {"name": "Waits"}, "nodes": {"a": {"type": "delay", "params": {"duration": "60s"}}}}
STEPS = {"name": "Waits", "steps": {"a": {"type": "delay", "config": {"duration": 60}}}}


def served(folder):
    return serving(folder, "http://localhost/api")


async def begin(client):
    """The ids of a flow's and a workflow's execution."""
    flow = (await client.post("/v1/flows", json={"content": json.dumps(FLOW)})).json()["id"]
    assert (await client.post("/v2/workflows", json={"workflowId": "w", "definition": STEPS})).status_code == 201
    execution = (await client.post(f"/v1/flows/{flow}/run", json={})).json()["execution_id"]
    return execution, (await client.post("/v2/workflows/w/execute", json={})).json()["runId"]


async def test_nothing_is_wrong_with_what_waits(tmp_path):
    async with served(tmp_path) as (application, client):
        await begin(client)
        inspection = Inspection(application.store, region="us-east-1", limits=AWS)
        assert [finding async for finding in inspection.findings()] == []
        assert inspection.executions == 2


async def test_what_this_release_replays_otherwise(tmp_path):
    """As what a release has begun that recorded other things: the check finds it, and who would end it is told why not."""
    async with served(tmp_path) as (_, client):
        execution, run = await begin(client)
    with sqlite3.connect(tmp_path / "flow.db") as database:
        assert database.execute("UPDATE heads SET last_seq = last_seq - 1").rowcount == 2
    database.close()
    async with served(tmp_path) as (application, client):
        found = [finding async for finding in Inspection(application.store, region="us-east-1", limits=AWS).findings()]
        assert {finding.where for finding in found} == {f"execution {execution}", f"execution {run}"}
        for answer in (await client.delete(f"/v1/executions/{execution}"), await client.post(f"/v2/workflows/runs/{run}/cancel")):
            assert (answer.status_code, answer.json()["code"]) == (409, "replay_mismatch")
            assert "Let a server of that release end it." in answer.json()["detail"]
