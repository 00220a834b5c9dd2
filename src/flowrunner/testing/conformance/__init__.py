"""What every store must pass, ours and strangers'.

A store's tests subclass these and bring a fixture `store` (started) or `opened` (a function: each call opens the same
database in an `async with`):

    class TestMine(ExecutionStoreConformance, DefinitionStoreConformance):
        @pytest.fixture
        async def store(self): ...
"""

import pytest

# Before the imports below, so that a failing assert of the suite shows its values.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in (
            "activities",
            "archive",
            "definitions",
            "documentmodel",
            "documents",
            "durability",
            "executions",
            "identity",
            "inboxes",
            "lists",
            "logs",
            "model",
            "secrets",
            "wakes",
        )
    )
)

from flowrunner.testing.conformance.activities import ActivityTaskConformance  # noqa: E402
from flowrunner.testing.conformance.archive import ArchiveConformance  # noqa: E402
from flowrunner.testing.conformance.definitions import DefinitionStoreConformance  # noqa: E402
from flowrunner.testing.conformance.documentmodel import document_machine  # noqa: E402
from flowrunner.testing.conformance.documents import DocumentConformance  # noqa: E402
from flowrunner.testing.conformance.documentwrites import DocumentWriteConformance, DurableDocumentsConformance  # noqa: E402
from flowrunner.testing.conformance.durability import DurableStoreConformance  # noqa: E402
from flowrunner.testing.conformance.executions import CommitConformance  # noqa: E402
from flowrunner.testing.conformance.identity import AccountStoreConformance, AuditStoreConformance, KeyStoreConformance  # noqa: E402
from flowrunner.testing.conformance.inboxes import InboxConformance  # noqa: E402
from flowrunner.testing.conformance.lists import ListConformance  # noqa: E402
from flowrunner.testing.conformance.logs import LogConformance  # noqa: E402
from flowrunner.testing.conformance.model import store_machine  # noqa: E402
from flowrunner.testing.conformance.secrets import SecretStoreConformance  # noqa: E402
from flowrunner.testing.conformance.wakes import WakeConformance  # noqa: E402


class ExecutionStoreConformance(CommitConformance, LogConformance, InboxConformance, ActivityTaskConformance, WakeConformance, ListConformance):
    """Every sentence of `ports.executions`."""


class DocumentStoreConformance(DocumentConformance, DocumentWriteConformance):
    """Every sentence of `ports.documents`. The fixture `store` is on the clock that the suite's own fixture `clock` gives."""


__all__ = [
    "AccountStoreConformance",
    "ArchiveConformance",
    "AuditStoreConformance",
    "DefinitionStoreConformance",
    "DocumentStoreConformance",
    "DurableDocumentsConformance",
    "DurableStoreConformance",
    "ExecutionStoreConformance",
    "KeyStoreConformance",
    "SecretStoreConformance",
    "document_machine",
    "store_machine",
]
