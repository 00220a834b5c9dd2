"""Uvicorn's HTTP/1.1 connection with limits: what is too large, too slow, too much or ambiguous is answered and closed.

The application sees only requests whose headers are whole and within the limits. Sizes of bodies are the application's to judge
(it knows which surface was asked); here a body must only come at a pace, and what follows a refused one is thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from flowrunner.api.problems import PROBLEM, Problem, of_status
from flowrunner.cli.answers import Answers
from flowrunner.cli.door import Door

MAX_HEADER_BYTES = 16 * 1024  # request line and headers of one request; nginx and Apache take 8 KiB per line
MAX_HEADERS = 100  # Apache's LimitRequestFields
MAX_PIPELINED = 64  # requests that wait for the answer to an earlier one,
MAX_WAITING_BYTES = MAX_HEADER_BYTES  # and bytes of their headers
MIN_BODY_RATE = 500  # bytes in a second, beyond the first `body_seconds`; Apache's RequestReadTimeout
MAX_FRAMING = 64 * 1024  # bytes of chunk sizes, extensions and trailers, beyond eight for each byte of a body
LINGER_SECONDS = 2.0  # how long what still comes is thrown away, so that the answer is not lost by a reset
CUT_SECONDS = 10.0  # how long a client may take to read the last answer

_IDLE, _HEADERS, _BODY = range(3)


class _Refused(Exception):
    """A request that will not be read any further."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)


