"""Database servers for whoever asks for one: one for all tests of a process, a schema or a table for each test; what comes first."""

import gc
import os
from itertools import count
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest
import structlog
from hypothesis import settings

settings.register_profile("suite", derandomize=True)  # the same cases each time: what lands is judged by what it changes, not by luck
settings.register_profile("search")  # new cases each time
settings.load_profile("suite")

LONG = (
    "test_pages", "test_dynamodb", "test_kills", "test_points", "test_killed_deliveries", "test_dynamodb_faults", "test_postgres_migrations", "test_engine",
    "test_cases", "test_faulty_server", "test_planted_bugs", "test_crash", "test_run_example", "test_two_servers", "test_door", "test_openapi",
    "test_account_stores", "test_db_servers", "test_any_workflow", "test_changed_machines", "test_sqlite", "test_secrets", "test_database", "test_nodes",
    "test_faulty_store", "test_named_flows", "test_names_and_tokens", "test_postgres_faults", "test_autobahn",
)  # fmt: skip
"""The files that take longest, longest first: a file is a worker's own, so that a long one at the end would leave the other workers idle."""


def pytest_collection_modifyitems(items):
    """Long files first; within a file, and among the others, the order stays."""
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def pytest_collection_finish():
    """Keep the collector off what was loaded and collected: a pass over these million objects takes as long as ten tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _logs_of_its_own():
    """Commands that run in this process direct the logs to a stream that ends with their test; the next one has its own."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres_server():
    """A running server of our own."""
    pytest.importorskip("asyncpg")
    from flowrunner.testing.postgres import PostgresServer, ServerError, find_binaries

    try:
        find_binaries()
    except ServerError as error:
        pytest.skip(str(error))
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_urls(request):
    """A function that gives the URL of another empty schema; on the server of FLOWRUNNER_TEST_POSTGRES_URL, or one of our own."""
    url = os.environ.get("FLOWRUNNER_TEST_POSTGRES_URL") or request.getfixturevalue("postgres_server").url()
    numbers = count(1)

    def fresh():
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query)) | {"schema": f"test_{os.getpid()}_{next(numbers)}"}
        return urlunsplit(parts._replace(query=urlencode(query)))

    return fresh


@pytest.fixture(scope="session")
def plain_role():
    """A function: the same URL for a role that is no superuser, so that row-level security counts; its own if the server is not ours."""
    import asyncio

    import asyncpg

    role = f"plain_{os.getpid()}"
    made = set()

    async def make(server):
        connection = await asyncpg.connect(server)
        await connection.execute(f"CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {await connection.fetchval('SELECT current_database()')} TO {role}")
        await connection.close()

    def plain(url):
        if "FLOWRUNNER_TEST_POSTGRES_URL" in os.environ:
            return url
        server = url.partition("?")[0]
        if server not in made:
            asyncio.run(make(server))
            made.add(server)
        return url.replace("//postgres@", f"//{role}@")

    return plain


@pytest.fixture
def plain_url(postgres_urls, plain_role):
    """The URL of an empty schema for a role that is no superuser."""
    return plain_role(postgres_urls())


@pytest.fixture
def postgres_url(postgres_urls):
    """The URL of an empty schema."""
    return postgres_urls()


@pytest.fixture(scope="session")
def dynamodb():
    """The URL of a DynamoDB, without a prefix: the one that the environment names, or moto in a process of its own."""
    pytest.importorskip("aiobotocore")
    if "FLOWRUNNER_TEST_DYNAMODB_URL" not in os.environ:
        pytest.importorskip("moto")
    from flowrunner.testing.dynamodb import dynamodb_server

    with dynamodb_server() as url:
        yield url


@pytest.fixture
async def dynamodb_url(dynamodb):
    """The URL of a store that has no table yet; the table is deleted afterwards, if it does not go with the stand-in."""
    from flowrunner.testing.dynamodb import delete_tables, fresh_url

    url = fresh_url(dynamodb)
    yield url
    await delete_tables(url)
