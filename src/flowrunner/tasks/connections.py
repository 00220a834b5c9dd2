"""Connections of ``http:invoke``: ``arn:aws:events:REGION:ACCOUNT:connection/NAME/ID`` is the account's structured secret NAME.

By its type: api_key adds a header or a query parameter, oauth a bearer token (fetched with the client's credentials, kept until shortly
before it expires), jwt its token; any other with ``username`` and ``password`` is HTTP Basic.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from flowrunner.clock import SECOND, Clock
from flowrunner.errors import ExpressionError, FlowRunnerError, InvalidSecret, NotFound
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps
from flowrunner.lang.moment import parse_timestamp
from flowrunner.ports.secrets import Revealed, SecretSource
from flowrunner.tasks.client import GuardedClient
from flowrunner.tasks.http import Connection, ConnectionFailed
from flowrunner.tasks.secrecy import expose

API_KEY_HEADER = "X-Api-Key"
MARGIN = 60 * SECOND  # before a token's end it is fetched anew
DEFAULT_LIFE = 5 * 60 * SECOND  # of a token whose answer names none
TOKEN_SECONDS = 15.0  # for the token's server to answer
MAX_TOKENS = 10_000
_ARN = re.compile(r"arn:[\w-]+:events:[\w-]*:(?P<account>\d{12}):connection/(?P<name>.{1,400})", re.ASCII | re.DOTALL)
_ID = re.compile(r"(?P<name>.+)/[0-9A-Za-z-]+", re.DOTALL)


_Key = tuple[str, str, int, bytes]  # account, secret, version, and what its fields are


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    ends_at: int


class VaultConnections:
    """Implements `tasks.http.Connections` with the secrets of the account."""

    def __init__(self, secrets: SecretSource, client: GuardedClient, clock: Clock) -> None:
        self._secrets = secrets
        self._client = client
        self._clock = clock
        self._tokens: dict[_Key, _Token] = {}
        self._locks: weakref.WeakValueDictionary[_Key, asyncio.Lock] = weakref.WeakValueDictionary()

    async def connection(self, account: str, arn: str) -> Connection | None:
        """The connection; None when the account has none of this name. Raises ConnectionFailed when it cannot be used."""
        match = _ARN.fullmatch(arn)
        if match is None or match["account"] != account:
            return None
        name, secret = await self._secret(account, match["name"])
        if secret is None:
            return None
        expose(secret.hidden)
        fields = secret.value
        if not isinstance(fields, dict):
            raise ConnectionFailed(f"The secret {name!r} of the connection is a simple one; a connection needs a structured one.")
        if secret.type == "oauth":
            key = (account, name, secret.version, _fingerprint(fields))  # one that was deleted and made anew begins at version 1, too
            token = await self._oauth(key, fields)
            expose([token])
            return Connection(headers=_headers(fields, {"Authorization": f"Bearer {token}"}), renew=lambda: self._tokens.pop(key, None))
        return _plain(name, secret, fields)

    async def _secret(self, account: str, rest: str) -> tuple[str, Revealed | None]:
        """The secret of ``NAME/ID`` or ``NAME``, where a name may hold slashes, too: with its last part taken for an id first."""
        match = _ID.fullmatch(rest)
        for name in (rest,) if match is None else (match["name"], rest):
            try:
                return name, await self._secrets.reveal(account, name)
            except (NotFound, InvalidSecret):  # the latter for what no secret can be called
                continue
            except FlowRunnerError as error:
                raise ConnectionFailed(f"The secret {name!r} of the connection cannot be had now: {error}") from None
        return rest, None

    async def _oauth(self, key: _Key, fields: JSONObject) -> str:
        if not fields.get("token_url"):
            return _given_token(key[1], fields, self._clock.now())
        lock = self._locks.setdefault(key, asyncio.Lock())  # one request for a token, however many attempts need it
        async with lock:
            token = self._tokens.get(key)
            if token is None or token.ends_at - MARGIN <= self._clock.now():
                if len(self._tokens) >= MAX_TOKENS:
                    self._tokens.clear()
                token = self._tokens[key] = await self._fetch(key[1], fields)
            return token.text

    async def _fetch(self, name: str, fields: JSONObject) -> _Token:
        """The client credentials grant (RFC 6749, 4.4). Raises ConnectionFailed."""
        form = {"grant_type": "client_credentials", **({"scope": " ".join(map(str, fields["scopes"]))} if fields.get("scopes") else {})}
        extra = fields.get("extra")
        form |= {one: text for one, text in extra.items() if isinstance(text, str)} if isinstance(extra, dict) else {}
        headers = {
            "Authorization": _basic(fields["client_id"], fields["client_secret"]),
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        failed = f"No token for the connection {name!r}"
        try:
            answer = await self._client.request("POST", fields["token_url"], headers=headers, body=urlencode(form).encode(), seconds=TOKEN_SECONDS)
        except TimeoutError:
            raise ConnectionFailed(f"{failed}: its server did not answer in {TOKEN_SECONDS:g} s.") from None
        except FlowRunnerError as error:
            raise ConnectionFailed(f"{failed}: {error}") from None
        value, _ = answer.value()
        token = value.get("access_token") if isinstance(value, dict) else None
        if answer.status != 200 or not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
            raise ConnectionFailed(f"{failed}: its server answered {answer.status}, without an access_token.")
        life = value.get("expires_in")
        return _Token(token, self._clock.now() + (int(life * SECOND) if _is_positive(life) else DEFAULT_LIFE))


def _fingerprint(fields: JSONObject) -> bytes:
    return hashlib.blake2b(dumps(fields).encode(), digest_size=16).digest()


def _is_positive(value: JSONValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 10**9


def _given_token(name: str, fields: JSONObject, now: int) -> str:
    token, ends = fields.get("access_token"), fields.get("token_expires_at")
    if not isinstance(token, str) or not token:
        raise ConnectionFailed(f"The secret {name!r} of the connection has neither token_url nor access_token.")
    try:
        if ends is not None and parse_timestamp(ends) <= now:
            raise ConnectionFailed(f"The access_token of the secret {name!r} has expired, and it has no token_url.")
    except ExpressionError:
        pass
    return token


def _plain(name: str, secret: Revealed, fields: JSONObject) -> Connection:
    if secret.type == "api_key":
        return _api_key(fields)
    if secret.type == "jwt":
        return Connection(headers={"Authorization": f"Bearer {fields['token']}"})
    user, password = fields.get("username"), fields.get("password")
    if isinstance(user, str) and isinstance(password, str):
        return Connection(headers=_headers(fields, {"Authorization": _basic(user, password)}))
    raise ConnectionFailed(f"The secret {name!r} of the connection is neither api_key, oauth nor jwt, and has no username and password.")


def _api_key(fields: JSONObject) -> Connection:
    key, prefix = str(fields["key"]), str(fields.get("prefix") or "")
    text = f"{prefix} {key}" if prefix[-1:].isalnum() else prefix + key
    expose([text])
    query = fields.get("query_param")
    if isinstance(query, str) and query and not fields.get("header_name"):
        return Connection(headers=_headers(fields, {}), query={query: text})
    return Connection(headers=_headers(fields, {str(fields.get("header_name") or API_KEY_HEADER): text}))


def _headers(fields: JSONObject, own: Mapping[str, str]) -> dict[str, str]:
    """The secret's further headers, and those that carry the credential."""
    more = fields.get("headers")
    return {**({name: text for name, text in more.items() if isinstance(text, str)} if isinstance(more, dict) else {}), **own}


def _basic(user: str, password: str) -> str:
    text = base64.b64encode(f"{user}:{password}".encode()).decode()
    expose([text])
    return f"Basic {text}"
