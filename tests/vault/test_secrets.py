"""Secrets on every store."""

from contextlib import AsyncExitStack

import pytest

from flowrunner.stores.open import open_store
from flowrunner.testing.conformance import SecretStoreConformance


@pytest.fixture(params=["memory", "sqlite", "postgres", "dynamodb"])
def store_url(request, tmp_path):
    """The URL of an empty store."""
    if request.param in ("postgres", "dynamodb"):
        return request.getfixturevalue(f"{request.param}_url")
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'flowrunner.db'}"


class TestSecrets(SecretStoreConformance):
    @pytest.fixture
    async def documents(self, store_url, clock):
        async with AsyncExitStack() as stack:
            store = open_store(store_url, clock=clock)
            await store.start(stack)
            yield store.documents
