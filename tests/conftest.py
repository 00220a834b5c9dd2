"""A PostgreSQL server for whoever asks for one: one for all tests of a process, a schema for each test."""

import os
from itertools import count
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest


@pytest.fixture(scope="session")
def postgres_urls():
    """A function that gives the URL of another empty schema; on the server of FLOWRUNNER_TEST_POSTGRES_URL, or one of our own."""
    numbers = count(1)

    def fresh(url):
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query)) | {"schema": f"test_{os.getpid()}_{next(numbers)}"}
        return urlunsplit(parts._replace(query=urlencode(query)))

    if url := os.environ.get("FLOWRUNNER_TEST_POSTGRES_URL"):
        yield lambda: fresh(url)
        return
    postgres = pytest.importorskip("flowrunner.testing.postgres")
    with postgres.PostgresServer() as server:
        yield lambda: fresh(server.url())


@pytest.fixture
def postgres_url(postgres_urls):
    """The URL of an empty schema."""
    return postgres_urls()
