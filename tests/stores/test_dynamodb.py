from contextlib import asynccontextmanager

import pytest
from hypothesis import settings

from flowrunner.testing.conformance import (
    ArchiveConformance,
    DefinitionStoreConformance,
    DocumentStoreConformance,
    DurableDocumentsConformance,
    DurableStoreConformance,
    ExecutionStoreConformance,
    document_machine,
    logs,
    store_machine,
)
from flowrunner.testing.dynamodb import empty_dynamodb, opened_dynamodb


class TestDynamoStore(ExecutionStoreConformance, DefinitionStoreConformance, DurableStoreConformance, ArchiveConformance):
    """On moto, which takes one request at a time: how concurrent transactions meet is tried with the fault proxy."""

    @pytest.fixture
    def opened(self, dynamodb_url):
        return lambda: opened_dynamodb(dynamodb_url)

    @pytest.fixture
    async def store(self, opened):
        async with opened() as store:
            yield store

    @pytest.mark.slow
    @pytest.mark.timeout(600)
    async def test_pages_of_every_size(self, store):
        """As of every store: 10,000 requests."""
        await super().test_pages_of_every_size(store)

    async def test_pages_of_a_shorter_log(self, store, monkeypatch):
        """The same with a log of 40 chunks."""
        for name in ("CHUNKS", "ENDS"):
            monkeypatch.setattr(logs, name, getattr(logs, name)[:40])
        monkeypatch.setattr(logs, "LAST", logs.ENDS[-1])
        await super().test_pages_of_every_size(store)


class TestDynamoDocuments(DocumentStoreConformance, DurableDocumentsConformance):
    @pytest.fixture
    def opened(self, dynamodb_url, clock):
        return lambda: opened_dynamodb(dynamodb_url, clock=clock)

    @pytest.fixture
    async def store(self, opened):
        async with opened() as store:
            yield store


@pytest.fixture(scope="class")
def _model_url(dynamodb):
    TestModel.url = dynamodb


@asynccontextmanager
async def empty_store(clock=None):
    async with empty_dynamodb(TestModel.url, clock=clock, shards=2) as store:
        yield store


class TestModel(store_machine(empty_store).TestCase):
    pass


TestModel.settings = settings(max_examples=6, stateful_step_count=10, deadline=None)
TestModel = pytest.mark.timeout(900)(pytest.mark.usefixtures("_model_url")(TestModel))


class TestDocumentModel(document_machine(empty_store).TestCase):
    pass


TestDocumentModel.settings = settings(max_examples=6, stateful_step_count=10, deadline=None)
TestDocumentModel = pytest.mark.timeout(300)(pytest.mark.usefixtures("_model_url")(TestDocumentModel))
