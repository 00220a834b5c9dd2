"""`flowrunner db`: what each command prints and changes, its exit codes, and what it does beside a running server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest import mock

import apsw
import httpx
import pytest
from processes import COMMAND, flowrunner, serving

from flowrunner.cli.db import moment_of
from flowrunner.cli.main import run
from flowrunner.clock import SystemClock
from flowrunner.errors import ConfigurationError
from flowrunner.ports.documents import Document, Put
from flowrunner.stores.open import open_store
from flowrunner.stores.revisions import latest
from flowrunner.stores.sqlite.migrate import PACKAGE

PASS = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": {"done": True}, "End": True}}}
WAIT = {"StartAt": "A", "States": {"A": {"Type": "Wait", "SecondsPath": "$.seconds", "Next": "B"}, "B": {"Type": "Pass", "Result": {"on": True}, "End": True}}}
STORE = ("--store", "sqlite:///flow.db")
LOOKS = (("current",), ("size",), ("check",), ("backup", "b.db"), ("export", "e.jsonl"), ("prune", "--ended-before", "1s", "--dry-run"), ("upgrade", "--sql"))
WRITES = (("upgrade",), ("import", "e.jsonl"), ("restore", "b.db"), ("restore", "e.jsonl"), ("prune", "--ended-before", "0s"))


def db(*arguments, folder, store=STORE, text=""):
    """The command in this process, which is quicker; `test_as_a_process` shows that it is the same."""
    streams = {
        name: io.TextIOWrapper(io.BytesIO(given), "utf-8", write_through=True) for name, given in (("stdin", text.encode()), ("stdout", b""), ("stderr", b""))
    }
    with contextlib.chdir(folder), mock.patch.multiple(sys, **streams):
        code = run(["db", *arguments, *store])
    return subprocess.CompletedProcess(arguments, code, *(streams[name].buffer.getvalue().decode() for name in ("stdout", "stderr")))


def test_as_a_process(folder):
    """A real process prints the same and ends with the same code."""
    for words in (
        ("current",),
        ("size", "--json"),
        ("check",),
        ("export", "-"),
        ("import", "none"),
        ("backup", "flow.db"),
        ("size", "--store", "sqlite:///none.db"),
    ):
        shown, known = (
            flowrunner("db", *words, *(() if "--store" in words else STORE), folder=folder),
            db(*words, folder=folder, store=() if "--store" in words else STORE),
        )
        assert (shown.returncode, shown.stdout.splitlines()[1:], shown.stderr) == (known.returncode, known.stdout.splitlines()[1:], known.stderr)


def call(url, operation, **body):
    headers = {"X-Amz-Target": f"AWSStepFunctions.{operation}", "Content-Type": "application/x-amz-json-1.0"}
    answer = httpx.post(url, headers=headers, content=json.dumps(body), auth=("000000000000", "x"), timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def machine(url, name, definition):
    arguments = {"name": name, "definition": json.dumps(definition), "roleArn": "arn:aws:iam::000000000000:role/any"}
    return call(url, "CreateStateMachine", **arguments)["stateMachineArn"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with an execution that waits and some that have ended."""
    folder = tmp_path_factory.mktemp("made")
    for name, definition in (("pass", PASS), ("wait", WAIT)):
        (folder / f"{name}.asl.json").write_text(json.dumps(definition))
    for _ in range(3):
        assert flowrunner("run", "pass.asl.json", *STORE, folder=folder).returncode == 0
    waiting = flowrunner("run", "wait.asl.json", "--input", '{"seconds": 3}', "--timeout", "0.5", *STORE, folder=folder)
    assert waiting.returncode == 124
    return folder / "flow.db"


@pytest.fixture
def folder(made, tmp_path):
    """A folder with a copy of it."""
    shutil.copy(made, tmp_path)
    return tmp_path


def json_of(shown):
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


