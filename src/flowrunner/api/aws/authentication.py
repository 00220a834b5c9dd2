"""Who is asking: the seam between the AWS surface and the accounts. Whatever is not clearly allowed is denied."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from flowrunner.api.aws.faults import AwsFault
from flowrunner.api.identify import EVERYTHING, host_allowed, is_loopback
from flowrunner.identity.principal import Principal

Headers = Mapping[bytes, bytes]
Scope = Mapping[str, Any]

DEVELOPMENT_ACCOUNT = "000000000000"
_CREDENTIAL = re.compile(rb"Credential=(?!9{12})([0-9]{12})/")  # nobody has the account of the system


class Authenticator(Protocol):
    """Finds out who sent a request. Both methods raise AwsFault for whom they do not know."""

    def admit(self, scope: Scope, headers: Headers) -> None:
        """Refuse what can be refused before the body is read."""
        ...

    async def authenticate(self, scope: Scope, headers: Headers, body: bytes) -> Principal:
        """Return the caller, proven by the request's signature."""
        ...


class DenyAll:
    """No accounts: nobody is known."""

    def admit(self, scope: Scope, headers: Headers) -> None:
        """Refuse: unsigned and signed requests with AWS's own codes."""
        del scope
        if not headers.get(b"authorization"):
            raise AwsFault("MissingAuthenticationTokenException", "Missing Authentication Token", status=403)
        raise AwsFault("UnrecognizedClientException", "The security token included in the request is invalid.", status=403)

    async def authenticate(self, scope: Scope, headers: Headers, body: bytes) -> Principal:
        """Refuse."""
        del body
        self.admit(scope, headers)
        raise AssertionError


class Development:
    """For ``--dev``: any signature, or none, from this machine only.

    The account is the access key id when that is 12 digits, so tests of several accounts need no set-up. The Host must be a
    local name too: a web page whose name is made to resolve to this machine is not let in.
    """

    def __init__(self, account: str = DEVELOPMENT_ACCOUNT) -> None:
        self._principal = Principal(account, EVERYTHING)

    def admit(self, scope: Scope, headers: Headers) -> None:
        """Refuse who is not on this machine."""
        del headers
        client = scope.get("client")
        if (client is not None and not is_loopback(client[0].removeprefix("::ffff:"))) or not host_allowed(scope):
            raise AwsFault("AccessDeniedException", "The development mode answers requests from this machine only.", status=403)

    async def authenticate(self, scope: Scope, headers: Headers, body: bytes) -> Principal:
        """Return the development account, or the one the access key id names."""
        del scope, body
        found = _CREDENTIAL.search(headers.get(b"authorization", b""))
        return self._principal if found is None else Principal(found[1].decode(), EVERYTHING)
