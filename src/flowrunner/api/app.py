"""The server's one ASGI callable: AWS on ``POST /``, everything else by the routes; every answer has a request id."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Literal

import structlog
from litestar import Litestar, Request, Response
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, ExceptionHandlersMap, Receive, Scope, Send

from flowrunner.api import (
    accounts,
    asyncapi,
    credentials,
    environments,
    eventstreams,
    executions,
    flows,
    health,
    openapi,
    plugins,
    runs,
    schedules,
    socket_v1,
    streams,
    templates,
    testcases,
    testgroups,
    users,
    webhooks,
    workflows,
)
from flowrunner.api import secrets as secret_routes
from flowrunner.api.arnpaths import in_one_piece
from flowrunner.api.authoring import Authoring
from flowrunner.api.bodies import place_at_once
from flowrunner.api.denials import Denials
from flowrunner.api.fanout import Channels, Follower
from flowrunner.api.idempotency import Idempotency
from flowrunner.api.identify import PUBLIC, Authenticator, check_routes, header, host_allowed, origin_allowed
from flowrunner.api.openings import Openings
from flowrunner.api.problems import PROBLEM, UNEXPECTED, Problem, Refused, of_error, of_status, one_error, refusal_of
from flowrunner.api.proxies import Proxies
from flowrunner.api.ratelimits import RateLimiter, headers_of, retry_after
from flowrunner.api.sessions import SEND_SECONDS, Sessions
from flowrunner.clock import Clock
from flowrunner.errors import AccessDenied, FlowRunnerError, InvalidDocument, StoreUnavailable
from flowrunner.identity.principal import Principal
from flowrunner.identity.service import Identity
from flowrunner.ports.observe import Observer
from flowrunner.ports.store import Store
from flowrunner.vault.vault import Vault

MAX_BODY_BYTES = 1024 * 1024
UNKNOWN_CALLER = of_status(401, "This needs a credential.", headers={"www-authenticate": "Bearer"})
TOO_LARGE = of_status(413, f"The body is larger than {MAX_BODY_BYTES} bytes.", headers={"connection": "close"})
COMPRESSED = of_status(415, "Compressed requests are not taken.", headers={"connection": "close", "accept-encoding": "identity"})
_NO_GUESSES = (b"x-content-type-options", b"nosniff")  # a flow's text, or what a run gave, is never taken for a page
_STRICT_TRANSPORT = ((b"strict-transport-security", b"max-age=31536000"),)
_DETAILS = {404: "There is nothing at this path.", 405: "This path does not answer this method."}
CLIENT_GONE = "client disconnected prematurely"  # how the framework says that a body ended before it was whole
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_log = structlog.get_logger("flowrunner.api")


def create_app(
    *,
    store: Store,
    feed: Follower,
    aws: ASGIApp,
    authenticator: Authenticator,
    region: str,
    observer: Observer,
    stopping: asyncio.Event,
    clock: Clock,
    metrics: Callable[[], bytes] | None = None,
    allowed_origins: tuple[str, ...] = (),
    only_loopback_hosts: bool = False,
    limiter: RateLimiter | None = None,
    send_seconds: float = SEND_SECONDS,
    identity: Identity | None = None,
    vault: Vault | None = None,
    registration: Literal["open", "closed"] = "closed",
    proxies: Proxies | None = None,
    openings: Openings | None = None,
    authoring: Authoring | None = None,
) -> ASGIApp:
    """Put the server together.

    `aws` answers ``POST /`` and finds out itself who is calling (a signature covers the body). Once `stopping` is set, readiness fails and
    streams end; `identity` brings the routes of accounts, which anybody may make with open `registration`, `vault` those of secrets, `authoring` those of flows and workflows; a subscriber that takes nothing for `send_seconds` is cut. With `only_loopback_hosts` a request must name this machine in its Host (for servers that let anybody in).
    `limiter` counts the requests of each account: under the AWS operation that a route names in `counts_as`, else under its permission.
    """
    sessions = Sessions(observer=observer, stopping=stopping, clock=clock, authenticator=authenticator, send_seconds=send_seconds, openings=openings)
    live = sessions, Channels(executions=store.executions, feed=feed, observer=observer), store.executions
    handlers = [
        *health.routes(store=store, stopping=stopping, clock=clock, metrics=metrics),
        *runs.routes(executions=store.executions, region=region, definitions=store.definitions, authoring=authoring),
        *streams.routes(*live),
        *eventstreams.routes(*live),
        *socket_v1.routes(*live),
        *asyncapi.routes(),
        *([] if identity is None else [*accounts.routes(identity, registration=registration), *users.routes(identity), *credentials.routes(identity)]),
        *(
            []
            if authoring is None
            else [
                *flows.routes(authoring),
                *executions.routes(authoring),
                *schedules.routes(authoring),
                *webhooks.routes(authoring),
                *plugins.routes(authoring),
                *workflows.routes(authoring),
                *environments.routes(authoring),
                *templates.routes(authoring),
                *testcases.routes(authoring),
                *testgroups.routes(authoring),
            ]
        ),
        *([] if vault is None else secret_routes.routes(vault, None if identity is None else identity.audit)),
    ]
    check_routes((", ".join(sorted(handler.paths)), handler.opt) for handler in handlers)  # first: the document needs what it looks for
    described = openapi.routes(handlers)
    check_routes((", ".join(sorted(handler.paths)), handler.opt) for handler in described)
    handlers += described
    idempotency = Idempotency(store.documents, clock)
    rest = Litestar(
        handlers,
        before_request=_begin(idempotency),
        before_send=[idempotency.note],
        guards=[_guard(authenticator, limiter)],
        exception_handlers=_HANDLERS,
        after_exception=[] if identity is None else [_noted(Denials(identity.audit))],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=MAX_BODY_BYTES,
        debug=False,
    )
    return Edge(rest=rest, aws=aws, allowed_origins=allowed_origins, only_loopback_hosts=only_loopback_hosts, proxies=proxies or Proxies(), observer=observer)


def _begin(idempotency: Idempotency) -> Callable[[Request[Any, Any, Any]], Awaitable[Response[bytes] | None]]:
    """What comes before a handler.

    The body is read also where nobody wants one: HTTP clients send it after the headers, and one that is still to come when the answer is out costs
    its client the connection, and with it the next request.
    """

    async def begin(request: Request[Any, Any, Any]) -> Response[bytes] | None:
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            await request.body()
        return await idempotency.begin(request)

    return begin


def _guard(authenticator: Authenticator, limiter: RateLimiter | None) -> Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]:
    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        permission = handler.opt.get("permission")
        if permission == PUBLIC:
            return
        scope: Any = connection.scope
        problem = UNKNOWN_CALLER
        try:
            principal = await authenticator.identify(scope)
        except FlowRunnerError as error:
            principal, problem = None, of_error(error)
        scope["user"] = principal
        if principal is None or permission not in principal.permissions:
            scope["needed"] = permission
            scope["problem"] = problem if principal is None else of_error(AccessDenied())  # for a WebSocket, which the framework would close without a word
            raise Refused(scope["problem"])
        if limiter is None:
            return
        operation = handler.opt.get("counts_as", permission)
        seconds = limiter.take(principal.account, operation)
        scope["quotas"] = headers_of(limiter.quotas(principal.account, operation))
        if seconds is not None:
            scope["problem"] = of_status(429, "The account makes too many requests.", headers={"retry-after": str(retry_after(seconds))})
            raise Refused(scope["problem"])

    return guard


def _noted(denials: Denials) -> Callable[[Exception, Scope], Awaitable[None]]:
    """Write denials of the guard and of handlers into the audit log of the caller's account."""

    async def note(error: Exception, scope: Scope) -> None:
        denied = isinstance(error, AccessDenied) or (isinstance(error, Refused) and error.problem.code == AccessDenied.code)
        principal: Principal | None = scope.get("user")
        if denied and principal is not None:
            known: Any = scope
            await denials.note(known, principal, str(known.get("method", "CONNECT")), known.get("needed", ""))

    return note


