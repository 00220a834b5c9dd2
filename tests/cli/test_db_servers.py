"""`flowrunner db` on PostgreSQL and DynamoDB, as processes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from processes import flowrunner, serving

from flowrunner.stores.postgres.migrate import PACKAGE, placed
from flowrunner.stores.revisions import latest

PASS = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": {"ü": "\0"}, "End": True}}}
WAIT = {"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": 3600, "End": True}}}
FILE = "sqlite:///flow.db"
HELD = {"executions": 3, "revisions": 2, "machines": 2, "activities": 0, "documents": 1}
DRY = ("prune", "--ended-before", "0s", "--dry-run")
LOOKS = (("current",), ("size",), ("check",), ("backup", "b.jsonl"), ("export", "e.jsonl"), DRY, ("upgrade", "--sql"))


def db(*words, folder, store, text=None):
    return flowrunner("db", *words, "--store", store, folder=folder, text=text)


def json_of(*words, folder, store, text=None):
    shown = db(*words, "--json", folder=folder, store=store, text=text)
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


def exported(folder, store):
    """Everything of a store, as rows."""
    shown = db("export", "-", folder=folder, store=store)
    assert shown.returncode == 0, shown.stderr
    return [json.loads(line) for line in shown.stdout.splitlines()[1:]]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="module")
def lines(made):
    """The export of an SQLite file with two executions that are over and one that waits."""
    folder = made
    for name, definition in (("pass", PASS), ("wait", WAIT)):
        (folder / f"{name}.asl.json").write_text(json.dumps(definition))
    for _ in range(2):
        assert flowrunner("run", "pass.asl.json", "--store", FILE, folder=folder).returncode == 0
    assert flowrunner("run", "wait.asl.json", "--timeout", "0.5", "--store", FILE, folder=folder).returncode == 124
    return db("export", "-", folder=folder, store=FILE).stdout


@pytest.fixture(params=["postgres_url", "dynamodb_url"])
def url(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def filled(url, lines, tmp_path):
    """The URL of a store with all of it."""
    assert json_of("import", "-", folder=tmp_path, store=url, text=lines)["added"] == {"revisions": 2, "machines": 2, "documents": 1, "executions": 3}
    return url


def rows_of(lines):
    return [json.loads(line) for line in lines.splitlines()[1:]]


@pytest.mark.timeout(120)
def test_what_is_not_there_is_not_made(url, tmp_path):
    """Whatever looks, or needs what is there, says so with the remedy and ends with 6; the next look says the same."""
    made = ("upgrade", "--sql")
    for words in (*(one for one in LOOKS if one != made or url.startswith("dynamodb")), ("prune", "--ended-before", "0s"), LOOKS[0]):
        shown = db(*words, folder=tmp_path, store=url)
        assert shown.returncode == 6, (words, shown.stderr)
        assert "flowrunner serve" in shown.stderr
        assert shown.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(120)
def test_upgrade_makes_what_is_not_there(url, tmp_path):
    """Once, and says so; what it would do is printed before."""
    latest_one = latest(PACKAGE) if url.startswith("postgres") else "1"
    if url.startswith("postgres"):
        script = db("upgrade", "--sql", folder=tmp_path, store=url)
        assert (script.returncode, script.stdout[:7], "CREATE SCHEMA" in script.stdout) == (0, "BEGIN;\n", True)
        assert "Nothing was changed" in script.stderr
    made = db("upgrade", "--json", folder=tmp_path, store=url)
    assert (json.loads(made.stdout), "The schema was made." in made.stderr) == ({"before": None, "revision": latest_one}, True)
    assert json_of("upgrade", folder=tmp_path, store=url) == {"before": latest_one, "revision": latest_one}


@pytest.mark.timeout(120)
def test_every_command(filled, lines, tmp_path):
    """What came in is there as it was; each command tells its part of it, and prune removes what has ended."""
    folder, revision = tmp_path, latest(PACKAGE) if filled.startswith("postgres") else "1"
    assert exported(folder, filled) == rows_of(lines)
    assert json_of("current", folder=folder, store=filled) == {"revision": revision, "latest": revision, "upToDate": True}
    assert json_of("upgrade", folder=folder, store=filled) == {"before": revision, "revision": revision}
    script = db("upgrade", "--sql", folder=folder, store=filled)
    assert (script.stdout, "nothing to do" in script.stderr) == ("", True)
    assert json_of("size", folder=folder, store=filled).items() >= HELD.items()
    check = db("check", folder=folder, store=filled)
    assert (check.returncode, check.stdout) == (0, "WHERE\tFINDING\n")
    assert "No findings in 3 executions" in check.stderr
    assert json_of(*DRY, folder=folder, store=filled).items() >= {"executions": 2, "removed": False}.items()
    backup = json_of("backup", "b.jsonl", folder=folder, store=filled)
    assert backup.items() >= {"file": "b.jsonl", "executions": 3, "machines": 2}.items()
    assert json_of("restore", "b.jsonl", folder=folder, store=FILE)["executions"] == 3
    assert exported(folder, FILE) == rows_of(lines)
    again = db("restore", "b.jsonl", folder=folder, store=filled)
    assert again.returncode == 6
    assert "not empty" in again.stderr
    assert json_of("prune", "--ended-before", "0s", folder=folder, store=filled).items() >= {"executions": 2, "removed": True}.items()
    assert json_of("size", folder=folder, store=filled)["executions"] == 1
    assert db("check", folder=folder, store=filled).returncode == 0


@pytest.mark.timeout(120)
def test_around_all_stores(postgres_url, dynamodb_url, lines, tmp_path):
    """SQLite, PostgreSQL, DynamoDB, another schema of PostgreSQL and SQLite again: the same rows everywhere; a second import adds nothing."""
    stores = (FILE, postgres_url, dynamodb_url, postgres_url.replace("schema=", "schema=other_"), "sqlite:///again.db")
    text = lines
    for store in stores:
        assert json_of("import", "-", folder=tmp_path, store=store, text=text)["skipped"] == {}
        text = db("export", "-", folder=tmp_path, store=store).stdout
        assert rows_of(text) == rows_of(lines)
    again = json_of("import", "-", folder=tmp_path, store=postgres_url, text=text)
    assert again == {"added": {}, "skipped": {"revisions": 2, "machines": 2, "documents": 1, "executions": 3}}


@pytest.mark.timeout(120)
def test_beside_a_running_server(filled, made, tmp_path):
    """Looks work; an export of PostgreSQL is of one moment, that of DynamoDB says that it is not. The master key moves as a file."""
    refused = flowrunner("serve", "--dev", "--port", "0", "--store", filled, folder=tmp_path)
    assert (refused.returncode, "to the file .flowrunner/master.key" in refused.stderr) == (6, True)
    (tmp_path / ".flowrunner").mkdir(exist_ok=True)
    shutil.copy2(made / "master.key", tmp_path / ".flowrunner" / "master.key")
    with serving("serve", "--dev", "--store", filled, folder=tmp_path) as server:
        for words in (*LOOKS, ("upgrade",)):
            shown = db(*words, folder=tmp_path, store=filled)
            assert shown.returncode == 0, (words, shown.stderr)
            whole = words[0] not in ("backup", "export") or filled.startswith("postgres")
            assert ("cannot be read at one moment" in shown.stderr) is not whole
        assert server.stop() == 0


async def test_postgres_without_the_version_row(postgres_url, tmp_path):
    """What the release before the version row left is told, shows its script, and is stamped and upgraded once."""
    import asyncpg

    url = postgres_url
    admin = await asyncpg.connect(url.partition("?")[0])
    schema = urlsplit(url).query.removeprefix("schema=")
    released = (Path(__file__).parent.parent / "migrations" / "released" / "postgres-1.sql").read_text()
    marks = "INSERT INTO flowrunner.meta VALUES ('application', 'flowrunner'), ('version', '1')"
    await admin.execute(placed(f"CREATE SCHEMA {schema}; {released}; {marks}", schema))
    assert json_of("current", folder=tmp_path, store=url)["revision"] == "0001"
    assert db("check", folder=tmp_path, store=url).returncode == 6
    script = db("upgrade", "--sql", folder=tmp_path, store=url).stdout
    assert script.startswith("BEGIN;\n\nSELECT pg_advisory_xact_lock(")
    assert script.endswith("COMMIT;\n\n")
    assert f'INSERT INTO "{schema}".alembic_version' in script
    assert await admin.fetchval("SELECT to_regclass($1)", f"{schema}.alembic_version") is None
    await admin.execute(script)
    assert await admin.fetchval(f"SELECT version_num FROM {schema}.alembic_version") == latest(PACKAGE)
    assert db("upgrade", "--sql", folder=tmp_path, store=url).stdout == ""
    assert db("check", folder=tmp_path, store=url).returncode == 0
    await admin.close()


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("url", ["postgres_url"], indirect=True)
async def test_check_finds_what_is_wrong_in_postgres(url, tmp_path):
    """Exit code 1, each finding with its place; what only a replay finds, too."""
    import asyncpg

    admin = await asyncpg.connect(url.partition("?")[0])
    schema = urlsplit(url).query.removeprefix("schema=")
    for damage, repair, where, finding in (
        (
            "UPDATE {}.facts SET body = body || '\\x00'",
            "UPDATE {}.facts SET body = substr(body, 1, length(body) - 1)",
            "execution ",
            "its state cannot be read",
        ),
        ("UPDATE {}.heads SET last_seq = last_seq + 1", "UPDATE {}.heads SET last_seq = last_seq - 1", "database", "records, its head says"),
        (
            "UPDATE {}.machines SET revision = revision || 'x'",
            "UPDATE {}.machines SET revision = rtrim(revision, 'x')",
            "database",
            "2 times a state machine without",
        ),
    ):
        await admin.execute(damage.format(schema))
        shown = db("check", "--json", folder=tmp_path, store=url)
        assert shown.returncode == 1, (damage, shown.stderr)
        assert any(row["where"].startswith(where) and finding in row["finding"] for row in json.loads(shown.stdout)), shown.stdout
        await admin.execute(repair.format(schema))
    assert db("check", folder=tmp_path, store=url).returncode == 0
    await admin.close()
