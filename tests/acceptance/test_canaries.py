"""Forty canary secrets through a real server: in no file, log, backup, export, answer or socket message is one of them, in any spelling."""

import importlib.util
import json
import random
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from own_server import Site
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

CANARIES = 40
RUNS = "/api/v2/workflows/runs"
SUITE = importlib.util.spec_from_file_location("vault_executions", Path(__file__).parent.parent / "vault" / "test_secret_executions.py")
canaries = importlib.util.module_from_spec(SUITE)  # what tasks do with secrets, and how these may be spelt
SUITE.loader.exec_module(canaries)
server = canaries.server  # echoes what tasks send


@pytest.fixture
def site(tmp_path, server):
    (tmp_path / "fn.py").write_text(canaries.FUNCTIONS)
    functions = "\n".join(f'{name} = "fn.py:{name}"' for name in ("echo", "fail", "named", "late", "dies"))
    allowed = json.dumps([server.removeprefix("http://"), "127.0.0.1:1"])
    (tmp_path / "flowrunner.toml").write_text(f'[functions]\n{functions}\n[http]\nallow = {allowed}\n[log]\nlevel = "debug"\n')
    made = Site(tmp_path)
    made.start()
    yield made
    if made.process.poll() is None:
        made.kill()


def caught_up(http, url, run):
    """All messages of a run's socket, to its end; and once more, with a snapshot instead of its past."""
    told = []
    for query in ("", "&snapshot=1"):
        ticket = http.post("/api/v1/socket-tickets").json()["ticket"]
        with (
            connect(f"{url.replace('http', 'ws')}{RUNS}/{run}/stream?ticket={ticket}{query}", proxy=None, max_size=None) as socket,
            suppress(ConnectionClosed),
        ):
            while True:
                told.append(socket.recv(60))
    assert '"type":"snapshot"' in told[-2]
    return "".join(told)


@pytest.mark.timeout(240)
async def test_no_canary_is_found(site, server):
    """Every task kind and outcome; stores, logs, socket captures, histories, backups and exports are searched in all spellings."""
    import asyncio

    await asyncio.to_thread(go_through, site, server)


def go_through(site, server):
    chance = random.Random(7)
    while "--token -" not in site.said:
        assert site.process.poll() is None
    token = site.said.partition("token   ")[2].split()[0]
    assert site.run("login", "--server", site.url, "--token", "-", text=token).returncode == 0
    values, captured = {}, []
    kinds = [kind for kind in canaries.states("", "") if kind not in ("child", "bad field")]
    with ExitStack() as stack:
        http = stack.enter_context(httpx.Client(base_url=site.url, headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=60))

        def call(operation, **given):
            answer = http.post("/", json=given, headers={"x-amz-target": f"AWSStepFunctions.{operation}", "content-type": "application/x-amz-json-1.0"})
            assert answer.status_code == 200, answer.text
            captured.append(answer.text)
            return answer.json()

        assert http.post("/api/v1/accounts/me/api-key-secrets/connection", json={"key": "c4n4ry-0f-the-c0nnect10n"}).status_code == 201
        values["connection"] = "c4n4ry-0f-the-c0nnect10n"
        runs = []
        for number in range(CANARIES):
            name, kind = f"canary-{number}", kinds[number % len(kinds)]
            values[name] = f"c4n4ry{number}/+{chance.randbytes(9).hex()}=\"'<&>"
            assert http.post(f"/api/v1/accounts/me/secrets/{name}", json={"value": values[name]}).status_code == 201
            state = canaries.states(f"{{{{resolve:secretsmanager:{name}}}}}", server)[kind]
            definition = {"StartAt": "Do", "States": {"Do": state, "Then": {"Type": "Pass", "End": True}}}
            arn = call("CreateStateMachine", name=f"m{number}", definition=json.dumps(definition), roleArn="arn:aws:iam::000000000000:role/r")[
                "stateMachineArn"
            ]
            runs.append((kind, call("StartExecution", stateMachineArn=arn, name="one")["executionArn"]))
        identities = {run["executionArn"]: run["runId"] for run in http.get(RUNS, params={"limit": 1000}).json()["items"]}
        for kind, arn in runs:
            captured.append(caught_up(http, site.url, identities[arn]))
            assert call("DescribeExecution", executionArn=arn)["status"] == "SUCCEEDED", kind
            call("GetExecutionHistory", executionArn=arn, maxResults=1000)
            captured.append(http.get(f"{RUNS}/{identities[arn]}").text)
    for words in (("db", "backup", "b.db"), ("db", "export", "e.jsonl")):
        assert site.run(*words, "--store", "sqlite:///.flowrunner/flowrunner.db").returncode == 0
    assert site.stop() == 0
    files = {str(path): path.read_bytes() for path in site.folder.rglob("*") if path.is_file() and path.name not in ("fn.py", "flowrunner.toml")}
    assert {"b.db", "e.jsonl", "flowrunner.db", "server-1.log"} <= {Path(name).name for name in files}
    everything = {**files, "captured": "\n".join(captured).encode()}
    assert canaries.MARKER.encode() in everything["captured"]
    assert b"***" in everything["captured"]
    for place, content in everything.items():
        for name, value in values.items():
            for spelt in canaries.spellings(value):
                assert spelt not in content, (place, name, spelt, content[max(0, content.find(spelt) - 200) :][:400])
