"""The operator has lost every token: who has the store and its master key makes a new one; nobody else does, and it is noted."""

import pytest
from own_server import Site

REFUSED = 6  # the exit code where the store is refused: the reference of commands
ACTOR = "command:account recover"


@pytest.fixture(params=["sqlite", "postgres"])
def site(request, tmp_path):
    made = Site(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else None)
    yield made
    made.close()


def recover(site, *words):
    return site.run("account", "recover", *site.store, *words)


def refused(site, said):
    shown = recover(site)
    assert (shown.returncode, shown.stdout) == (REFUSED, ""), shown
    assert said in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.timeout(180)
def test_a_lost_token_is_replaced(site):
    """Refused without a store, beside a server on a file, without the key; then the token works, the old one too, and the audit log is whole."""
    refused(site, "")
    assert not list(site.folder.rglob("*.db"))
    site.start()
    first = site.token()
    if not site.store:
        refused(site, "Stop the server first")
        assert site.stop() == 0
    key = site.folder / ".flowrunner" / "master.key"
    aside = key.rename(key.with_name("aside"))
    refused(site, "master key")
    assert not key.exists()
    aside.rename(key)
    shown = recover(site)
    assert shown.returncode == 0, shown.stderr
    token = shown.stdout.strip()
    assert token.startswith("flr_")
    assert token != first
    assert "admin" in shown.stderr
    if not site.store:
        site.start()
    for profile, given in (("new", token), ("old", first)):
        assert site.run("login", "--server", site.url, "--token", "-", profile=profile, text=given).returncode == 0
        assert site.json("account", "list", profile=profile)
    (entry,) = [one for one in site.json("audit", "list", profile="new") if one["action"] == "account:recover"]
    assert entry["who"] == ACTOR
    assert token.split("_")[1] in entry["detail"]
    assert site.run("audit", "verify", profile="new").returncode == 0


@pytest.mark.timeout(120)
def test_the_operator_cannot_be_deleted(tmp_path):
    """Neither the account, nor the user even if another owner is there; other accounts and users can."""
    site = Site(tmp_path)
    try:
        site.start()
        assert site.run("login", "--server", site.url, "--token", "-", text=site.token()).returncode == 0
        mine = site.json("account", "info")["id"]
        shown = site.run("account", "delete", mine, "--yes")
        assert shown.returncode != 0
        assert "operator" in shown.stderr
        password = "a good long password"
        assert site.run("user", "create", "second", "--role", "owner", "--password-stdin", text=password).returncode == 0
        assert site.run("login", "--server", site.url, "--username", "second", "--password-stdin", profile="second", text=password).returncode == 0
        assert site.run("user", "delete", "admin", "--yes", profile="second").returncode != 0
        shown = site.run("user", "delete", "admin", "--yes")
        assert shown.returncode != 0
        assert "operator" in shown.stderr
        assert site.run("account", "delete", mine, "--yes", profile="second").returncode != 0
        assert site.json("account", "info")["id"] == mine
        other = site.run("account", "create", "bob", "--password-stdin", "--json", text=password)
        assert other.returncode == 0, other.stderr
        (number,) = {one["id"] for one in site.json("account", "list")} - {mine}
        assert site.run("account", "delete", number, "--yes").returncode == 0
        assert site.run("user", "delete", "second", "--yes").returncode == 0
    finally:
        site.close()