def test_current_and_upgrade(folder):
    """A current store needs nothing; an old one tells so, shows its script, and is upgraded once."""
    newest = latest(PACKAGE)
    assert json_of(db("current", "--json", folder=folder)) == {"revision": newest, "latest": newest, "upToDate": True}
    assert db("upgrade", "--sql", folder=folder).stdout == ""
    connection = apsw.Connection(str(folder / "flow.db"))
    connection.execute("DROP TABLE nodes; CREATE TABLE leases (owner TEXT PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID")
    connection.execute("DROP TABLE documents; DROP TABLE aliases; DROP TABLE alembic_version; PRAGMA user_version = 1")
    connection.close()
    old = db("current", "--json", folder=folder)
    assert json_of(old) == {"revision": "0001", "latest": newest, "upToDate": False}
    assert "flowrunner db upgrade" in old.stderr
    for command in ("size", "check"):
        shown = db(command, folder=folder)
        assert shown.returncode == 6
        assert "older schema" in shown.stderr
    script = db("upgrade", "--sql", folder=folder)
    assert script.stdout.startswith("BEGIN;\n")
    assert "CREATE TABLE nodes" in script.stdout
    assert f"UPDATE alembic_version SET version_num='{newest}'" in script.stdout
    assert script.stdout.endswith("COMMIT;\n\n")
    assert json_of(db("current", "--json", folder=folder))["revision"] == "0001"
    assert json_of(db("upgrade", "--json", folder=folder)) == {"before": "0001", "revision": newest}
    assert json_of(db("upgrade", "--json", folder=folder)) == {"before": newest, "revision": newest}
    assert db("check", folder=folder).returncode == 0


def test_upgrade_makes_what_is_not_there(tmp_path):
    """The default store with its folder; only after --sql has shown the script and made nothing."""
    script = db("upgrade", "--sql", folder=tmp_path, store=())
    assert (script.returncode, script.stdout.startswith("BEGIN;\n"), "CREATE TABLE heads" in script.stdout) == (0, True, True)
    assert list(tmp_path.iterdir()) == []
    made = db("upgrade", "--json", folder=tmp_path, store=())
    assert json_of(made) == {"before": None, "revision": latest(PACKAGE)}
    assert "The schema was made." in made.stderr
    assert db("upgrade", folder=tmp_path, store=()).stdout.startswith("before")
    assert db("check", folder=tmp_path, store=()).returncode == 0


def test_size(folder):
    """Rows of each kind, as a table or a document."""
    size = json_of(db("size", "--json", folder=folder))
    assert {"executions": 4, "open executions": 1, "machines": 2, "revisions": 2, "activities": 0}.items() <= size.items()
    assert size["bytes"] >= (folder / "flow.db").stat().st_size
    assert "executions\t4\n" in db("size", folder=folder).stdout


def test_check_finds_what_is_wrong(folder):
    """Exit code 0 without a finding; 1 with them, each with its place, also those that only a replay finds."""
    shown = db("check", folder=folder)
    assert (shown.returncode, shown.stdout) == (0, "WHERE\tFINDING\n")
    assert "No findings in 4 executions" in shown.stderr
    whole = (folder / "flow.db").read_bytes()
    for statement, finding in {
        "UPDATE facts SET body = x'7b7d'": "its state cannot be read",
        "UPDATE facts SET body = x'5b5d'": "it replays to 0 records, its head says 2",
        "DELETE FROM facts": "it replays to 0 records",
        "UPDATE heads SET last_seq = last_seq + 1 WHERE status = 'RUNNING'": "its log has 2 records, its head says 3",
        "UPDATE chunks SET body = x'5b5d'": "are not",
        "UPDATE heads SET revision = 'gone'": "its revision gone is not there",
        "UPDATE revisions SET definition = '{}'": "not a definition that this release reads",
        "DELETE FROM revisions": "a state machine without its revision",
        "INSERT INTO snapshots SELECT number, x'7b7d' FROM heads WHERE status = 'RUNNING'": "its state cannot be read",
        "INSERT INTO inbox SELECT 1, 'd', id, x'00' FROM heads WHERE status = 'RUNNING'": "its state cannot be read",
    }.items():
        connection = apsw.Connection(str(folder / "flow.db"))
        connection.execute(statement)
        connection.close()
        shown = db("check", "--json", folder=folder)
        assert shown.returncode == 1, statement
        found = json.loads(shown.stdout)
        assert any(finding in row["finding"] for row in found), (statement, found)
        assert all(row["where"] == "database" or row["where"].startswith("execution ") for row in found)
        (folder / "flow.db").write_bytes(whole)


