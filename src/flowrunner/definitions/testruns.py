"""Runs of groups of test cases: so many at once, the next as soon as one has ended, whatever server that is on.

A document holds the plan: which test cases, in which order, as what texts; and what has begun. An execution is named after the run and the place of its
test case, so that servers that begin it at once, or again after one has died, begin the same one. What is not all begun has a second document, of nobody's
account, by which every server finds it.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, Protocol

import msgspec

from flowrunner.clock import DAY, Clock
from flowrunner.definitions.entries import machine_name
from flowrunner.definitions.records import Records
from flowrunner.definitions.testcases import BATCH, Batch
from flowrunner.errors import DocumentConflict, FlowRunnerError, NotFound, StoreUnavailable
from flowrunner.ports.definitions import Machine
from flowrunner.ports.documents import SYSTEM, Change, Document, Put, Remove
from flowrunner.ports.executions import Head
from flowrunner.ports.store import Store

OPEN = "test-run-open"  # in the SYSTEM account: ACCOUNT.ID
KEYED = "request"  # which run an Idempotency-Key has begun, for a day
MOST_AT_ONCE = 100
AT_ONCE = 10  # unless said otherwise
LOOK_SECONDS = 10.0  # between two looks at what others have left, and at what has ended elsewhere
PAGE = 100
MOST_ERROR = 500  # characters of what is kept of an error
_NAMES = uuid.UUID("c0a9f3b6-59a1-5d43-8f0e-2f6d9a7f1c05")


class Starter(Protocol):
    """How runs of groups reach the engine; handed over by whoever puts the server together."""

    async def begin(self, machine: Machine, *, name: str, input: str) -> str:  # noqa: A002 - the engine's word
        """Begin the execution of this name; the id of that, or of the one that was begun before under it. Raises what starting one does."""
        ...


class TestRuns:
    """Begins the executions of groups. `ended` waits for one's end; `report` is told what went wrong: an event's name and its detail."""

    def __init__(
        self,
        store: Store,
        starter: Starter,
        *,
        ended: Callable[[str], Awaitable[Head]],
        clock: Clock,
        report: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.records = Records(store.documents, BATCH, "run of a group", Batch)
        self._store = store
        self._starter = starter
        self._ended = ended
        self._clock = clock
        self._report = report
        self._running = False
        self._followers: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def start(self, stack: AsyncExitStack) -> None:
        """Take up what is not all begun, now and whenever another server has left something; the end is on `stack`."""
        self._running = True
        stack.push_async_callback(self._stop, asyncio.create_task(self._look()))

    async def begin(self, account: str, batch: Batch, *, key: str | None = None) -> Batch:
        """Keep a new run and begin as many of its test cases as it may at once. With a `key` it is the same run for the same key."""
        marks = [Put(Document(account=SYSTEM, kind=OPEN, id=f"{account}.{batch.id}", body=b""))]
        if key is not None:
            name, expires_at = hashlib.blake2b(f"{batch.group}\n{key}".encode(), digest_size=24, person=b"test-run").hexdigest(), self._clock.now() + DAY
            marks.append(Put(Document(account=account, kind=KEYED, id=name, body=batch.id.encode(), expires_at=expires_at)))
            if (known := await self._store.documents.get(account, KEYED, name)) is not None:
                return await self._go_on(account, known.body.decode())
        try:
            await self._store.documents.write([self.records.put(account, batch.id, batch, 0), *marks])
        except DocumentConflict:
            if key is None or (known := await self._store.documents.get(account, KEYED, name)) is None:
                raise
            return await self._go_on(account, known.body.decode())
        return await self._go_on(account, batch.id)

    async def _go_on(self, account: str, name: str) -> Batch:
        await self.advance(account, name, set())
        if self._running:
            self._follow(account, name)
        return (await self.records.get(account, name)).entry

    async def advance(self, account: str, name: str, ended: set[str]) -> Sequence[str] | None:
        """Begin what there is room for; the executions that run then, None when all have begun. `ended` are those that need not be asked for, and grows."""
        while (stored := await self.records.find(account, name)) is not None:
            batch = stored.entry
            running = [execution for _, execution in batch.tests if execution and execution not in ended and await self._runs(execution, ended)]
            waiting = batch.waiting()
            if not waiting:
                break
            room = batch.concurrency - len(running)
            if room <= 0:
                return running
            changed = await self._begun(account, batch, waiting[:room])
            with suppress(DocumentConflict):  # another server was faster, with the same
                await self._store.documents.write([self.records.put(account, name, changed, stored.tag)])
        await self._close(f"{account}.{name}")
        return None

    async def _begun(self, account: str, batch: Batch, places: Sequence[int]) -> Batch:
        tests, errors = list(batch.tests), dict(batch.errors)
        for place in places:
            test = tests[place][0]
            try:
                machine = await self._machine(account, test, batch.revisions[place])
                execution = await self._starter.begin(machine, name=str(uuid.uuid5(_NAMES, f"{account}\n{batch.id}\n{place}")), input=batch.input)
            except StoreUnavailable:
                raise
            except FlowRunnerError as error:
                errors[test] = f"{error.code}: {error}"[:MOST_ERROR]
            else:
                tests[place] = (test, execution)
        return msgspec.structs.replace(batch, tests=tuple(tests), errors=errors)

    async def _machine(self, account: str, test: str, number: str) -> Machine:
        revision = await self._store.definitions.revision(number)
        if revision is None:
            raise NotFound("text of the test case", test)
        return Machine(account=account, name=machine_name("test", test), type="STANDARD", created_at=revision.created_at, revision=revision)

    async def _runs(self, execution: str, ended: set[str]) -> bool:
        head = await self._store.executions.head(execution)
        if head is not None and head.status == "RUNNING":
            return True
        ended.add(execution)
        return False

    async def _close(self, mark: str) -> None:
        stored = await self._store.documents.get(SYSTEM, OPEN, mark)
        if stored is not None:
            changes: list[Change] = [Remove(account=SYSTEM, kind=OPEN, id=mark, version=stored.version)]
            with suppress(DocumentConflict):
                await self._store.documents.write(changes)

    # --- in the background

    async def _look(self) -> None:
        while True:
            try:
                last: str | None = None
                while page := await self._store.documents.page(SYSTEM, OPEN, after=last, limit=PAGE):
                    for document in page:
                        self._follow(*document.id.split(".", 1))
                    last = page[-1].id
            except FlowRunnerError as error:
                self._report("test_runs_not_looked_at", {"error": error.message})
            await self._clock.sleep(LOOK_SECONDS)

    def _follow(self, account: str, name: str) -> None:
        if (account, name) not in self._followers:
            self._followers[account, name] = asyncio.create_task(self._see_to(account, name))

    async def _see_to(self, account: str, name: str) -> None:
        """Begin one after the other until all have begun; what fails is taken up by the next look."""
        try:
            ended: set[str] = set()
            while (running := await self.advance(account, name, ended)) is not None:
                await self._one_of(running)
        except FlowRunnerError as error:
            self._report("test_run_not_continued", {"account": account, "run": name, "error": error.message})
        finally:
            self._followers.pop((account, name), None)

    async def _one_of(self, running: Sequence[str]) -> None:
        """Wait until one of these has ended, or may have on another server."""
        waits = [asyncio.ensure_future(wait) for wait in (self._clock.sleep(LOOK_SECONDS), *map(self._ended, running))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            told = await asyncio.gather(*waits, return_exceptions=True)
        for error in told:
            if isinstance(error, Exception):
                raise error

    async def _stop(self, looking: asyncio.Task[None]) -> None:
        self._running = False
        tasks = [looking, *self._followers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
