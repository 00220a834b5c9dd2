"""`flowrunner doctor`: what is broken is found and comes with a remedy; nothing breaks the doctor."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from contextlib import AsyncExitStack, closing
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest
from processes import flowrunner, serving

from flowrunner.cli import checkup
from flowrunner.cli.main import run
from flowrunner.clock import SystemClock
from flowrunner.config import load
from flowrunner.stores.open import open_store
from flowrunner.testing.clock import ManualClock
from flowrunner.wiring import build

STORE = 'store = "sqlite:///flow.db"\n'
ANY_PORT = "port = 0\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder, and an environment that says nothing."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("FLOWRUNNER_"):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def examine(folder, capsys):
    """Run the command; gives its exit code and its findings by check."""

    def examined(*arguments):
        code = run(["doctor", "--json", *arguments])
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        assert "unexpected" not in shown.err
        return code, {one["check"]: one for one in json.loads(shown.out)}

    return examined


def toml(folder, text):
    (folder / "flowrunner.toml").write_text(text)


def sealed(folder):
    """A store that a server has opened once: it has a key ring and a key file."""

    async def once():
        async with AsyncExitStack() as stack:
            await build(load(environment={}, folder=folder)).start(stack)

    toml(folder, STORE + ANY_PORT)
    asyncio.run(once())


def test_all_is_well(folder, examine):
    """Before the first start and after it; nothing is left behind."""
    toml(folder, STORE + ANY_PORT)
    before = sorted(folder.iterdir())
    code, found = examine()
    assert code == 0
    assert set(found) == {"versions", "configuration", "tls", "keys", "port", "store", "clock", "disk", "fsync", "files"}
    assert "not there yet" in found["store"]["detail"]
    assert sorted(folder.iterdir()) == before
    sealed(folder)
    before = sorted(folder.iterdir())
    code, found = examine()
    assert code == 0
    assert "can be written" in found["store"]["detail"]
    assert "the key is here" in found["vault"]["detail"]
    assert sorted(folder.iterdir()) == before


def _foreign(folder):
    with closing(apsw.Connection(str(folder / "flow.db"))) as connection:
        connection.execute("CREATE TABLE t (a); PRAGMA application_id = 7")


def _newer(folder):
    sealed(folder)
    with closing(apsw.Connection(str(folder / "flow.db"))) as connection:
        connection.execute("PRAGMA user_version = 999")


def _key_gone(folder):
    sealed(folder)
    (folder / "master.key").unlink()


def _key_wrong(folder):
    _key_gone(folder)
    (folder / "master.key").write_text("A" * 43 + "=\n")
    (folder / "master.key").chmod(0o600)


def _key_open(folder):
    sealed(folder)
    (folder / "master.key").chmod(0o644)


def _key_junk(folder):
    sealed(folder)
    (folder / "master.key").write_text("hello\n")


def _key_folder(folder):
    toml(folder, STORE + ANY_PORT)
    (folder / "master.key").mkdir()


def _future(folder):
    sealed(folder)
    os.utime(folder / "flow.db", (4e9, 4e9))


def _only(text):
    return lambda folder: toml(folder, text)


BROKEN = {
    "an unknown setting": (_only("prot = 1\n"), "configuration", "Did you mean 'port'?"),
    "no TOML": (_only("port = \n"), "configuration", ""),
    "not a store": (_only('store = "mysql://a"\n'), "configuration", "store URL"),
    "the network without TLS": (_only('host = "0.0.0.0"\n' + ANY_PORT), "configuration", "--insecure"),
    "dev on the network": (_only('dev = true\nhost = "0.0.0.0"\n' + ANY_PORT), "configuration", "127.0.0.1"),
    "a proxy that is no address": (_only('trusted_proxies = ["proxy"]\n' + ANY_PORT), "configuration", "10.0.0.0/24"),
    "an exception that is no host": (_only(ANY_PORT + '[http]\nallow = ["a b"]\n'), "configuration", ""),
    "mocks that are not there": (_only(ANY_PORT + 'mock_config = "no.json"\n'), "configuration", ""),
    "pings without time for an answer": (_only(ANY_PORT + "socket_pong_seconds = 5\n"), "configuration", "longer than a ping"),
    "a short key of log-ins": (_only(ANY_PORT + '[auth]\njwt_secret = "canary"\n'), "configuration", "32 random bytes"),
    "an issuer without a key": (_only(ANY_PORT + '[auth]\njwt_issuer = "https://login.example"\n'), "configuration", "public key"),
    "a certificate without key": (_only(ANY_PORT + '[server.tls]\ncert_file = "a.crt"\n'), "tls", ""),
    "a certificate that is not there": (_only(ANY_PORT + '[server.tls]\ncert_file = "a.crt"\nkey_file = "a.key"\n'), "tls", ""),
    "an address that is not here": (_only('host = "192.0.2.1"\ninsecure = true\n'), "port", "another port"),
    "a host that is not known": (_only('host = "nowhere.invalid"\ninsecure = true\n'), "port", "another port"),
    "no folder": (_only(ANY_PORT + 'store = "sqlite:///no/where/flow.db"\n'), "store", "Create it"),
    "PostgreSQL does not answer": (_only(ANY_PORT + 'store = "postgresql://a:canary@127.0.0.1:1/b"\n'), "store", ""),
    "a folder as a file": (lambda folder: [toml(folder, STORE + ANY_PORT), (folder / "flow.db").mkdir()], "store", ""),
    "not a database": (lambda folder: [toml(folder, STORE + ANY_PORT), (folder / "flow.db").write_bytes(b"x" * 5000)], "store", ""),
    "a foreign database": (lambda folder: [toml(folder, STORE + ANY_PORT), _foreign(folder)], "store", "left as it is"),
    "a newer schema": (_newer, "store", ""),
    "the key is gone": (_key_gone, "vault", "Restore it from a backup"),
    "another key": (_key_wrong, "vault", "Restore it from a backup"),
    "a key that all can read": (_key_open, "keys", "chmod 600"),
    "a key that is none": (_key_junk, "keys", ""),
    "a key that is a folder": (_key_folder, "keys", ""),
    "a store from the future": (_future, "clock", "Set the clock"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found(folder, examine, name):
    """Exit code 1, the right check fails, and there is a remedy or at least a reason; secrets are not shown."""
    arrange, check, remedy = BROKEN[name]
    arrange(folder)
    code, found = examine()
    assert code == 1, found
    assert found[check]["verdict"] == "fail"
    assert remedy in f"{found[check]['detail']} {found[check]['remedy']}"
    assert "canary" not in str(found)


def test_older_schemas_and_memory_are_warnings(folder, examine):
    """What a start puts right, or is meant so, is no failure."""
    code, found = examine("--store", "memory:")
    assert (code, found["store"]["verdict"]) == (0, "warn")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_what_cannot_be_written(folder, examine):
    """Files and folders without the right to write."""
    sealed(folder)
    (folder / "flow.db").chmod(0o400)
    assert examine()[1]["store"]["verdict"] == "fail"


def test_a_port_that_is_taken(folder, examine):
    """By somebody else it is a failure, by a FlowRunner server it is not."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        toml(folder, f"{STORE}port = {other.getsockname()[1]}\n")
        code, found = examine()
        assert (code, found["port"]["verdict"]) == (1, "fail")
    with serving(folder=folder) as server:
        toml(folder, f"{STORE}port = {server.url.rpartition(':')[2]}\n")
        code, found = examine()
        assert (code, found["port"]["verdict"]) == (0, "ok")
        assert "answers" in found["port"]["detail"]


