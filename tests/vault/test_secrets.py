"""Secrets on the memory store."""

import pytest

from flowrunner.stores.memory.documents import MemoryDocuments
from flowrunner.testing.conformance import SecretStoreConformance


class TestMemorySecrets(SecretStoreConformance):
    @pytest.fixture
    def documents(self, clock):
        return MemoryDocuments(clock)