def test_check_of_changed_bytes(folder):
    """Whatever was changed in the file, the answer is a finding or nothing; never a traceback, and the file stays as it is."""
    whole = (folder / "flow.db").read_bytes()
    for seed in range(12):
        draw = random.Random(seed)
        data = bytearray(whole)
        for _ in range(20):
            data[draw.randrange(100, len(data))] ^= 1 << draw.randrange(8)
        (folder / "flow.db").write_bytes(data)
        shown = db("check", folder=folder)
        assert shown.returncode in (0, 1, 6), shown.stderr
        assert "Traceback" not in shown.stderr
        assert "unexpected" not in shown.stderr
        assert (folder / "flow.db").read_bytes() == data


def test_prune(folder):
    """What ended before the time goes, what is open stays; --dry-run only counts."""
    old = ("prune", "--ended-before", "0s", "--json")
    assert json_of(db("prune", "--ended-before", "1h", "--json", folder=folder))["executions"] == 0
    assert json_of(db(*old, "--dry-run", folder=folder)).items() >= {"executions": 3, "removed": False}.items()
    assert json_of(db("size", "--json", folder=folder))["executions"] == 4
    assert json_of(db(*old, folder=folder)).items() >= {"executions": 3, "removed": True}.items()
    assert json_of(db(*old, folder=folder))["executions"] == 0
    size = json_of(db("size", "--json", folder=folder))
    assert (size["executions"], size["open executions"], size["machines"]) == (1, 1, 2)
    assert db("check", folder=folder).returncode == 0


def write_documents(folder, *documents):
    async def write():
        async with AsyncExitStack() as stack:
            store = open_store(f"sqlite:///{folder}/flow.db", clock=SystemClock())
            await store.start(stack)
            await store.documents.write([Put(one) for one in documents])

    asyncio.run(write())


user = Document(account="123456789012", kind="user", id="ada", body=b"sealed", aliases=("username:ada",))


def test_prune_removes_what_has_expired(folder):
    """Documents whose time is over go, whatever --ended-before says; the others stay."""
    write_documents(folder, user, *(replace(user, kind="ticket", id=f"{number}", aliases=(f"ticket:{number}",), expires_at=number) for number in (1, 2, 3)))
    prune = ("prune", "--ended-before", "1h", "--json")
    assert json_of(db(*prune, "--dry-run", folder=folder)).items() >= {"executions": 0, "documents": 3, "removed": False}.items()
    assert json_of(db("size", "--json", folder=folder))["documents"] == 5
    assert json_of(db(*prune, folder=folder)).items() >= {"executions": 0, "documents": 3, "removed": True}.items()
    assert json_of(db("size", "--json", folder=folder))["documents"] == 2
    assert json_of(db(*prune, folder=folder))["documents"] == 0
    assert db("check", folder=folder).returncode == 0


def test_prune_asks_on_a_terminal(folder):
    """Who says no keeps everything; --yes is not asked."""
    import pty

    for answer, words, code, left in ((b"n\n", (), 130, 4), (b"", ("--yes",), 0, 1)):
        leader, follower = pty.openpty()
        command = [*COMMAND, "db", "prune", "--ended-before", "0s", *words, *STORE]
        with subprocess.Popen(command, cwd=folder, stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            os.write(leader, answer)
            _, said = process.communicate(timeout=30)
        os.close(leader)
        os.close(follower)
        assert process.returncode == code, said
        assert ("Remove every execution that ended before" in said) == (not words)
        assert json_of(db("size", "--json", folder=folder))["executions"] == left


def test_moments():
    """Ages and ISO times; without a zone they are UTC."""
    now = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)
    for text, age in {"30d": 30 * 86_400, "12h": 43_200, "90m": 5400, "5s": 5, "2w": 1_209_600, "2026-03-01": 43_200, "2026-03-01T11:00:00Z": 3600}.items():
        assert moment_of(text, now) == now - age * 1000, text
    assert moment_of("2026-03-01T13:00:00+01:00", now) == now
    for text in ("", "30", "d", "-1d", "1y", "yesterday", "30 d", "1.5h", "9999999999d"):
        with pytest.raises(ConfigurationError, match="neither an age nor a time"):
            moment_of(text, now)


