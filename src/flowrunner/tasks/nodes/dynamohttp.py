"""The HTTP session that aiobotocore is given for nodes: it follows no redirects and takes bounded answers. Imported only with the extra ``dynamodb``.

A redirect to an address in digits would be followed past the resolver that checks addresses; DynamoDB itself sends none.
"""

from __future__ import annotations

from typing import Any

from aiobotocore.httpsession import AIOHTTPSession

from flowrunner.errors import LimitExceeded
from flowrunner.limits import MIB

MOST_BYTES = 64 * MIB  # of one answer: BatchGetItem gives 16 MB, which JSON makes longer
_CHUNK_BYTES = 64 * 1024


class GuardedSession(AIOHTTPSession):  # type: ignore[misc]  # the library has no types
    """aiobotocore's own, with each request guarded."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        return _Guarded(await super()._get_session(proxy_url))


class _Guarded:
    """What aiobotocore asks of a session of aiohttp."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def request(self, *arguments: Any, **named: Any) -> Any:
        answer = await self._session.request(*arguments, allow_redirects=False, **named)
        parts, size = [], 0
        async for part in answer.content.iter_chunked(_CHUNK_BYTES):
            size += len(part)
            if size > MOST_BYTES:
                answer.close()
                raise LimitExceeded(f"The response is larger than {MOST_BYTES} bytes.")
            parts.append(part)
        answer._body = b"".join(parts)  # noqa: SLF001 - what `read` gives from now on; there is no public way
        return answer
