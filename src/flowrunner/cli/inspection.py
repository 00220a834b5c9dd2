"""Looking at every execution of a store: that its log holds together, that it would replay, that all it needs is there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import msgspec

from flowrunner.core import facts
from flowrunner.core.machine import Machine
from flowrunner.core.program import Program
from flowrunner.engine.live import identity_of
from flowrunner.errors import FlowRunnerError, InvalidDefinition, StoreUnavailable
from flowrunner.formats import compile_revision
from flowrunner.limits import Limits
from flowrunner.ports.archive import ArchivedExecution
from flowrunner.ports.definitions import Revision
from flowrunner.ports.store import Store
from flowrunner.stores.soundness import OPEN, flaws
from flowrunner.tasks.nodes.table import NodeTable

PAGE = 200
MOST_PROGRAMS = 1000  # kept compiled
UNREADABLE = (msgspec.MsgspecError, AttributeError, LookupError, TypeError, ValueError)  # what changed bytes lead to


class Finding(NamedTuple):
    """What is wrong, and where."""

    where: str
    finding: str


class Inspection:
    """One walk through a store; `executions` counts those that were looked at."""

    def __init__(self, store: Store, *, region: str, limits: Limits) -> None:
        self.executions = 0
        self._kinds = NodeTable().known
        self._store = store
        self._region = region
        self._limits = limits
        self._revisions: dict[str, Revision | None] = {}
        self._programs: dict[str, Program | None] = {}

    async def findings(self) -> AsyncIterator[Finding]:
        """Everything that is wrong, as it is found; ends where the database cannot be read on."""
        try:
            async with self._store.archive.moment():
                after = None
                while page := await self._store.archive.executions(after, PAGE):
                    for execution in page:
                        self.executions += 1
                        revision = await self._revision(execution.head.revision)
                        for text in self._of(execution, revision):
                            yield Finding(f"execution {execution.head.id}", text)
                    after = page[-1].head.id
        except (StoreUnavailable, *UNREADABLE) as error:
            yield Finding("database", f"it cannot be read after {self.executions} executions ({type(error).__name__}: {error})")

    async def _revision(self, revision: str) -> Revision | None:
        if revision not in self._revisions:
            if len(self._revisions) >= MOST_PROGRAMS:
                self._revisions.clear()
                self._programs.clear()
            self._revisions[revision] = await self._store.definitions.revision(revision)
        return self._revisions[revision]

    def _of(self, execution: ArchivedExecution, revision: Revision | None) -> Iterator[str]:
        yield from flaws(execution)
        head = execution.head
        if revision is None:
            yield f"its revision {head.revision} is not there"
        elif head.status in OPEN:
            yield from self._replayed(execution, revision)

    def _replayed(self, execution: ArchivedExecution, revision: Revision) -> Iterator[str]:
        head, program = execution.head, self._program(revision)
        if program is None:
            yield f"its revision {head.revision} is not a definition that this release reads"
            return
        identity = identity_of(head, revision, self._region)
        try:
            machine = Machine(program, identity, self._limits)
            if execution.snapshot is not None:
                machine = Machine.restore(program, identity, execution.snapshot, self._limits)
            for _, encoded in execution.facts:
                for fact in facts.decode(encoded):
                    machine.apply(fact)
            for delivery in execution.inbox:
                facts.decode(delivery.fact)
        except (FlowRunnerError, *UNREADABLE) as error:
            yield f"its state cannot be read ({type(error).__name__}: {error})"
            return
        if machine.last_seq != head.last_seq:
            yield f"it replays to {machine.last_seq} records, its head says {head.last_seq}"

    def _program(self, revision: Revision) -> Program | None:
        if revision.id not in self._programs:
            try:
                self._programs[revision.id] = compile_revision(revision, self._kinds)
            except InvalidDefinition:
                self._programs[revision.id] = None
        return self._programs[revision.id]