BAD = of_status(400, "This is not a request of HTTP/1.1.")
NO_HOST = of_status(400, "A request has one Host.")
AMBIGUOUS = of_status(400, "Where this request ends can be read in two ways.")
NO_UPGRADE = of_status(400, "A request with a body cannot be upgraded.")
TOO_MANY_HEADERS = of_status(431, f"A request has at most {MAX_HEADERS} headers and {MAX_HEADER_BYTES} bytes of them.")
SLOW_HEADERS = of_status(408, "The headers of the request did not come in time.")
SLOW_BODY = of_status(408, "The body of the request came too slowly.")
BUSY = of_status(503, "The server has too many requests that are not whole; others came later and are.", headers={"retry-after": "1"})


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, door: Door, counted: str | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._door = door
        self._address: str | None = counted  # at the door under this
        self._begun = self._in_body = self._discarding = False
        self._size = 0  # bytes of headers that are not complete, beside those they began with
        self._most = 0  # how many bytes the headers that are read now can have: what they came with may be others'
        self._requests = 0  # that began here
        self._received = self._body_size = 0  # bytes since the headers: all, and of the body
        self._watched = _IDLE
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._unread: asyncio.TimerHandle | None = None  # until when an answer that waits must have been read on
        self._holding = False  # something that the door knows of
        self._sizes: deque[int] = deque()  # bytes of headers of the requests that wait, and of some before them
        self._running: RequestResponseCycle | None = None  # the request that is answered now; `cycle` is the one that is read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Count the connection, or refuse it; its first request is awaited from now on."""
        super().connection_made(transport)
        self._answers = Answers(transport, self.finish)
        if self._address is None:
            address = self.client[0] if self.client else ""
            problem = self._door.enter(address)
            if problem is not None:
                self._discarding = True
                self._door.refused(problem.code)
                transport.write(_wire(problem))
                transport.close()
                return
            self._address = address
        self._watch(_HEADERS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._watch(_IDLE)
        self._hold(0)
        self.resume_writing()
        self.forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; refuse what is not HTTP, too large or ambiguous."""
        if self._discarding:
            return
        self._unset_keepalive_if_required()
        begun, in_body, earlier = self._begun, self._in_body, self._requests
        self._most = len(data) + (self._most if begun else 0)
        if in_body:
            self._received += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self._watch(_IDLE)
                self.resume_writing()
                self.handle_websocket_upgrade()  # which takes over the count, too
                self._address = None
                return
        except httptools.HttpParserError as error:
            reason = error.__context__
            self._refuse(reason.problem if isinstance(reason, _Refused) else BAD)
            return
        if self._begun:
            self._size += len(data) if begun and earlier == self._requests else 0
            if self._size > MAX_HEADER_BYTES or _size(self.url, self.headers) > MAX_HEADER_BYTES:
                self._refuse(TOO_MANY_HEADERS)
                return
        if in_body and self._in_body and self._received > MAX_FRAMING + 9 * self._body_size:
            self._refuse(AMBIGUOUS)
            return
        if self._in_body:
            self._watch(_BODY)
        else:
            under_way = self.cycle is not None and not self.cycle.response_complete
            self._watch(_HEADERS if self._begun or not under_way else _IDLE)
        if self._in_body or self.pipeline or self._holding:
            self._hold(self._held())

    def on_message_begin(self) -> None:
        """Take up the next request."""
        super().on_message_begin()
        self._begun, self._size = True, 0
        self._requests += 1
        self._deadline = self.loop.time() + self._door.header_seconds

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; a trailer is dropped, for whatever it says would come after the checks."""
        if self._in_body:
            return
        if len(self.headers) == MAX_HEADERS:
            raise _Refused(TOO_MANY_HEADERS)  # at once: what was received together may hold 40,000 of them
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check the headers, and start the request."""
        self._check()
        waiting = len(self.pipeline)
        if waiting >= MAX_PIPELINED or (waiting and self._waiting() > MAX_WAITING_BYTES):
            raise _Refused(BAD)
        super().on_headers_complete()
        if len(self.pipeline) > waiting:
            self._sizes.append(_size(self.url, self.headers))
        self._begun, self._in_body = False, True
        self._received = self._body_size = 0
        self._deadline = self.loop.time() + self._door.body_seconds
        if self.cycle is not None:
            self.cycle.transport = self._answers  # type: ignore[assignment]  # all that a cycle asks of it

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body."""
        self._body_size += len(body)
        # A megabyte at once buys no half hour of silence after it.
        self._deadline = min(self._deadline + len(body) / MIN_BODY_RATE, self.loop.time() + self._door.body_seconds)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request; what is left of a body that nobody wanted is not waited for."""
        self._answers.flush()
        if self._discarding or self.transport.is_closing():
            self.server_state.total_requests += 1
            return
        super().on_response_complete()
        if self._in_body and self.cycle.response_complete:
            self.finish()
        elif self._holding:
            self._hold(self._held())

    def pause_writing(self) -> None:
        """The client reads its answer more slowly than it comes: from now on it must read on."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self._door.body_seconds, self._reads_on, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It has read nearly all."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _reads_on(self, before: int) -> None:
        waiting = self.transport.get_write_buffer_size()
        if before - waiting < MIN_BODY_RATE * self._door.body_seconds:
            self._door.refused("dropped")
            self.transport.abort()
        else:
            self._unread = self.loop.call_later(self._door.body_seconds, self._reads_on, waiting)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, also when its client does not read the last answer."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(CUT_SECONDS, self.transport.abort)

    def finish(self) -> None:
        """Close once the answer is out; what the client still sends is thrown away for a while first."""
        if self._discarding or self.transport.is_closing():
            return
        self._answers.flush()
        self._watch(_IDLE)
        self._hold(0)
        self._discarding = True
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True  # to the application its caller has gone
            self._running.message_event.set()
        if self.cycle is not None:
            self.cycle.body.clear()
        if not self._begun and not self._in_body:
            self._cut()
            return
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            with contextlib.suppress(OSError):  # the client was faster
                self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self._cut)

    def _cut(self) -> None:
        self.transport.close()
        self.loop.call_later(CUT_SECONDS, self.transport.abort)

    def forget(self) -> None:
        """Count this connection no more."""
        if self._address is not None:
            self._door.leave(self._address)
            self._address = None

    def _check(self) -> None:
        if self._most > MAX_HEADER_BYTES and _size(self.url, self.headers) > MAX_HEADER_BYTES:
            raise _Refused(TOO_MANY_HEADERS)
        named = dict(self.headers)
        version = self.parser.get_http_version()
        if b"host" not in named:
            if version != "1.0":
                raise _Refused(NO_HOST)
        elif len(named) != len(self.headers) and sum(name == b"host" for name, _ in self.headers) > 1:
            raise _Refused(NO_HOST)
        framed, sized = b"transfer-encoding" in named, b"content-length" in named
        if framed and (sized or version == "1.0"):
            raise _Refused(AMBIGUOUS)
        # After an upgrade nothing is parsed, so a body would never come.
        if (framed or sized) and self.parser.should_upgrade():
            raise _Refused(NO_UPGRADE)

    def _refuse(self, problem: Problem) -> None:
        """Answer a request that is not read any further, unless another answer is due first; then close."""
        if self._discarding or self.transport.is_closing():
            return
        self._door.refused(problem.code)
        self._answers.flush()
        running = self._running
        if running is None or running.response_complete or (running is self.cycle and self._in_body and not running.response_started):
            self.transport.write(_wire(problem))
        self.pipeline.clear()
        self._begun = True  # there is more to come, or may be
        self.finish()

    # --- what is held

    def give_way(self) -> None:
        """Make room for others."""
        self._refuse(BUSY)
        self._hold(0)

    def _held(self) -> int:
        """Bytes of a body that is not whole, and of requests that wait."""
        waiting = self._waiting() + sum(len(cycle.body) for cycle, _ in self.pipeline) if self.pipeline else 0
        return waiting + (self._body_size if self._in_body else 0)

    def _waiting(self) -> int:
        """Bytes of headers of the requests that wait."""
        while len(self._sizes) > len(self.pipeline):
            self._sizes.popleft()  # those that were first are answered first
        return sum(self._sizes)

    def _hold(self, size: int) -> None:
        if size or self._holding:
            self._holding = size > 0
            self._door.hold(self, size)

    # --- time

    def _watch(self, stage: int) -> None:
        """Await headers, or a body, or neither: one timer, made only for what does not come in one piece."""
        if stage == self._watched:
            return
        self._watched = stage
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if stage == _HEADERS and not self._begun:
            self._deadline = self.loop.time() + self._door.header_seconds
        if stage != _IDLE:
            self._timer = self.loop.call_at(self._deadline, self._late)

    def _late(self) -> None:
        now = self.loop.time()
        if self._watched == _BODY and self.flow.read_paused:
            self._deadline = max(self._deadline, now + self._door.body_seconds)  # it is us who do not read
        if now < self._deadline:
            self._timer = self.loop.call_at(self._deadline, self._late)
        elif self._watched == _BODY:
            self._refuse(SLOW_BODY)
        elif self._begun:
            self._refuse(SLOW_HEADERS)
        else:
            self.finish()


def _size(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)


def _wire(problem: Problem) -> bytes:
    trace_id = secrets.token_hex(16)
    body = problem.body(instance="", trace_id=trace_id)
    more = "".join(f"{name}: {value}\r\n" for name, value in problem.headers.items())
    head = (
        f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\ncontent-type: {PROBLEM}\r\ncontent-length: {len(body)}\r\n"
        f"x-request-id: {trace_id}\r\n{more}connection: close\r\n\r\n"
    )
    return head.encode() + body
