"""``/api/v1/ws``: one socket, any number of executions: status, log lines and the end of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from litestar import WebSocket, websocket
from litestar.handlers import WebsocketRouteHandler

from flowrunner.api.fanout import Channels
from flowrunner.api.identify import RUNS_READ
from flowrunner.api.overview import EVERYTHING, Overview, message_of
from flowrunner.api.runs import locate
from flowrunner.api.sessions import Listener, Session, Sessions
from flowrunner.core.records import Record
from flowrunner.errors import NotFound, StoreError
from flowrunner.identity.principal import Principal
from flowrunner.ports.executions import ExecutionStore, Head
from flowrunner.views.flow import V1_STATUS, StatusFold, log_entry
from flowrunner.views.records import ENDS, moment

SOCKET = "/api/v1/ws"
LARGEST_BYTES = 4096  # of a message from a client
MOST_SUBSCRIPTIONS = 1000  # of one socket
DENIED = "Execution not found or access denied"
TYPES = ("subscribe", "unsubscribe", "ping")


class StatusRendering:
    """The messages of one execution: a status first and at each change, its log lines, and its completion."""

    remembers = True

    def __init__(self, head: Head) -> None:
        self._id = head.id
        self._fold = StatusFold(head)

    def opening(self) -> list[bytes]:
        """The status as of now."""
        return [self._status()]

    def take(self, seq: int, record: Record) -> list[bytes]:
        """A status if it has changed, before it what the log says; behind it when that is the end."""
        changed = self._fold.take(seq, record) and record["type"] != "ExecutionStarted"  # the opening was that
        entry = log_entry(record)
        made = [] if entry is None else [message_of("log", self._id, entry["timestamp"], seq=seq, node_id=entry["node_id"], log=entry)]
        if changed:
            made.insert(len(made) if record["type"] in ENDS else 0, self._status())
        return made

    def end(self, head: Head) -> list[bytes]:
        """The completion."""
        ended = moment(head.started_at if head.stopped_at is None else head.stopped_at)
        return [message_of("complete", self._id, ended, message=f"Execution completed with status: {V1_STATUS[head.status]}")]

    def _status(self) -> bytes:
        shown = self._fold.shown()
        return message_of("status", self._id, moment(self._fold.last_at), seq=self._fold.seq, node_id=shown["current_node"], status=shown)


def routes(sessions: Sessions, channels: Channels, executions: ExecutionStore) -> list[WebsocketRouteHandler]:
    """The handlers of this module."""
    overview = Overview(channels.feed, channels.observer, sessions.clock)

    @websocket(SOCKET, permission=RUNS_READ)
    async def follow_executions(socket: WebSocket[Principal, Any, Any]) -> None:
        """Answer messages ``{type, execution_id}``; what is wrong with one is said by an ``error``, and the socket stays."""
        desk = _Desk(socket.user, channels, executions, overview)
        with sessions.counted(socket):
            await sessions.serve(socket, lambda _: None, desk.receive)

    return [follow_executions]


class _Desk:
    """What one socket asks for."""

    def __init__(self, principal: Principal, channels: Channels, executions: ExecutionStore, overview: Overview) -> None:
        self._principal = principal
        self._channels = channels
        self._executions = executions
        self._overview = overview
        self._followed: dict[str, Listener] = {}

    async def receive(self, session: Session, message: Mapping[str, Any]) -> None:
        """Do what one message asks for."""
        await session.room()  # who does not read the answers is not asked for more questions
        asked, problem = _read(message)
        named = asked.get("execution_id", "")
        execution = named if isinstance(named, str) else ""
        if problem is not None:
            self._say(session, "error", execution, message=problem)
            return
        match asked["type"]:
            case "ping":
                self._say(session, "pong", execution)
            case "subscribe":
                await self._subscribe(session, execution, asked)
            case "unsubscribe":
                await self._unsubscribe(session, execution)

    async def _subscribe(self, session: Session, execution: str, asked: Mapping[str, Any]) -> None:
        if execution == EVERYTHING:
            if EVERYTHING not in self._followed:
                self._followed[EVERYTHING] = self._overview.subscribe(session, self._principal.account)
            return
        try:
            head = await locate(self._executions, self._principal, execution)
        except NotFound:
            self._say(session, "error", execution, message=DENIED)
            return
        except StoreError:
            self._say(session, "error", execution, message="The store does not answer; subscribe again")
            return
        if head.id in self._followed:
            return
        if len(self._followed) >= MOST_SUBSCRIPTIONS:
            self._say(session, "error", execution, message=f"This socket follows {MOST_SUBSCRIPTIONS} executions; unsubscribe from some")
            return
        after = min(asked.get("after", 0) if asked.get("past", True) else head.last_seq, head.last_seq)
        over: list[bool] = []

        def ended() -> None:
            over.append(True)
            self._followed.pop(head.id, None)

        subscription = self._channels.subscribe(session, head, "v1", lambda: StatusRendering(head), after=after, ended=ended)
        if not over:
            self._followed[head.id] = subscription

    async def _unsubscribe(self, session: Session, execution: str) -> None:
        found = self._followed.pop(execution.replace("-", "").lower(), None)
        if found is None:
            try:
                head = await locate(self._executions, self._principal, execution)
            except (NotFound, StoreError):
                self._say(session, "error", execution, message=DENIED)
                return
            found = self._followed.pop(head.id, None)
        if found is not None:
            found.cancel()

    def _say(self, session: Session, kind: str, execution: str, **more: Any) -> None:
        if kind == "error":
            self._channels.observer.on_socket_error("message")
        session.write(message_of(kind, execution, moment(self._overview.clock.now()), **more))
        self._channels.observer.on_socket_messages(1)


def _read(message: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """A message from a client as far as it can be read, and what is wrong with it."""
    text = message.get("text")
    if text is None:
        return {}, "Messages are text, not binary"
    if len(text) > LARGEST_BYTES:
        return {}, f"A message has at most {LARGEST_BYTES} bytes"
    try:
        asked = orjson.loads(text)
    except orjson.JSONDecodeError:
        asked = None
    if not isinstance(asked, dict):
        return {}, 'Messages are JSON objects such as {"type": "subscribe", "execution_id": "..."}'
    kind = asked.get("type")
    if kind not in TYPES:
        return asked, f"Unknown message type; known are {', '.join(TYPES)}"
    execution = asked.get("execution_id", "")
    if not isinstance(execution, str) or (not execution and kind != "ping"):
        return asked, f"{kind} needs execution_id, a text"
    after, past = asked.get("after", 0), asked.get("past", True)
    if not isinstance(after, int) or isinstance(after, bool) or after < 0 or not isinstance(past, bool):
        return asked, "after is a sequence number, past is true or false"
    return asked, None