def test_move_to_another_store(folder):
    """Export, import, export: the same rows; a second import adds nothing, a strict one fails."""
    assert db("export", "e.jsonl", folder=folder).returncode == 0
    assert (folder / "e.jsonl").stat().st_mode & 0o777 == 0o600
    other = ("--store", "sqlite:///other.db")
    assert json_of(db("import", "e.jsonl", "--json", folder=folder, store=other)) == {
        "added": {"revisions": 2, "machines": 2, "documents": 1, "executions": 4},
        "skipped": {},
    }
    piped = db("export", "-", folder=folder, store=other)
    assert piped.stdout.splitlines()[1:] == (folder / "e.jsonl").read_text().splitlines()[1:]
    again = db("import", "-", "--json", folder=folder, store=other, text=piped.stdout)
    assert json_of(again) == {"added": {}, "skipped": {"revisions": 2, "machines": 2, "documents": 1, "executions": 4}}
    assert "9 existed already" in again.stderr
    strict = db("import", "e.jsonl", "--strict", folder=folder, store=other)
    assert strict.returncode == 3
    assert "exists already" in strict.stderr
    assert db("check", folder=folder, store=other).returncode == 0


def test_a_file_that_is_no_export(folder):
    """Cut, changed or else: exit code 3, line and reason; a restore has then written nothing."""
    assert db("export", "e.jsonl", folder=folder).returncode == 0
    lines = (folder / "e.jsonl").read_text().splitlines(keepends=True)
    (folder / "cut.jsonl").write_text("".join(lines[:-1]))
    (folder / "odd.jsonl").write_text("".join([*lines[:3], "odd\n", *lines[3:]]))
    (folder / "text.jsonl").write_text("hello")
    new = ("--store", "sqlite:///new.db")
    for name, why in (("cut", "it was cut"), ("odd", "odd.jsonl:4: "), ("text", "is not an export")):
        for command in ("import", "restore"):
            shown = db(command, f"{name}.jsonl", folder=folder, store=new)
            assert shown.returncode == 3, shown.stderr
            assert why in shown.stderr
            assert "Traceback" not in shown.stderr
            if command == "import":
                (folder / "new.db").unlink()
            assert not (folder / "new.db").exists()


def test_usage(folder):
    """Files that are there are not written over, those that are not are named; memory is no place."""
    for words in (("backup", "flow.db"), ("export", "flow.db"), ("backup", "none/x.db"), ("restore", "none.db"), ("import", "none.jsonl"), ("prune",)):
        before = (folder / "flow.db").read_bytes()
        shown = db(*words, folder=folder)
        assert shown.returncode == 2, (words, shown.stderr)
        assert shown.stdout == ""
        assert (folder / "flow.db").read_bytes() == before
    for words in (*LOOKS, *WRITES[:2]):
        assert db(*words, folder=folder, store=("--store", "memory:")).returncode == 2
        if words[0] == "upgrade":
            continue  # it may make a file
        shown = db(*words, folder=folder, store=("--store", "sqlite:///none.db"))
        assert shown.returncode == (2 if words[0] == "import" else 6), (words, shown.stderr)
        assert not (folder / "none.db").exists()
        assert not list(folder.glob("*.partial"))


