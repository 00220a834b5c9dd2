"""JSON Web Tokens (RFC 7519): our own after a log-in, and those of an issuer that the operator trusts.

The algorithm belongs to the key and is never read from the token: ``none`` and a public key used as an HMAC key are refused (RFC 8725, 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from jwt import PyJWKSet
from jwt.exceptions import InvalidTokenError, PyJWTError
from jwt.types import Options

from flowrunner.clock import SECOND, Clock
from flowrunner.errors import ConfigurationError, InvalidDocument, Unauthenticated
from flowrunner.identity.entries import User
from flowrunner.identity.permissions import Role
from flowrunner.identity.tokens import Randomness, new_id
from flowrunner.ids import is_account
from flowrunner.jsonvalue import loads

ISSUER = "flowrunner"
LEEWAY_SECONDS = 60  # of a foreign issuer's clock
SHORTEST_KEY = 32  # bytes of an HS256 key (RFC 7518, 3.2)
TENANT_CLAIMS = ("account_id", "tenant_id")
_TIMES: Options = {"require": ["exp", "iat"], "verify_exp": False, "verify_nbf": False, "verify_iat": False}  # checked here, by our clock


@dataclass(frozen=True, slots=True)
class Login:
    """What a log-in token says: `logins` must still be the user's."""

    account: str
    user: str
    username: str
    logins: int
    expires_at: int


class Logins:
    """Makes and reads the tokens of log-ins (HS256): claims `account_id`, `username`, `sub`, `logins` and the registered times."""

    def __init__(self, key: bytes | None, clock: Clock, randomness: Randomness, *, seconds: int) -> None:
        self._key: bytes | None = None
        if key is not None:
            self.use(key)
        self._clock = clock
        self._randomness = randomness
        self.seconds = seconds

    def use(self, key: bytes) -> None:
        """Sign with this key from now on; raises ConfigurationError for a short one."""
        if len(key) < SHORTEST_KEY:
            raise ConfigurationError(f"The key for log-in tokens has {len(key)} bytes; HS256 needs {SHORTEST_KEY}.", remedy="Take 32 random bytes.")
        self._key = key

    def _signing_key(self) -> bytes:
        if self._key is None:
            raise ConfigurationError("There is no key for log-in tokens yet.")
        return self._key

    def issue(self, account: str, user: User) -> str:
        """A token that is good for `seconds`."""
        now = self._clock.now() // SECOND
        claims = {
            "iss": ISSUER, "aud": ISSUER, "sub": user.id, "account_id": account, "username": user.username, "logins": user.logins,
            "iat": now, "nbf": now, "exp": now + self.seconds, "jti": new_id(self._randomness, ""),
        }  # fmt: skip
        return jwt.encode(claims, self._signing_key(), algorithm="HS256")

    def read(self, token: str) -> Login:
        """Raises Unauthenticated for everything but an unexpired token of ours."""
        claims = _decoded(token, self._signing_key(), "HS256", issuer=ISSUER, audience=ISSUER)
        _check_times(claims, self._clock, 0)
        account, user, username, logins = (claims.get(name) for name in ("account_id", "sub", "username", "logins"))
        if not (isinstance(account, str) and isinstance(user, str) and isinstance(username, str) and isinstance(logins, int)):
            raise Unauthenticated
        return Login(account, user, username, logins, int(claims["exp"] * SECOND))


@dataclass(frozen=True, slots=True)
class Visitor:
    """What a foreign token says; `expires_at` is with the leeway."""

    account: str
    subject: str
    role: Role
    expires_at: int


