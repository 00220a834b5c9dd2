"""A run, live, by WebSocket: its past first, then what happens, one message per frame."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from litestar import WebSocket, websocket
from litestar.handlers import WebsocketRouteHandler
from litestar.params import FromPath

from flowrunner.api.fanout import Channels
from flowrunner.api.filters import asked_for
from flowrunner.api.identify import RUNS_READ
from flowrunner.api.messages import Renderer, kind_for
from flowrunner.api.problems import Problem, Refused, of_status
from flowrunner.api.runs import ENDED, RUNS, locate
from flowrunner.api.sessions import BAD_REQUEST, FAILED, NORMAL, UNKNOWN_RUN, Session, Sessions
from flowrunner.api.snapshots import beginning
from flowrunner.api.wire import frame
from flowrunner.errors import NotFound, StoreError
from flowrunner.identity.principal import Principal
from flowrunner.ports.executions import ExecutionStore, Head

STREAM = f"{RUNS}/{{run:str}}/stream"


def routes(sessions: Sessions, channels: Channels, executions: ExecutionStore) -> list[WebsocketRouteHandler]:
    """The handlers of this module."""

    @websocket(STREAM, permission=RUNS_READ)
    async def follow_by_socket(socket: WebSocket[Principal, Any, Any], run: FromPath[str]) -> None:
        """Close 4404 for an unknown run, 4400 for a bad ``after``, 4401 once the credential is no longer good, 4408 for a slow reader."""
        try:
            head = await locate(executions, socket.user, run)
            after = sequence_number(socket.query_params.get("after"))
        except (NotFound, Refused, StoreError) as error:
            await sessions.refuse(socket, *_closing(error))
            return
        if problem := beyond(head, after):
            await sessions.refuse(socket, BAD_REQUEST, problem.detail)  # after the upgrade: before it a browser would see no more than 1006
            return
        kind = kind_for(head, history=asked_for(socket.query_params.get("history")))
        snapshot = asked_for(socket.query_params.get("snapshot"))
        with sessions.counted(socket):
            try:
                first = await beginning(channels.feed, head, Renderer(head.id, kind), after=after, snapshot=snapshot)
            except (NotFound, StoreError) as error:
                await sessions.refuse(socket, *_closing(error))
                return

            def begin(session: Session) -> None:
                for message in first.messages:
                    session.write(frame(message.text))
                sessions.observer.on_socket_messages(len(first.messages))
                channels.subscribe(session, head, kind, lambda: Renderer(head.id, kind), after=first.after, ended=lambda: session.close(NORMAL))

            await sessions.serve(socket, begin, _not_for_us)

    return [follow_by_socket]


async def _not_for_us(session: Session, message: Mapping[str, Any]) -> None:
    """Followers have nothing to say."""


def sequence_number(text: str | None) -> int:
    """The sequence number to go on after; 0 without one. Raises Refused."""
    if re.fullmatch(r"[0-9]{1,15}", text or "0") is None:
        raise Refused(of_status(400, "after (or Last-Event-ID) must be a sequence number."))
    return int(text or "0")


def beyond(head: Head, after: int) -> Problem | None:
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
            return FAILED, "The store does not answer; come back."
