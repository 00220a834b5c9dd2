"""Group commit: one thread takes every write that waits as one transaction and answers all of them after it.

A write that comes alone is committed at once; while it is being synced the next ones gather. So the group grows with the load
and nobody waits for a timer. On the reference machine a sync takes about 0.25 ms: 50 callers in flight share it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import apsw

from flowrunner.errors import DocumentConflict, Fenced, NotFound, StoreUnavailable
from flowrunner.stores.sqlite.faults import HITS_ALL, is_fatal, refused_write, unavailable

MOST_WRITES = 512  # in one transaction
MOST_BYTES = 16 * 1024 * 1024  # in one transaction, unless one write alone is larger

Work = Callable[[apsw.Cursor], Any]
"""What a write does in the transaction. It may raise Fenced, NotFound or DocumentConflict only before its first change."""

CLEAN = (Fenced, NotFound, DocumentConflict)


@dataclass(slots=True)
class _Waiting:
    work: Work
    size: int
    answer: asyncio.Future[Any]


class Writer:
    """The only one who writes. `transactions` and `writes` count what was committed; `failure` says why nothing more will be."""

    def __init__(self, connection: apsw.Connection, path: str, on_fatal: Callable[[StoreUnavailable], None]) -> None:
        self._connection = connection
        self._path = path
        self._on_fatal = on_fatal
        self._cursor = connection.cursor()
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Waiting] = deque()
        self._filled = threading.Condition(threading.Lock())
        self._stopping = False
        self._waking = False
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self.failure: StoreUnavailable | None = None
        self.transactions = 0
        self.writes = 0

    def start(self) -> None:
        """Begin to take writes."""
        self._thread.start()

    def submit(self, work: Work, size: int = 0) -> asyncio.Future[Any]:
        """Queue a write of about `size` bytes; the future has its answer once it is durable."""
        waiting = _Waiting(work, size, self._loop.create_future())
        with self._filled:
            failure = self.failure or (StoreUnavailable(f"The store {self._path} is stopped.") if self._stopping else None)
            if failure is None:
                self._queue.append(waiting)
        if failure is not None:
            waiting.answer.set_exception(failure)
        elif not self._waking:  # once per turn of the loop: what the same turn still submits is in the same transaction
            self._waking = True
            self._loop.call_soon(self._wake)
        return waiting.answer

    def _wake(self) -> None:
        self._waking = False
        with self._filled:
            self._filled.notify()

    def stop(self) -> None:
        """Commit what waits and end the thread; returns when it has ended (run it off the event loop)."""
        with self._filled:
            self._stopping = True
            self._filled.notify()
        self._thread.join()

    def fail(self, failure: StoreUnavailable) -> None:
        """Never use the connection again; the first reason stays. Called on any thread."""
        with self._filled:
            if self.failure is not None:
                return
            self.failure = failure
        self._call(self._on_fatal, failure)

    def _run(self) -> None:
        while group := self._take():
            try:
                answers = [self.failure] * len(group) if self.failure else self._commit(group)
            except Exception as error:  # noqa: BLE001  # a thread that ended would leave every caller waiting
                self.fail(StoreUnavailable(f"The writer of {self._path} met {error!r}.", remedy="Restart FlowRunner."))
                answers = [self.failure] * len(group)
            self._call(_answer, group, answers)

    def _take(self) -> list[_Waiting]:
        """Everything that waits, within bounds; nothing once the store stops."""
        with self._filled:
            while not self._queue and not self._stopping:
                self._filled.wait()
            group: list[_Waiting] = []
            size = 0
            while self._queue and len(group) < MOST_WRITES and (not group or size + self._queue[0].size <= MOST_BYTES):
                group.append(self._queue.popleft())
                size += group[-1].size
            return group

    def _commit(self, group: list[_Waiting]) -> list[Any]:
        """The answer to each write of the group: a value, or the exception to raise."""
        try:
            answers = self._transaction(group, each=len(group) == 1)
            if answers is None:  # one of them was wrong after it had changed something: again, each by itself
                answers = self._transaction(group, each=True) or []
        except apsw.Error as error:
            failure = unavailable(error, self._path)
            if is_fatal(error):
                self.fail(failure)
            else:
                self._roll_back()
            return [failure] * len(group)
        self.transactions += 1
        self.writes += len(group)
        return answers

    def _transaction(self, group: list[_Waiting], *, each: bool) -> list[Any] | None:
        """Run the group as one transaction. With `each`, every write has a savepoint of its own; without, None says that it needs one."""
        cursor = self._cursor
        cursor.execute("BEGIN IMMEDIATE")
        answers: list[Any] = []
        for waiting in group:
            if each:
                cursor.execute("SAVEPOINT one")
            try:
                answers.append(waiting.work(cursor))
            except CLEAN as error:
                answers.append(error)
            except HITS_ALL:
                raise
            except Exception as error:  # noqa: BLE001  # whatever one caller's write raises is that caller's answer
                if not each:
                    self._roll_back()
                    return None
                cursor.execute("ROLLBACK TO one")
                answers.append(refused_write(error))
            if each:
                cursor.execute("RELEASE one")
        cursor.execute("COMMIT")
        return answers

    def _roll_back(self) -> None:
        """End the transaction, unless SQLite has done so itself (it does after SQLITE_FULL)."""
        if self._connection.in_transaction:
            try:
                self._cursor.execute("ROLLBACK")
            except apsw.Error as error:
                self.fail(unavailable(error, self._path))

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            """The loop is closed: nobody waits any more."""


def _answer(group: list[_Waiting], answers: list[Any]) -> None:
    """Hand out the answers, on the loop's thread; who has gone away in between needs none."""
    for waiting, answer in zip(group, answers, strict=True):
        if waiting.answer.done():
            continue
        if isinstance(answer, BaseException):
            waiting.answer.set_exception(answer)
        else:
            waiting.answer.set_result(answer)
