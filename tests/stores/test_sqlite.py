import asyncio
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
from hypothesis import settings

from flowrunner.clock import SystemClock
from flowrunner.errors import DocumentConflict
from flowrunner.ports.documents import Document, Put
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


async def test_the_audit_log_is_only_added_to(store, path):
    """Not even a statement by hand changes or removes an entry; other documents it may."""
    entry = Document(account="123456789012", kind="audit", id="0", body=b"entry")
    await store.documents.write([Put(entry), Put(replace(entry, kind="user"))])
    by_hand = apsw.Connection(str(path))
    for statement in ("UPDATE documents SET body = x''", "DELETE FROM documents", "UPDATE documents SET kind = 'user' WHERE kind = 'audit'"):
        with pytest.raises(apsw.ConstraintError, match="never"):
            by_hand.execute(statement)
    by_hand.execute("DELETE FROM documents WHERE kind = 'user'")
    by_hand.close()
    assert (await store.documents.get(entry.account, "audit", "0")).body == b"entry"


async def test_documents_share_a_commit(store):
    """Writes of many callers are in few transactions, and one that meets a conflict spoils nobody's."""
    one = Document(account="123456789012", kind="user", id="taken", body=b"")
    await store.documents.write([Put(one)])
    before = store.session.counts
    writes = [[Put(replace(one, id=f"{number}"))] if number % 5 else [Put(replace(one, id=f"{number}")), Put(one)] for number in range(100)]
    answers = await asyncio.gather(*map(store.documents.write, writes), return_exceptions=True)
    assert [isinstance(answer, DocumentConflict) for answer in answers] == [number % 5 == 0 for number in range(100)]
    assert len(await store.documents.page(one.account, "user")) == 81
    assert store.session.counts[0] - before[0] < 10


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
