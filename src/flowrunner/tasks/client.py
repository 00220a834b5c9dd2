"""The one HTTP client of tasks: guarded (``egress``), bounded in time and size, without proxies, cookies or hidden retries."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from flowrunner.errors import FlowRunnerError, InvalidDocument, LimitExceeded
from flowrunner.jsonvalue import JSONValue, dumps, loads
from flowrunner.limits import MIB
from flowrunner.ports.tasks import begin
from flowrunner.tasks.egress import Destination, EgressPolicy, EgressRefused, destination

DEFAULT_SECONDS = 60.0  # AWS: an HTTP Task ends after 60 seconds, https://docs.aws.amazon.com/step-functions/latest/dg/call-https-apis.html
MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES = 64 * 1024
# What may go along to another host; everything else might be a credential.
_PUBLIC_HEADERS = frozenset({"accept", "accept-language", "content-type", "user-agent"})


class Unreachable(FlowRunnerError):
    """The server could not be reached, or did not speak HTTP."""

    code = "unreachable"
    status = 502


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: header names in lower case, each with its values in order. `method` and `url` are the last ones, `redirects` how many led there."""

    status: int
    reason: str
    headers: Mapping[str, list[str]]
    body: bytes
    url: str = ""
    redirects: int = 0
    method: str = ""

    def header(self, name: str) -> str:
        """The first value of a header; empty when it is absent."""
        return next(iter(self.headers.get(name, ())), "")

    def value(self) -> tuple[JSONValue, str]:
        """The body as a JSON value and as JSON text; a body that is no JSON is its text."""
        if not self.body:
            return "", '""'
        try:
            return loads(self.body), self.body.decode()
        except (InvalidDocument, UnicodeDecodeError):
            value = self.body.decode("utf-8", "replace")
            return value, dumps(value)


class GuardedResolver(AbstractResolver):
    """Resolves once and lets a connection be made only to addresses that were all checked."""

    def __init__(self, policy: EgressPolicy, names: AbstractResolver | None = None) -> None:
        self._policy = policy
        self._names = names or aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The addresses of `host`; raises EgressRefused when one of them may not be connected to."""
        found = await self._names.resolve(host, port, family)
        for one in found:
            self._policy.check(host.lower().rstrip("."), port, ip_address(one["host"].partition("%")[0]))
        return found

    async def close(self) -> None:
        """Release the resolver below."""
        await self._names.close()


class GuardedClient:
    """Sends requests where `policy` allows it; at most `max_bytes` of a body are taken. `names` replaces the system's resolver."""

    def __init__(self, policy: EgressPolicy, *, max_bytes: int = 16 * MIB, names: AbstractResolver | None = None) -> None:
        self._policy = policy
        self._max_bytes = max_bytes
        self._names = names
        self._session: aiohttp.ClientSession | None = None

    async def start(self, stack: AsyncExitStack) -> None:
        """Open the session; it is closed with `stack`."""
        resolver = GuardedResolver(self._policy, self._names)
        connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, limit=0, limit_per_host=0)
        timeout = aiohttp.ClientTimeout(total=None)
        session = aiohttp.ClientSession(connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout)
        # aiohttp sends GET, PUT and DELETE again when the connection breaks; here one attempt is one request (no public switch).
        session._retry_connection = False  # noqa: SLF001
        stack.push_async_callback(resolver.close)
        self._session = await stack.enter_async_context(session)

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None, seconds: float | None = None, redirects: int = MAX_REDIRECTS
    ) -> Response:
        """Send a request and follow redirects, each checked like the first; with `redirects` 0 the first answer is the answer.

        Raises EgressRefused, Unreachable, LimitExceeded (the body is too large), TimeoutError. To another origin neither
        headers that may be credentials nor a body go along.
        """
        for name, value in headers.items():
            if not name.isascii() or any(sign in name + value for sign in "\r\n\0"):
                raise EgressRefused("A header holds a line break.")
        there, sent = destination(url), dict(headers)
        async with asyncio.timeout(seconds or DEFAULT_SECONDS):
            for followed in range(redirects + 1):
                answer = await self._once(method, there, sent, body)
                location = answer.header("location")
                if answer.status not in _REDIRECTS or not location or not redirects:
                    return replace(answer, url=str(there.url), redirects=followed, method=method)
                then = destination(location, there.url)
                if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                    method, body = ("HEAD" if method == "HEAD" else "GET"), None
                    sent = {name: value for name, value in sent.items() if name.lower() not in ("content-type", "content-length")}
                if then.url.origin() != there.url.origin():
                    if body:
                        raise EgressRefused(f"{there.host} sends the request's body on to another host, {then.host}.")
                    sent = {name: value for name, value in sent.items() if name.lower() in _PUBLIC_HEADERS}
                there = then
        raise Unreachable(f"{there.host} redirects more than {redirects} times.")

    async def _once(self, method: str, there: Destination, headers: Mapping[str, str], body: bytes | None) -> Response:
        if self._session is None:
            raise Unreachable("The HTTP client has not been started.")
        if there.address is not None:  # the connector asks no resolver for these
            self._policy.check(there.host, there.port, there.address)
        await begin()
        try:
            async with self._session.request(method, there.url, headers=headers, data=body, allow_redirects=False) as response:
                content = await self._read(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise Unreachable(f"{there.host}:{there.port} {_trouble(error)}: {type(error).__name__}.") from None
        names: dict[str, list[str]] = {}
        for name, value in response.headers.items():
            names.setdefault(name.lower(), []).append(_read_text(value))
        return Response(response.status, _read_text(response.reason or ""), names, content)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        parts, size = [], 0
        async for part in response.content.iter_chunked(_CHUNK_BYTES):  # unpacked already: the bound holds for bombs too
            size += len(part)
            if size > self._max_bytes:
                response.close()
                raise LimitExceeded(f"The response is larger than {self._max_bytes} bytes.")
            parts.append(part)
        return b"".join(parts)


def _read_text(value: str) -> str:
    """A header or reason as a text: bytes that are no UTF-8 are Latin-1, as older servers write them (the library gives halves of characters)."""
    if value.isascii():
        return value
    written = value.encode("utf-8", "surrogateescape")
    try:
        return written.decode()
    except UnicodeDecodeError:
        return written.decode("latin-1")


def _trouble(error: Exception) -> str:
    """What went wrong with a server, as far as it was reached."""
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError):
        return "gave an answer that cannot be read"
    if isinstance(error, aiohttp.ClientConnectionError) and not isinstance(error, aiohttp.ClientConnectorError):
        return "closed the connection before its answer was whole"
    return "cannot be reached"
