"""Open sockets: who is let in, how they end, and that none is waited for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Protocol

import structlog
from litestar import WebSocket

from flowrunner.api.identify import Authenticator, address_of
from flowrunner.api.openings import Openings
from flowrunner.api.problems import Refused
from flowrunner.api.watch import Watch
from flowrunner.api.wire import CLOSE, EXTENSION, Relay, Wire
from flowrunner.clock import Clock
from flowrunner.errors import StoreUnavailable
from flowrunner.identity.principal import Principal
from flowrunner.ports.observe import Observer

_log = structlog.get_logger("flowrunner.api")
SEND_SECONDS = 10.0  # the source's write wait
NORMAL, FAILED, RESTARTING, BAD_REQUEST, LET_OUT, UNKNOWN_RUN, TOO_SLOW = 1000, 1011, 1012, 4400, 4401, 4404, 4408
REASONS = {
    LET_OUT: "The credential has expired or was revoked.",
    TOO_SLOW: "Read faster, then come back with ?after=.",
    RESTARTING: "The server stops; come back with ?after=.",
}
ERRORS = {FAILED: "failed", BAD_REQUEST: "bad_request", LET_OUT: "let_out", UNKNOWN_RUN: "unknown_run", TOO_SLOW: "too_slow"}  # of SOCKET_ERRORS
Socket = WebSocket[Principal, Any, Any]


class Listener(Protocol):
    """What is sent to a session: a subscription."""

    def paused(self) -> None:
        """The socket takes no more."""
        ...

    def resumed(self) -> None:
        """The socket takes more."""
        ...

    def cancel(self) -> None:
        """Send nothing more."""
        ...


class Session:
    """One open socket. Writing never waits; who writes much asks for `room`."""

    def __init__(self, wire: Wire, sessions: Sessions) -> None:
        self._wire = wire
        self._sessions = sessions
        self._closing = False
        self._rooms: list[asyncio.Future[None]] = []
        self.write = wire.write
        self.subscriptions: set[Listener] = set()
        wire.paused, wire.resumed = self._paused, self._resumed

    @property
    def writable(self) -> bool:
        """Whether the socket takes more."""
        return self._wire.writable and not self._closing

    async def room(self) -> None:
        """Wait until the socket takes more, or closes."""
        if not self._wire.writable and not self._closing:
            room = asyncio.get_running_loop().create_future()
            self._rooms.append(room)
            await room

    @property
    def failure(self) -> str | None:
        """Why the protocol has closed it, where that was an error."""
        return self._wire.failure

    def close(self, code: int, reason: str | None = None) -> None:
        """Send nothing more, and let whoever serves the socket close it; the first call counts."""
        if not self._closing:
            self._closing = True
            self.end()
            self._wire.wake(code, REASONS.get(code, "") if reason is None else reason)

    def end(self) -> None:
        """Cancel what is sent to it."""
        self._closing = True
        self._sessions.stalled(self, since=None)
        self._let_go()
        for subscription in tuple(self.subscriptions):
            subscription.cancel()

    def _paused(self) -> None:
        if not self._closing:
            self._sessions.stalled(self, since=self._sessions.clock.monotonic())
            for subscription in tuple(self.subscriptions):
                subscription.paused()

    def _resumed(self) -> None:
        self._sessions.stalled(self, since=None)
        self._let_go()
        if not self._closing:
            for subscription in tuple(self.subscriptions):
                subscription.resumed()

    def _let_go(self) -> None:
        for room in self._rooms:
            if not room.done():
                room.set_result(None)
        self._rooms.clear()


async def _close(socket: Socket, code: int, reason: str) -> None:
    with contextlib.suppress(Exception):  # the client may have gone first
        await socket.send({"type": "websocket.close", "code": code, "reason": reason})


class Sessions:
    """What all sockets share: limits, an end for each, and two tasks for all of them."""

    def __init__(
        self,
        *,
        observer: Observer,
        stopping: asyncio.Event,
        clock: Clock,
        authenticator: Authenticator,
        send_seconds: float = SEND_SECONDS,
        openings: Openings | None = None,
    ) -> None:
        self.observer = observer
        self.stopping = stopping
        self.clock = clock
        self.send_seconds = send_seconds
        self.openings = openings or Openings()
        self.watch = Watch(authenticator, clock)
        self._open: set[Session] = set()
        self._stalled: dict[Session, float] = {}  # since when, the longest first
        self._stop: asyncio.Task[None] | None = None
        self._sweep: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def counted(self, socket: Socket) -> Iterator[None]:
        """Count a socket, or refuse it before it opens."""
        scope: Any = socket.scope
        stack = contextlib.ExitStack()
        try:
            stack.enter_context(self.openings.opened(address_of(scope), socket.user.account))
        except Refused as error:
            scope["problem"] = error.problem  # the framework would close without a word
            raise
        with stack:
            yield

    async def serve(self, socket: Socket, begin: Callable[[Session], None], receive: Callable[[Session, Mapping[str, Any]], Awaitable[None]]) -> None:
        """Open a socket and stay until it is closed: `begin` once it is open, `receive` for each message that comes."""
        await socket.accept()
        extensions: Any = socket.scope["extensions"]
        relay = Relay(socket) if EXTENSION not in extensions else None
        session = Session(relay or extensions[EXTENSION], self)
        following: Callable[[], Awaitable[Mapping[str, Any]]] = socket.receive if relay is None else relay.receive
        opened = self.clock.monotonic()
        code = NORMAL
        with self._entered(session), self.watch.watching(socket.user, lambda: session.close(LET_OUT)):
            self.observer.on_socket_opened()
            try:
                begin(session)
                while (message := await following())["type"] == "websocket.receive":
                    if CLOSE in message:
                        code, reason = message[CLOSE]
                        await _close(socket, code, reason)
                        break
                    await receive(session, message)
            except StoreUnavailable as error:
                code = FAILED
                _log.warning("store_unavailable", path=socket.scope["path"], reason=error.message)
                await _close(socket, code, "")
            except Exception:  # noqa: BLE001  # whatever it is, the client is told that it is over
                code = FAILED
                _log.exception("socket_failed", path=socket.scope["path"])
                await _close(socket, code, "")
            finally:
                session.end()
                self.closed(self.clock.monotonic() - opened, ERRORS.get(code) or session.failure)

    def closed(self, seconds: float, error: str | None) -> None:
        """Note that a subscriber has gone after this time, and for which error."""
        self.observer.on_socket_closed(seconds)
        if error is not None:
            self.observer.on_socket_error(error)

    async def refuse(self, socket: Socket, code: int, reason: str) -> None:
        """Open a socket only to tell why it is closed."""
        self.observer.on_socket_error(ERRORS[code])
        await socket.accept()
        await socket.close(code, reason)

    @contextlib.contextmanager
    def _entered(self, session: Session) -> Iterator[None]:
        self._open.add(session)
        if self._stop is None or self._stop.done():
            self._stop = asyncio.get_running_loop().create_task(self._close_when_stopping())
        try:
            yield
        finally:
            self._open.discard(session)
            if not self._open:
                self._stop.cancel()

    async def _close_when_stopping(self) -> None:
        await self.stopping.wait()
        for session in tuple(self._open):
            session.close(RESTARTING)

    def stalled(self, session: Session, *, since: float | None) -> None:
        """Note that a socket takes nothing since then; None when it does again."""
        if since is None:
            self._stalled.pop(session, None)
        elif self._stalled.setdefault(session, since) == since and (self._sweep is None or self._sweep.done()):
            self._sweep = asyncio.get_running_loop().create_task(self._cut_stalled())

    async def _cut_stalled(self) -> None:
        while self._stalled:
            session, since = next(iter(self._stalled.items()))
            wait = since + self.send_seconds - self.clock.monotonic()
            if wait > 0:
                await self.clock.sleep(wait)
            else:
                session.close(TOO_SLOW)