class ForeignIssuer:
    """Reads the tokens of one issuer: RS256 by its public key or its key set (JWKS), HS256 by a shared secret.

    Checked are issuer, audience, `exp`, `nbf`, `iat` with a minute's leeway, and the tenant: `claim`, or ``account_id`` or
    ``tenant_id``, which must name an account of this store. The claim ``role`` is one of our roles; viewer without it.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        issuer: str,
        audience: str,
        public_key: str | None = None,
        key_set: Mapping[str, Any] | None = None,
        secret: str | None = None,
        claim: str | None = None,
    ) -> None:
        if sum(given is not None for given in (public_key, key_set, secret)) != 1:
            raise ConfigurationError("A JWT issuer has one of a public key, a key set and a secret.")
        self._clock = clock
        self._issuer = issuer
        self._audience = audience
        self._algorithm = "HS256" if secret is not None else "RS256"
        self._claims = (claim,) if claim else TENANT_CLAIMS
        self._keys: dict[str | None, Any]
        try:
            if secret is not None:
                if len(secret.encode()) < SHORTEST_KEY:
                    raise ConfigurationError(f"The issuer's secret has fewer than {SHORTEST_KEY} bytes.")
                self._keys = {None: secret.encode()}
            elif public_key is not None:
                self._keys = {None: jwt.get_algorithm_by_name("RS256").prepare_key(public_key)}
            else:
                self._keys = {key.key_id: key.key for key in PyJWKSet.from_dict(dict(key_set or {})).keys if key.key_type == "RSA"}
        except (PyJWTError, ValueError, TypeError) as error:
            raise ConfigurationError(f"The issuer's key cannot be read: {error}") from error

    @classmethod
    def of_files(
        cls, clock: Clock, *, issuer: str, audience: str, public_key_file: Path | None, jwks_file: Path | None, claim: str | None = None
    ) -> ForeignIssuer:
        """With keys from files; raises ConfigurationError."""
        try:
            public_key = None if public_key_file is None else public_key_file.read_text(encoding="ascii")
            key_set = None if jwks_file is None else loads(jwks_file.read_bytes())
        except (OSError, UnicodeDecodeError, InvalidDocument) as error:
            raise ConfigurationError(f"The JWT issuer's key file cannot be read: {error}") from error
        if key_set is not None and not isinstance(key_set, dict):
            raise ConfigurationError("The JWT issuer's key set is no JSON object.")
        return cls(clock, issuer=issuer, audience=audience, public_key=public_key, key_set=key_set, claim=claim)

    def issued(self, token: str) -> bool:
        """Whether a token says that it is this issuer's; nothing is proven yet."""
        try:
            return bool(jwt.decode(token, options={"verify_signature": False}).get("iss") == self._issuer)
        except InvalidTokenError:
            return False

    def read(self, token: str) -> Visitor:
        """Raises Unauthenticated."""
        try:
            name = jwt.get_unverified_header(token).get("kid")
        except InvalidTokenError:
            raise Unauthenticated from None
        key = self._keys.get(name, self._keys.get(None))
        if key is None:
            raise Unauthenticated
        claims = _decoded(token, key, self._algorithm, issuer=self._issuer, audience=self._audience)
        _check_times(claims, self._clock, LEEWAY_SECONDS)
        account = next((claims[claim] for claim in self._claims if isinstance(claims.get(claim), str)), None)
        role = claims.get("role", Role.VIEWER.value)
        if account is None or not is_account(account) or role not in list(Role) or not isinstance(claims.get("sub", ""), str):
            raise Unauthenticated
        return Visitor(account, claims.get("sub", ""), Role(role), int((claims["exp"] + LEEWAY_SECONDS) * SECOND))


def _decoded(token: str, key: Any, algorithm: str, *, issuer: str, audience: str) -> dict[str, Any]:
    try:
        return jwt.decode(token, key, algorithms=[algorithm], issuer=issuer, audience=audience, options=_TIMES)
    except (PyJWTError, ValueError, TypeError):
        raise Unauthenticated from None


def _check_times(claims: Mapping[str, Any], clock: Clock, leeway: int) -> None:
    now = clock.now() / SECOND
    ends, begins, made = claims.get("exp"), claims.get("nbf", claims.get("iat")), claims.get("iat")
    for moment in (ends, begins, made):
        if not isinstance(moment, int | float) or isinstance(moment, bool) or not math.isfinite(moment):
            raise Unauthenticated
    if now >= ends + leeway or now < begins - leeway or now < made - leeway:  # type: ignore[operator]  # numbers, as checked
        raise Unauthenticated("The token has expired, or is not valid yet.")
