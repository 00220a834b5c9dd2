from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hypothesis import settings

from flowrunner.stores.memory import MemoryStore
from flowrunner.testing.conformance import (
    AccountStoreConformance,
    ArchiveConformance,
    AuditStoreConformance,
    DefinitionStoreConformance,
    ExecutionStoreConformance,
    KeyStoreConformance,
    store_machine,
)


class TestMemoryStore(
    ExecutionStoreConformance, DefinitionStoreConformance, ArchiveConformance, AccountStoreConformance, KeyStoreConformance, AuditStoreConformance
):
    @pytest.fixture
    async def store(self):
        async with AsyncExitStack() as stack:
            store = MemoryStore()
            await store.start(stack)
            await store.check()
            yield store


@asynccontextmanager
async def empty_store():
    yield MemoryStore()


TestModel = store_machine(empty_store).TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
