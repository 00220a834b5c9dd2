"""API tokens and log-ins at the AWS endpoint, beside signatures: for clients that speak AWS's protocol and have no key pair."""

from __future__ import annotations

from flowrunner.api.aws.authentication import Authenticator, Headers, Scope
from flowrunner.api.aws.faults import AwsFault
from flowrunner.errors import Overloaded, Unauthenticated
from flowrunner.identity.gate import Gate
from flowrunner.identity.principal import Principal

SCHEME = b"bearer "


class BearerOr:
    """``Authorization: Bearer`` is asked of the accounts; everything else of `otherwise`."""

    def __init__(self, gate: Gate, otherwise: Authenticator) -> None:
        self._gate = gate
        self._otherwise = otherwise

    def admit(self, scope: Scope, headers: Headers) -> None:
        """Leave bearers for `authenticate`, which needs no body to be read before it but a store."""
        if not _is_bearer(headers):
            self._otherwise.admit(scope, headers)

    async def authenticate(self, scope: Scope, headers: Headers, body: bytes) -> Principal:
        """Return whom the token lets in; raises AwsFault, StoreUnavailable."""
        if not _is_bearer(headers):
            return await self._otherwise.authenticate(scope, headers, body)
        if sum(name == b"authorization" for name, _ in scope["headers"]) != 1:
            raise AwsFault("IncompleteSignatureException", "There is more than one Authorization header.", status=403)
        try:
            return await self._gate.bearer(headers[b"authorization"][len(SCHEME) :].decode("latin-1").strip())
        except Unauthenticated:
            raise AwsFault("UnrecognizedClientException", "The security token included in the request is invalid.", status=403) from None
        except Overloaded as error:
            raise AwsFault("ThrottlingException", error.message) from None


def _is_bearer(headers: Headers) -> bool:
    return headers.get(b"authorization", b"")[: len(SCHEME)].lower() == SCHEME
