import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flowrunner.clock import SystemClock
from flowrunner.errors import ConfigurationError
from flowrunner.stores.open import open_store
from flowrunner.stores.postgres.text import given as read_back
from flowrunner.stores.postgres.text import stored
from flowrunner.stores.postgres.url import Address, parse_address


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_the_parts_of_a_url(scheme):
    """User, password, host, port and database are taken from their places; what is left out has a default."""
    address = parse_address(f"{scheme}://flow%40x:p%2Fss%20%3A@db.example:6432/my%20data")
    assert address == Address(host="db.example", port=6432, user="flow@x", password="p/ss :", database="my data")
    address = parse_address(f"{scheme}://flow@[::1]/d")
    assert (address.host, address.port, address.password, address.sslmode, address.schema) == ("::1", 5432, None, "prefer", "flowrunner")
    assert open_store(f"{scheme}://flow@db/d", clock=SystemClock()).capabilities.durable


def test_the_settings_of_a_url(tmp_path):
    """Every setting is understood."""
    authority = tmp_path / "ca.pem"
    authority.touch()
    query = f"sslmode=verify-full&sslrootcert={authority}&schema=other_1&pgbouncer=true&connections=9&connect_timeout=0.5"
    address = parse_address(f"postgresql://u@h/d?{query}")
    assert (address.sslmode, address.sslrootcert, address.schema) == ("verify-full", Path(authority), "other_1")
    assert (address.pooled, address.connections, address.connect_seconds) == (True, 9, 0.5)


REFUSED = {
    "postgresql://:p@h/d": "names no user",
    "postgresql://u:hunter2@/d": "names no host",
    "postgresql://u:hunter2@h": "names no database",
    "postgresql://u:hunter2@h/": "names no database",
    "postgresql://u:hunter2@h/d%00": "names no database",
    "postgresql://u:hunter2@h:port/d": "not a number",
    "postgresql://u:hunter2@h:99999/d": "not a number",
    "postgresql://u:hunter2@h/d#x": "'#'",
    "postgresql://u:hunter2@h/d?sslmod=require": "unknown setting 'sslmod'",
    "postgresql://u:hunter2@h/d?sslmode=allow": "sslmode=allow cannot",
    "postgresql://u:hunter2@h/d?sslmode=verify-full&sslrootcert=nowhere.pem": "no file nowhere.pem",
    f"postgresql://u:hunter2@h/d?sslrootcert={__file__}": "not looked at",
    "postgresql://u:hunter2@h/d?schema=a;b": "schema",
    'postgresql://u:hunter2@h/d?schema="': "schema",
    "postgresql://u:hunter2@h/d?schema=": "schema",
    "postgresql://u:hunter2@h/d?pgbouncer=yes": "neither true nor false",
    "postgresql://u:hunter2@h/d?connections=0": "connections=0",
    "postgresql://u:hunter2@h/d?connections=x": "connections=x",
    "postgresql://u:hunter2@h/d?connect_timeout=nan": "connect_timeout=nan",
}


@pytest.mark.parametrize(("url", "reason"), REFUSED.items())
def test_refused_urls(url, reason):
    """Every other URL is refused with the reason and what can be written instead, and never with its password."""
    with pytest.raises(ConfigurationError) as caught:
        parse_address(url)
    assert reason in str(caught.value)
    assert caught.value.remedy
    assert "hunter2" not in str(caught.value)


def test_unknown_settings_are_answered_with_the_known_ones():
    """Who misspells a setting reads which there are."""
    with pytest.raises(ConfigurationError) as caught:
        parse_address("postgresql://u@h/d?timeout=3")
    for name in ("sslmode", "sslrootcert", "schema", "pgbouncer", "connections", "connect_timeout"):
        assert name in str(caught.value)


def test_an_address_hides_its_password():
    """Neither the text nor the representation of an address has the password in it."""
    address = parse_address("postgresql://u:hunter2@h/d")
    assert "hunter2" not in f"{address} {address!r}"


def test_the_driver_is_missing(monkeypatch):
    """Without the driver a PostgreSQL URL is answered with the command that installs it."""
    for name in [name for name in sys.modules if name.startswith(("asyncpg", "flowrunner.stores.postgres"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ConfigurationError) as caught:
        open_store("postgresql://u@h/d", clock=SystemClock())
    assert 'pip install "flowrunner[postgres]"' in str(caught.value)


RARE = st.text(st.sampled_from("\0\1\2\3a"), max_size=8)


@given(RARE, RARE)
@example("\1\2", "\0\2")
@settings(max_examples=300)
def test_texts_with_nul(one, other):
    """A text comes back as it was, has no NUL while it is stored, and sorts and compares as before."""
    assert read_back(stored(one)) == one
    assert "\0" not in stored(one)
    assert (stored(one) < stored(other), stored(one) == stored(other)) == (one < other, one == other)
