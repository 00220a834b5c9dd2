"""A newcomer's first hour with accounts: an empty folder, the real command, boto3; and a second tenant who sees none of it."""

import json
import re
import stat

import httpx
import pytest
from botocore.exceptions import ClientError
from own_server import Site, step_functions
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

MACHINE = json.dumps({"StartAt": "Say", "States": {"Say": {"Type": "Pass", "Result": "marker-of-the-first", "End": True}}})
ROLE = "arn:aws:iam::000000000000:role/r"
PASSWORD = "a good long password"
SECRETS = {"API_KEY": "canary-4711", "team/database": "canary-4712", "unicode": "canary-ü-4713"}
SEES = {"accept": "text/event-stream, application/json"}
REFUSED = 6  # the exit code where the store is refused: the reference of commands


@pytest.fixture(params=["sqlite", "postgres"])
def site(request, tmp_path):
    store = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    made = Site(tmp_path, store)
    yield made
    made.close()


def finished(client, execution):
    while (told := client.describe_execution(executionArn=execution))["status"] == "RUNNING":
        pass
    return told


@pytest.mark.timeout(180)
def test_first_run(site):
    """One-time token, log-in, key pair, boto3; a second account sees nothing of the first; a restart keeps it all; without its key the server refuses."""
    site.start()
    token = site.token()
    key_file = site.folder / ".flowrunner" / "master.key"
    for path in (site.folder / ".flowrunner").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        assert path.is_dir() or token.encode() not in path.read_bytes()
    assert site.run("login", "--server", site.url, "--token", "-", text=token).returncode == 0
    first = step_functions(site.keys())
    machine = first.create_state_machine(name="m", definition=MACHINE, roleArn=ROLE)["stateMachineArn"]
    execution = first.start_execution(stateMachineArn=machine, name="one")["executionArn"]
    assert finished(first, execution)["status"] == "SUCCEEDED"
    (run,) = site.json("ls")
    for name, value in SECRETS.items():
        assert site.run("secret", "set", name, text=value).returncode == 0

    # the second tenant
    assert site.run("account", "create", "bob", "--password-stdin", text=PASSWORD).returncode == 0
    assert site.run("login", "--server", site.url, "--username", "bob", "--password-stdin", profile="bob", text=PASSWORD).returncode == 0
    second = step_functions(site.keys("bob"))
    assert second.list_state_machines()["stateMachines"] == []
    for call, given in (
        (second.describe_state_machine, {"stateMachineArn": machine}),
        (second.start_execution, {"stateMachineArn": machine}),
        (second.describe_execution, {"executionArn": execution}),
        (second.get_execution_history, {"executionArn": execution}),
        (second.stop_execution, {"executionArn": execution}),
    ):
        with pytest.raises(ClientError) as denied:
            call(**given)
        assert denied.value.response["Error"]["Code"] == "AccessDeniedException"
        assert "marker-of-the-first" not in str(denied.value)
    assert site.json("ls", profile="bob") == []
    assert site.run("describe", run["runId"], profile="bob").returncode == 4
    assert site.run("secret", "get", "API_KEY", "--reveal", profile="bob").returncode == 4
    shown, streamed = f"/api/v2/workflows/runs/{run['runId']}", f"/api/v2/workflows/runs/{run['runId']}/stream"
    with httpx.Client(base_url=site.url, headers={"authorization": f"Bearer {token}"}, trust_env=False) as http:  # what there is to see
        assert http.get(shown).status_code == 200
        assert run["runId"] in http.get("/api/v2/workflows/runs").text
        with http.stream("GET", streamed, headers={"accept": "text/event-stream"}) as events:
            assert (events.status_code, events.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    with httpx.Client(base_url=site.url, auth=("bob", PASSWORD), trust_env=False) as http:
        listed = http.get("/api/v2/workflows/runs")
        assert listed.status_code == 200
        assert run["runId"] not in listed.text
        assert "marker" not in listed.text
        for path in (shown, streamed):
            answers = [http.get(one, headers=SEES) for one in (path, path.replace(run["runId"], "0" * 32))]
            assert [answer.status_code for answer in answers] == [404, 404]
            assert "marker" not in answers[0].text
        ticket = http.post("/api/v1/socket-tickets").json()["ticket"]
    stream = f"{site.url.replace('http', 'ws')}{streamed}"
    with connect(f"{stream}?ticket={ticket}", proxy=None) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(10)
    assert closed.value.rcvd.code == 4404
    with pytest.raises(InvalidStatus) as refused:
        connect(stream, proxy=None)
    assert refused.value.response.status_code == 401

    restarted(site, key_file, lambda: finished(first, execution))


def restarted(site, key_file, finds_the_run):
    """A start without the master key is refused and tells what to restore; with it everything is there again."""
    port = int(site.url.rpartition(":")[2])
    assert site.stop() == 0
    key = key_file.read_bytes()
    key_file.unlink()
    told = site.start(port=port)
    assert site.process.returncode == REFUSED
    (key_id,) = re.findall(rb"# ([0-9a-f]{16})$", key, re.MULTILINE)
    assert f"master key {key_id.decode()}" in told
    assert str(key_file.relative_to(site.folder)) in told
    assert re.search(r"[Rr]estore", told)
    assert "Traceback" not in told
    assert "flr_" not in told
    assert not key_file.exists()
    key_file.write_bytes(key)
    key_file.chmod(0o600)
    site.start(port=port)
    for name, value in SECRETS.items():
        assert site.run("secret", "get", name, "--reveal").stdout.strip() == value
    assert finds_the_run()["status"] == "SUCCEEDED"
    assert site.stop() == 0
    assert "flr_" not in site.said
