"""Who is asking: the seam between the AWS surface and the accounts. Whatever is not clearly allowed is denied."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flowrunner.api.aws.canonicalrequest import Received, receive
from flowrunner.api.aws.faults import AwsFault
from flowrunner.api.aws.operations import OPERATIONS
from flowrunner.api.aws.replays import Replays
from flowrunner.api.aws.signature import Claim, check_headers, check_scope, check_time, expired_key, invalid, matches, mismatch, read_claim, unknown_key
from flowrunner.api.aws.signingkeys import SigningKeys
from flowrunner.api.identify import EVERYTHING, host_allowed, is_loopback
from flowrunner.clock import Clock
from flowrunner.identity.principal import Principal

Headers = Mapping[bytes, bytes]
Scope = MutableMapping[str, Any]

DEVELOPMENT_ACCOUNT = "000000000000"
SERVICES = frozenset({"states"})
THREAD_BYTES = 1024 * 1024  # a body larger than this is hashed beside the event loop: a MiB takes 1 to 2 ms
_READS = frozenset(f"AWSStepFunctions.{operation.name}".encode() for operation in OPERATIONS.values() if operation.reads)
_CLAIM = "flowrunner.aws.claim"  # in the scope, between admission and authentication
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


class AccessKey(Protocol):
    """What the AWS surface has to know of an access key. `expires_at` is milliseconds since 1970 UTC.

    A temporary key also has a `session_token`, which every request made with it must carry.
    """

    @property
    def principal(self) -> Principal:
        """Whom its requests are from, and what they may do."""
        ...

    @property
    def secret(self) -> str:
        """The secret access key."""
        ...

    @property
    def expires_at(self) -> int | None:
        """When it ends to hold; None: never."""
        ...

    @property
    def revoked(self) -> bool:
        """Whether it was taken back."""
        ...


@dataclass(frozen=True, slots=True)
class _Decoy:
    """Stands in for an access key that does not exist, so that finding out takes the same work."""

    secret: str = field(repr=False)
    principal: Principal = field(default_factory=lambda: Principal("", frozenset()))
    expires_at: int | None = None
    revoked: bool = True


class Signed:
    """Requests that are signed with an access key (Signature Version 4), in a header or presigned.

    `lookup` finds an access key by its id. `regions` are those a credential may be scoped to, None: any. A request that changes
    something is taken once (`replays`). An unknown key costs what a wrong signature costs. Call `forget` when a key is revoked.
    `used` is told each id of a key that was proven; it sees to it that this costs little.
    """

    def __init__(
        self,
        lookup: Callable[[str], Awaitable[AccessKey | None]],
        *,
        clock: Clock,
        randomness: Callable[[int], bytes],
        regions: Collection[str] | None,
        services: Collection[str] = SERVICES,
        replays: Replays | None = None,
        keys: SigningKeys | None = None,
        used: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._lookup = lookup
        self._clock = clock
        self._regions = regions
        self._services = services
        self._replays = replays if replays is not None else Replays()
        self._keys = keys if keys is not None else SigningKeys()
        self._used = used
        self._decoy = _Decoy(randomness(30).hex())

    def forget(self, access_key: str) -> None:
        """Drop what was derived from an access key."""
        self._keys.forget(access_key)

    def admit(self, scope: Scope, headers: Headers) -> None:
        """Refuse what is not signed, not now, not for this service, or leaves out what must be signed."""
        if any(name != name.lower() for name in headers):  # ASGI servers never do; the endpoint would not read what is signed
            raise invalid("The names of headers are in lower case.")
        received = receive(scope["method"].encode(), scope.get("raw_path") or scope["path"].encode(), scope.get("query_string", b""), scope["headers"])
        claim = read_claim(received)
        check_time(claim, self._clock.now())
        check_scope(claim, self._regions, self._services)
        check_headers(claim, received)
        scope[_CLAIM] = (claim, received)

    async def authenticate(self, scope: Scope, headers: Headers, body: bytes) -> Principal:
        """Return the account's principal, if the signature is right for the request and this body."""
        if _CLAIM not in scope:
            self.admit(scope, headers)
        claim, received = scope.pop(_CLAIM)
        key = self._proven(claim, received, await self._lookup(claim.access_key), await _hashed(body))
        if received.headers.get(b"x-amz-target") not in _READS:
            self._replays.take(key.principal.account, claim, now_ms=self._clock.now(), monotonic=self._clock.monotonic())
        if self._used is not None:
            await self._used(claim.access_key)
        return key.principal

    def _proven(self, claim: Claim, received: Received, key: AccessKey | None, body_hash: bytes) -> AccessKey:
        """The access key, if the claim is proven; which reason speaks against it comes out after all the work is done."""
        known = key if key is not None else self._decoy
        derived = self._keys.get(claim.access_key if key is not None else "", known.secret, claim)
        right = matches(claim, received, body_hash, derived)
        token: str = getattr(known, "session_token", None) or ""  # only temporary keys have one
        right_token = hmac.compare_digest(token.encode(), claim.token.encode())
        if key is None or key.revoked or not right_token:
            raise unknown_key()
        if not right:
            raise mismatch()
        if key.expires_at is not None and key.expires_at <= self._clock.now():
            raise expired_key()
        return key


async def _hashed(body: bytes) -> bytes:
    if len(body) > THREAD_BYTES:
        return (await asyncio.to_thread(hashlib.sha256, body)).hexdigest().encode()
    return hashlib.sha256(body).hexdigest().encode()
