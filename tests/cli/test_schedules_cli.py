"""Schedules on the command line, with a real server."""

import json

import httpx
import pytest
from processes import flowrunner, serving

WORKFLOW = {"workflowId": "nightly", "name": "nightly", "definition": {"variables": {"n": 0}, "steps": {"a": {"type": "merge"}}}}


@pytest.fixture
def run(tmp_path):
    """A command against a server with a workflow."""
    with serving(folder=tmp_path) as running:
        httpx.post(f"{running.url}/api/v2/workflows", json=WORKFLOW, trust_env=False).raise_for_status()

        def one(*words, code=0):
            shown = flowrunner(*words, folder=tmp_path, FLOWRUNNER_SERVER=running.url)
            assert shown.returncode == code, shown.stderr
            assert "Traceback" not in shown.stderr
            return shown

        yield one


def test_a_life(run):
    """Made, listed, shown with what it started, paused, resumed, deleted."""
    made = run("schedule", "create", "* * * * * *", "--workflow", "nightly", "--id", "often", "--input", '{"n": 1}', "--json")
    assert {"id": "often", "schedule": "* * * * * *", "workflow_id": "nightly", "payload": {"n": 1}}.items() <= json.loads(made.stdout).items()
    run("schedule", "create", "@daily", "--workflow", "nightly", "--timezone", "Europe/Berlin", "--paused")
    [header, daily, often] = run("schedule", "list").stdout.splitlines()
    assert header.split("\t")[:4] == ["SCHEDULE", "WHEN", "ZONE", "STARTS"]
    assert daily.split("\t")[:5] == ["nightly", "@daily", "Europe/Berlin", "nightly", "false"]
    assert often.split("\t")[:5] == ["often", "* * * * * *", "UTC", "nightly", "true"]
    while not json.loads(run("schedule", "show", "often", "--json").stdout)["fired"]:
        pass
    run("schedule", "pause", "often")
    started = [json.loads(line) for line in run("schedule", "show", "often", "--runs", "-o", "jsonl").stdout.splitlines()]
    assert json.loads(run("describe", started[0]["execution_id"], "--json").stdout)["workflowId"] == "nightly"
    assert "comes about next at 20" in run("schedule", "resume", "nightly").stderr
    run("schedule", "delete", "often", code=2)  # nobody to ask
    run("schedule", "delete", "often", "--yes")
    assert [one["id"] for one in json.loads(run("schedule", "list", "--json").stdout)] == ["nightly"]


def test_what_is_wrong(run):
    """A target that is not there, two of them, a time that cannot be read, an input that is no object."""
    assert "no workflow 'gone'" in run("schedule", "create", "@daily", "--workflow", "gone", code=4).stderr
    run("schedule", "create", "@daily", "--workflow", "nightly", "--flow", "f", code=2)
    assert "cannot be read" in run("schedule", "create", "* *", "--workflow", "nightly", code=3).stderr
    run("schedule", "create", "@daily", "--workflow", "nightly", "--input", "[1]", code=3)
    run("schedule", "show", "gone", code=4)
