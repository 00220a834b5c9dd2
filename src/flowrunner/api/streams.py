"""A run, live: its past first, then what happens, over WebSocket and server-sent events at one path.

Followers read from the feed at their own pace, so a slow one holds up nobody; one that takes nothing for ten seconds is cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol

import structlog
from litestar import Request, WebSocket, get, websocket
from litestar.handlers import HTTPRouteHandler, WebsocketRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp, Receive, Scope, Send

from flowrunner.api.identify import RUNS_READ, Authenticator, address_of
from flowrunner.api.messages import Renderer
from flowrunner.api.openings import Openings
from flowrunner.api.problems import Problem, Refused, of_status
from flowrunner.api.runs import ENDED, RUNS, locate
from flowrunner.api.watch import Watch
from flowrunner.clock import Clock
from flowrunner.errors import NotFound, StoreError
from flowrunner.identity.principal import Principal
from flowrunner.ports.executions import ExecutionStore, Head
from flowrunner.ports.observe import Observer

_log = structlog.get_logger("flowrunner.api")
STREAM = f"{RUNS}/{{run:str}}/stream"
SEND_SECONDS = 10.0  # the source's write wait
KEEP_ALIVE_SECONDS = 15.0  # SSE comments: proxies close what is silent for 30 to 60 seconds
RECONNECT_MILLISECONDS = 1000
NORMAL, FAILED, RESTARTING, BAD_REQUEST, LET_OUT, UNKNOWN_RUN, TOO_SLOW = 1000, 1011, 1012, 4400, 4401, 4404, 4408


class Follower(Protocol):
    """Where the records come from (engine.feed.Feed)."""

    def follow(self, execution: str, *, after: int = 0) -> AsyncIterator[list[tuple[int, dict[str, Any]]]]:
        """Batches after a sequence number, past then live; ends after the last record of an ended execution."""
        ...


class Streams:
    """What every subscriber shares."""

    def __init__(
        self,
        *,
        executions: ExecutionStore,
        feed: Follower,
        observer: Observer,
        stopping: asyncio.Event,
        clock: Clock,
        authenticator: Authenticator,
        send_seconds: float = SEND_SECONDS,
        openings: Openings | None = None,
    ) -> None:
        self._watch = Watch(authenticator, clock)
        self.executions = executions
        self.feed = feed
        self.observer = observer
        self.stopping = stopping
        self.clock = clock
        self.send_seconds = send_seconds
        self.openings = openings or Openings()
        self.renderer = Renderer()

    async def relay(self, run: str, after: int, send: Callable[[int | None, str], Awaitable[None]]) -> None:
        """Send everything after `after`, then the end; raises TimeoutError when one send takes too long."""
        loop = asyncio.get_running_loop()
        async with contextlib.aclosing(self.feed.follow(run, after=after)) as batches:  # type: ignore[type-var]  # an async generator
            async for batch in batches:
                async with asyncio.timeout(self.send_seconds) as deadline:
                    for seq, record in batch:
                        deadline.reschedule(loop.time() + self.send_seconds)
                        await send(seq, self.renderer.message(run, seq, record))
                self.observer.on_socket_messages(len(batch))
        head = await self.executions.head(run)
        if head is not None and head.status in ENDED:
            async with asyncio.timeout(self.send_seconds):
                await send(None, self.renderer.end(head))
            self.observer.on_socket_messages(1)

    async def serve(self, principal: Principal, work: Awaitable[None], gone: Awaitable[None]) -> int:
        """Relay until it ends, the client has gone or is no longer let in, or the server stops; return the close code."""
        opened = self.clock.monotonic()
        self.observer.on_socket_opened()
        parts = (work, gone, self.stopping.wait(), self._watch.until_out(principal))
        tasks = relay, left, _, out = [asyncio.ensure_future(part) for part in parts]
        code = RESTARTING
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if out.done():
                code = LET_OUT
            elif relay.done():
                code = _code(relay.exception())
            elif left.done():
                code = NORMAL
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.observer.on_socket_closed(self.clock.monotonic() - opened, error=code in (FAILED, TOO_SLOW))
        return code


_REASONS = {
    LET_OUT: "The credential has expired or was revoked.",
    TOO_SLOW: "Read faster, then come back with ?after=.",
    RESTARTING: "The server stops; come back with ?after=.",
}


def _code(error: BaseException | None) -> int:
    if error is None:
        return NORMAL
    if isinstance(error, TimeoutError):
        return TOO_SLOW
    if isinstance(error, NotFound):
        return UNKNOWN_RUN
    if isinstance(error, OSError) or type(error).__name__ == "ClientDisconnected":  # uvicorn's word for a socket that is no more
        return NORMAL
    _log.error("stream_failed", exc_info=error)
    return FAILED


def routes(streams: Streams) -> list[HTTPRouteHandler | WebsocketRouteHandler]:
    """The handlers of this module."""

    @websocket(STREAM, permission=RUNS_READ)
    async def follow_by_socket(socket: WebSocket[Principal, Any, Any], run: FromPath[str]) -> None:
        """Send one message per frame; close 4404 for an unknown run, 4400 for a bad ``after``, 4401 once the credential is no longer good, 4408 for a slow reader."""
        try:
            head = await locate(streams.executions, socket.user, run)
            after = _after(socket.query_params.get("after"), None)
        except (NotFound, Refused, StoreError) as error:
            await socket.accept()
            await socket.close(*_closing(error))
            return
        if beyond := _beyond(head, after):
            scope: Any = socket.scope
            scope["problem"] = beyond  # the framework would close without a word
            raise Refused(beyond)
        with _opened(streams, socket):
            await socket.accept()

            async def send(_seq: int | None, text: str) -> None:
                await socket.send({"type": "websocket.send", "bytes": None, "text": text})

            code = await streams.serve(socket.user, streams.relay(head.id, after, send), _left(socket.receive))
            with contextlib.suppress(Exception):  # the client may have gone first
                async with asyncio.timeout(streams.send_seconds):
                    await socket.send({"type": "websocket.close", "code": code, "reason": _REASONS.get(code, "")})

    @get(STREAM, permission=RUNS_READ, operation_id="streamRun")
    async def follow_by_events(request: Request[Principal, Any, Any], run: FromPath[str]) -> ASGIApp:
        """Send server-sent events: ``id`` is the sequence number, so EventSource resumes by itself."""
        accept = request.headers.get("accept", "*/*")
        if not any(kind in accept for kind in ("text/event-stream", "text/*", "*/*")):
            raise Refused(of_status(406, "This is a stream: ask for text/event-stream, or open a WebSocket."))
        head = await locate(streams.executions, request.user, run)
        last = request.headers.get("last-event-id")
        after = _after(request.query_params.get("after"), last)
        if last is None and (beyond := _beyond(head, after)):
            raise Refused(beyond)
        return EventStream(streams, request.user, head, after, returning=last is not None)

    return [follow_by_socket, follow_by_events]


def _after(query: str | None, last_event: str | None) -> int:
    """The sequence number to go on after; the header of a returning EventSource is newer than the URL it was given."""
    text = last_event or query or "0"
    if re.fullmatch(r"[0-9]{1,15}", text) is None:
        raise Refused(of_status(400, "after (or Last-Event-ID) must be a sequence number."))
    return int(text)


def _beyond(head: Head, after: int) -> Problem | None:
    """What is wrong with going on after more than an ended run has; while it runs the client may have seen more than this node."""
    if head.status not in ENDED or after <= head.last_seq:
        return None
    return of_status(400, f"after is {after}, but the run has ended and its last sequence number is {head.last_seq}.")


def _closing(error: NotFound | Refused | StoreError) -> tuple[int, str]:
    """Close code and reason of a socket that cannot be served."""
    match error:
        case NotFound():
            return UNKNOWN_RUN, "There is no such run."
        case Refused(problem=problem):
            return BAD_REQUEST, problem.detail
        case StoreError():
            return _code(error), "The store does not answer; come back."


def _opened(streams: Streams, socket: WebSocket[Principal, Any, Any]) -> contextlib.ExitStack:
    """Count a socket, or refuse it before it opens."""
    scope: Any = socket.scope
    try:
        stack = contextlib.ExitStack()
        stack.enter_context(streams.openings.opened(address_of(scope), socket.user.account))
    except Refused as error:
        scope["problem"] = error.problem  # the framework would close without a word
        raise
    return stack


async def _left(receive: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
    """Return when the client has gone; whatever it says is not for us."""
    while (await receive())["type"] not in ("websocket.disconnect", "http.disconnect"):
        pass


class EventStream:
    """The answer to one EventSource."""

    def __init__(self, streams: Streams, principal: Principal, head: Head, after: int, *, returning: bool) -> None:
        self._streams = streams
        self._principal = principal
        self._head = head
        self._after = after
        # EventSource comes back after every end; 204 is how to tell it that there is no more.
        self._over = returning and head.status in ENDED and after >= head.last_seq

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. Raises Refused when there are too many."""
        if self._over:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        with self._streams.openings.opened(address_of(scope), self._principal.account):
            await self._stream(receive, send)

    async def _stream(self, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def write(text: str) -> None:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

        async def event(seq: int | None, text: str) -> None:
            await write(f"id: {seq}\ndata: {text}\n\n" if seq is not None else f"event: end\ndata: {text}\n\n")

        async def breathe() -> None:
            while True:
                await self._streams.clock.sleep(KEEP_ALIVE_SECONDS)
                await write(": still here\n\n")

        await write(f"retry: {RECONNECT_MILLISECONDS}\n\n")
        breath = asyncio.ensure_future(breathe())
        try:
            await self._streams.serve(self._principal, self._streams.relay(self._head.id, self._after, event), _left(receive))
        finally:
            breath.cancel()
            await asyncio.gather(breath, return_exceptions=True)
        with contextlib.suppress(Exception):  # the client may have gone first
            async with asyncio.timeout(self._streams.send_seconds):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
