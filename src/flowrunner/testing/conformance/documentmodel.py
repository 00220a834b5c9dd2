"""Random writes of documents against the memory store, which is the naive reading of the contract; after each, every answer must be equal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from flowrunner.errors import DocumentConflict
from flowrunner.ports.documents import Change, Document, Put, Remove, Unchanged
from flowrunner.stores.memory import MemoryStore
from flowrunner.testing.clock import ManualClock
from flowrunner.testing.conformance.documents import NOW

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from flowrunner.clock import Clock
    from flowrunner.ports.store import Store

ACCOUNTS = ("111111111111", "222222222222")
KINDS = ("key", "user")
IDS = ("a", "ab", "b")
LETTERS = "uvwxyz"  # for aliases
KEYS = st.tuples(st.sampled_from(ACCOUNTS), st.sampled_from(KINDS), st.sampled_from(IDS))
CHANGES = st.lists(
    st.tuples(
        KEYS,
        st.sampled_from(["put", "put", "put", "remove", "unchanged"]),
        st.lists(st.sampled_from(LETTERS), max_size=3, unique=True),
        st.none() | st.none() | st.integers(1, 4),  # seconds to live
        st.sampled_from([0, 0, 0, 0, 0, 0, 1, -1]),  # how stale its version is
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda change: change[0],
)

Drawn = tuple[tuple[str, str, str], str, list[str], int | None, int]


class _Comparison(RuleBasedStateMachine):
    """The rules; `document_machine` gives it a store."""

    factory: Callable[[Clock], AbstractAsyncContextManager[Store]]

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(NOW)
        self.model = MemoryStore(clock=self.clock)
        self.runner = asyncio.Runner()
        self.writes = 0
        self.context = type(self).factory(self.clock)
        self.store: Store = self.runner.run(self.context.__aenter__())

    def teardown(self) -> None:
        """Close the store and the loop."""
        self.runner.run(self.context.__aexit__(None, None, None))
        self.runner.close()

    @rule(drawn=CHANGES)
    def write(self, drawn: list[Drawn]) -> None:
        """Write some documents, perhaps with other versions or somebody's aliases."""
        self.runner.run(self._write(drawn))

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        """Time goes on, and some documents are over."""
        self.clock.jump(seconds)

    @rule(key=KEYS)
    def clean(self, key: tuple[str, str, str]) -> None:
        """Somebody removes for good what has expired."""
        account, kind, name = key
        self.runner.run(self._compare_writes([Remove(account=account, kind=kind, id=name, version=0)]))

    async def _write(self, drawn: list[Drawn]) -> None:
        self.writes += 1
        changes: list[Change] = []
        for (account, kind, name), action, aliases, seconds, stale in drawn:
            there = await self.model.documents.get(account, kind, name)
            version = (there.version if there is not None else 0) + stale
            if action == "put":
                expires_at = None if seconds is None else self.clock.now() + seconds * 1000
                body = b"%d" % self.writes
                changes.append(Put(Document(account=account, kind=kind, id=name, body=body, version=version, aliases=tuple(aliases), expires_at=expires_at)))
            elif action == "remove":
                changes.append(Remove(account=account, kind=kind, id=name, version=version))
            else:
                changes.append(Unchanged(account=account, kind=kind, id=name, version=version))
        await self._compare_writes(changes)

    async def _compare_writes(self, changes: list[Change]) -> None:
        answers = []
        for store in (self.store, self.model):
            try:
                await store.documents.write(changes)
            except DocumentConflict as conflict:
                answers.append(conflict.change)
            else:
                answers.append(-1)
        assert answers[0] == answers[1]

    @invariant()
    def equal_answers(self) -> None:
        """Store and model say the same."""
        self.runner.run(self._compare())

    async def _compare(self) -> None:
        of, model = self.store.documents, self.model.documents
        for account in ACCOUNTS:
            for kind in KINDS:
                assert await of.page(account, kind) == await model.page(account, kind)
            assert await of.page(account, "user", prefix="a", limit=1, reverse=True) == await model.page(account, "user", prefix="a", limit=1, reverse=True)
        for alias in LETTERS:
            assert await of.find(alias) == await model.find(alias)
        assert await self.store.archive.documents(None, 100) == await self.model.archive.documents(None, 100)


def document_machine(factory: Callable[[Clock], AbstractAsyncContextManager[Store]]) -> type[RuleBasedStateMachine]:
    """A state machine of hypothesis that opens an empty store on the given clock with `factory` for every example; run its `TestCase`."""
    return type("DocumentMachine", (_Comparison,), {"factory": staticmethod(factory)})
