"""Keys are rotated while secrets are read and used, and the server is killed in the middle: every secret stays readable, none is ever in the clear."""

import asyncio
import json
import random

import httpx
import pytest
from own_server import Site, step_functions

ACCOUNTS = "/api/v1/accounts/me"
SECRETS = {f"secret-{number}": f"canary-{number:04d}-{number * 7919:08x}" for number in range(24)}
FUNCTION = "def echo(event, context):\n    return len(event['secret'])\n"
ROLE = "arn:aws:iam::000000000000:role/r"


def machine(name):
    reference = f"{{{{resolve:secretsmanager:{name}}}}}"
    parameters = {"FunctionName": "echo", "Payload": {"secret": reference}}
    return {
        "StartAt": "Use",
        "States": {"Use": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": parameters, "OutputPath": "$.Payload", "End": True}},
    }


@pytest.fixture
def site(tmp_path):
    (tmp_path / "fn.py").write_text(FUNCTION)
    (tmp_path / "flowrunner.toml").write_text('[functions]\necho = "fn.py:echo"\n')
    made = Site(tmp_path)
    yield made
    if made.process.poll() is None:
        made.kill()


def readable(site, token):
    """Every secret has its value."""
    with httpx.Client(base_url=site.url, headers={"authorization": f"Bearer {token}"}, trust_env=False) as http:
        for name, value in SECRETS.items():
            answer = http.get(f"{ACCOUNTS}/secrets/{name}")
            assert answer.status_code == 200, answer.text
            assert answer.json()["value"] == value


async def rotate_until_killed(site, token, seconds):
    """Rotations one after the other beside readers and executions, until the server is killed."""
    ended = asyncio.Event()

    async def again(method, path, expected=None):
        async with httpx.AsyncClient(base_url=site.url, headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=5) as http:
            while not ended.is_set():
                try:
                    answer = await http.request(method, path, json={} if method == "POST" else None)
                except httpx.TransportError:
                    return
                assert answer.status_code < 500, answer.text
                if expected is not None and answer.status_code == 200:
                    assert answer.json()["value"] == expected

    async with asyncio.TaskGroup() as group:
        group.create_task(again("POST", f"{ACCOUNTS}/vault/rotation"))
        for name in list(SECRETS)[:3]:
            group.create_task(again("GET", f"{ACCOUNTS}/secrets/{name}", SECRETS[name]))
        await asyncio.sleep(seconds)  # the instant is the experiment
        ended.set()
        site.kill()


def go_through(site, kills):
    chance = random.Random(kills)
    site.start()
    while "--token -" not in site.said:
        assert site.process.poll() is None
    token = site.said.partition("token   ")[2].split()[0]
    assert site.run("login", "--server", site.url, "--token", "-", text=token).returncode == 0
    variables = site.keys()
    with httpx.Client(base_url=site.url, headers={"authorization": f"Bearer {token}"}, trust_env=False) as http:
        for name, value in SECRETS.items():
            assert http.post(f"{ACCOUNTS}/secrets/{name}", json={"value": value}).status_code == 201
    first = step_functions(variables)
    arn = first.create_state_machine(name="use", definition=json.dumps(machine("secret-5")), roleArn=ROLE)["stateMachineArn"]
    port = int(site.url.rpartition(":")[2])
    for number in range(kills):
        asyncio.run(rotate_until_killed(site, token, chance.uniform(0.02, 0.4)))
        site.start(port=port)
        readable(site, token)
        execution = step_functions(variables).start_execution(stateMachineArn=arn, name=f"after-{number}")["executionArn"]
        while (told := step_functions(variables).describe_execution(executionArn=execution))["status"] == "RUNNING":
            pass
        assert (told["status"], told["output"]) == ("SUCCEEDED", str(len(SECRETS["secret-5"])))
        clear = [path for path in site.folder.rglob("*") if path.is_file() and b"canary-" in path.read_bytes()]
        assert clear == []
    assert site.run("secret", "rotate").returncode == 0
    readable(site, token)
    assert site.stop() == 0


@pytest.mark.timeout(180)
def test_rotation_survives_kills(site):
    """Three kills."""
    go_through(site, 3)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_rotation_survives_twenty_kills(site):
    """Twenty kills."""
    go_through(site, 20)
