"""``make run``: the script behind it, as a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_SECONDS = 40


def started(folder, *arguments):
    """Start the script in an empty folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLOWRUNNER_") and name != "STORE"}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "run_example.py"), *arguments],
        cwd=folder, env=kept, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def taken():
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize(("name", "code", "told"), [("declined", 0, '"rolled_back"'), ("invalid", 1, "InvalidOrder: The quantity of MUG-2 is 0.")])
def test_it_runs_the_order_once_twice_beside_a_port_that_is_taken(tmp_path, taken, name, code, told):
    for _ in range(2):
        process = started(tmp_path, "--once", "--port", str(taken), "--input", str(ROOT / "examples" / "order_processing" / f"{name}.json"))
        with process:
            printed, trouble = process.communicate(timeout=LONGEST_SECONDS)
        assert (process.returncode, trouble) == (code, ""), printed
        assert f"Port {taken} cannot be used" in printed
        assert told in printed
        assert "state_entered  ValidateOrder" in printed
    assert (tmp_path / ".flowrunner" / "flowrunner.db").is_file()


@pytest.mark.parametrize("store", ["postgres", "dynamodb"])
def test_it_runs_the_order_on_another_store(tmp_path, request, store):
    """The same command with another store's URL is all it takes."""
    url = request.getfixturevalue(f"{store}_url")
    process = started(tmp_path, "--once", "--port", "0", "--store", url, "--input", str(ROOT / "examples" / "order_processing" / "declined.json"))
    with process:
        printed, trouble = process.communicate(timeout=LONGEST_SECONDS)
    assert (process.returncode, trouble) == (0, ""), printed
    assert '"rolled_back"' in printed


def test_it_leaves_the_server_running_until_ctrl_c(tmp_path, taken):
    process = started(tmp_path, "--port", str(taken), "--input", str(ROOT / "examples" / "order_processing" / "declined.json"))
    with process:
        try:
            told = []
            for line in process.stdout:  # ends with the process
                told.append(line)
                if "in another terminal" in line.lower():
                    break
            assert process.poll() is None, "".join(told)
            os.killpg(process.pid, signal.SIGINT)
            printed, trouble = process.communicate(timeout=LONGEST_SECONDS)
        finally:
            process.kill()
    assert (process.returncode, trouble) == (0, "")
    assert "Stopped." in printed


def test_a_store_that_cannot_be_used_is_told(tmp_path):
    process = started(tmp_path, "--once", "--port", "0", "--store", "sqlite:///none/here.db")
    with process:
        _, trouble = process.communicate(timeout=LONGEST_SECONDS)
    assert process.returncode == 1
    assert "There is no folder" in trouble
    assert "Traceback" not in trouble
