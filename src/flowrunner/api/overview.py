"""All executions of an account on one socket: how each one stands, as this node moves it.

A tick's changes are one write to each socket; of several changes of one execution in a tick the last is told. It has no past, and who reads
too slowly is told that something was left out: what counts is the status that an execution itself tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import orjson

from flowrunner.api.sessions import Session
from flowrunner.api.wire import frame
from flowrunner.clock import Clock
from flowrunner.definitions.entries import delivers
from flowrunner.jsonvalue import dumps
from flowrunner.ports.executions import Chunk, Head
from flowrunner.ports.observe import Observer
from flowrunner.views.flow import V1_STATUS
from flowrunner.views.records import ended_by, moment, shown_definition

EVERYTHING = "*"
MOST_REMEMBERED = 100_000  # executions whose last node is known; others may have moved on to another server


class Tapped(Protocol):
    """What is committed (engine.feed.Feed)."""

    def tap(self, told: Callable[[Head, Chunk | None], None]) -> None:
        """Call this after each commit of this node."""
        ...

    def untap(self, told: Callable[[Head, Chunk | None], None]) -> None:
        """Call it no more."""
        ...


def message_of(kind: str, execution: str, timestamp: str, **more: Any) -> bytes:
    """One message of version 1 as one frame; members that say nothing are left out."""
    shown = {name: value for name, value in more.items() if value not in ("", None)}
    return frame(dumps({"type": kind, "execution_id": execution, "timestamp": timestamp, **shown}).encode())


class _Watching:
    """One socket that follows all executions of an account."""

    __slots__ = ("_account", "_overview", "lost", "session")

    def __init__(self, overview: Overview, account: str, session: Session) -> None:
        self._overview = overview
        self._account = account
        self.session = session
        self.lost = False

    def paused(self) -> None:
        """Nothing to do: it is asked whether it takes more."""

    def resumed(self) -> None:
        """Tell that something was left out."""
        if self.lost:
            self.lost = False
            said = "Changes were left out because this client reads too slowly; ask for the executions that matter"
            self.session.write(message_of("gap", EVERYTHING, moment(self._overview.clock.now()), message=said))

    def cancel(self) -> None:
        """Send nothing more."""
        self.session.subscriptions.discard(self)
        self._overview.drop(self._account, self)


class Overview:
    """The sockets that follow everything, by account."""

    def __init__(self, feed: Tapped, observer: Observer, clock: Clock) -> None:
        self.clock = clock
        self._feed = feed
        self._observer = observer
        self._watching: dict[str, set[_Watching]] = {}
        self._changed: dict[str, dict[str, tuple[Head, dict[str, Any]]]] = {}  # by account and execution
        self._last: dict[str, dict[str, Any]] = {}  # by execution: what was reached last, which its end tells again

    def subscribe(self, session: Session, account: str) -> _Watching:
        """Tell this socket how executions of the account stand, from now on."""
        if not self._watching:
            self._feed.tap(self._committed)
        watching = _Watching(self, account, session)
        self._watching.setdefault(account, set()).add(watching)
        session.subscriptions.add(watching)
        return watching

    def drop(self, account: str, watching: _Watching) -> None:
        """Forget a socket."""
        found = self._watching.get(account, set())
        found.discard(watching)
        if not found:
            self._watching.pop(account, None)
            if not self._watching:
                self._feed.untap(self._committed)
                self._last.clear()

    def _committed(self, head: Head, chunk: Chunk | None) -> None:
        if head.account not in self._watching or delivers(head.machine):
            return
        if not self._changed:
            asyncio.get_running_loop().call_soon(self._tell)
        executions = self._changed.setdefault(head.account, {})
        _, before = executions.get(head.id, (head, {}))
        executions[head.id] = (head, self._remembered(head, _reached(chunk) or before))

    def _remembered(self, head: Head, reached: dict[str, Any]) -> dict[str, Any]:
        """What was reached; at the end also what had been reached before."""
        if head.stopped_at is not None:
            return {**self._last.pop(head.id, {}), **reached}
        if reached:
            self._last[head.id] = reached
            if len(self._last) > MOST_REMEMBERED:
                del self._last[next(iter(self._last))]
        return reached

    def _tell(self) -> None:
        changed, self._changed = self._changed, {}
        for account, executions in changed.items():
            watching = self._watching.get(account, ())
            frames = [text for head, reached in executions.values() if (text := _status(head, reached)) is not None]
            if not frames or not watching:
                continue
            joined = b"".join(frames)
            told = 0
            for one in watching:
                if one.session.writable:
                    one.session.write(joined)
                    told += 1
                else:
                    one.lost = True
            self._observer.on_socket_messages(told * len(frames))


def _reached(chunk: Chunk | None) -> dict[str, Any]:
    """Where a commit brought its execution: the last node that was entered in it."""
    if chunk is None or b'"StepStarted"' not in chunk.body:
        return {}
    for record in reversed(orjson.loads(chunk.body)):
        if record["type"] == "StepStarted":
            return {"progress": record["note"]["progress"], "current_node": record["note"]["stepId"]}
    return {}


def _status(head: Head, reached: dict[str, Any]) -> bytes | None:
    """The status of an execution without its results; None when nothing was reached that is told."""
    ended = head.stopped_at is not None
    if not ended and not reached and head.epoch > 1:
        return None
    status = {
        "id": head.id,
        "flow_id": shown_definition(head.machine),
        "status": V1_STATUS[head.status],
        "start_time": moment(head.started_at),
        "end_time": None if head.stopped_at is None else moment(head.stopped_at),
        "error": ended_by(head)[0],
        **reached,
    }
    if head.status == "SUCCEEDED":
        status["progress"] = 100.0
    when = head.started_at if head.stopped_at is None else head.stopped_at
    return message_of("status", head.id, moment(when), status=status)
