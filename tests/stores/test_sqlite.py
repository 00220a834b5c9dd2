import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import settings

from flowrunner.clock import SystemClock
from flowrunner.stores.sqlite import SqliteStore
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


class TestSqliteStore(ExecutionStoreConformance, DefinitionStoreConformance, DurableStoreConformance, ArchiveConformance):
    @pytest.fixture
    def opened(self, path, open_sqlite):
        return lambda: open_sqlite(path)


class TestSqliteDocuments(DocumentStoreConformance, DurableDocumentsConformance):
    @pytest.fixture
    def opened(self, path, open_sqlite, clock):
        return lambda: open_sqlite(path, clock=clock)

    @pytest.fixture
    async def store(self, opened):
        async with opened() as store:
            yield store


@asynccontextmanager
async def empty_store(clock=None):
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            store = SqliteStore(Path(folder) / "flow.db", clock=clock or SystemClock())
            await store.start(stack)
            yield store


TestModel = store_machine(empty_store).TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)

TestDocumentModel = document_machine(empty_store).TestCase
TestDocumentModel.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
