"""AWS's JSON protocol as one ASGI callable: ``POST /`` with ``X-Amz-Target: AWSStepFunctions.<Operation>``.

In this order: admission, size, body, caller, operation, permission, rate, shape of the request, the operation itself. Each step
refuses with an error that SDKs know; only what nobody foresaw is a 500, and then the log has it with the request's id.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from flowrunner.api.answer import aws_answer
from flowrunner.api.aws.faults import AwsFault, unsupported, wire_type
from flowrunner.api.aws.handlers import HANDLERS
from flowrunner.api.aws.operations import OPERATIONS, Operation
from flowrunner.api.aws.shapes import Parts, check, with_limits
from flowrunner.api.ratelimits import RateLimiter, retry_after
from flowrunner.errors import FlowRunnerError, StoreUnavailable
from flowrunner.jsonvalue import repeated_name

if TYPE_CHECKING:
    from flowrunner.api.aws.authentication import Authenticator, Headers
    from flowrunner.api.aws.service import Answer, Handler, Service
    from flowrunner.api.denials import Denials

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

TARGET = "AWSStepFunctions"
JSON_1_0 = b"application/x-amz-json-1.0"
JSON_1_1 = b"application/x-amz-json-1.1"

_log = structlog.get_logger(__name__)


class _Gone(Exception):
    """The caller went away."""


class AwsEndpoint:
    """The Step Functions API. One instance serves any number of requests at once. Once `stopping` is set, polls end; `denials` are written down."""

    def __init__(
        self,
        service: Service,
        authenticator: Authenticator,
        *,
        stopping: asyncio.Event | None = None,
        limiter: RateLimiter | None = None,
        denials: Denials | None = None,
    ) -> None:
        self._service = service
        self._limiter = limiter
        self._denials = denials
        self._stopping = stopping or asyncio.Event()
        self._authenticator = authenticator
        self._operations: dict[str, tuple[Operation, Parts, Handler | None]] = {
            name: (operation, with_limits(operation.request, service.limits), HANDLERS.get(name)) for name, operation in OPERATIONS.items()
        }

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = str(uuid.uuid4())
        status, wait = 200, None
        try:
            answer = await self._answer(scope, headers, receive)
            body = answer if type(answer) is bytes else orjson.dumps(answer)
        except _Gone:
            return
        except AwsFault as fault:
            status, wait, body = fault.http_status, fault.retry_after, _error(fault.aws_code, fault.message)
        except FlowRunnerError as error:
            told = aws_answer(error)
            if isinstance(error, StoreUnavailable):
                _log.warning("store_unavailable", request_id=request_id, target=_target(headers), reason=error.message)
            elif told.status >= 500:
                _log.exception("request_failed", request_id=request_id, trace_id=scope.get("trace_id"), target=_target(headers))
            status, body = told.status, _error(told.code, told.message)
        except Exception:  # noqa: BLE001 - the last line of defence: logged, and answered as AWS does
            _log.exception("request_failed", request_id=request_id, trace_id=scope.get("trace_id"), target=_target(headers))
            status, body = 500, _error("InternalFailure", f"The server failed; its log has the reason under request id {request_id}.")
        kind = JSON_1_1 if headers.get(b"content-type", b"").startswith(JSON_1_1) else JSON_1_0
        sent = [(b"x-amzn-requestid", request_id.encode()), (b"content-type", kind), (b"content-length", b"%d" % len(body))]
        if status == 503 or wait is not None:
            sent.append((b"retry-after", b"%d" % (wait or 1)))
        if status == 413:
            sent.append((b"connection", b"close"))  # the rest of the body is not read
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: MutableMapping[str, Any], headers: Headers, receive: Receive) -> Answer:
        self._authenticator.admit(scope, headers)
        if scope["method"] != "POST":
            raise AwsFault("UnknownOperationException", "The AWS API is spoken with POST.", status=405)
        body = await _body(headers, receive, self._service.limits.request_bytes)
        caller = await self._authenticator.authenticate(scope, headers, body)
        operation, shape, handler = self._operation(headers)
        if operation.permission not in caller.permissions:
            if self._denials is not None:
                await self._denials.note(scope, caller, operation.action, operation.permission)
            who = f"arn:aws:iam::{caller.account}:root"
            raise AwsFault("AccessDeniedException", f"User: {who} is not authorized to perform: {operation.action}")
        if self._limiter is not None and (seconds := self._limiter.take(caller.account, operation.name)) is not None:
            raise AwsFault("ThrottlingException", "Rate exceeded", retry_after=retry_after(seconds))
        if handler is None:
            raise unsupported(f"the operation {operation.name}")
        request = _decoded(body)
        check(shape, request)
        if operation.long:
            return await self._while_connected(handler(self._service, caller, request), receive)
        return await handler(self._service, caller, request)

    def _operation(self, headers: Headers) -> tuple[Operation, Parts, Handler | None]:
        target = _target(headers)
        if not target:
            raise AwsFault("MissingAction", "The request is missing the header X-Amz-Target.")
        prefix, _, name = target.partition(".")
        found = self._operations.get(name) if prefix == TARGET else None
        if found is None:
            raise AwsFault("UnknownOperationException", f"Unknown operation {target[:200]}")
        return found

    async def _while_connected(self, work: Awaitable[Answer], receive: Receive) -> Answer:
        """Wait for the answer, unless the caller goes away or the server stops first: then the work is given up."""
        answer = asyncio.ensure_future(work)
        others = (asyncio.ensure_future(_disconnected(receive)), asyncio.ensure_future(self._stopping.wait()))
        try:
            await asyncio.wait((answer, *others), return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if others[0].done():
                raise _Gone
            raise AwsFault("ServiceUnavailable", "The server is stopping; try again.", status=503)
        finally:
            for task in (answer, *others):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task


def _target(headers: Headers) -> str:
    return headers.get(b"x-amz-target", b"").decode("latin-1")


def _error(code: str, message: str) -> bytes:
    return orjson.dumps({"__type": wire_type(code), "message": message.encode("utf-8", "replace").decode()})


async def _body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """The whole body; one that is too large is refused by its declared length, else as soon as it grows past the limit."""
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and (len(declared) > 15 or int(declared) > limit):
        raise _too_large(limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body") and len(body) <= limit:
        return body
    parts, size = [body], len(body)
    while True:
        if message["type"] == "http.disconnect":
            raise _Gone
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
        part: bytes = message.get("body", b"")
        parts.append(part)
        size += len(part)


def _too_large(limit: int) -> AwsFault:
    return AwsFault("RequestEntityTooLargeException", f"The request is larger than {limit} bytes.", status=413)


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise AwsFault("SerializationException", "The request body is not valid JSON.") from None
    if type(request) is not dict:
        raise AwsFault("SerializationException", "The request body is not a JSON object.")
    try:
        repeated = repeated_name(body, request)
    except RecursionError:  # no operation takes such a thing
        raise AwsFault("SerializationException", "The request body is nested too deep.") from None
    if repeated is not None:  # who checks a request before us may have looked at the other one
        raise AwsFault("SerializationException", f"The request body has the member {repeated[:100]!r} twice.")
    return request


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
