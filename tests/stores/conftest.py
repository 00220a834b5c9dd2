"""SQLite files, processes that hold or write them, and a file system that fails on demand."""

import os
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import apsw
import pytest

from flowrunner.clock import SystemClock
from flowrunner.stores.open import open_store
from flowrunner.stores.sqlite import SqliteStore
from flowrunner.testing.postgres import PostgresServer


@pytest.fixture
def path(tmp_path):
    return tmp_path / "flow.db"


@pytest.fixture
def open_sqlite():
    """A function that opens a store in an `async with`."""

    @asynccontextmanager
    async def open_sqlite(path, *, clock=None, **settings):
        async with AsyncExitStack() as stack:
            store = SqliteStore(path, clock=clock or SystemClock(), **settings)
            await store.start(stack)
            yield store

    return open_sqlite


@pytest.fixture
async def store(path, open_sqlite):
    async with open_sqlite(path) as store:
        yield store


HOLD = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
connection.close()
print("released", flush=True)
"""


@pytest.fixture
def foreign_writer(path):
    """A function: another process that is writing to the file, as long as the `with` lasts."""

    @contextmanager
    def hold():
        with subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "held\n"
            try:
                yield
            finally:
                process.stdin.write("\n")
                process.stdin.flush()
                assert process.stdout.readline() == "released\n"

    return hold


class Faults(apsw.VFS):
    """The default file system of SQLite while the test runs. `fail` maps (operation, end of the file's name) to what it raises."""

    def __init__(self):
        self.fail = {}
        self.done = []
        super().__init__("faults", "unix", makedefault=True)

    def xOpen(self, name, flags):  # noqa: N802
        return FaultyFile(self, name, flags)

    def meet(self, operation, name):
        self.done.append((operation, name))
        for (failing, suffix), error in self.fail.items():
            if failing == operation and name.endswith(suffix):
                raise error


class FaultyFile(apsw.VFSFile):
    def __init__(self, faults, name, flags):
        self._faults = faults
        self._name = os.path.basename(name.filename() if isinstance(name, apsw.URIFilename) else name or "")  # noqa: PTH119
        super().__init__("unix", name, flags)

    def xSync(self, flags):  # noqa: N802
        self._faults.meet("sync", self._name)
        super().xSync(flags)

    def xWrite(self, data, offset):  # noqa: N802
        self._faults.meet("write", self._name)
        super().xWrite(data, offset)

    def xRead(self, amount, offset):  # noqa: N802
        self._faults.meet("read", self._name)
        return super().xRead(amount, offset)


@pytest.fixture
def faults():
    vfs = Faults()
    yield vfs
    vfs.unregister()


@pytest.fixture
def open_postgres():
    """A function that opens a store in an `async with`."""

    @asynccontextmanager
    async def open_postgres(url, *, clock=None, **settings):
        async with AsyncExitStack() as stack:
            store = open_store(url, clock=clock or SystemClock(), **settings)
            await store.start(stack)
            yield store

    return open_postgres


@pytest.fixture(scope="module")
def own_server(postgres_server):
    """A server that the tests of a module may kill, durable, with few connections."""
    with PostgresServer({"max_connections": "12"}, binaries=postgres_server.binaries) as server:
        yield server


@pytest.fixture
def sent(store, monkeypatch):
    """A function: the actions of each transaction of a DynamoDB store since it was last asked, and the other requests."""
    seen = []
    call = store.session.call

    async def seeing(operation, **arguments):
        seen.append([*(next(iter(action)) for action in arguments["TransactItems"])] if operation == "TransactWriteItems" else operation)
        return await call(operation, **arguments)

    monkeypatch.setattr(store.session, "call", seeing)

    def since():
        found = list(seen)
        seen.clear()
        return found

    return since
