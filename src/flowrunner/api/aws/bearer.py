"""API tokens and log-ins at the AWS endpoint, beside signatures: for clients that speak AWS's protocol and have no key pair."""

from __future__ import annotations

import contextlib
import re

from flowrunner.api.aws.authentication import Authenticator, Headers, Scope
from flowrunner.api.aws.faults import AwsFault
from flowrunner.errors import Overloaded, Unauthenticated
from flowrunner.identity.gate import Gate
from flowrunner.identity.principal import Principal

SCHEME = b"bearer "
_KEY_PAIR = re.compile(rb"Credential=(AKIA[A-Z2-7]{16})/")  # as identity.tokens makes them


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


class KnownOr:
    """For ``--dev``: a token or a key pair that is known counts, its signature unchecked; all others are let in by `otherwise`.

    So who has logged in to a development server finds the same account by AWS's protocol as by the REST API.
    """

    def __init__(self, gate: Gate, otherwise: Authenticator) -> None:
        self._gate = gate
        self._otherwise = otherwise

    def admit(self, scope: Scope, headers: Headers) -> None:
        """Refuse whom `otherwise` refuses."""
        self._otherwise.admit(scope, headers)

    async def authenticate(self, scope: Scope, headers: Headers, body: bytes) -> Principal:
        """Return whom the credential belongs to, or whoever `otherwise` says it is."""
        given = headers.get(b"authorization", b"")
        if _is_bearer(headers):
            with contextlib.suppress(Unauthenticated, Overloaded):
                return await self._gate.bearer(given[len(SCHEME) :].decode("latin-1").strip())
        elif (named := _KEY_PAIR.search(given)) is not None:
            found = await self._gate.access_key(named[1].decode())
            if found is not None:
                await self._gate.used_access_key(found.id)
                return found.principal
        return await self._otherwise.authenticate(scope, headers, body)


def _is_bearer(headers: Headers) -> bool:
    return headers.get(b"authorization", b"")[: len(SCHEME)].lower() == SCHEME