def test_beside_a_running_server(folder):
    """The store of a running server is found well, and is left alone."""
    with serving("serve", "--dev", "--store", "sqlite:///flow.db", folder=folder) as server:
        shown = flowrunner("doctor", "--store", "sqlite:///flow.db", folder=folder)
        assert "can be written" in shown.stdout
        assert server.stop() == 0


def test_databases_of_several_servers_are_tried(postgres_urls, folder, examine):
    """PostgreSQL: not there, then there, then not ours to write."""
    url = postgres_urls()
    code, found = examine("--store", url)
    assert (code, found["store"]["verdict"]) == (0, "ok")
    assert "not there yet" in found["store"]["detail"]

    async def made():
        async with AsyncExitStack() as stack:
            await open_store(url, clock=SystemClock()).start(stack)

    asyncio.run(made())
    code, found = examine("--store", url)
    assert (code, found["store"]["verdict"]) == (0, "ok")
    assert "can be written" in found["store"]["detail"]


def test_a_role_that_passes_by_row_level_security_is_told(postgres_urls, plain_role, folder, examine):
    """A superuser is a warning, with what to do; an ordinary role is none."""

    async def made(url):
        async with AsyncExitStack() as stack:
            await open_store(url, clock=SystemClock()).start(stack)

    powerful = postgres_urls()
    ordinary = plain_role(postgres_urls())
    for url in (powerful, ordinary):
        asyncio.run(made(url))
    code, found = examine("--store", ordinary)
    assert (code, "role" in found) == (0, False)
    if powerful.partition("@")[0] != ordinary.partition("@")[0]:
        code, found = examine("--store", powerful)
        assert (code, found["role"]["verdict"]) == (0, "warn")
        assert "superuser" in found["role"]["detail"]
        assert "createuser" in found["role"]["remedy"]


