"""Log-ins, accounts, users, keys and the audit log on the command line, against a server with accounts."""

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from processes import flowrunner

PASSWORD = "correct horse battery"
ADMIN_ACCOUNT = "111122223333"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """(URL, the operator's token) of a server; one for all tests: each makes users of its own."""
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("accounts_server.py"), "closed"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path_factory.mktemp("server"),
    )
    try:
        yield tuple(process.stdout.readline().split())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Person:
    """Somebody at a terminal of their own."""

    def __init__(self, home, url):
        self.home, self.url = home, url

    def __call__(self, *words, text=None, **environment):
        return flowrunner(*words, folder=self.home, text=text, XDG_CONFIG_HOME=str(self.home / "config"), FLOWRUNNER_SERVER=self.url, **environment)

    def data(self, *words, text=None):
        shown = self(*words, "--json", text=text)
        assert shown.returncode == 0, shown.stderr
        return json.loads(shown.stdout)

    @property
    def file(self):
        return self.home / "config" / "flowrunner" / "config.toml"


@pytest.fixture
def person(server, tmp_path):
    return Person(tmp_path, server[0])


@pytest.fixture
def admin(server, person):
    """The operator, logged in with the token of the first run."""
    shown = person("login", "--token", "-", text=server[1] + "\n")
    assert shown.returncode == 0, shown.stderr
    return person


