"""Where this package has sealed values, for the rotation of keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from flowrunner.identity.entries import AccessKey, encode
from flowrunner.ports.documents import Document
from flowrunner.vault.rotation import Sealed

_read = msgspec.json.Decoder(AccessKey).decode


class AccessKeyResealer:
    """AWS secret access keys."""

    kind = "access-key"

    def sealed(self, document: Document) -> Sequence[Sealed]:
        """The secret of a key pair."""
        return [Sealed(f"access-key/{document.id}", 1, _read(document.body).sealed)]

    def resealed(self, document: Document, values: Sequence[bytes]) -> Document:
        """The key pair with its secret sealed anew."""
        return replace(document, body=encode(msgspec.structs.replace(_read(document.body), sealed=values[0])))