def test_a_named_key_file_that_is_not_there_is_told(folder, examine, monkeypatch):
    """It is never made in a place that the operator named: what is missing, why, and how to make it."""
    monkeypatch.setenv("FLOWRUNNER_MASTER_KEY_FILE", str(folder / "other keys" / "key"))
    toml(folder, STORE + ANY_PORT)
    code, found = examine()
    assert (code, found["keys"]["verdict"]) == (1, "fail")
    assert "is not there" in found["keys"]["detail"]
    assert f"'{folder}/other keys/key'" in found["keys"]["remedy"]
    assert "Without master_key_file" in found["keys"]["remedy"]
    shown = flowrunner("serve", folder=folder, FLOWRUNNER_MASTER_KEY_FILE=str(folder / "other keys" / "key"))
    assert shown.returncode != 0
    assert "is not there; it was named in the settings" in shown.stderr
    assert "Traceback" not in shown.stderr
    assert not (folder / "other keys").exists()


def test_the_clock(tmp_path):
    """A machine that has lost its time says so."""
    settings = load(environment={}, folder=tmp_path)
    assert checkup.clock_of(settings, ManualClock(0)).verdict == "fail"
    assert checkup.clock_of(settings, SystemClock()).verdict == "ok"


@pytest.mark.parametrize(("free", "verdict"), [(10**7, "fail"), (5 * 10**8, "warn"), (10**11, "ok")])
def test_room(tmp_path, monkeypatch, free, verdict):
    """Little room is told before there is none."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=free))
    room, pace = checkup.disk(tmp_path)
    assert room.verdict == verdict
    assert bool(room.remedy) == (verdict != "ok")
    assert pace.check == "fsync"
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_slow_or_not_there(tmp_path, monkeypatch):
    """Slow writes are a warning, a folder that is gone a failure."""
    monkeypatch.setattr(checkup, "SLOW_FSYNC_MILLISECONDS", 0.0)
    assert [one.verdict for one in checkup.disk(tmp_path)][1] == "warn"
    assert [one.verdict for one in checkup.disk(tmp_path / "no")] == ["fail"]
    assert [one.verdict for one in checkup.disk(Path("/proc"))][-1] == "fail"


@pytest.mark.parametrize(("limit", "verdict"), [(100, "fail"), (1024, "warn"), (65536, "ok"), (-1, "ok")])
def test_limits_of_files(limit, verdict):
    """Each connection is a file to the system."""
    assert checkup.files(limit).verdict == verdict


def test_a_certificate_that_ends(tmp_path):
    """It is told two weeks before."""
    from test_tls import written

    certificate, key = written(tmp_path)
    toml(tmp_path, f'[server.tls]\ncert_file = "{certificate}"\nkey_file = "{key}"\n')
    key.chmod(0o600)
    found = checkup.certificate(load(environment={}, folder=tmp_path))
    assert (found.verdict, found.remedy) == ("warn", "Renew it, then start the server again.")


def test_for_people(folder, capsys):
    """A table, the remedies below it, and one sentence at the end."""
    toml(folder, "prot = 1\n")
    assert run(["doctor"]) == 1
    shown = capsys.readouterr()
    assert shown.out.startswith("CHECK\tVERDICT\tDETAIL\n")
    assert "configuration: Did you mean 'port'?" in shown.err
    assert shown.err.endswith("1 of 2 checks failed.\n")