def test_log_in_with_the_first_token(admin, server):
    """The token is kept in a file of its user alone, and shown nowhere."""
    assert stat.S_IMODE(admin.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(admin.file.parent.stat().st_mode) == 0o700
    assert server[1] in admin.file.read_text()
    assert admin.data("account", "info")["id"] == ADMIN_ACCOUNT
    shown = admin("account", "info")
    assert server[1] not in shown.stdout + shown.stderr


def test_who_is_not_logged_in_is_denied(person):
    """Exit code 5, nothing on stdout, and no traceback."""
    for words in (("ls",), ("account", "info"), ("key", "list"), ("audit", "verify"), ("user", "list")):
        shown = person(*words)
        assert (shown.returncode, shown.stdout) == (5, ""), words
        assert "flowrunner login" in shown.stderr


def test_wrong_password_and_token(person):
    """Neither is kept."""
    shown = person("login", "--username", "admin", "--password-stdin", text="wrong\n")
    assert shown.returncode == 5
    shown = person("login", "--token", "flr_nonsense")
    assert shown.returncode == 5
    assert not person.file.exists()


def test_an_account_from_its_making_to_its_end(admin, server, tmp_path):
    """An operator makes an account; its owner logs in, sees only it, logs out, deletes it."""
    made = admin.data("account", "create", "ada", "--name", "Engines", "--password-stdin", text=PASSWORD + "\n")
    assert (made["username"], made["name"]) == ("ada", "Engines")
    assert {row["id"] for row in admin.data("account", "list")} >= {ADMIN_ACCOUNT, made["id"]}
    ada = Person(tmp_path / "ada", server[0])
    ada.home.mkdir()
    shown = ada("login", "--username", "ada", "--password-stdin", text=PASSWORD + "\n")
    assert shown.returncode == 0, shown.stderr
    assert f"Logged in as ada to account {made['id']}" in shown.stderr
    assert PASSWORD not in shown.stderr + ada.file.read_text()
    assert [row["id"] for row in ada.data("account", "list")] == [made["id"]]
    assert ada("ls", "--quiet").returncode == 0
    foreign, absent = ada("account", "info", ADMIN_ACCOUNT), ada("account", "info", "999999999999")
    assert (foreign.returncode, foreign.stderr) == (absent.returncode, absent.stderr)
    assert foreign.returncode == 5
    assert ada("account", "create", "eve", "--password-stdin", text=PASSWORD).returncode == 5
    assert ada("account", "delete", made["id"]).returncode == 2  # no terminal to ask on
    last = ada("user", "delete", "ada", "--yes")
    assert (last.returncode, "keeps an owner" in last.stderr) == (3, True)
    token = re.search('token = "(.*)"', ada.file.read_text())[1]
    assert ada("logout").returncode == 0
    assert "token" not in ada.file.read_text()
    assert ada("account", "info", FLOWRUNNER_TOKEN=token).returncode == 5  # ended at the server too
    ada("login", "--username", "ada", "--password-stdin", text=PASSWORD + "\n")
    assert ada("account", "delete", made["id"], "--yes").returncode == 0
    assert ada("account", "info").returncode == 5


def test_users_and_roles(admin):
    """Users are made, found by name, given roles, removed."""
    made = admin.data("user", "create", "grace", "--role", "editor", "--password-stdin", text=PASSWORD + "\n")
    assert made["role"] == "editor"
    assert {"admin", "grace"} <= {row["username"] for row in admin.data("user", "list")}
    assert admin.data("user", "role", "Grace", "viewer")["role"] == "viewer"
    assert admin("user", "role", "nobody-there", "viewer").returncode == 4
    shown = admin("user", "password", "grace", "--password-stdin", text="another good password\n")
    assert shown.returncode == 0, shown.stderr
    shown = admin("user", "delete", "admin", "--yes")
    assert shown.returncode == 3
    assert "operator stays" in shown.stderr
    assert admin("user", "delete", "grace", "--yes").returncode == 0
    assert "grace" not in {row["username"] for row in admin.data("user", "list")}


def test_aws_keys(admin):
    """A pair is printed as lines for a shell, with where the server is; it is listed without its secret, and ended."""
    shown = admin("key", "create", "--name", "laptop", "--expires", "90d")
    assert shown.returncode == 0, shown.stderr
    lines = dict(re.fullmatch(r"export (\w+)=(.*)", line).groups() for line in shown.stdout.splitlines())
    assert lines["AWS_ENDPOINT_URL_SFN"] == admin.url
    assert re.fullmatch("AKIA[A-Z2-7]{16}", lines["AWS_ACCESS_KEY_ID"])
    assert len(lines["AWS_SECRET_ACCESS_KEY"]) == 40
    (row,) = [row for row in admin.data("key", "list") if row["id"] == lines["AWS_ACCESS_KEY_ID"]]
    assert (row["kind"], row["name"]) == ("aws", "laptop")
    assert row["expires_at"]
    assert lines["AWS_SECRET_ACCESS_KEY"] not in admin("key", "list", "--json").stdout
    assert admin("key", "revoke", row["id"], "--yes").returncode == 0
    assert admin("key", "revoke", row["id"], "--yes").returncode == 4
    for wrong in (["--expires", "soon"], ["--expires", "0d"], ["--scope", "machines:read"]):
        assert admin("key", "create", *wrong).returncode == 2


def test_api_tokens(admin):
    """A token is all that stdout has; it can do what its scopes say; it is ended by its id or by itself."""
    shown = admin("key", "create", "--kind", "token", "--scope", "executions:read", "--scope", "account:read")
    token = shown.stdout.strip()
    assert shown.returncode == 0, shown.stderr
    assert re.fullmatch("flr_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", token)
    assert admin("ls", FLOWRUNNER_TOKEN=token).returncode == 0
    file = admin.home / "token"
    file.write_text(token + "\n")
    assert admin("ls", FLOWRUNNER_TOKEN_FILE="token").returncode == 2  # others can read it
    file.chmod(0o600)
    assert admin("ls", FLOWRUNNER_TOKEN_FILE="token").returncode == 0
    assert admin("user", "list", FLOWRUNNER_TOKEN=token).returncode == 5
    assert admin("key", "create", "--kind", "token", "--scope", "nonsense").returncode in (3, 5)
    assert admin("key", "revoke", token, "--yes").returncode == 0
    assert admin("ls", FLOWRUNNER_TOKEN=token).returncode == 5


def test_audit_log(admin):
    """Every change is there, and the chain holds; an anchor of another chain does not."""
    admin("key", "create", "--name", "audited")
    rows = admin.data("audit", "list", "--limit", "1000")
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[-1]["action"] == "access-key:create"
    found = admin.data("audit", "verify")
    assert found == {"intact": True, "entries": len(rows), "last": f"{rows[-1]['seq']}:{rows[-1]['hash']}"}
    assert admin("audit", "verify", "--since", found["last"]).returncode == 0
    for anchor in (f"1:{'0' * 64}", f"{len(rows) + 1000}:{'0' * 64}"):
        shown = admin("audit", "verify", "--since", anchor)
        assert shown.returncode == 1
        assert "tampered" in shown.stderr
    assert admin("audit", "verify", "--since", "last week").returncode == 2


def test_a_file_that_others_may_read(admin):
    """It is refused with what to do, before anything is sent."""
    admin.file.chmod(0o644)
    for words in (("ls",), ("login", "--token", "x"), ("logout",)):
        shown = admin(*words)
        assert shown.returncode == 2
        assert f"chmod 600 {admin.file}" in shown.stderr
    admin.file.chmod(0o600)
    admin.file.write_text("[profiles.default\n")
    assert admin("ls").returncode == 2


def test_a_token_goes_to_its_own_server_only(admin, server):
    """Another server gets no token; a profile that was asked for is not used for another server."""
    import http.server
    import threading

    heard = []

    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(self.headers["authorization"])
            self.send_error(403)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{stranger.server_port}"
        admin("ls", "--server", url)
        shown = admin("--profile", "default", "ls", "--server", url)
        stranger.shutdown()
    assert len(heard) == 1
    assert "Bearer" not in heard[0]
    assert server[1] not in heard[0]
    assert shown.returncode == 2
    assert "Profile 'default' is of" in shown.stderr


def test_profiles_by_name(admin, server):
    """Several log-ins live side by side; the server of the chosen one is the one talked to."""
    shown = admin("--profile", "other", "login", "--token", server[1])
    assert shown.returncode == 0, shown.stderr
    alone = flowrunner("--profile", "other", "account", "info", folder=admin.home, XDG_CONFIG_HOME=str(admin.home / "config"))
    assert ADMIN_ACCOUNT in alone.stdout
    assert admin("account", "info", FLOWRUNNER_PROFILE="none").returncode == 2
    assert admin("logout", FLOWRUNNER_PROFILE="other").returncode == 0
    assert admin("account", "info").returncode == 0


def test_env_of_a_server_with_accounts(admin):
    """No keys are invented where real ones are needed."""
    shown = admin("env")
    assert "AWS_ACCESS_KEY_ID" not in shown.stdout
    assert "flowrunner key create" in shown.stderr
