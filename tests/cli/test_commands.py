"""The command line as people use it: exit codes, what is on stdout, what is on stderr."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import httpx
import pytest
from processes import COMMAND, flowrunner, serving

from flowrunner.cli.executions import RUN_COLUMNS
from flowrunner.cli.output import Form, show_rows

PASS = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": {"done": True}, "End": True}}}
FAIL = {"StartAt": "A", "States": {"A": {"Type": "Fail", "Error": "Broken", "Cause": "on purpose"}}}
WAIT = {"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": 3600, "End": True}}}
SHORT = {**WAIT, "TimeoutSeconds": 1}
BAD = '{\n  "StartAt": "A",\n  "States": {"A": {"Type": "Pass", "Next": "B"}, "C": {"Type": "Succeed"}}\n}'


@pytest.fixture
def folder(tmp_path):
    for name, machine in (("pass", PASS), ("fail", FAIL), ("wait", WAIT), ("short", SHORT)):
        (tmp_path / f"{name}.asl.json").write_text(json.dumps(machine))
    (tmp_path / "bad.asl.json").write_text(BAD)
    return tmp_path


def test_help_is_quick_and_has_examples(folder):
    """Help loads nothing heavy."""
    flowrunner("--help", folder=folder)  # byte code is written
    best = 9.0
    for _ in range(3):
        started = time.monotonic()
        shown = flowrunner("--help", folder=folder)
        best = min(best, time.monotonic() - started)
    assert shown.returncode == 0
    assert "flowrunner serve --dev" in shown.stdout
    assert best < 0.9  # 0.1 s on an idle machine
    modules = flowrunner("--version", folder=folder, PYTHONPROFILEIMPORTTIME="1").stderr
    for heavy in ("litestar", "httpx", "uvicorn", "jsonata", "rich.console"):
        assert heavy not in modules


def test_usage_error(folder):
    """What the command line does not have is exit code 2."""
    for words in (("lss",), ("validate",), ("run", "pass.asl.json", "--progress", "odd"), ("graph", "none.asl.json"), ("ls", "--limit", "0")):
        shown = flowrunner(*words, folder=folder)
        assert shown.returncode == 2, words
        assert shown.stdout == ""
        assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("words", [(), ("db",)])
def test_no_command_is_answered_with_the_help(folder, words):
    """As it is, on standard error: nothing was done."""
    shown = flowrunner(*words, folder=folder)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith("Usage: ")
    assert shown.stderr.rstrip("\n") == flowrunner(*words, "--help", folder=folder).stdout.rstrip("\n")


def test_unknown_status_is_a_usage_error(folder):
    """A status that no run can have is told with those that are, without asking a server."""
    shown = flowrunner("ls", "--status", "nope", "--server", "http://127.0.0.1:9", folder=folder)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "'nope' must be one of running, success, failed, cancelled, RUNNING, " in shown.stderr
    assert flowrunner("ls", "-s", "TIMED_OUT", "--server", "http://127.0.0.1:9", folder=folder).returncode == 6


def test_validate_tells_file_line_and_column(folder):
    """A bad definition is exit code 3, its findings are at their places."""
    shown = flowrunner("validate", "bad.asl.json", folder=folder)
    assert shown.returncode == 3
    assert "bad.asl.json:3:36: error: Missing 'Next' target: B at /States/A/Next [MISSING_TRANSITION_TARGET]" in shown.stdout
    shown = flowrunner("validate", "bad.asl.json", "--json", folder=folder)
    assert shown.returncode == 3
    assert {"line": 3, "column": 36, "file": "bad.asl.json"}.items() <= json.loads(shown.stdout)[0].items()


@pytest.mark.parametrize(("content", "place"), [(b"{", "1:"), (b'{"a": 1,}', "1:"), (b"[]", ""), (b"\xff", "1:1"), (b"", "")])
def test_file_that_is_no_definition(folder, content, place):
    """Whatever is in the file, the answer is exit code 3 and no traceback."""
    (folder / "x.json").write_bytes(content)
    for command in ("validate", "graph", "run"):
        shown = flowrunner(command, "x.json", folder=folder)
        assert shown.returncode == 3, shown.stderr
        assert f"x.json:{place}" in shown.stdout + shown.stderr
        assert "Traceback" not in shown.stderr


@pytest.mark.parametrize(
    ("content", "line", "column", "said"),
    [
        ('{\n  "StartAt": "A",\n}', 3, 1, "expecting property name enclosed in double quotes"),
        ('{"StartAt" "A"}', 1, 12, "expecting ':' delimiter"),
        ("[]", 1, 1, "The definition is not an object."),
        ("", 1, 1, "expecting value"),
        (json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "A"}}}, indent=1), 1, 1, "Workflow has no terminal state"),
    ],
)
def test_finding_is_told_once_with_its_place(folder, content, line, column, said):
    """What cannot be read is one finding: what was expected, at a line and column that text and JSON agree on."""
    (folder / "x.json").write_text(content)
    for command in ("validate", "run"):
        shown = flowrunner(command, "x.json", folder=folder)
        lines = [text for text in (shown.stdout + shown.stderr).splitlines() if text.startswith("x.json:")]
        assert len(lines) == 1, lines
        assert lines[0].startswith(f"x.json:{line}:{column}: error: ")
        assert said in lines[0]
    (found,) = json.loads(flowrunner("validate", "x.json", "--json", folder=folder).stdout)
    assert (found["line"], found["column"], found["severity"]) == (line, column, "ERROR")
    assert said in found["message"]


def test_validate_what_is_valid(folder):
    """A valid definition, from standard input too, is exit code 0 and a next step."""
    shown = flowrunner("validate", "pass.asl.json", "wait.asl.json", folder=folder)
    assert (shown.returncode, shown.stdout) == (0, "")
    assert "flowrunner run pass.asl.json" in shown.stderr
    assert flowrunner("validate", "-", folder=folder, text=json.dumps(PASS)).returncode == 0


def test_graph_formats(folder):
    """The graph is drawn in every format."""
    assert flowrunner("graph", "wait.asl.json", folder=folder).stdout.startswith("flowchart TD\n")
    assert flowrunner("graph", "wait.asl.json", "-f", "dot", folder=folder).stdout.startswith("digraph machine {")
    assert ET.fromstring(flowrunner("graph", "wait.asl.json", "-f", "svg", folder=folder).stdout).tag.endswith("svg")
    assert {node["name"] for node in json.loads(flowrunner("graph", "wait.asl.json", "-f", "json", folder=folder).stdout)["nodes"]} == {"Start", "A", "End"}


def test_env_points_the_sdks_here(folder):
    """The variables are those that SDKs read; settings decide the URL."""
    shown = flowrunner("env", folder=folder, FLOWRUNNER_PORT="9999")
    assert shown.returncode == 0
    assert "export AWS_ENDPOINT_URL_SFN=http://127.0.0.1:9999\n" in shown.stdout
    assert "export AWS_DISABLE_HOST_PREFIX_INJECTION=true\n" in shown.stdout
    assert "set -gx AWS_REGION us-east-1" in flowrunner("env", "--shell", "fish", folder=folder).stdout
    assert json.loads(flowrunner("env", "--json", "--server", "http://h:1", folder=folder).stdout)["AWS_ENDPOINT_URL_SFN"] == "http://h:1"


def test_no_server(folder):
    """A server that does not answer is exit code 6 and what to do."""
    for words in (("ls",), ("describe", "x"), ("history", "x"), ("watch", "x"), ("stop", "x")):
        shown = flowrunner(*words, "--server", "http://127.0.0.1:9", folder=folder)
        assert shown.returncode == 6, shown.stderr
        assert "flowrunner serve --dev" in shown.stderr
        assert shown.stdout == ""


def test_bad_settings(folder):
    """A setting that cannot be used is exit code 2, with its place and a remedy."""
    (folder / "flowrunner.toml").write_text("prot = 1\n")
    shown = flowrunner("ls", folder=folder)
    assert shown.returncode == 2
    assert "flowrunner.toml: there is no setting 'prot'" in shown.stderr
    assert "Did you mean 'port'?" in shown.stderr
    (folder / "flowrunner.toml").write_text('store = "postgresql://u:secret@h/d?nope=1"\n')
    shown = flowrunner("serve", folder=folder)
    assert shown.returncode == 2
    assert "secret" not in shown.stderr
    shown = flowrunner("serve", "--dev", "--host", "0.0.0.0", folder=folder)
    assert shown.returncode == 2
    assert "127.0.0.1" in shown.stderr


@pytest.mark.parametrize(
    ("machine", "code", "output", "said"),
    [
        ("pass", 0, '{\n  "done": true\n}\n', r"The run succeeded in \d+ ms\."),
        ("fail", 1, "", r"flowrunner: The run failed: Broken: on purpose"),
        ("short", 7, "", r"flowrunner: The run timed out after \d+ ms\."),
    ],
)
def test_run_ends_as_the_run_ends(folder, machine, code, output, said):
    """The output is data, the rest is not; the exit code is the run's, and so is the last sentence."""
    shown = flowrunner("run", f"{machine}.asl.json", "--follow", folder=folder)
    assert (shown.returncode, shown.stdout) == (code, output), shown.stderr
    assert "state_entered  A" in shown.stderr
    assert re.fullmatch(said, shown.stderr.splitlines()[-1])