class Edge:
    """What every request passes first: its id, the checks of Host and Origin, and the way to AWS or to the routes."""

    def __init__(
        self, *, rest: ASGIApp, aws: ASGIApp, allowed_origins: tuple[str, ...], only_loopback_hosts: bool, proxies: Proxies, observer: Observer
    ) -> None:
        self._rest = rest
        self._aws = aws
        self._allowed_origins = allowed_origins
        self._only_loopback_hosts = only_loopback_hosts
        self._proxies = proxies
        self._observer = observer

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one connection; nothing raised on the way reaches the server as an exception."""
        if scope["type"] == "lifespan":
            await self._rest(scope, receive, send)
            return
        given = header(scope, b"x-request-id")
        trace_id = given if given is not None and _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
        scope["trace_id"] = trace_id
        self._proxies.resolve(scope)
        scope["path"] = in_one_piece(scope["path"])
        added = [(b"x-request-id", trace_id.encode()), _NO_GUESSES, *(_STRICT_TRANSPORT if scope["scheme"] in ("https", "wss") else ())]
        started = False

        async def answer(message: Any) -> None:
            nonlocal started
            if message["type"] == "websocket.close" and not started:
                started = True
                await send_problem(scope, answer, scope.get("problem") or _of_close(message.get("reason", "")))
                return
            started = True
            if message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
                if message.get("status", 200) >= 400 and (code := refusal_of(message["status"], message.get("headers", ()))) is not None:
                    self._observer.on_refused(code)
                if message["type"] == "websocket.http.response.start":
                    self._observer.on_socket_error("refused")
                message["headers"] = [*message.get("headers", ()), *added, *scope.get("quotas", ())]
            await send(message)

        try:
            problem = self._refusal(scope)
            if problem is not None:
                await send_problem(scope, answer, problem)
            elif scope["type"] == "http" and scope["path"] == "/" and scope["method"] == "POST":
                await self._aws(scope, receive, answer)
            else:
                await self._rest(scope, receive, answer)
        except Exception as error:  # noqa: BLE001  # the last line of defence: an answer, a log entry, no traceback to the caller
            if type(error).__name__ in ("ClientDisconnected", "ClientDisconnect"):  # the client has gone: uvicorn's word and the framework's
                return
            _log.exception("request_failed", method=scope.get("method"), path=scope["path"], trace_id=trace_id)
            if not started:
                await send_problem(scope, answer, UNEXPECTED)

    def _refusal(self, scope: Any) -> Problem | None:
        if scope["type"] == "http":
            given = dict(scope["headers"])
            if given.get(b"content-encoding", b"identity").lower() != b"identity":
                return COMPRESSED
            declared = given.get(b"content-length", b"0")
            if scope["path"] != "/" and declared.isdigit() and (len(declared) > 15 or int(declared) > MAX_BODY_BYTES):
                return TOO_LARGE
        if self._only_loopback_hosts and not host_allowed(scope):
            return Problem(status=403, code="host_not_allowed", detail="This server is for this machine only: call it as localhost or 127.0.0.1.")
        socket = scope["type"] == "websocket"
        changes = socket or scope["method"] not in ("GET", "HEAD", "OPTIONS")
        local = socket and self._only_loopback_hosts  # who develops a page has a server of its own for it
        if changes and not origin_allowed(scope, self._allowed_origins, local=local):
            listed = ", ".join(("its own", *self._allowed_origins, *(["those of this machine"] if local else [])))
            detail = f"Pages of this origin may not call the server; allowed origins: {listed}. The setting allowed_origins adds others."
            return Problem(status=403, code="origin_not_allowed", detail=detail)
        return None


def _of_close(reason: str) -> Problem:
    """The problem behind the framework's close before the upgrade, which tells it by its reason only."""
    return of_status(404, _DETAILS[404]) if reason == HTTPStatus.NOT_FOUND.phrase else UNEXPECTED


