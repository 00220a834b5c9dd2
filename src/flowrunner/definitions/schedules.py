"""Schedules of all accounts, and the service that fires them: each time once, on however many servers.

A document holds a schedule; another one, of nobody's account, stands for the moment at which somebody has to look at it, and its id begins with
that moment: the first page of these is what is due. Both change in one write. A server claims a firing by such a write, which one server wins;
then it starts the execution under a name made of the schedule and the moment, and writes down that it did. If it dies between, the claim
ends, and another one starts it again, under the same name: that there is one already is as good as having started it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from flowrunner.clock import SECOND, Clock
from flowrunner.core.variables import check_variables
from flowrunner.errors import (
    Conflict,
    DocumentConflict,
    ExpressionSyntaxError,
    FlowRunnerError,
    InvalidDocument,
    LimitExceeded,
    NotFound,
    PreconditionFailed,
    StoreUnavailable,
)
from flowrunner.jsonvalue import JSONValue, dumps
from flowrunner.lang.cron import Cron
from flowrunner.ports.documents import SYSTEM, Change, Document, DocumentStore, Put, Remove
from flowrunner.ports.schedules import KEPT_FIRINGS, Firing, Format, Schedule, ScheduleStarter

KIND = "schedule"
DUE = "schedule-due"  # in the SYSTEM account: MOMENT.ACCOUNT.ID
CLAIM = 60 * SECOND  # how long a start may take before others take it over
PAGE = 100
TRIES = 20
MOST_SCHEDULES = 1000  # of an account
MOST_INPUT_BYTES = 256 * 1024
MOST_ERROR = 500  # characters of what is kept of an error
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)

_decode = msgspec.json.Decoder(Schedule).decode


class Schedules:
    """Implements `ports.schedules.ScheduleService`; `fire_due` is for the service that runs in the background. `changed` wakes that one."""

    def __init__(self, documents: DocumentStore, starter: ScheduleStarter, clock: Clock) -> None:
        self._documents = documents
        self._starter = starter
        self._clock = clock
        self.changed: Callable[[], None] = lambda: None

    async def put(
        self, account: str, name: str | None, *, expression: str, target: str, format: Format = "flow", timezone: str = "UTC", input: JSONValue = None,  # noqa: A002
        enabled: bool = True, node: str | None = None, there: bool | None = None, expected: int | None = None,
    ) -> Schedule:  # fmt: skip
        """Make or change a schedule; without `name` it is called as its target."""
        name = name or target
        if not _ID.fullmatch(name):
            raise InvalidDocument("A schedule's id has 1 to 100 letters, digits, dots, underscores and hyphens, the first a letter or digit.", pointer="/id")
        if len(dumps(input).encode()) > MOST_INPUT_BYTES:
            raise LimitExceeded(f"A schedule's input has at most {MOST_INPUT_BYTES} bytes.")
        if format == "workflow" and isinstance(input, dict):
            check_variables(input, "/payload")
        cron = Cron(expression, timezone)
        if there:
            await self.get(account, name)  # before its target: who asks for what is not there learns nothing else
        await self._starter.check(account, format, target)

        def changed(found: Schedule | None) -> Schedule:
            _expect(name, found, there=there, expected=expected)
            now = self._clock.now()
            made = found or Schedule(
                id=name, expression="", timezone="", format=format, target=target, input=None, enabled=True, created_at=now, updated_at=now, revision=0,
            )  # fmt: skip
            return replace(
                made, expression=expression, timezone=timezone, format=format, target=target, input=input, enabled=enabled, node=node, updated_at=now,
                next_at=cron.after(now) if enabled else None, revision=made.revision + 1,
            )  # fmt: skip

        if await self._documents.get(account, KIND, name) is None and len(await self._documents.page(account, KIND, limit=MOST_SCHEDULES)) >= MOST_SCHEDULES:
            raise LimitExceeded(f"An account has at most {MOST_SCHEDULES} schedules.")
        schedule = await self._change(account, name, changed)
        self.changed()
        return schedule

    async def enable(self, account: str, name: str, *, enabled: bool, expected: int | None = None) -> Schedule:
        """Let it come about or not; times that pass meanwhile are not made up for."""

        def changed(found: Schedule | None) -> Schedule:
            if found is None:
                raise NotFound("schedule", name)
            _expect(name, found, there=True, expected=expected)
            if found.enabled is enabled:
                return found
            now = self._clock.now()
            following = Cron(found.expression, found.timezone).after(now) if enabled else None
            return replace(found, enabled=enabled, next_at=following, updated_at=now, revision=found.revision + 1)

        if not _ID.fullmatch(name):
            raise NotFound("schedule", name)
        schedule = await self._change(account, name, changed)
        self.changed()
        return schedule

    async def get(self, account: str, name: str) -> Schedule:
        """The schedule."""
        stored = await self._documents.get(account, KIND, name) if _ID.fullmatch(name) else None
        if stored is None:
            raise NotFound("schedule", name)
        return _decode(stored.body)

    async def page(self, account: str, *, after: str | None = None, limit: int = 100) -> Sequence[Schedule]:
        """Schedules by id."""
        return [_decode(one.body) for one in await self._documents.page(account, KIND, after=after, limit=limit)]

    async def delete(self, account: str, name: str, *, expected: int | None = None) -> None:
        """Remove it and what stands for its next time."""
        for _ in range(TRIES):
            stored = await self._documents.get(account, KIND, name) if _ID.fullmatch(name) else None
            if stored is None:
                raise NotFound("schedule", name)
            before = _decode(stored.body)
            _expect(name, before, there=True, expected=expected)
            changes: list[Change] = [Remove(account=account, kind=KIND, id=name, version=stored.version)]
            if await self._written([*changes, *await self._moved(account, before, None)]):
                return
        raise Conflict(f"The schedule {name!r} is being changed by others.")

    async def fire_due(self) -> int | None:
        """Fire what is due; when to look again, in milliseconds since 1970 UTC, None for when there is nothing. Raises StoreUnavailable."""
        while due := await self._documents.page(SYSTEM, DUE, limit=PAGE):
            now = self._clock.now()
            for one in due:
                moment, account, name = one.id.split(".", 2)
                if int(moment) > now:
                    return int(moment)
                await self._fire(account, name, one)
        return None

    async def _fire(self, account: str, name: str, due: Document) -> None:
        stored = await self._documents.get(account, KIND, name)
        schedule = None if stored is None else _decode(stored.body)
        if stored is None or schedule is None or _due_id(account, schedule) != due.id:  # the account, the schedule or that moment is gone
            await self._written([Remove(account=SYSTEM, kind=DUE, id=due.id, version=due.version)])
            return
        now = self._clock.now()
        planned = schedule.next_at if schedule.pending is None else schedule.pending
        following = _following(schedule, now) if schedule.pending is None else schedule.next_at
        claimed = replace(schedule, pending=planned, claimed_until=now + CLAIM, next_at=following)
        changes = [Put(_document(account, claimed, stored.version)), *await self._moved(account, schedule, claimed)]
        if not await self._written(changes) or planned is None:
            return  # another server has it
        try:
            firing = await self._started(account, claimed, planned)
        except StoreUnavailable:
            return  # the claim ends, and whoever is there then starts it under the same name

        def done(found: Schedule | None) -> Schedule | None:
            if found is None or found.pending != planned:
                return None
            return replace(found, pending=None, claimed_until=None, fired=found.fired + 1, firings=(*found.firings, firing)[-KEPT_FIRINGS:])

        await self._change_if(account, name, done)

    async def _started(self, account: str, schedule: Schedule, planned: int) -> Firing:
        name = f"schedule-{hashlib.sha256(f'{account}/{schedule.id}'.encode()).hexdigest()[:16]}-{planned}"
        at = self._clock.now()
        try:
            execution = await self._starter.start(account, schedule.format, schedule.target, name=name, input=schedule.input)
        except StoreUnavailable:
            raise
        except Conflict:
            return Firing(planned=planned, at=at, execution=name)  # started before, by one that died before it could say so
        except FlowRunnerError as error:
            return Firing(planned=planned, at=at, error=f"{error.code}: {error}"[:MOST_ERROR])
        return Firing(planned=planned, at=at, execution=execution)

    async def _change(self, account: str, name: str, change: Callable[[Schedule | None], Schedule]) -> Schedule:
        found = await self._change_if(account, name, change)
        if found is None:
            raise Conflict(f"The schedule {name!r} is being changed by others.")
        return found

    async def _change_if(self, account: str, name: str, change: Callable[[Schedule | None], Schedule | None]) -> Schedule | None:
        """Change it, whatever others do meanwhile; None when there was nothing to change any more, or others always came first."""
        for _ in range(TRIES):
            stored = await self._documents.get(account, KIND, name)
            before = None if stored is None else _decode(stored.body)
            after = change(before)
            if after is None:
                return None
            put = Put(_document(account, after, 0 if stored is None else stored.version))
            if await self._written([put, *await self._moved(account, before, after)]):
                return after
        return None

    async def _moved(self, account: str, before: Schedule | None, after: Schedule | None) -> list[Change]:
        """The changes that make the moment to look at a schedule another one."""
        old = None if before is None else _due_id(account, before)
        new = None if after is None else _due_id(account, after)
        if old == new:
            return []
        changes: list[Change] = []
        if old is not None and (there := await self._documents.get(SYSTEM, DUE, old)) is not None:
            changes.append(Remove(account=SYSTEM, kind=DUE, id=old, version=there.version))
        if new is not None:  # one that is left over gets another version, so that nobody who takes it for left over removes it
            there = await self._documents.get(SYSTEM, DUE, new)
            changes.append(Put(Document(account=SYSTEM, kind=DUE, id=new, body=b"", version=0 if there is None else there.version)))
        return changes

    async def _written(self, changes: Sequence[Change]) -> bool:
        try:
            await self._documents.write(changes)
        except DocumentConflict:
            return False
        return True


def _expect(name: str, found: Schedule | None, *, there: bool | None, expected: int | None) -> None:
    """Raise NotFound, Conflict or PreconditionFailed unless the schedule is as its author thinks it is."""
    if found is None and (there or expected is not None):
        raise NotFound("schedule", name)
    if found is not None and there is False:
        raise Conflict(f"There is a schedule {name!r} already.")
    if found is not None and expected not in (None, found.revision):
        raise PreconditionFailed(f'The schedule is at "{found.revision}", not at "{expected}": read it again.')


def _due_id(account: str, schedule: Schedule) -> str | None:
    """When somebody has to look at it: when its claim ends, or when it comes about."""
    moment = schedule.claimed_until if schedule.pending is not None else schedule.next_at
    return None if moment is None else f"{moment:014d}.{account}.{schedule.id}"


def _following(schedule: Schedule, now: int) -> int | None:
    """The next time; None on a machine that does not know the time zone, so that one schedule does not hold up all others."""
    try:
        return Cron(schedule.expression, schedule.timezone).after(now)
    except ExpressionSyntaxError:
        return None


def _document(account: str, schedule: Schedule, version: int) -> Document:
    return Document(account=account, kind=KIND, id=schedule.id, body=msgspec.json.encode(schedule), version=version)
