"""Secret variables of environments: sealed, masked wherever they could be seen, and there for the steps of a run."""

import asyncio
import json

import pytest

from applications import serving

VALUE = "k-8f3a-71c0-secret"
STEPS = {
    "name": "Uses a secret",
    "steps": {
        "said": {
            "type": "command",
            "config": {"command": "echo", "args": ["Bearer {{secrets.apiKey}}", "{{apiKey}}", "{{url}}"]},
            "output": {"line": "stdout"},
        },
        "seen": {
            "type": "script",
            "config": {
                "script": "const names = Object.keys(secrets); const has = ['apiKey' in secrets, 'nope' in secrets]; return {names, has, length: secrets.apiKey.length, same: secrets.apiKey};"
            },
            "dependsOn": ["said"],
        },
    },
}


@pytest.fixture
async def served(tmp_path):
    async with serving(tmp_path, "http://localhost/api/v2") as (application, client):
        yield application, client, tmp_path


@pytest.fixture
async def ask(served):
    _, client, _ = served

    async def ask(method, path, body=None, status=200):
        answer = await client.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        assert VALUE not in answer.text
        return answer.json()

    return ask


async def ran(application, ask, workflow="w"):
    run = (await ask("POST", f"/workflows/{workflow}/execute", {}, 202))["runId"]
    async with asyncio.timeout(30):
        await application.feed.ended(run)
    return run, await ask("GET", f"/workflows/runs/{run}")


async def test_a_secret_is_set_shown_masked_and_removed(ask):
    """By the environment and by the variable; what was shown can be sent back."""
    made = await ask("POST", "/environments", {"envId": "dev", "name": "Dev", "variables": {"url": "u"}, "secretVariables": {"apiKey": VALUE}}, 201)
    assert (made["variables"], made["secretVariables"]) == ({"url": "u"}, {"apiKey": "***"})
    assert await ask("GET", "/environments/dev/variables") == {"variables": {"url": "u", "apiKey": "***"}}
    assert await ask("GET", "/environments/dev/variables/apiKey") == {"key": "apiKey", "value": "***", "secret": True}
    assert await ask("PUT", "/environments/dev/variables/token", {"value": VALUE, "secret": True}) == {"key": "token", "value": "***", "secret": True}
    assert await ask("PUT", "/environments/dev/variables/token", {"value": f"{VALUE}2"}) == {"key": "token", "value": "***", "secret": True}
    again = {"name": made["name"], "variables": {"url": "v"}, "secretVariables": made["secretVariables"]}
    assert (await ask("PUT", "/environments/dev", again))["secretVariables"] == {"apiKey": "***", "token": "***"}
    assert (await ask("PUT", "/environments/dev", {"secretVariables": {"token": None}}))["secretVariables"] == {"apiKey": "***"}
    await ask("DELETE", "/environments/dev/variables/apiKey")
    await ask("GET", "/environments/dev/variables/apiKey", status=404)
    assert await ask("PUT", "/environments/dev/variables/n", {"value": 1}) == {"key": "n", "value": 1}
    assert (await ask("GET", "/environments/dev"))["secretVariables"] == {}


@pytest.mark.parametrize("wrong", [{"a.b": "x"}, {"": "x"}, {"k": ""}, {"k": 7}, {"k": None, "x y": "z"}])
async def test_what_cannot_be_a_secret(ask, wrong):
    """A name that steps can write, and a text."""
    await ask("POST", "/environments", {"envId": "dev", "name": "Dev", "secretVariables": wrong}, 400)
    await ask("GET", "/environments/dev", status=404)


async def test_the_value_is_sealed_and_goes_with_its_variable(served, ask):
    """It is a secret of the account that nobody reads: not by its name, not in the files of the store."""
    _, client, folder = served
    await ask("POST", "/environments", {"envId": "dev", "name": "Dev", "secretVariables": {"apiKey": VALUE, "more": VALUE}}, 201)
    secrets = "http://localhost/api/v1/accounts/me/secrets"
    assert (await client.get(f"{secrets}/keys")).json()["keys"] == ["environments/dev/apiKey", "environments/dev/more"]
    assert (await client.get(f"{secrets}/environments/dev/apiKey")).status_code == 403
    assert (await client.put(f"{secrets}/environments/dev/apiKey", json={"value": "x"})).status_code == 400
    assert not [file for file in folder.rglob("*") if file.is_file() and VALUE.encode() in file.read_bytes()]
    await ask("PUT", "/environments/dev", {"variables": {"more": "plain"}})
    assert (await client.get(f"{secrets}/keys")).json()["keys"] == ["environments/dev/apiKey"]
    await ask("DELETE", "/environments/dev")
    assert (await client.get(f"{secrets}/keys")).json()["keys"] == []


async def test_steps_use_it_and_nobody_sees_it(served, ask):
    """Resolved in the task, masked in outputs, variables, logs, history and input; the environment of the run counts, an inherited value too."""
    application, client, _ = served
    await ask("POST", "/environments", {"envId": "base", "name": "Base", "variables": {"url": "u"}, "secretVariables": {"apiKey": VALUE}}, 201)
    await ask("POST", "/environments", {"envId": "dev", "name": "Dev", "parentId": "base"}, 201)
    await ask("POST", "/environments/dev/activate")
    await ask("POST", "/workflows", {"workflowId": "w", "definition": STEPS}, 201)
    run, shown = await ran(application, ask)
    assert shown["status"] == "success", shown
    outputs = shown["context"]["outputs"]
    assert outputs["said"]["stdout"].strip() == "Bearer *** *** u"
    assert outputs["seen"] == {"length": len(VALUE), "same": "***", "names": ["apiKey"], "has": [True, False]}
    assert shown["context"]["variables"]["apiKey"] == "***"
    assert "environment.secrets" not in shown["context"]["variables"]
    for part in ("steps", "logs", "variables"):
        await client.get(f"/workflows/runs/{run}/{part}")
    records = [record async for batch in application.feed.follow(run) for _, record in batch]
    assert VALUE not in json.dumps([str(record) for record in records])


