"""Where commands write to: pipes that are closed, streams that are none, encodings without the letters, full disks."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from processes import COMMAND, SECONDS, flowrunner

import forked

FULL = Path("/dev/full")
TEXT = "é→漢𝄞"
SAYS = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": TEXT, "End": True}}}
COMMANDS = {"list": ("config", "show"), "help": ("--help",), "data": ("run", "says.asl.json", "--quiet"), "lines": ("run", "says.asl.json", "--follow")}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "says.asl.json").write_text(json.dumps(SAYS))
    return tmp_path


def shell(line, folder, **environment):
    """What a shell says of a line in which $F is the command."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLOWRUNNER_")}
    words = ["bash", "-c", line.replace("$F", " ".join(COMMAND))]
    return subprocess.run(words, cwd=folder, env=kept | environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False)


def closed_pipe():
    """The writing end of a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "wb")


def ended(words, folder, **streams):
    """The exit code of a command that writes to these files."""
    process = forked.Forked(*words, cwd=folder, env=dict(os.environ), **streams)
    try:
        return process.wait(SECONDS)
    finally:
        process.kill()


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_who_reads_no_more_has_seen_enough(folder, words):
    """A closed pipe is no failure, and nobody is told of it."""
    with closed_pipe() as nobody, (folder / "told").open("w+b") as told:
        assert ended(words, folder, stdout=nobody, stderr=told) == 0
        told.seek(0)
        assert b"Error" not in told.read()


@pytest.mark.parametrize(("words", "code"), [(("validate", "nothing.json"), 2), (("run", "says.asl.json"), 0)])
def test_nobody_hears_the_sentence(folder, words, code):
    """With standard error closed by its reader the exit code still says it."""
    with closed_pipe() as nobody:
        assert ended(words, folder, stderr=nobody) == code


@pytest.mark.parametrize(("closed", "said"), [(">&-", b""), ("2>&-", json.dumps(TEXT, ensure_ascii=False).encode() + b"\n")])
def test_streams_that_are_closed_from_the_start(folder, closed, said):
    """The run is what counts; the other stream has what it has."""
    shown = shell(f"$F run says.asl.json {closed}", folder)
    assert (shown.returncode, shown.stdout) == (0, said)


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}]
)
def test_letters_that_an_encoding_lacks(folder, environment):
    """Data is still the same JSON."""
    shown = shell("$F run says.asl.json --follow", folder, **environment)
    assert shown.returncode == 0, shown
    assert json.loads(shown.stdout.decode("latin-1")) == TEXT
    assert b"succeeded" in shown.stderr


def test_names_that_are_no_text(folder):
    """A file's name may be any bytes: it is shown as it is; what a run is called is text."""
    name = os.fsdecode(b"odd\xff.json")
    (folder / name).write_text("{}")
    shown = shell("$F validate odd*", folder, PYTHONUTF8="1")
    assert (shown.returncode, shown.stdout.partition(b":")[0]) == (3, b"odd\xff.json")
    shown = shell(r"$F run says.asl.json --name $'odd\xff'", folder)
    assert (shown.returncode, b"unexpected" in shown.stderr) == (3, False)


@pytest.mark.skipif(not FULL.exists(), reason="the system has no disk that is always full")
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_disk_that_is_full(folder, words):
    """It is said in a sentence, not as a fault of the command's."""
    with FULL.open("wb") as full, (folder / "told").open("w+b") as told:
        assert ended(words, folder, stdout=full, stderr=told) == 1
        told.seek(0)
        said = told.read()
    assert b"No space left on device." in said
    assert b"unexpected" not in said


def test_ctrl_c_is_told(folder):
    """Exit code 130 and a word, whatever the command waits for."""
    with socket.create_server(("127.0.0.1", 0)) as silent, (folder / "told").open("w+b") as told:
        words = ("ls", "--server", f"http://127.0.0.1:{silent.getsockname()[1]}")
        process = forked.Forked(*words, cwd=folder, env=dict(os.environ), stderr=told)
        with silent.accept()[0]:
            process.send_signal(signal.SIGINT)
            assert process.wait(SECONDS) == 130
        told.seek(0)
        assert told.read() == b"flowrunner: Interrupted.\n"


@pytest.mark.parametrize("server", ["http://[::1", "http://127.0.0.1:99999", "http://127.0.0.1:x", "http://127.0.0.1:0", "http://a b", "http:// a"])
def test_servers_that_are_none(folder, server):
    """A slip in a URL is a usage error."""
    shown = flowrunner("ls", "--server", server, folder=folder)
    assert (shown.returncode, "must be an http:// or https:// URL" in shown.stderr) == (2, True), shown


def test_profiles_that_are_none(folder):
    """Whatever is in the file of profiles, the answer is where it is."""
    (folder / "flowrunner").mkdir()
    for text in ("profiles = 3", "[profiles]\na = 1", "profiles = []"):
        (folder / "flowrunner" / "config.toml").write_text(text)
        (folder / "flowrunner" / "config.toml").chmod(0o600)
        shown = flowrunner("ls", folder=folder, XDG_CONFIG_HOME=str(folder))
        assert (shown.returncode, "config.toml" in shown.stderr) == (2, True), shown
        assert "unexpected" not in shown.stderr
