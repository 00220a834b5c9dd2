"""What campaigns run on: a nursery of servers, a ledger with a book for each, and the URLs of empty stores."""

import itertools
import json
import os
import sys
from pathlib import Path

import pytest
import pytest_asyncio

from flowrunner.testing.crash import flows
from flowrunner.testing.crash.campaign import Told
from flowrunner.testing.crash.ledger import Ledger
from flowrunner.testing.crash.server import Nursery, Server
from flowrunner.testing.dynamodb import fresh_url

sys.path[:0] = [str(Path(__file__).parent)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nursery():
    """A process that becomes servers."""
    async with Nursery() as made:
        yield made


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """The outside truth."""
    with Ledger(tmp_path_factory.mktemp("ledger") / "ledger.jsonl") as made:
        yield made


@pytest.fixture(scope="module", params=["sqlite", "postgres", "dynamodb"])
def store_url(request):
    """A function: the URL of an empty store, whose files go into this folder."""
    if request.param == "postgres":
        urls = request.getfixturevalue("postgres_urls")
        return lambda _: urls()
    if request.param == "dynamodb":
        url = request.getfixturevalue("dynamodb")
        return lambda _: fresh_url(url)
    return lambda folder: f"sqlite:///{folder}/flowrunner.db"


class Site:
    """Where one campaign takes place: a book of the ledger, and the servers on one store."""

    def __init__(self, nursery, ledger, folder, url):
        folder.mkdir()
        self.folder = folder
        self.book = ledger.book(folder.name)
        self.url = url
        self.servers = []
        self._nursery = nursery

    def server(self, *, url=None, **options):
        """Another server on the store; by another way to it with `url`."""
        folder = self.folder / f"server-{len(self.servers)}"
        made = Server(self._nursery, folder, store=url or self.url, configuration=flows.configuration(self.book.at), **options)
        self.servers.append(made)
        return made

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        for server in self.servers:
            await server.close()


@pytest.fixture
def site(nursery, ledger, tmp_path, store_url):
    """A function: another site, with an empty store."""
    numbers = itertools.count(1)

    def another():
        folder = tmp_path / f"{tmp_path.name}-{next(numbers)}"
        return Site(nursery, ledger, folder, store_url(folder))

    return another


@pytest.fixture
def told(request):
    """A function: what a failure of this test says, with this seed."""

    def tell(seed=None, **variables):
        words = [f"{name}={value}" for name, value in ({} if seed is None else {"FLOWRUNNER_CRASH_SEED": seed} | variables).items()]
        slow = " -m slow" if request.node.get_closest_marker("slow") else ""
        return Told(replay=" ".join([*words, f"pytest{slow} '{request.node.nodeid}'"]), seed=seed)

    return tell


@pytest.fixture
def record(request):
    """A function: a line for the table of what was run, into the file of FLOWRUNNER_CRASH_RECORD."""

    def write(what, counts):
        file = os.environ.get("FLOWRUNNER_CRASH_RECORD")
        if file:
            with Path(file).open("a", encoding="utf-8") as kept:
                kept.write(json.dumps({"what": what, "test": request.node.name, **counts}) + "\n")

    return write
