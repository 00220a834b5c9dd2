"""A run, live, by HTTP: server-sent events, and long polling for those who can have neither them nor a socket."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import orjson
import structlog
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp, Receive, Scope, Send

from flowrunner.api.fanout import Channels
from flowrunner.api.filters import asked_for
from flowrunner.api.identify import RUNS_READ, address_of
from flowrunner.api.messages import Renderer, Text, kind_for
from flowrunner.api.problems import Refused, of_status
from flowrunner.api.runs import ENDED, locate
from flowrunner.api.sessions import ERRORS, FAILED, LET_OUT, NORMAL, RESTARTING, TOO_SLOW, Sessions
from flowrunner.api.snapshots import Beginning, beginning
from flowrunner.api.streams import STREAM, beyond, sequence_number
from flowrunner.errors import NotFound
from flowrunner.identity.principal import Principal
from flowrunner.ports.executions import ExecutionStore, Head

KEEP_ALIVE_SECONDS = 15.0  # SSE comments: proxies close what is silent for 30 to 60 seconds
RECONNECT_MILLISECONDS = 1000
LONGEST_POLL_SECONDS = 60.0
POLLED_BYTES = 1024 * 1024  # about what one answer to a long poll holds
SendTexts = Callable[[list[Text]], Awaitable[None]]
_log = structlog.get_logger("flowrunner.api")


def routes(sessions: Sessions, channels: Channels, executions: ExecutionStore) -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @get(STREAM, permission=RUNS_READ, operation_id="streamRun")
    async def follow_by_events(request: Request[Principal, Any, Any], run: FromPath[str]) -> ASGIApp:
        """Send server-sent events: ``id`` is the sequence number, so EventSource resumes by itself. With ``?wait=25s`` answer once, as JSON, when there is something new."""
        wait = request.query_params.get("wait")
        accept = request.headers.get("accept", "*/*")
        if wait is None and not any(kind in accept for kind in ("text/event-stream", "text/*", "*/*")):
            raise Refused(of_status(406, "This is a stream: ask for text/event-stream, open a WebSocket, or poll with ?wait=25s."))
        seconds = None if wait is None else _seconds(wait)
        head = await locate(executions, request.user, run)
        last = request.headers.get("last-event-id") if wait is None else None
        after = sequence_number(last or request.query_params.get("after"))
        if last is None and (problem := beyond(head, after)):
            raise Refused(problem)
        renderer = Renderer(head.id, kind_for(head, history=asked_for(request.query_params.get("history"))))
        snapshot = last is None and asked_for(request.query_params.get("snapshot"))  # an EventSource that returns asks for what it lacks
        streams = _Streams(sessions, channels, renderer, head=head, principal=request.user, snapshot=snapshot)
        return EventStream(streams, after, returning=last is not None) if seconds is None else LongPoll(streams, after, seconds)

    return [follow_by_events]


def _seconds(text: str) -> float:
    """How long to wait: ``25``, ``25s`` or ``2500ms``."""
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(s|ms)?", text)
    if found is None:
        raise Refused(of_status(400, f"wait must be a time such as 25s, up to {LONGEST_POLL_SECONDS:.0f}s."))
    return min(float(found[1]) / (1000 if found[2] == "ms" else 1), LONGEST_POLL_SECONDS)


class _Streams:
    """One run for one caller."""

    def __init__(self, sessions: Sessions, channels: Channels, renderer: Renderer, *, head: Head, principal: Principal, snapshot: bool) -> None:
        self.sessions = sessions
        self.head = head
        self.principal = principal
        self._channels = channels
        self._renderer = renderer
        self._snapshot = snapshot

    async def beginning(self, after: int) -> Beginning:
        """What is sent first. Raises NotFound, StoreUnavailable."""
        return await beginning(self._channels.feed, self.head, self._renderer, after=after, snapshot=self._snapshot)

    def _batches(self, after: int) -> Any:
        return contextlib.aclosing(self._channels.feed.follow(self.head.id, after=after))

    async def _last(self) -> Text | None:
        head = await self._channels.executions.head(self.head.id)
        return None if head is None or head.status not in ENDED else Text(self._renderer.last(head))

    async def relay(self, begin: Beginning, send: SendTexts, end: SendTexts) -> None:
        """Send this beginning, everything behind it in batches, then the end; raises TimeoutError when a batch takes too long."""
        for message in begin.messages:
            await self._send([message], send)
        async with self._batches(begin.after) as batches:
            async for batch in batches:
                made = [text for seq, record in batch for text in self._renderer.messages(seq, record)]
                for first in range(0, len(made), 16):
                    await self._send(made[first : first + 16], send)
        if (last := await self._last()) is not None:
            await self._send([last], end)

    async def _send(self, made: list[Text], send: SendTexts) -> None:
        async with asyncio.timeout(self.sessions.send_seconds):
            await send(made)
        self.sessions.observer.on_socket_messages(len(made))

    async def poll(self, after: int, seconds: float) -> bytes:
        """What there is after `after`, waiting this long for something to be shown; `ended` tells that nothing more will come."""
        begin = await self.beginning(after)
        found = [message.text for message in begin.messages]
        cursor = begin.after if found else await self._wait(begin.after, seconds, found)
        head = await self._channels.executions.head(self.head.id)
        ended = head is not None and head.status in ENDED and cursor >= head.last_seq
        if head is not None and ended:
            found.append(self._renderer.last(head))
        self.sessions.observer.on_socket_messages(len(found))
        messages = [orjson.Fragment(text) for text in found]
        return orjson.dumps({"runId": self.head.id, "messages": messages, "lastSeq": cursor, "ended": ended})

    async def _wait(self, cursor: int, seconds: float, found: list[bytes]) -> int:
        """Wait for something behind `cursor` that is shown, and put it into `found`; return where to go on."""
        with contextlib.suppress(TimeoutError):
            async with self._within(seconds), self._batches(cursor) as batches:
                async for batch in batches:
                    cursor = self._take(batch, found)
                    if found:
                        break
        return cursor

    def _take(self, batch: list[tuple[int, dict[str, Any]]], found: list[bytes]) -> int:
        size = 0
        for seq, record in batch:
            for made in self._renderer.messages(seq, record):
                found.append(made.text)
                size += len(made.text)
            if size > POLLED_BYTES:
                return seq
        return batch[-1][0]

    @contextlib.asynccontextmanager
    async def _within(self, seconds: float) -> AsyncIterator[None]:
        """Raises TimeoutError in the block after this time, or when the server stops."""
        async with asyncio.timeout(None) as limit:
            loop = asyncio.get_running_loop()

            async def end(begin: Callable[[], Awaitable[object]]) -> None:
                await begin()
                limit.reschedule(loop.time())

            ends = (lambda: self.sessions.clock.sleep(seconds), self.sessions.stopping.wait)
            tasks = [loop.create_task(end(begin)) for begin in ends]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def serve(self, work: Awaitable[None], gone: Awaitable[None]) -> int:
        """Relay until it ends, the client has gone or is no longer let in, or the server stops; return what it ended by."""
        sessions = self.sessions
        opened = sessions.clock.monotonic()
        sessions.observer.on_socket_opened()
        parts = (work, gone, sessions.stopping.wait(), sessions.watch.until_out(self.principal))
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
            sessions.closed(sessions.clock.monotonic() - opened, ERRORS.get(code))
        return code


def _code(error: BaseException | None) -> int:
    if error is None or isinstance(error, NotFound):
        return NORMAL
    if isinstance(error, TimeoutError):
        return TOO_SLOW
    if isinstance(error, OSError) or type(error).__name__ == "ClientDisconnected":  # uvicorn's word for a connection that is no more
        return NORMAL
    _log.error("stream_failed", exc_info=error)
    return FAILED


async def _left(receive: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
    """Return when the client has gone; whatever it says is not for us."""
    while (await receive())["type"] != "http.disconnect":
        pass


class LongPoll:
    """The answer to one question for more."""

    def __init__(self, streams: _Streams, after: int, seconds: float) -> None:
        self._streams = streams
        self._after = after
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. Raises Refused when there are too many."""
        with self._streams.sessions.openings.opened(address_of(scope), self._streams.principal.account):
            polled = asyncio.ensure_future(self._streams.poll(self._after, self._seconds))
            left = asyncio.ensure_future(_left(receive))
            try:
                await asyncio.wait((polled, left), return_when=asyncio.FIRST_COMPLETED)
                if not polled.done():
                    return
                body = polled.result()
            finally:
                for task in (polled, left):
                    task.cancel()
                await asyncio.gather(polled, left, return_exceptions=True)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