def test_restore_only_into_an_empty_store(folder):
    """From an SQLite backup and from an export; never over anything."""
    write_documents(folder, user)
    for words in (("backup", "b.db"), ("export", "e.jsonl")):
        assert db(*words, folder=folder).returncode == 0
    for number, file in enumerate(("b.db", "e.jsonl")):
        new = ("--store", f"sqlite:///new-{number}.db")
        counts = json_of(db("restore", file, "--json", folder=folder, store=new))
        assert counts == {"executions": 4, "revisions": 2, "machines": 2, "activities": 0, "documents": 2}
        assert db("export", f"{number}.jsonl", folder=folder, store=new).returncode == 0
        assert (folder / f"{number}.jsonl").read_text().splitlines()[1:] == (folder / "e.jsonl").read_text().splitlines()[1:]
        again = db("restore", file, folder=folder, store=new)
        assert again.returncode == 6
        assert "not empty" in again.stderr


def test_beside_a_running_server(folder):
    """Looks work and are whole; what writes says who has the file, changes nothing and ends with 6; the server does not notice."""
    for words in (("backup", "b.db"), ("export", "e.jsonl")):
        assert db(*words, folder=folder).returncode == 0
        (folder / words[1]).rename(folder / f"first-{words[1]}")
    with serving("serve", "--dev", *STORE, folder=folder) as server:
        arn = machine(server.url, "later", PASS)
        for words in LOOKS:
            shown = db(*words, folder=folder)
            assert shown.returncode == 0, (words, shown.stderr)
            call(server.url, "StartExecution", stateMachineArn=arn)
        for words in WRITES:
            shown = db(*(word.replace("b.db", "first-b.db").replace("e.jsonl", "first-e.jsonl") for word in words), folder=folder)
            assert shown.returncode == 6, (words, shown.stderr)
            assert f"process {server.process.pid}" in shown.stderr
            assert "Stop " in shown.stderr
        assert len(call(server.url, "ListExecutions", stateMachineArn=arn)["executions"]) == len(LOOKS)
        assert db("restore", "b.db", folder=folder, store=("--store", "sqlite:///restored.db")).returncode == 0
        assert server.stop() == 0
    assert db("check", folder=folder, store=("--store", "sqlite:///restored.db")).returncode == 0
    assert db("check", folder=folder).returncode == 0


def test_a_waiting_execution_goes_on_after_the_move(folder):
    """It ends on the server of the other store, at its time, with its whole history."""
    assert db("export", "e.jsonl", folder=folder).returncode == 0
    new = ("--store", "sqlite:///new.db")
    assert db("import", "e.jsonl", folder=folder, store=new).returncode == 0
    with serving("serve", "--dev", *new, folder=folder) as server:
        arn = "arn:aws:states:us-east-1:000000000000:stateMachine:wait"
        until = datetime.now(UTC) + timedelta(seconds=30)
        while (found := call(server.url, "ListExecutions", stateMachineArn=arn)["executions"][0])["status"] == "RUNNING" and datetime.now(UTC) < until:
            time.sleep(0.1)
        assert found["status"] == "SUCCEEDED"
        events = call(server.url, "GetExecutionHistory", executionArn=found["executionArn"])["events"]
        assert [event["id"] for event in events] == list(range(1, len(events) + 1))
        assert events[0]["type"] == "ExecutionStarted"
        assert events[-1]["type"] == "ExecutionSucceeded"
        assert server.stop() == 0


def test_the_export_is_what_the_page_says(folder):
    """One object a line: a header, revisions, machines, executions, and the counts at the end; bytes are base64."""
    rows = [json.loads(line) for line in db("export", "-", folder=folder).stdout.splitlines()]
    assert [next(iter(row)) for row in rows] == ["header", *["revision"] * 2, *["machine"] * 2, "document", *["execution"] * 4, "end"]
    assert rows[0]["header"].items() >= {"format": "flowrunner-archive", "version": 2}.items()
    assert rows[-1] == {"end": {"revisions": 2, "machines": 2, "documents": 1, "executions": 4}}
    [waiting] = [row["execution"] for row in rows if "execution" in row and row["execution"]["head"]["status"] == "RUNNING"]
    records = [record for chunk in waiting["chunks"] for record in json.loads(base64.b64decode(chunk["body"]))]
    assert len(records) == waiting["head"]["last_seq"]
