"""``Idempotency-Key``: a request that is sent again is answered as the first time, for a day, for each account.

The answer is kept before it is sent, in a document that expires (draft-ietf-httpapi-idempotency-key-header-07). Only good answers
are kept: what was refused has changed nothing, and may be asked again.

A request may stay without an answer, because its server died, or its store did not take the answer. Routes that begin executions name them after the key
(``Contract.resumable``): such a request is carried out once more when it is sent again, and finds what it began. Any other may be sent again after a minute.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import secrets
from typing import Any

import msgspec
from litestar import Request, Response

from flowrunner.api.identify import header
from flowrunner.api.problems import Problem, Refused, of_status
from flowrunner.clock import DAY, SECOND, Clock
from flowrunner.errors import DocumentConflict, StoreError
from flowrunner.ports.documents import Document, DocumentStore, Put, Remove

KIND = "request"
PENDING = 60 * SECOND  # a request whose server has died may be sent again after this
MOST_BYTES = 760 * 1024  # of a body that is kept: in Base64, and with what stands around it, it fits into a document
SHOWN = frozenset({"content-type", "etag", "location", "link"})
_KEY = re.compile(r"[!-~]{1,255}")
REUSED = Problem(status=422, code="idempotency_key_reused", detail="This Idempotency-Key was used for another request.")
IN_PROGRESS = Problem(
    status=409, code="request_in_progress", detail="The first request with this Idempotency-Key is not answered yet.", headers={"retry-after": "1"}
)


class _Remembered(msgspec.Struct):
    """A request, and its answer once there is one (`status` 0: not yet); `body` is Base64. `server` is the process that began to answer it."""

    fingerprint: str
    server: str = ""
    status: int = 0
    headers: dict[str, str] = {}
    body: str = ""


class _Open(msgspec.Struct):
    """A request that is being answered."""

    account: str
    id: str
    fingerprint: str
    version: int = 1  # of the document that says so
    status: int = 0
    headers: dict[str, str] = {}
    parts: list[bytes] = []


def key_of(request: Request[Any, Any, Any]) -> str | None:
    """The key of a request; a problem 400 for one that cannot be one."""
    given = header(request.scope, b"idempotency-key")
    if given is None:
        return None
    if not _KEY.fullmatch(given):
        raise Refused(of_status(400, "An Idempotency-Key has 1 to 255 visible ASCII characters."))
    return given


def is_resumed(request: Request[Any, Any, Any]) -> bool:
    """Whether the same request was begun before and never answered: what it began is its own, whatever has changed since."""
    scope: Any = request.scope
    opened: _Open | None = scope.get("idempotency")
    return opened is not None and opened.version > 1


class Idempotency:
    """What was answered to requests with a key. `begin` comes before a handler, `note` sees what is sent."""

    def __init__(self, documents: DocumentStore, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock
        self._server = secrets.token_hex(8)
        self._answering: dict[tuple[str, str], int] = {}  # until when that is believed, in milliseconds since 1970 UTC

    async def begin(self, request: Request[Any, Any, Any]) -> Response[bytes] | None:
        """The kept answer of a request that was sent before; raises Refused when that one was another, or is not answered yet."""
        contract = request.route_handler.opt.get("contract")
        if contract is None or not contract.keyed or (key := key_of(request)) is None:
            return None
        scope: Any = request.scope
        body = await request.body()
        name = hashlib.blake2b(key.encode(), digest_size=24).hexdigest()
        fingerprint = hashlib.blake2b(b"\n".join((scope["method"].encode(), scope["path"].encode(), scope["query_string"], body)), digest_size=24).hexdigest()
        account = request.user.account
        kept = await self._documents.get(account, KIND, name)
        version = 0
        if kept is not None:
            before = msgspec.json.decode(kept.body, type=_Remembered)
            if before.fingerprint != fingerprint or before.status or not contract.resumable or self._is_answering(account, name, before):
                return _again(before, fingerprint)
            version = kept.version
        place, known = (account, name), self._answering.get((account, name))
        self._answering[place] = self._clock.now() + PENDING
        try:
            await self._write(account, name, _Remembered(fingerprint, self._server), version, PENDING)
        except BaseException as error:
            if known is None:
                self._answering.pop(place, None)
            if isinstance(error, DocumentConflict):
                raise Refused(IN_PROGRESS) from None
            raise
        scope["idempotency"] = _Open(account, name, fingerprint, version + 1, parts=[])
        return None

    def _is_answering(self, account: str, name: str, before: _Remembered) -> bool:
        """Whether this process is about to answer it. Another one that lives, too, may be: it finds the same execution."""
        return before.server == self._server and self._answering.get((account, name), 0) > self._clock.now()

    async def note(self, message: Any, scope: Any) -> None:
        """Keep an answer before its end is sent; forget the request if it was not a good one."""
        opened: _Open | None = scope.get("idempotency")
        if opened is None:
            return
        if message["type"] == "http.response.start":
            opened.status = message["status"]
            found = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in message.get("headers", ()))
            opened.headers = {name: value for name, value in found if name in SHOWN}
        elif message["type"] == "http.response.body":
            opened.parts.append(message.get("body", b""))
            if not message.get("more_body"):
                scope["idempotency"] = None
                try:
                    with contextlib.suppress(StoreError):  # the answer is good all the same
                        await self._keep(opened)
                finally:
                    self._answering.pop((opened.account, opened.id), None)

    async def _keep(self, opened: _Open) -> None:
        body = b"".join(opened.parts)
        if 200 <= opened.status < 300 and len(body) <= MOST_BYTES:
            answer = _Remembered(opened.fingerprint, self._server, opened.status, opened.headers, base64.b64encode(body).decode())
            await self._write(opened.account, opened.id, answer, opened.version, DAY)
        else:
            await self._documents.write([Remove(account=opened.account, kind=KIND, id=opened.id, version=opened.version)])

    async def _write(self, account: str, name: str, what: _Remembered, version: int, milliseconds: int) -> None:
        body, expires_at = msgspec.json.encode(what), self._clock.now() + milliseconds
        await self._documents.write([Put(Document(account=account, kind=KIND, id=name, body=body, version=version, expires_at=expires_at))])


def _again(kept: _Remembered, fingerprint: str) -> Response[bytes]:
    if kept.fingerprint != fingerprint:
        raise Refused(REUSED)
    if not kept.status:
        raise Refused(IN_PROGRESS)
    media = kept.headers.get("content-type", "application/json")
    headers = {name: value for name, value in kept.headers.items() if name != "content-type"}
    return Response(base64.b64decode(kept.body), status_code=kept.status, media_type=media, headers={**headers, "idempotency-replayed": "true"})
