"""The HTTP client that the MCP library is given: under the same policy as every request. Imported only with the extra ``mcp``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import httpx2
from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver

from flowrunner.limits import MIB
from flowrunner.tasks.client import GuardedResolver
from flowrunner.tasks.egress import EgressPolicy, destination

MOST_BYTES = 16 * MIB  # of one response
_TIMEOUT = httpx2.Timeout(30.0, read=300.0)  # the attempt's own limit is below


def guarded_client(policy: EgressPolicy, names: AbstractResolver | None, headers: Mapping[str, str]) -> httpx2.AsyncClient:
    """A client that connects to checked addresses only, and takes nothing from the environment."""
    return httpx2.AsyncClient(transport=_Guarded(policy, names), headers=dict(headers), timeout=_TIMEOUT, trust_env=False)


class _Guarded(httpx2.AsyncBaseTransport):
    def __init__(self, policy: EgressPolicy, names: AbstractResolver | None) -> None:
        self._policy = policy
        self._resolver = GuardedResolver(policy, names or ThreadedResolver())
        self._inner = httpx2.AsyncHTTPTransport(trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        there = destination(str(request.url))
        if there.address is not None:
            self._policy.check(there.host, there.port, there.address)
            address = str(there.address)
        else:
            found = await self._resolver.resolve(there.host, there.port)
            if not found:
                raise httpx2.ConnectError(f"{there.host} has no address")
            address = found[0]["host"]
        # The connection goes to the address; the header Host and TLS keep the name. Nothing may come packed: the library unpacks without a bound.
        headers = request.headers.copy()
        headers["accept-encoding"] = "identity"
        sent = httpx2.Request(
            request.method,
            request.url.copy_with(host=address),
            headers=headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": there.host},
        )
        answer = await self._inner.handle_async_request(sent)
        if answer.headers.get("content-encoding", "identity").strip().lower() != "identity":
            await answer.aclose()
            raise httpx2.ReadError("The response is compressed, which was not asked for.")
        answer.stream = _Bounded(answer.stream)
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()
        await self._resolver.close()


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: object) -> None:
        if not isinstance(stream, httpx2.AsyncByteStream):
            raise TypeError("the response is no stream")
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_BYTES
        async for part in self._stream:
            left -= len(part)
            if left < 0:
                raise httpx2.ReadError(f"The response has more than {MOST_BYTES} bytes.")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
