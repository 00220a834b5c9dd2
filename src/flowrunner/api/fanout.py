"""One run, many followers: each record is rendered and framed once, and what a tick brought is one write to each socket.

Followers that are level with the run are written to at once; there is no queue and no task for any of them. A follower whose socket
takes no more is left behind, at no cost to the others, and goes on from where it was when there is room: from what is kept here, else from
the store.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import structlog

from flowrunner.api.sessions import FAILED, Session
from flowrunner.ports.executions import Chunk, ExecutionStore, Head
from flowrunner.ports.observe import Observer

KEPT_BYTES = 512 * 1024  # of frames, per channel: who is further behind reads the store
SLICE_BYTES = 256 * 1024  # about what is written to a socket in one go
WRITE_SECONDS = 5e-6  # what one write to a socket costs, nearly all of it the system's
MANY = 8  # sockets, from which on writes are spaced by what they cost
SHORTEST_REST_SECONDS = 0.001  # finer than the event loop counts
LONGEST_REST_SECONDS = 0.005
_log = structlog.get_logger("flowrunner.api")


class Rendering(Protocol):
    """How records become frames; it may remember the records before. One instance takes one log in its order."""

    def opening(self) -> list[bytes]:
        """The frames that a follower gets first, as of the records taken so far."""
        ...

    def take(self, seq: int, record: dict[str, Any]) -> list[bytes]:
        """The frames of the next record; none for one that is not shown."""
        ...

    def end(self, head: Head) -> list[bytes]:
        """The frames behind the last record of an ended run."""
        ...

    @property
    def remembers(self) -> bool:
        """Whether it must take the log from its beginning."""
        ...


class Follower(Protocol):
    """Where the records come from (engine.feed.Feed)."""

    def follow(self, execution: str, *, after: int = 0) -> AsyncIterator[list[tuple[int, dict[str, Any]]]]:
        """Batches after a sequence number, past then live; ends after the last record of an ended execution."""
        ...

    def tap(self, told: Callable[[Head, Chunk | None], None]) -> None:
        """Call this after each commit of this node."""
        ...

    def untap(self, told: Callable[[Head, Chunk | None], None]) -> None:
        """Call it no more."""
        ...


class Subscription:
    """One follower of one channel: a socket, and what it has seen."""

    __slots__ = ("catching", "channel", "cursor", "ended", "session", "started")

    def __init__(self, session: Session, channel: Channel, cursor: int, ended: Callable[[], None]) -> None:
        self.session = session
        self.channel = channel
        self.cursor = cursor  # meaningful while it is not level
        self.ended = ended
        self.started = False  # the opening was sent
        self.catching: asyncio.Task[None] | None = None

    def paused(self) -> None:
        """The socket takes no more."""
        self.channel.leave_behind(self)

    def resumed(self) -> None:
        """The socket takes more."""
        self.channel.take_up(self)

    def cancel(self) -> None:
        """Send nothing more."""
        self.session.subscriptions.discard(self)
        self.channel.drop(self)


class Channel:
    """All followers of one run in one rendering."""

    def __init__(self, channels: Channels, key: tuple[str, str], head: Head, make: Callable[[], Rendering], after: int) -> None:
        self._channels = channels
        self._key = key
        self._head = head
        self._make = make
        self._rendering = make()
        self.position = 0 if self._rendering.remembers else after
        self._level: dict[Subscription, Callable[[bytes], None]] = {}
        self._ahead: set[Subscription] = set()  # have seen more than was rendered here yet
        self._behind: set[Subscription] = set()
        self._wanted = asyncio.Event()  # somebody is level or ahead
        self._kept: deque[tuple[int, bytes]] = deque()
        self._kept_size = 0
        self._kept_after = self.position  # everything after this sequence number is kept
        self._end: list[bytes] | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    def add(self, session: Session, after: int, ended: Callable[[], None]) -> Subscription:
        """Follow from behind this sequence number on; `ended` is called once the end was sent."""
        subscription = Subscription(session, self, after, ended)
        session.subscriptions.add(subscription)
        self._behind.add(subscription)
        self.take_up(subscription)
        return subscription

    def leave_behind(self, subscription: Subscription) -> None:
        """Write nothing more to it for now."""
        if self._level.pop(subscription, None) is not None:
            subscription.cursor = self.position
        self._ahead.discard(subscription)
        self._behind.add(subscription)
        self._stir()

    def take_up(self, subscription: Subscription) -> None:
        """Bring it level if its socket takes more: at once from what is kept, otherwise by a task that reads the log."""
        if subscription.catching is not None or not subscription.session.writable:
            return
        if not self._is_near(subscription):
            subscription.catching = asyncio.get_running_loop().create_task(self._catch_up(subscription))
            return
        self._behind.discard(subscription)
        frames: list[bytes] = []
        if not subscription.started:
            subscription.started = True
            frames += self._make().opening()
        if subscription.cursor > self.position and self._end is None:
            self._ahead.add(subscription)
        else:
            self._ahead.discard(subscription)
            frames += [kept for seq, kept in self._kept if seq > subscription.cursor]
            self._level[subscription] = subscription.session.write
        self._stir()
        if self._end is not None:
            self._finish(subscription, frames)
        elif frames:
            self._channels.observer.on_socket_messages(len(frames))
            subscription.session.write(b"".join(frames))  # which may leave it behind again

    def _is_near(self, subscription: Subscription) -> bool:
        """Whether all it lacks is kept here; an opening in the middle of a log is made by who has read the log up to there."""
        if not subscription.started and self._rendering.remembers and subscription.cursor > 0:
            return False
        return subscription.cursor >= self._kept_after

    def drop(self, subscription: Subscription) -> None:
        """Forget a follower; the last one takes the channel with it."""
        self._level.pop(subscription, None)
        self._ahead.discard(subscription)
        self._behind.discard(subscription)
        if subscription.catching is not None:
            subscription.catching.cancel()
            subscription.catching = None
        self._stir()
        if not self._level and not self._ahead and not self._behind:
            self._task.cancel()
            self._channels.forget(self._key, self)

    def _stir(self) -> None:
        """The run is rendered while somebody keeps up with it: those who are all behind set the pace."""
        if self._level or self._ahead:
            self._wanted.set()
        else:
            self._wanted.clear()

    def _finish(self, subscription: Subscription, frames: list[bytes]) -> None:
        frames = [*frames, *(self._end or [])]
        if frames:
            self._channels.observer.on_socket_messages(len(frames))
            subscription.session.write(b"".join(frames))
        subscription.cancel()
        subscription.ended()

    # --- the run

    async def _run(self) -> None:
        """Deliver the run's records as they come, while anybody keeps up; then the end."""
        try:
            async with contextlib.aclosing(self._channels.feed.follow(self._head.id, after=self.position)) as batches:  # type: ignore[type-var]  # an async generator
                async for batch in batches:
                    await self._wanted.wait()
                    await self._deliver(batch)
                    if len(self._level) >= MANY:  # at least half of the time is for others, and what they bring meanwhile is one write
                        await asyncio.sleep(min(max(len(self._level) * WRITE_SECONDS, SHORTEST_REST_SECONDS), LONGEST_REST_SECONDS))
            head = await self._channels.executions.head(self._head.id)
        except Exception as error:  # noqa: BLE001  # whatever it is, followers are told that it is over
            self._fail(error)
            return
        self._end = self._rendering.end(head or self._head)
        for subscription in (*self._level, *self._ahead):
            self._finish(subscription, [])

    def _fail(self, error: Exception) -> None:
        _log.error("stream_failed", run=self._head.id, exc_info=error)
        self._channels.forget(self._key, self)
        for subscription in (*self._level, *self._ahead, *self._behind):
            subscription.session.close(FAILED)

    async def _deliver(self, batch: list[tuple[int, dict[str, Any]]]) -> None:
        made: list[bytes] = []
        size = 0
        for seq, record in batch:
            if frames := self._rendering.take(seq, record):
                made += frames
                self._keep(seq, frames[0] if len(frames) == 1 else b"".join(frames))
                size += len(self._kept[-1][1]) if self._kept else SLICE_BYTES
            if size >= SLICE_BYTES:
                self._write(seq, made)
                made, size = [], 0
                await self._wanted.wait()
        self._write(batch[-1][0], made)

    def _write(self, position: int, made: list[bytes]) -> None:
        """What was made of the records up to this one, in one write to each socket."""
        self.position = position
        if made:
            joined = made[0] if len(made) == 1 else b"".join(made)
            writes = tuple(self._level.values())
            for write in writes:
                write(joined)
            self._channels.observer.on_socket_messages(len(made) * len(writes))
        for subscription in tuple(self._ahead):
            self.take_up(subscription)

    def _keep(self, seq: int, frames: bytes) -> None:
        self._kept.append((seq, frames))
        self._kept_size += len(frames)
        while self._kept_size > KEPT_BYTES:
            self._kept_after, gone = self._kept.popleft()
            self._kept_size -= len(gone)

    # --- who is far behind

    async def _catch_up(self, subscription: Subscription) -> None:
        """Send what is no longer kept here, at the pace of the socket."""
        rendering = self._make()
        start = 0 if rendering.remembers else subscription.cursor
        try:
            async with contextlib.aclosing(self._channels.feed.follow(self._head.id, after=start)) as batches:  # type: ignore[type-var]  # an async generator
                async for batch in batches:
                    await self._send_past(subscription, rendering, batch)
                    if self._is_near(subscription):
                        break
        except Exception as error:  # noqa: BLE001  # as in _run
            _log.error("stream_failed", run=self._head.id, exc_info=error)
            subscription.catching = None
            subscription.session.close(FAILED)
            return
        subscription.catching = None
        self.take_up(subscription)

    async def _send_past(self, subscription: Subscription, rendering: Rendering, batch: list[tuple[int, dict[str, Any]]]) -> None:
        made: list[bytes] = []
        size = 0
        if not subscription.started and subscription.cursor == 0:
            subscription.started = True
            made += rendering.opening()
        for seq, record in batch:
            frames = rendering.take(seq, record)
            if seq > subscription.cursor:
                made += frames
                size += sum(map(len, frames))
                subscription.cursor = seq
            elif seq == subscription.cursor and not subscription.started:
                subscription.started = True
                made += rendering.opening()
            if size >= SLICE_BYTES:
                await self._send(subscription, made)
                made, size = [], 0
        await self._send(subscription, made)

    async def _send(self, subscription: Subscription, made: list[bytes]) -> None:
        if made:
            self._channels.observer.on_socket_messages(len(made))
            subscription.session.write(b"".join(made))
            await subscription.session.room()


class Channels:
    """The channels of all runs that are followed on this node."""

    def __init__(self, *, executions: ExecutionStore, feed: Follower, observer: Observer) -> None:
        self.executions = executions
        self.feed = feed
        self.observer = observer
        self._open: dict[tuple[str, str], Channel] = {}

    def subscribe(self, session: Session, head: Head, kind: str, make: Callable[[], Rendering], *, after: int, ended: Callable[[], None]) -> Subscription:
        """Let a socket follow a run from behind a sequence number on; `kind` names the rendering that `make` makes."""
        key = (head.id, kind)
        channel = self._open.get(key)
        if channel is None:
            channel = self._open[key] = Channel(self, key, head, make, after)
        return channel.add(session, after, ended)

    def forget(self, key: tuple[str, str], channel: Channel) -> None:
        """The channel has nobody any more."""
        if self._open.get(key) is channel:
            del self._open[key]
