"""The two named flows on every store, by the scripts that a user runs: a real server, an account of its own, sockets, three runs at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


def integrate(words, **variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWRUNNER_", "AWS_"))}
    given = {**kept, "PYTHON": sys.executable, "NO_COLOR": "1", "FLOWRUNNER_MASTER_KEY": "ab" * 32, **variables}
    return subprocess.run(words, env=given, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("store", ["sqlite", "postgres", "dynamodb"])
def test_the_named_flows(request, store):
    """0, 1 and 2 lost batches take the high, the partial and the low branch; 7 to 9 updates each; secrets are shown nowhere."""
    words, variables = [str(SCRIPTS / f"test_{store}_integration.sh")], {}
    if store == "sqlite":
        words = [sys.executable, str(SCRIPTS / "integration.py"), "sqlite"]
    else:
        variables["FLOWRUNNER_STORE"] = request.getfixturevalue(f"{store}_url")
    done = integrate(words, **variables)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "4 of 4 runs passed." in done.stdout


@pytest.mark.parametrize("store", ["postgres", "dynamodb"])
def test_without_a_store(store):
    """Whoever has set nothing is told what to set."""
    done = integrate([str(SCRIPTS / f"test_{store}_integration.sh")])
    assert done.returncode == 1
    assert f"FLOWRUNNER_{store.upper()}_" in done.stderr


def test_a_database_that_is_not_there():
    """Host and port are named, and what to check; the password is not."""
    done = integrate([str(SCRIPTS / "test_postgres_integration.sh")], FLOWRUNNER_STORE="postgresql://u:hidden@127.0.0.1:9/x")
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert "hidden" not in done.stdout + done.stderr


def test_one_environment_for_both_stores():
    """The script says which of them is meant, whatever else is set."""
    parts = {"FLOWRUNNER_POSTGRES_HOST": "127.0.0.1", "FLOWRUNNER_POSTGRES_PORT": "9", "FLOWRUNNER_DYNAMODB_REGION": "r", "FLOWRUNNER_STORAGE_TYPE": "dynamodb"}
    done = integrate([str(SCRIPTS / "test_postgres_integration.sh")], **parts)
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
