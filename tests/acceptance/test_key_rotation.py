"""Keys are rotated while secrets are read and used, and the server is killed in the middle: nothing is lost, nothing is ever in the clear."""

import asyncio
import contextlib
import json
import random
import re
import shutil
import sqlite3

import httpx
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, HTTPClientError
from own_server import Site, step_functions

ACCOUNTS = "/api/v1/accounts/me"
SECRETS = {f"secret-{number}": f"canary-{number:04d}-{number * 7919:08x}" for number in range(40)}
USED = "secret-5"
FUNCTION = "def echo(event, context):\n    return len(event['secret'])\n"
ROLE = "arn:aws:iam::000000000000:role/r"
PARAMETERS = {"FunctionName": "echo", "Payload": {"secret": f"{{{{resolve:secretsmanager:{USED}}}}}"}}
USE = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": PARAMETERS, "OutputPath": "$.Payload", "End": True}
MACHINE = json.dumps({"StartAt": "Use", "States": {"Use": USE}})
GONE = (ConnectionClosedError, EndpointConnectionError, HTTPClientError)  # what botocore makes of a server that is killed


class Users:
    """Who works on the site while keys are rotated: with a token, and with a key pair."""

    def __init__(self, site):
        self.site = site
        site.start()
        self.token = site.token()
        assert site.run("login", "--server", site.url, "--token", "-", text=self.token).returncode == 0
        self.variables = site.keys()
        self.port = int(site.url.rpartition(":")[2])
        self.accepted = []  # executions whose start was acknowledged
        self.rotations = 0
        with self.http() as http:
            for name, value in SECRETS.items():
                assert http.post(f"{ACCOUNTS}/secrets/{name}", json={"value": value}).status_code == 201
        self.machine = self.signing().create_state_machine(name="use", definition=MACHINE, roleArn=ROLE)["stateMachineArn"]

    def http(self, kind=httpx.Client):
        return kind(base_url=self.site.url, headers={"authorization": f"Bearer {self.token}"}, trust_env=False, timeout=20)

    def signing(self):
        return step_functions(self.variables)

    def check_readable(self):
        """Every secret has its value."""
        with self.http() as http:
            for name, value in SECRETS.items():
                answer = http.get(f"{ACCOUNTS}/secrets/{name}")
                assert (answer.status_code, answer.json().get("value")) == (200, value)

    def check_used(self):
        """Every execution that was acknowledged ends well, with what the secret gives; so does a new one."""
        client = self.signing()
        self.accepted.append(client.start_execution(stateMachineArn=self.machine)["executionArn"])
        while self.accepted:
            told = client.describe_execution(executionArn=self.accepted[-1])
            if told["status"] != "RUNNING":
                assert (told["status"], told.get("output")) == ("SUCCEEDED", str(len(SECRETS[USED]))), (told.get("error"), told.get("cause"))
                self.accepted.pop()

    async def work_until_killed(self, seconds):
        """Two rotations, readers and starts of executions at once, each again and again; SIGKILL so many seconds after the first answers."""
        killed, begun = asyncio.Event(), asyncio.Event()

        async def again(method, path, check, body=None):
            async with self.http(httpx.AsyncClient) as http:
                while True:
                    try:
                        answer = await http.request(method, path, json=body)
                    except (httpx.NetworkError, httpx.RemoteProtocolError):
                        if not killed.is_set():
                            raise
                        return
                    check(answer)
                    begun.set()

        def rotated(answer):
            assert answer.status_code in {200, 409}, answer.text  # 409: the other rotation changed the same keys
            self.rotations += answer.status_code == 200

        def reads(name):
            def check(answer):
                assert (answer.status_code, answer.json().get("value")) == (200, SECRETS[name])

            return check

        async def start():
            client = self.signing()
            while not killed.is_set():
                try:
                    told = await asyncio.to_thread(client.start_execution, stateMachineArn=self.machine)
                except GONE:
                    if not killed.is_set():
                        raise
                except ClientError as error:
                    pytest.fail(f"the key pair was refused while keys are rotated: {error}")
                else:
                    # botocore takes headers without their body for an answer; the server sends both at once, so a kill cannot part them.
                    self.accepted.append(told["executionArn"])

        async with asyncio.TaskGroup() as group:
            group.create_task(again("POST", f"{ACCOUNTS}/vault/rotation", rotated, {}))
            group.create_task(again("POST", "/api/v1/vault/rotation", rotated, {"master": True}))
            for name in list(SECRETS)[:3]:
                group.create_task(again("GET", f"{ACCOUNTS}/secrets/{name}", reads(name)))
            group.create_task(start())
            await begun.wait()
            await asyncio.sleep(seconds)  # the instant is the experiment
            killed.set()
            self.site.kill()


def keys_in_use(site, copies):
    """How many data keys the account has, and how many master keys the ring: (1, 1) unless a rotation is under way. Of a copy, as the database is."""
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir()
    for part in (site.folder / ".flowrunner").glob("*.db*"):
        shutil.copy(part, copies)
    (database,) = copies.glob("*.db")
    with contextlib.closing(sqlite3.connect(database)) as connection:
        ((data_keys,),) = connection.execute("SELECT count(*) FROM documents WHERE kind = 'data-key'")
        ((ring,),) = connection.execute("SELECT body FROM documents WHERE kind = 'keyring' AND id = 'keyring'")
    return data_keys, len(json.loads(ring)["keys"])


def holding(site, text):
    """The files of the folder in which this can be read."""
    return [path for path in site.folder.rglob("*") if path.is_file() and text in path.read_bytes()]


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "fn.py").write_text(FUNCTION)
    (folder / "flowrunner.toml").write_text('[functions]\necho = { handler = "fn.py:echo", idempotent = true }\n')  # else a kill makes outcomes unknown
    made = Site(folder)
    yield made
    made.close()


def go_through(site, copies, kills):
    chance = random.Random(kills)
    users = Users(site)
    unfinished = 0
    for _ in range(kills):
        asyncio.run(users.work_until_killed(chance.uniform(0.02, 0.6)))
        unfinished += keys_in_use(site, copies) != (1, 1)
        assert holding(site, b"canary-") == []
        site.start(port=users.port)
        users.check_readable()
        users.check_used()
        while "resume":  # nobody else rotates now: the server itself finishes what was begun
            users.check_readable()
            with contextlib.suppress(sqlite3.DatabaseError):  # a copy that was made while the server wrote
                if keys_in_use(site, copies) == (1, 1):
                    break
        assert holding(site, b"canary-") == []
    assert unfinished > 0, "no kill came in the middle of a rotation"
    assert users.rotations > 0
    assert site.stop() == 0
    assert holding(site, USED.encode()) != []  # what is looked for like this would be found
    assert holding(site, b"canary-") == []
    assert not re.search(r"Traceback|keys_not_rotated", site.said)


@pytest.mark.timeout(180)
def test_rotation_survives_kills(site, tmp_path):
    """Four kills: every secret and every acknowledged execution is whole, and the next start finishes the rotation."""
    go_through(site, tmp_path / "copies", 4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rotation_survives_twenty_kills(site, tmp_path):
    """Twenty kills."""
    go_through(site, tmp_path / "copies", 20)
