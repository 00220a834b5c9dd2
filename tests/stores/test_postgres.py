from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hypothesis import settings

from flowrunner.clock import SystemClock
from flowrunner.stores.postgres import PostgresStore
from flowrunner.testing.conformance import ArchiveConformance, DefinitionStoreConformance, DurableStoreConformance, ExecutionStoreConformance, store_machine


class TestPostgresStore(ExecutionStoreConformance, DefinitionStoreConformance, DurableStoreConformance, ArchiveConformance):
    @pytest.fixture
    def opened(self, postgres_url, open_postgres):
        return lambda: open_postgres(postgres_url)

    @pytest.fixture
    async def store(self, opened):
        async with opened() as store:
            yield store


@pytest.fixture(scope="class")
def _model_urls(request, postgres_urls):
    request.cls.urls = postgres_urls


@asynccontextmanager
async def empty_store():
    async with AsyncExitStack() as stack:
        store = PostgresStore(TestModel.urls(), clock=SystemClock())
        await store.start(stack)
        yield store


class TestModel(store_machine(empty_store).TestCase):
    pass


TestModel.settings = settings(max_examples=8, stateful_step_count=15, deadline=None)
TestModel = pytest.mark.usefixtures("_model_urls")(TestModel)