def test_run_takes_input_and_tells_all(folder):
    """Input comes from a file, progress as JSON lines, the whole run as JSON."""
    (folder / "in.json").write_text('{"n": 12345678901234567890123}')
    shown = flowrunner("run", "pass.asl.json", "-i", "@in.json", "--progress", "json", "--json", "--quiet", folder=folder)
    assert shown.returncode == 0
    assert [json.loads(line)["type"] for line in shown.stderr.splitlines()] == [
        "execution_started",
        "state_entered",
        "state_exited",
        "execution_succeeded",
        "end",
    ]
    assert json.loads(shown.stdout)["input"] == {"n": 12345678901234567890123}
    shown = flowrunner("run", "pass.asl.json", "-i", '{"n": }', folder=folder)
    assert shown.returncode == 3
    assert "--input:1:" in shown.stderr


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_what_others_say_does_not_steer_the_terminal(folder):
    """A cause comes from wherever a task has been: its control characters are shown as what they are."""
    machine = {"StartAt": "A", "States": {"A": {"Type": "Fail", "Error": "Broken", "Cause": "see\x1b]0;title\x07\x9b2J\rnothing\nhere"}}}
    (folder / "steer.asl.json").write_text(json.dumps(machine))
    shown = flowrunner("run", "steer.asl.json", folder=folder)
    assert shown.returncode == 1
    assert "The run failed: Broken: see\\x1b]0;title\\x07\\x9b2J\\rnothing\nhere" in shown.stderr
    assert not set("\x1b\x07\x9b\r") & set(shown.stderr + shown.stdout)