class EventStream:
    """The answer to one EventSource."""

    def __init__(self, streams: _Streams, after: int, *, returning: bool) -> None:
        self._streams = streams
        self._after = after
        # EventSource comes back after every end; 204 is how to tell it that there is no more.
        self._over = returning and streams.head.status in ENDED and after >= streams.head.last_seq

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. Raises Refused when there are too many."""
        if self._over:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        with self._streams.sessions.openings.opened(address_of(scope), self._streams.principal.account):
            await self._stream(await self._streams.beginning(self._after), receive, send)

    async def _stream(self, begin: Beginning, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def write(data: bytes) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": True})

        async def events(made: list[Text]) -> None:
            await write(b"".join(b"data: %b\n\n" % one.text if one.seq is None else b"id: %d\ndata: %b\n\n" % (one.seq, one.text) for one in made))

        async def end(made: list[Text]) -> None:
            await write(b"".join(b"event: end\ndata: %b\n\n" % one.text for one in made))

        async def breathe() -> None:
            while True:
                await self._streams.sessions.clock.sleep(KEEP_ALIVE_SECONDS)
                await write(b": still here\n\n")

        await write(b"retry: %d\n\n" % RECONNECT_MILLISECONDS)
        breath = asyncio.ensure_future(breathe())
        try:
            await self._streams.serve(self._streams.relay(begin, events, end), _left(receive))
        finally:
            breath.cancel()
            await asyncio.gather(breath, return_exceptions=True)
        with contextlib.suppress(Exception):  # the client may have gone first
            async with asyncio.timeout(self._streams.sessions.send_seconds):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
