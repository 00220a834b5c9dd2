"""Many steps as the columns that the statement `commit` takes, and what is left to do for the few that have more parts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from flowrunner.errors import Fenced, StoreError, StoreUnavailable
from flowrunner.ports.executions import Head, NameTaken, StepWrite
from flowrunner.stores.postgres.keys import machine_key, name_key
from flowrunner.stores.postgres.text import given, stored

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowrunner.stores.postgres.link import Link, Row

OPEN = ("RUNNING", "PENDING_REDRIVE")
ID = re.compile(r"[0-9a-f]{32}")

Answer = Head | NameTaken | Exception
Columns = list[Sequence[Any]]


def is_id(text: str) -> bool:
    """Whether an execution can have this id."""
    return ID.fullmatch(text) is not None


def check_ids(write: StepWrite) -> None:
    """Raise StoreError for a write that names an execution by what is no id."""
    for text in (write.head.id, *(delivery.execution for delivery in write.deliveries), *(task.execution for task in write.opened)):
        if not is_id(text):
            raise StoreError(f"{text!r} is not the id of an execution: 32 hex digits are.")


def head_of(row: Row) -> Head:
    """A row as the queries `head_by_...`, `list_...` and `load` name its columns."""
    return Head(
        id=row["id"].hex,
        account=given(row["account"]),
        machine=given(row["machine"]),
        name=given(row["name"]),
        revision=given(row["revision"]),
        status=row["status"],
        epoch=row["epoch"],
        last_seq=row["last_seq"],
        started_at=row["started_at"],
        stopped_at=row["stopped_at"],
        wake_at=row["wake_at"],
        owner=given(row["owner"]),
        seed=row["seed"],
        error=given(row["error"]),
        extra=given(row["extra"]),
        cause=given(row["cause"]),
        output=given(row["output"]),
        input=given(row["input"]),
    )


def size_of(write: StepWrite) -> int:
    """About how many bytes the write puts into the transaction."""
    size = len(write.head.input if write.create else "") + len(write.head.output or "") + len(write.facts or b"") + len(write.snapshot or b"")
    size += len(write.chunk.body) if write.chunk else 0
    return size + sum(len(delivery.fact) for delivery in write.deliveries) + sum(len(task.input) for task in write.opened)


async def store(link: Link, writes: Sequence[StepWrite]) -> set[str]:
    """Store the steps as one transaction; the executions whose step is stored. No two of the steps are of one execution."""
    columns = columns_of(writes)
    if not any(map(_has_more, writes)):
        return {row[0].hex for row in await link.fetch("commit", *columns)}
    async with link.transaction():
        won = {row[0].hex for row in await link.fetch("commit", *columns)}
        await _store_more(link, [write for write in writes if write.head.id in won])
    return won


async def answers(link: Link, writes: Sequence[StepWrite], won: set[str]) -> list[Answer]:
    """What to tell the caller of each write: the head as stored, Fenced, or who has the name."""
    lost = [write.head for write in writes if write.create and write.head.id not in won]
    taken, existing = await _holders(link, lost) if lost else ({}, set())
    return [replace(write.head, epoch=write.head.epoch + 1) if write.head.id in won else _refusal(write, taken, existing) for write in writes]


def _refusal(write: StepWrite, taken: dict[tuple[str, str, str], Head], existing: set[str]) -> Answer:
    head = write.head
    if not write.create:
        return Fenced(f"Execution {head.id} is no longer at epoch {head.epoch}.")
    holder = taken.get((head.account, head.machine, head.name))
    if holder is not None:
        return NameTaken(holder)
    if head.id in existing:
        return Fenced(f"Execution {head.id} exists already.")
    return StoreUnavailable(f"The execution that had the name {head.name!r} has just been removed.", remedy="Try again.")


async def _holders(link: Link, lost: list[Head]) -> tuple[dict[tuple[str, str, str], Head], set[str]]:
    """The heads that have the names, by name, and which of the ids exist."""
    keys = [name_key(head.account, head.machine, head.name) for head in lost]
    found = [head_of(row) for row in await link.fetch("heads_by_names", keys)]
    existing = {row[0].hex for row in await link.fetch("existing", [head.id for head in lost])}
    return {(head.account, head.machine, head.name): head for head in found}, existing


def columns_of(writes: Sequence[StepWrite]) -> Columns:
    """The parameters of `commit`, in its order."""
    steps = sorted((write for write in writes if not write.create), key=lambda write: write.head.id)
    new = sorted((creation_values(write.head) for write in writes if write.create), key=itemgetter(-1))  # by name key
    chunks, facts, snapshots, cleared, ended, closed = [], [], [], [], [], []
    for write in writes:
        execution = write.head.id
        if write.chunk is not None:
            chunks.append((execution, write.chunk.first_seq, write.chunk.count, write.chunk.body))
        if write.head.status not in OPEN:
            closed.append(execution)
            if not write.create:
                ended.append(execution)
                cleared.append(execution)
        elif write.snapshot is not None:
            snapshots.append((execution, write.snapshot))
            cleared.append(execution)
        elif write.facts is not None:
            facts.append((execution, write.fact_number, write.facts))
    return [
        *turned([_step(write.head) for write in steps], 12),
        *turned(new, 20),
        *turned(chunks, 4),
        *turned(facts, 3),
        *turned(snapshots, 2),
        *(cleared, ended, closed),
    ]


def turned(rows: Iterable[tuple[Any, ...]], width: int) -> Columns:
    """Rows as columns, empty ones too."""
    return list(zip(*rows, strict=True)) or [()] * width


def _step(head: Head) -> tuple[Any, ...]:
    return (
        *(head.id, head.epoch, stored(head.revision), head.status, head.last_seq, head.stopped_at, head.wake_at, stored(head.owner)),
        *(stored(head.error), stored(head.extra), stored(head.cause), stored(head.output)),
    )


def creation_values(head: Head) -> tuple[Any, ...]:
    """The parameters of `commit` for a new head, and those of `put_head`; the epoch is stored as it is."""
    return (
        *(head.id, stored(head.account), stored(head.machine), stored(head.name), stored(head.revision), head.status, head.epoch, head.last_seq),
        *(head.started_at, head.stopped_at, head.wake_at, stored(head.owner), head.seed, stored(head.error), stored(head.extra)),
        *(stored(head.cause), stored(head.output), stored(head.input)),
        *(machine_key(head.account, head.machine), name_key(head.account, head.machine, head.name)),
    )


def _has_more(write: StepWrite) -> bool:
    """Whether `commit` alone does not store all of it."""
    return bool(write.deliveries or write.consumed or write.opened or write.closed) or _is_redriven(write)


def _is_redriven(write: StepWrite) -> bool:
    return write.before is not None and write.before.status not in OPEN and write.head.status in OPEN


async def _store_more(link: Link, writes: Sequence[StepWrite]) -> None:
    """The rarer parts of the steps whose fence held, inside their transaction."""
    going_on = [write for write in writes if write.head.status in OPEN]
    redriven = [write.head.id for write in writes if _is_redriven(write)]
    consumed = [(stored(delivery), write.head.id) for write in writes for delivery in write.consumed]
    sent = [(stored(one.id), one.execution, one.fact) for write in writes for one in write.deliveries]
    opened = chain.from_iterable(write.opened for write in going_on)
    tasks = [(task.execution, task.attempt, stored(task.activity), task.scheduled_at, stored(task.input)) for task in opened]
    closed = [(write.head.id, attempt) for write in going_on for attempt in write.closed]
    if redriven:
        await link.fetch("empty_inboxes", redriven)
    if consumed:
        await link.fetch("delete_deliveries", *turned(consumed, 2))
    if sent:
        await link.fetch("insert_deliveries", *turned(sent, 3))
    if tasks:
        await link.fetch("insert_activity_tasks", *turned(tasks, 5))
    if closed:
        await link.fetch("delete_activity_tasks", *turned(closed, 2))
