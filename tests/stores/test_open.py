from contextlib import AsyncExitStack

import pytest

from flowrunner.clock import SystemClock
from flowrunner.errors import ConfigurationError
from flowrunner.stores.dynamodb import DynamoStore
from flowrunner.stores.memory import MemoryStore
from flowrunner.stores.open import open_store
from flowrunner.stores.sqlite import SqliteStore


@pytest.mark.parametrize("url", ["memory:", "memory://", "memory:/"])
def test_memory(url):
    """`memory:` is the memory store."""
    store = open_store(url, clock=SystemClock())
    assert isinstance(store, MemoryStore)
    assert not store.capabilities.durable


def test_paths(tmp_path, monkeypatch):
    """Three slashes begin a relative path, four an absolute one; percent escapes are undone."""
    monkeypatch.chdir(tmp_path)
    for url, path in {
        "sqlite:///x.db": tmp_path / "x.db",
        "sqlite:///a/b.db": tmp_path / "a" / "b.db",
        "sqlite:///./x.db": tmp_path / "x.db",
        f"sqlite:///{tmp_path}/y.db": tmp_path / "y.db",
        "sqlite:///with%20space%3F.db": tmp_path / "with space?.db",
        "sqlite:///über.db": tmp_path / "über.db",
    }.items():
        store = open_store(url, clock=SystemClock())
        assert isinstance(store, SqliteStore)
        assert store.session.path == path


async def test_settings(tmp_path):
    """`synchronous` is full unless the URL says normal."""
    for query, level in (("", 2), ("?synchronous=full", 2), ("?synchronous=normal", 1)):
        async with AsyncExitStack() as stack:
            store = open_store(f"sqlite:///{tmp_path}/x.db{query}", clock=SystemClock())
            await store.start(stack)
            assert store.session._connections[0].pragma("synchronous") == level
            assert store.capabilities.durable
            assert store.capabilities.exclusive


def test_dynamodb():
    """The region stands where others have a host; what is not said is left to AWS and to the defaults."""
    plain = open_store("dynamodb://eu-central-1", clock=SystemClock())
    assert isinstance(plain, DynamoStore)
    assert not plain.capabilities.exclusive
    assert plain.session.settings.table == "flowrunner"
    assert plain.url == "dynamodb://eu-central-1"
    url = "dynamodb://us-east-1?endpoint=http://[::1]:8000&prefix=a_&billing=provisioned&read=7&write=9&shards=2"
    full = open_store(url, clock=SystemClock())
    assert full.url == url
    given = full.session.settings
    assert (given.table, given.billing, given.read, given.write, given.shards) == ("a_flowrunner", "provisioned", 7, 9, 2)
    assert given.is_local


REFUSED = {
    "": "not a URL",
    "flow.db": "not a URL",
    "memory:x": "after 'memory:'",
    "sqlite:": "names no file",
    "sqlite://": "names no file",
    "sqlite:///": "names no file",
    "sqlite:////": "names no file",
    "sqlite:///folder/": "names no file",
    "sqlite:x.db": "names no file",
    "sqlite://x.db": "names no file",
    "sqlite://host/x.db": "names no file",
    "sqlite:///x%00.db": "NUL",
    "sqlite:///x.db?mode=ro": "unknown settings",
    "sqlite:///x.db?synchronous=off": "cannot be used",
    "sqlite:///x.db#here": "unknown settings",
    "postgresql://localhost/x": "names no user",
    "postgres://user@localhost": "names no database",
    "postgresql:": "names no user",
    "dynamodb:table": "names no region",
    "dynamodb://": "names no region",
    "dynamodb://eu central": "names no region",
    "dynamodb://eu-central-1/table": "names no region",
    "dynamodb://key:secret@eu-central-1": "has credentials in it",
    "dynamodb://eu-central-1?table=x": "Known are endpoint, prefix, billing, read, write, shards",
    "dynamodb://eu-central-1?endpoint=127.0.0.1": "endpoint=127.0.0.1 cannot be used",
    "dynamodb://eu-central-1?prefix=a b": "prefix=a b cannot be used",
    "dynamodb://eu-central-1?billing=free": "on-demand or provisioned",
    "dynamodb://eu-central-1?read=5": "belong to billing=provisioned",
    "dynamodb://eu-central-1?billing=provisioned&read=0": "from 1 to 40000",
    "dynamodb://eu-central-1?shards=65": "from 1 to 64",
    "mysql://x": "no 'mysql' store",
    "C:\\flow.db": "no 'C' store",
}


@pytest.mark.parametrize(("url", "reason"), REFUSED.items())
def test_refused(url, reason):
    """Every other URL is refused with the reason and what can be written instead."""
    with pytest.raises(ConfigurationError) as caught:
        open_store(url, clock=SystemClock())
    assert reason in str(caught.value)
    assert caught.value.remedy
