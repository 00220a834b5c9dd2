"""Schedules: flows and workflows that are started again and again, at times that a cron expression gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from flowrunner.jsonvalue import JSONValue

Format = Literal["flow", "workflow"]
KEPT_FIRINGS = 100  # of one schedule


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """One time that a schedule came about: `planned` and `at` (when it was started) in milliseconds since 1970 UTC."""

    planned: int
    at: int
    execution: str | None = None
    error: str | None = None


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule of an account.

    `target` is the id of a flow or a workflow (`format`). `next_at` is when it comes about next, None when it is not enabled or never will.
    `firings` are the last ones, oldest first; `fired` counts them all. `node` is kept for its author. `pending` is a time that has come and
    is being started; until `claimed_until` by whoever wrote that. `revision` counts what its author has changed, from 1: that it fires is no
    change. Times are milliseconds since 1970 UTC.
    """

    id: str
    expression: str
    timezone: str
    format: Format
    target: str
    input: JSONValue
    enabled: bool
    created_at: int
    updated_at: int
    next_at: int | None = None
    node: str | None = None
    fired: int = 0
    firings: tuple[Firing, ...] = ()
    pending: int | None = None
    claimed_until: int | None = None
    revision: int = 1


class ScheduleService(Protocol):
    """What an account may do with its schedules."""

    async def put(
        self, account: str, name: str | None, *, expression: str, target: str, format: Format = "flow", timezone: str = "UTC", input: JSONValue = None,  # noqa: A002
        enabled: bool = True, node: str | None = None, there: bool | None = None, expected: int | None = None,
    ) -> Schedule:  # fmt: skip
        """Make a schedule, or change the one of this id; what has fired stays.

        `there` says which of the two it must be; `expected` is the revision that is to be changed. Raises ExpressionSyntaxError, InvalidDocument,
        NotFound (the target, or the schedule), LimitExceeded, Conflict (it is there, or others change it all the time), PreconditionFailed.
        """
        ...

    async def enable(self, account: str, name: str, *, enabled: bool, expected: int | None = None) -> Schedule:
        """Let it come about, from now on, or not any more; one that does already stays as it is. Raises NotFound, PreconditionFailed, Conflict."""
        ...

    async def get(self, account: str, name: str) -> Schedule:
        """The schedule; raises NotFound."""
        ...

    async def page(self, account: str, *, after: str | None = None, limit: int = 100) -> Sequence[Schedule]:
        """Schedules by id."""
        ...

    async def delete(self, account: str, name: str, *, expected: int | None = None) -> None:
        """Remove it; raises NotFound, PreconditionFailed, Conflict. What it has started goes on."""
        ...


class ScheduleStarter(Protocol):
    """How schedules reach definitions and the engine; handed over by wiring."""

    async def check(self, account: str, format: Format, target: str) -> None:  # noqa: A002
        """Raise NotFound when the account has no such flow or workflow."""
        ...

    async def start(self, account: str, format: Format, target: str, *, name: str, input: JSONValue) -> str:  # noqa: A002
        """Start it under this name, which is given once; the execution's id.

        Raises Conflict when an execution of this name was started before; NotFound, InvalidDefinition and others of the tree.
        """
        ...