def shown_at(width, monkeypatch, *arguments, **options):
    """The lines of a table on a terminal of this width."""
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", str(width))
    show_rows(*arguments, Form.table, no_color=True, **options)
    return re.sub(r"\x1b\[\d+m", "", sys.stdout.getvalue()).splitlines()


@pytest.mark.parametrize("width", [200, 80, 40])
def test_what_is_found_is_whole_on_a_narrow_terminal(monkeypatch, width):
    """What a check has found goes on in the next line, and is never left out."""
    found = {"check": "configuration", "verdict": "fail", "detail": "The key for log-in tokens has 5 bytes; HS256 needs 32. Set another one of that length."}
    lines = shown_at(width, monkeypatch, [found], {"check": "CHECK", "verdict": "VERDICT", "detail": "DETAIL"}, folded=("detail",))
    assert lines[0].split() == ["CHECK", "VERDICT", "DETAIL"]
    assert " ".join(line[24:].strip() for line in lines[1:]) == found["detail"]
    assert all(len(line) <= width for line in lines)


@pytest.mark.parametrize(("width", "headings"), [(140, "RUN WORKFLOW STATUS STARTED MS ERROR"), (90, "RUN WORKFLOW STATUS STARTED MS"), (20, "RUN")])
def test_a_narrow_terminal_never_cuts_what_is_copied(monkeypatch, width, headings):
    """The run's id is whole at any width; names are cut, then columns are left out."""
    run, started = "01890a5d1c2b7f3e8a4b5c6d7e8f9012", "2026-11-21T10:15:02.123Z"
    row = {"runId": run, "workflowId": "order_processing", "executionStatus": "TIMED_OUT", "startTime": started, "duration": 12345, "error": "E" * 40}
    lines = shown_at(width, monkeypatch, [row, row], RUN_COLUMNS)
    assert lines[0].split() == headings.split()
    assert len(lines) == 3
    assert all(line.startswith(run) and len(line) <= max(width, len(run)) for line in lines[1:])
    assert width < 60 or started in lines[1]


def test_run_gives_up_after_its_time(folder):
    """--timeout bounds the waiting."""
    shown = flowrunner("run", "wait.asl.json", "--timeout", "1", folder=folder)
    assert shown.returncode == 124, shown.stderr
    assert "The time of --timeout (1 s) has passed" in shown.stderr


