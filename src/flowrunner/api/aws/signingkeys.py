"""Signing keys that were derived already: four HMACs less for each request."""

from __future__ import annotations

from collections import OrderedDict

from flowrunner.api.aws.signature import Claim, signing_key

KEPT_ACCESS_KEYS = 10_000
KEPT_SCOPES = 8  # of one access key: three days around now, each for a few services


class SigningKeys:
    """The derived keys of the access keys that were used last; at most so many access keys, at most 8 scopes of each."""

    def __init__(self, kept: int = KEPT_ACCESS_KEYS) -> None:
        self._kept = kept
        self._derived: OrderedDict[str, tuple[str, OrderedDict[str, bytes]]] = OrderedDict()

    def get(self, access_key: str, secret: str, claim: Claim) -> bytes:
        """The signing key for the claim's scope. A secret that has changed is noticed."""
        held = self._derived.get(access_key)
        if held is None or held[0] != secret:
            held = (secret, OrderedDict())
            self._derived[access_key] = held
            if len(self._derived) > self._kept:
                self._derived.popitem(last=False)
        else:
            self._derived.move_to_end(access_key)
        scopes = held[1]
        key = scopes.get(claim.scope)
        if key is None:
            key = scopes[claim.scope] = signing_key(secret, claim)
            if len(scopes) > KEPT_SCOPES:
                scopes.popitem(last=False)
        return key

    def forget(self, access_key: str) -> None:
        """Drop what belongs to an access key: it was revoked."""
        self._derived.pop(access_key, None)

    def __len__(self) -> int:
        """How many access keys have derived keys here."""
        return len(self._derived)