async def test_without_one_the_name_is_a_secret_of_the_account(served, ask):
    """An environment's variable comes first; where the environment has none, the account's secret of that name is meant."""
    application, client, _ = served
    await client.post("http://localhost/api/v1/accounts/me/secrets/apiKey", json={"value": "of-the-account"})
    await ask("POST", "/workflows", {"workflowId": "w", "definition": STEPS}, 201)
    _, shown = await ran(application, ask)
    assert shown["context"]["outputs"]["seen"]["length"] == len("of-the-account")
    await ask("POST", "/environments", {"envId": "dev", "name": "Dev", "variables": {"apiKey": "seen"}, "secretVariables": {"apiKey": VALUE}}, 201)
    await ask("POST", "/environments/dev/activate")
    _, shown = await ran(application, ask)
    assert shown["context"]["outputs"]["seen"]["length"] == len(VALUE)


async def test_scripts_list_the_names_of_secrets(served, ask):
    """Those of the account and of the run's environment, of flows too; no value is read for it."""
    application, client, _ = served
    for name in ("billing/key", "apiKey"):
        await client.post(f"http://localhost/api/v1/accounts/me/secrets/{name}", json={"value": VALUE})
    await ask("POST", "/environments", {"envId": "dev", "name": "Dev", "secretVariables": {"token": VALUE, "apiKey": VALUE}}, 201)
    await ask("POST", "/environments", {"envId": "other", "name": "Other", "secretVariables": {"hidden": VALUE}}, 201)
    await ask("POST", "/environments/dev/activate")
    script = "return {names: Object.keys(secrets), has: 'billing/key' in secrets, not: 'hidden' in secrets, shown: String(secrets)};"
    await ask("POST", "/workflows", {"workflowId": "w", "definition": {"name": "W", "steps": {"a": {"type": "script", "config": {"script": script}}}}}, 201)
    _, shown = await ran(application, ask)
    names = ["apiKey", "billing/key", "token"]
    assert shown["context"]["outputs"]["a"] == {"names": names, "has": True, "not": False, "shown": f"[secrets: {', '.join(names)}]"}
    flow = f"metadata: {{name: F}}\nnodes:\n  a:\n    type: transform\n    params:\n      script: {json.dumps(script)}\n"
    made = await client.post("http://localhost/api/v1/flows", json={"content": flow})
    started = (await client.post(f"http://localhost/api/v1/flows/{made.json()['id']}/run", json={})).json()["execution_id"]
    async with asyncio.timeout(30):
        await application.feed.ended(started)
    result = (await client.get(f"http://localhost/api/v1/executions/{started}")).json()["results"]["a"]
    assert result["names"] == ["apiKey", "billing/key"]
    info = (await client.get("http://localhost/api/v1/accounts/me/secrets")).json()["secrets"]
    assert all(one["last_used"] is None for one in info)


async def test_what_becomes_of_secrets_is_in_the_log(served, ask):
    """Set and removed, however: by a change, by a variable in its place, with its environment, and with a webhook."""
    application, client, _ = served
    await ask("POST", "/environments", {"envId": "dev", "name": "Dev", "secretVariables": dict.fromkeys("abcd", VALUE)}, 201)
    await ask("PUT", "/environments/dev", {"secretVariables": {"a": None}})
    await ask("PUT", "/environments/dev/variables/b", {"value": "open", "secret": False})
    await ask("DELETE", "/environments/dev/variables/c")
    await ask("DELETE", "/environments/dev")
    await ask("POST", "/workflows", {"workflowId": "w", "definition": STEPS}, 201)
    hooks = "http://localhost/api/v1/webhooks"
    body = {"url": "https://example.com/", "workflow_id": "w", "secret": "signing"}
    one, two = [(await client.post(hooks, json=body)).json()["id"] for _ in range(2)]
    assert (await client.put(f"{hooks}/{one}", json={**body, "secret": None})).status_code == 200
    assert (await client.delete(f"{hooks}/{two}")).status_code == 204
    found = [(entry.action, entry.target) for entry in await application.identity.audit.page("000000000000", limit=100)]
    secrets = [(action, target) for action, target in found if action.startswith("secret.")]
    assert secrets == [
        *[("secret.set", f"environments/dev/{name}") for name in "abcd"], *[("secret.delete", f"environments/dev/{name}") for name in "abcd"],
        ("secret.set", f"webhooks/{one}"), ("secret.set", f"webhooks/{two}"), ("secret.delete", f"webhooks/{one}"), ("secret.delete", f"webhooks/{two}"),
    ]  # fmt: skip


async def test_nobody_keeps_what_a_run_has(served, ask):
    """Inputs and results of runs are in no cache: every answer about one says so."""
    _, client, _ = served
    await ask("POST", "/workflows", {"workflowId": "w", "definition": {"name": "n", "steps": {"s": {"type": "delay", "config": {"duration": "1h"}}}}}, 201)
    begun = await client.post("/workflows/w/execute", json={"variables": {"given": "private"}})
    path = f"/workflows/runs/{begun.json()['runId']}"
    told = [
        begun,
        *[await client.get(f"{path}{part}") for part in ("", "/steps", "/logs")],
        await client.get("/workflows/runs"),
        await client.post(f"{path}/cancel"),
    ]
    assert [(answer.status_code, answer.headers.get("cache-control")) for answer in told] == [(202, "no-store"), *[(200, "no-store")] * 5]
