from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hypothesis import settings

from flowrunner.clock import SystemClock
from flowrunner.stores.postgres import PostgresStore
from flowrunner.testing.conformance import (
    ArchiveConformance,
    DefinitionStoreConformance,
    DocumentStoreConformance,
    DurableDocumentsConformance,
    DurableStoreConformance,
    ExecutionStoreConformance,
    document_machine,
    store_machine,
)


class TestPostgresStore(ExecutionStoreConformance, DefinitionStoreConformance, DurableStoreConformance, ArchiveConformance):
    @pytest.fixture
    def opened(self, plain_url, open_postgres):
        return lambda: open_postgres(plain_url)

    @pytest.fixture
    async def store(self, opened):
        async with opened() as store:
            yield store

    @pytest.mark.slow
    async def test_pages_of_every_size(self, store):
        """Thousands of queries; shorter logs are enough for every day."""
        await super().test_pages_of_every_size(store)


class TestPostgresDocuments(DocumentStoreConformance, DurableDocumentsConformance):
    @pytest.fixture
    def opened(self, plain_url, open_postgres, clock):
        return lambda: open_postgres(plain_url, clock=clock)

    @pytest.fixture
    async def store(self, opened):
        async with opened() as store:
            yield store


@pytest.fixture(scope="class")
def _model_urls(postgres_urls, plain_role):
    TestModel.urls = staticmethod(lambda: plain_role(postgres_urls()))


@asynccontextmanager
async def empty_store(clock=None):
    async with AsyncExitStack() as stack:
        store = PostgresStore(TestModel.urls(), clock=clock or SystemClock())
        await store.start(stack)
        yield store


class TestModel(store_machine(empty_store).TestCase):
    pass


TestModel.settings = settings(max_examples=8, stateful_step_count=15, deadline=None)
TestModel = pytest.mark.usefixtures("_model_urls")(TestModel)


class TestDocumentModel(document_machine(empty_store).TestCase):
    pass


TestDocumentModel.settings = settings(max_examples=8, stateful_step_count=12, deadline=None)
TestDocumentModel = pytest.mark.usefixtures("_model_urls")(TestDocumentModel)
