from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hypothesis import settings

from flowrunner.stores.memory import MemoryStore
from flowrunner.testing.conformance import (
    ArchiveConformance,
    DefinitionStoreConformance,
    DocumentStoreConformance,
    ExecutionStoreConformance,
    document_machine,
    store_machine,
)


class TestMemoryStore(ExecutionStoreConformance, DefinitionStoreConformance, ArchiveConformance):
    @pytest.fixture
    async def store(self):
        async with AsyncExitStack() as stack:
            store = MemoryStore()
            await store.start(stack)
            await store.check()
            yield store


class TestMemoryDocuments(DocumentStoreConformance):
    @pytest.fixture
    def store(self, clock):
        return MemoryStore(clock=clock)


@asynccontextmanager
async def empty_store(clock=None):
    yield MemoryStore(clock=clock)


TestModel = store_machine(empty_store).TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)

TestDocumentModel = document_machine(empty_store).TestCase
TestDocumentModel.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
