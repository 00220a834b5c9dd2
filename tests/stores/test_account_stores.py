"""The stores of accounts, keys, secrets and the audit log on every database."""

from contextlib import AsyncExitStack

import pytest

from flowrunner.clock import SystemClock
from flowrunner.stores.open import open_store
from flowrunner.testing.conformance import AccountStoreConformance, AuditStoreConformance, KeyStoreConformance, SecretStoreConformance
from flowrunner.testing.dynamodb import fresh_url


@pytest.fixture(params=["memory", "sqlite", "postgres", "dynamodb"])
async def store(request, tmp_path):
    """An empty store of each kind."""
    url = {
        "memory": lambda: "memory:",
        "sqlite": lambda: f"sqlite:///{tmp_path}/flow.db",
        "postgres": lambda: request.getfixturevalue("postgres_url"),
        "dynamodb": lambda: fresh_url(request.getfixturevalue("dynamodb")),
    }[request.param]()
    async with AsyncExitStack() as stack:
        opened = open_store(url, clock=SystemClock())
        await opened.start(stack)
        yield opened


class TestAccounts(AccountStoreConformance):
    pass


class TestKeys(KeyStoreConformance):
    pass


class TestAudit(AuditStoreConformance):
    pass


class TestSecrets(SecretStoreConformance):
    @pytest.fixture
    def documents(self, store):
        """Whose clock does not matter: secrets do not expire in the store."""
        return store.documents
