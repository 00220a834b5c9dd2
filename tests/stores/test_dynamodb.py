import pytest

from flowrunner.testing.conformance import DefinitionStoreConformance, DurableStoreConformance, ExecutionStoreConformance
from flowrunner.testing.dynamodb import delete_tables, fresh_url, opened_dynamodb


class TestDynamoStore(ExecutionStoreConformance, DefinitionStoreConformance, DurableStoreConformance):
    @pytest.fixture
    async def opened(self, dynamodb):
        url = fresh_url(dynamodb)
        yield lambda: opened_dynamodb(url)
        await delete_tables(url)

    @pytest.fixture
    async def store(self, opened):
        async with opened() as store:
            yield store

    @pytest.mark.timeout(300)
    async def test_pages_of_every_size(self, store):
        """As of every store; 17,000 requests."""
        await super().test_pages_of_every_size(store)