async def send_problem(scope: Any, send: Any, problem: Problem) -> None:
    """Answer with a problem, also to a WebSocket that is not open yet."""
    body = problem.body(instance=scope["path"], trace_id=scope["trace_id"])
    headers = [
        (b"content-type", PROBLEM.encode()),
        (b"content-length", b"%d" % len(body)),
        *((name.encode(), value.encode("latin-1", "replace")) for name, value in problem.headers.items()),
    ]
    kind = "http.response"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 4000 + problem.status, "reason": problem.detail[:120]})
            return
        kind = "websocket.http.response"
    await send({"type": f"{kind}.start", "status": problem.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body, "more_body": False})


# --- exceptions of the routes


def _trace(request: Request[Any, Any, Any]) -> str:
    scope: Any = request.scope
    return str(scope["trace_id"])


def _answer(request: Request[Any, Any, Any], problem: Problem) -> Response[bytes]:
    body = problem.body(instance=request.scope["path"], trace_id=_trace(request))
    return Response(body, status_code=problem.status, media_type=PROBLEM, headers=dict(problem.headers))


def _refused(request: Request[Any, Any, Any], error: Refused) -> Response[bytes]:
    return _answer(request, error.problem)


def _ours(request: Request[Any, Any, Any], error: FlowRunnerError) -> Response[bytes]:
    if isinstance(error, StoreUnavailable):  # an outage has thousands of these: one line each
        _log.warning("store_unavailable", path=request.scope["path"], trace_id=_trace(request), reason=error.message)
    elif error.status >= 500:
        _log.error("request_failed", path=request.scope["path"], error=error.code, trace_id=_trace(request), exc_info=error)
    if isinstance(error, InvalidDocument):
        place_at_once(request.scope, error)
    return _answer(request, of_error(error))


def _framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    if error.detail == CLIENT_GONE:  # nobody reads the answer, and nothing went wrong here
        return _answer(request, of_status(400, "The request ended before its body did."))
    if error.status_code >= 500:
        return _unexpected(request, error)
    extra = error.extra if isinstance(error.extra, list) else []
    detail = _DETAILS.get(error.status_code, error.detail)
    parts = [(str(part.get("message", "")), str(part.get("key", ""))) for part in extra if isinstance(part, dict)]
    errors = tuple(one_error("bad_request", message, pointer=f"/{key}" if key else "") for message, key in parts)
    return _answer(request, of_status(error.status_code, detail, headers=error.headers, errors=errors))


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    _log.error("request_failed", path=request.scope["path"], trace_id=_trace(request), exc_info=error)
    return _answer(request, UNEXPECTED)


_HANDLERS: ExceptionHandlersMap = {Refused: _refused, FlowRunnerError: _ours, HTTPException: _framework, Exception: _unexpected}
