"""The vault of a store: key ring, data keys, sealer, secrets and rotation, put together."""

from __future__ import annotations

from collections.abc import Sequence

from flowrunner.clock import Clock
from flowrunner.ports.documents import DocumentStore
from flowrunner.vault.datakeys import DataKeys
from flowrunner.vault.keyring import Keyring
from flowrunner.vault.keys import KeySource, Randomness
from flowrunner.vault.rotation import Resealer, Rotation
from flowrunner.vault.seal import Sealer
from flowrunner.vault.secret import SecretResealer
from flowrunner.vault.secrets import Secrets


class Vault:
    """Everything that is sealed in one store. `resealers` are the further kinds of documents that hold sealed values; `alone`: no other server is on the store."""

    def __init__(
        self, documents: DocumentStore, source: KeySource, *, clock: Clock, randomness: Randomness, resealers: Sequence[Resealer] = (), alone: bool = False
    ) -> None:
        self.keyring = Keyring(documents, source, clock, alone=alone)
        keys = DataKeys(documents, self.keyring, clock=clock, randomness=randomness)
        self.sealer = Sealer(keys, randomness)
        self.secrets = Secrets(documents, self.sealer, clock)
        self.rotation = Rotation(documents, self.keyring, keys, self.sealer, resealers=(SecretResealer(), *resealers), clock=clock)

    async def start(self) -> None:
        """Check the keys against the store, before anything is served. Raises StoreRefused, ConfigurationError."""
        await self.keyring.start()
