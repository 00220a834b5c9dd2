"""Secrets on the command line, with a real server."""

from __future__ import annotations

import json

import pytest
from processes import flowrunner, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A folder whose server runs for all tests."""
    folder = tmp_path_factory.mktemp("server")
    with serving(folder=folder) as running:
        yield folder, running.url


@pytest.fixture
def run(server):
    folder, url = server

    def running(*words, text=None, code=0):
        shown = flowrunner(*words, folder=folder, text=text, FLOWRUNNER_SERVER=url)
        assert shown.returncode == code, shown.stderr
        assert "Traceback" not in shown.stderr
        return shown

    running.folder = folder
    return running


def test_a_life(run):
    """Set from standard input, shown without and with its value, listed, changed, rotated, deleted."""
    assert "{{resolve:secretsmanager:API_KEY}}" in run("secret", "set", "API_KEY", text="s3cret-välue\n").stderr
    shown = run("secret", "get", "API_KEY")
    assert "API_KEY" in shown.stdout
    assert "s3cret" not in shown.stdout + shown.stderr
    assert run("secret", "get", "API_KEY", "--reveal").stdout == "s3cret-välue"
    run("secret", "set", "API_KEY", "--description", "of the bank", "--tag", "bank", "--expires-at", "2031-01-02T03:04:05Z", text="two\n")
    [row] = [json.loads(line) for line in run("secret", "list", "-o", "jsonl").stdout.splitlines()]
    assert (row["key"], row["version"], row["description"], row["tags"], row["expires_at"]) == (
        "API_KEY",
        2,
        "of the bank",
        ["bank"],
        "2031-01-02T03:04:05.000Z",
    )
    assert json.loads(run("secret", "rotate", "--json").stdout)["resealed"] == 1
    assert json.loads(run("secret", "rotate", "--master", "--json").stdout)["rewrapped"] == 1
    assert run("secret", "get", "API_KEY", "--reveal").stdout == "two"
    run("secret", "delete", "API_KEY", code=2)  # nobody to ask
    run("secret", "delete", "API_KEY", "--yes")
    assert "no secret 'API_KEY'" in run("secret", "get", "API_KEY", code=4).stderr
    assert "No secrets" in run("secret", "list").stderr


def test_structured(run):
    """Fields from a file; one of them by its path; what breaks the type's rules is told with its place."""
    file = run.folder / "db.json"
    file.write_text(json.dumps({"type": "postgres", "host": "h", "username": "u", "password": "p-1234", "port": 5432}))
    run("secret", "set", "prod/db", "--type", "database", "--value-file", str(file))
    assert run("secret", "get", "prod/db", "--reveal", "--field", "password").stdout == "p-1234"
    assert run("secret", "get", "prod/db", "--reveal", "--field", "port").stdout == "5432"
    shown = run("secret", "set", "prod/db", "--type", "database", text='{"type": "postgres"}', code=3)
    assert "breaks the rules" in shown.stderr
    run("secret", "set", "x", "--type", "custom", text="[]", code=3)
    run("secret", "set", "x", "--value-file", "nowhere", code=2)


def test_no_value_is_an_argument(run):
    """There is no option that takes a value: other users of the machine would see it."""
    run("secret", "set", "x", "value", code=2)
    run("secret", "set", "x", "--value", "value", code=2)