def test_runs_of_a_server(folder):
    """A run is registered by the folder, listed, described, told and stopped; a stopped run is exit code 8."""
    with serving("dev", ".", "--store", "memory:", folder=folder) as server:
        while "wait.asl.json: registered" not in server.said.readline():
            pass
        run = start(server.url, "wait")
        rows = json.loads(flowrunner("ls", "--server", server.url, "--json", folder=folder).stdout)
        assert [row["executionArn"] for row in rows] == [run]
        assert rows[0]["executionStatus"] == "RUNNING"
        found = json.loads(flowrunner("describe", run, "--server", server.url, "--json", folder=folder).stdout)
        assert found["input"] == {}
        told = flowrunner("history", found["runId"], "--server", server.url, folder=folder).stdout
        assert [line.split("\t")[2] for line in told.splitlines()] == ["TYPE", "ExecutionStarted", "WaitStateEntered"]
        stopped = flowrunner("stop", run, "--cause", "enough", "--server", server.url, folder=folder)
        assert stopped.returncode == 0, stopped.stderr
        assert stopped.stderr.startswith("Stopped. See: ")
        again = flowrunner("stop", run, "--server", server.url, folder=folder)
        assert (again.returncode, again.stdout) == (0, stopped.stdout)
        assert again.stderr.startswith("It had ended already: ABORTED at 2")
        watched = flowrunner("watch", run, "--server", server.url, "--progress", "json", folder=folder)
        assert watched.returncode == 8
        messages = [json.loads(line) for line in watched.stdout.splitlines()]
        assert [message.get("seq") for message in messages] == [1, 2, 3, None]
        assert messages[-1]["payload"]["cause"] == "enough"
        for words in (("describe",), ("history",), ("watch",), ("stop",)):
            assert flowrunner(*words, "f" * 32, "--server", server.url, folder=folder).returncode == 4


def start(url, machine):
    """Start an execution as an SDK does."""
    headers = {"x-amz-target": "AWSStepFunctions.StartExecution", "content-type": "application/x-amz-json-1.0"}
    body = {"stateMachineArn": f"arn:aws:states:us-east-1:000000000000:stateMachine:{machine}"}
    answer = httpx.post(url + "/", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["executionArn"]


def test_server_without_dev_lets_nobody_in(folder):
    """Without accounts and without --dev every call is refused: exit code 5."""
    with serving("serve", "--store", "memory:", folder=folder) as server:
        assert flowrunner("ls", "--server", server.url, folder=folder).returncode == 5
        assert server.stop() == 0


def test_functions_that_cannot_be_called_are_told_at_the_start(folder):
    """A missing file and a missing function are warnings, with file and function, before anything is run."""
    (folder / "fn.py").write_text("def there(event, context): pass\n")
    (folder / "flowrunner.toml").write_text('[functions]\nwell = "fn.py:there"\nodd = "fn.py:gone"\nlate = "later.py:f"\n[log]\nformat = "json"\n')
    shown = flowrunner("run", "pass.asl.json", folder=folder)
    assert shown.returncode == 0
    assert "function_not_usable" in shown.stderr
    assert "well" not in shown.stderr
    process = subprocess.Popen([*COMMAND, "serve", "--dev", "--store", "memory:", "--port", "0"], cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        told = [json.loads(process.stderr.readline()) for _ in range(2)]
        assert "listens on" in process.stderr.readline()
    finally:
        process.kill()
        process.communicate()
    assert [(entry["level"], entry["function"], entry["file"]) for entry in told] == [
        ("warning", "odd", str(folder.resolve() / "fn.py")),
        ("warning", "late", str(folder.resolve() / "later.py")),
    ]


def test_server_stops_on_sigterm(folder):
    """SIGTERM ends a server with a run in it and a client on its stream: exit code 0."""
    (folder / "flowrunner.toml").write_text('store = "sqlite:///runs.db"\n')
    with serving("dev", ".", folder=folder) as server:
        while "wait.asl.json: registered" not in server.said.readline():
            pass
        run = start(server.url, "wait")
        with httpx.stream("GET", f"{server.url}/api/v2/workflows/runs/{run}/stream") as answer:
            next(answer.iter_lines())
            assert server.stop() == 0
    assert (folder / "runs.db").exists()
    with serving("serve", "--dev", folder=folder) as server:
        assert json.loads(flowrunner("describe", run, "--server", server.url, "--json", folder=folder).stdout)["executionStatus"] == "RUNNING"


NAMELESS = [
    *(("describe",), ("history",), ("watch",), ("stop",), ("account", "info"), ("account", "delete", "--yes"), ("key", "revoke", "--yes")),
    *(
        ("schedule", "show"),
        ("schedule", "pause"),
        ("schedule", "delete", "--yes"),
        ("secret", "get"),
        ("secret", "get", "--reveal"),
        ("secret", "delete", "--yes"),
    ),
]


def test_an_empty_name_is_a_usage_error(folder):
    """A variable of the shell that is not set names nothing: neither a list nor something above it; steps of a path are names like any other."""
    with serving(folder=folder) as server:
        for words in NAMELESS:
            shown = flowrunner(*words, "", "--server", server.url, folder=folder)
            assert (shown.returncode, shown.stdout) == (2, ""), (words, shown)
            assert "An empty text names nothing." in shown.stderr
            if words[-1] != "--yes":
                shown = flowrunner(*words, "..", "--server", server.url, folder=folder)
                assert (shown.returncode, shown.stdout, "There is no" in shown.stderr) == (4, "", True), (words, shown)
