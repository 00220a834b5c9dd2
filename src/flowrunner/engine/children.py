"""Nested executions: how a child is started once, and stopped when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from flowrunner.clock import Clock
from flowrunner.core.facts import Fact
from flowrunner.core.machine import Machine
from flowrunner.core.variables import without_secrets
from flowrunner.engine.live import ExecutionAlreadyExists, arn_of, extra_of
from flowrunner.engine.patience import surely
from flowrunner.errors import Conflict, FlowRunnerError, LimitExceeded, NotFound
from flowrunner.ids import Arn, parse_arn
from flowrunner.jsonvalue import JSONValue, dumps, loads
from flowrunner.ports.executions import Head
from flowrunner.ports.store import Store
from flowrunner.ports.tasks import Child, ChildStart

_NAMESPACE = uuid.UUID("6f1b0b0e-5f4e-4a53-9a5c-6a54c7f7d9a1")  # ours; makes a child's name from its attempt's key
MOST_NESTED = 32  # levels of executions above a flow or workflow that another execution starts


class Children:
    """Starts and stops nested executions on behalf of attempts; `start_execution`, `stop_execution` and `send` are the engine's."""

    def __init__(
        self,
        store: Store,
        region: str,
        start_execution: Callable[..., Awaitable[Head]],
        stop_execution: Callable[..., Awaitable[Head]],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        *,
        send: Callable[[str, Callable[[Machine, int], Fact | None]], Awaitable[Head]],
        clock: Clock,
        report: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._store = store
        self._send = send
        self._region = region
        self._start_execution = start_execution
        self._stop_execution = stop_execution
        self._spawn = spawn
        self._clock = clock
        self._report = report

    async def start(self, start: ChildStart) -> Child:
        """See Engine.start_child. A store that is away delays the start: failed, it might have taken place all the same."""
        starting = asyncio.ensure_future(surely(lambda: self._start(start), self._clock, self._report))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            if start.wait is not None:
                self._spawn(self._stop_started(start, starting))
            else:
                starting.cancel()  # a write that is under way is finished all the same
            raise

    async def _start(self, start: ChildStart) -> Child:
        arn = parse_arn(start.machine_arn)
        machine = await self._store.definitions.machine(start.account, arn.name) if arn is not None and arn.account == start.account else None
        if machine is None:
            raise NotFound("state machine", start.machine_arn)
        if start.wait is not None and machine.type == "EXPRESS":  # nobody could tell its end after a crash; AWS refuses it too
            raise Conflict(f"The state machine {start.machine_arn} is of type EXPRESS, which '.sync' cannot wait for.")
        parent = await self._store.executions.head(start.parent)
        depth = _depth_below(parent)
        if depth > MOST_NESTED and "/" in machine.name:
            kind, _, name = machine.name.partition("/")
            raise LimitExceeded(f"The {kind} '{name}' was not started: there are {MOST_NESTED} levels of executions above it already. Does it start itself?")
        try:
            known = parent is not None and "/" in parent.machine  # express executions are in another store
            given = start.input if known or "/" not in machine.name else without_secrets(start.input)
            head = await self._start_execution(machine, name=child_name(start), input=given, extra=child_extra(start, depth))
        except ExecutionAlreadyExists as taken:
            if not is_same_child(taken.head, start):
                raise
            head = taken.head
        if start.wait is not None and not is_same_child(head, start):  # somebody else's: its end would never be told here
            raise ExecutionAlreadyExists(head, arn_of(head, self._region))
        return Child(arn_of(head, self._region), head.started_at, head.id)

    async def _stop_started(self, start: ChildStart, starting: asyncio.Future[Child]) -> None:
        """Stop the child once it has started, unless the attempt was cancelled here only: this node stops, or another one has the attempt in hand."""
        with contextlib.suppress(FlowRunnerError):
            child = await starting
            if not await surely(lambda: self._is_open(start.parent, start.attempt), self._clock, self._report):
                await self.stop(dumps({"ExecutionArn": child.arn}))

    async def _is_open(self, execution: str, attempt: int) -> bool:
        found = False

        def look(machine: Machine, now: int) -> Fact | None:
            nonlocal found
            del now
            found = machine.open_attempt(attempt) is not None
            return None

        with contextlib.suppress(NotFound):
            await self._send(execution, look)
        return found

    async def stop(self, answer: str) -> None:
        """Stop the execution that a ``.sync`` attempt started (its first answer, JSON text) and now goes without; AWS stops it too."""
        described = loads(answer)
        arn = parse_arn(str(described.get("ExecutionArn"))) if isinstance(described, dict) else None
        if arn is None or arn.execution is None:
            return
        await surely(lambda: self._stop(arn), self._clock, self._report)

    async def _stop(self, arn: Arn) -> None:
        head = await self._store.executions.find(arn.account, arn.name, arn.execution or "")
        if head is not None:
            await self._stop_execution(head.id, cause="The execution that waited for this one goes on without it.")


def _depth_below(parent: Head | None) -> int:
    """How many executions are above one that `parent` starts; those that started before this was counted are one."""
    above = None if parent is None else extra_of(parent).get("parent")
    return 1 if above is None else int(above.get("depth", 1)) + 1


def child_name(start: ChildStart) -> str:
    """The child's name as asked for, or one that a repeated start of the same attempt finds again."""
    return start.name if start.name is not None else str(uuid.uuid5(_NAMESPACE, start.key))


def child_extra(start: ChildStart, depth: int) -> dict[str, JSONValue]:
    """What the child remembers of its parent; `depth` executions are above it."""
    return {"parent": {"execution": start.parent, "attempt": start.attempt, "key": start.key, "wait": start.wait, "depth": depth}}


def is_same_child(head: Head, start: ChildStart) -> bool:
    """Whether an execution with the child's name is that very child, started before the process died."""
    parent = extra_of(head).get("parent")
    return parent is not None and parent.get("key") == start.key
