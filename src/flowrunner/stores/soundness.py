"""What must be true of every execution and document in every store, judged from its archived form alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import orjson

from flowrunner.ports.archive import ArchivedExecution
from flowrunner.ports.documents import Document, Put, check_changes

OPEN = ("RUNNING", "PENDING_REDRIVE")
IDENTITY = re.compile(r"[0-9a-f]{32}")
MOST_NUMBER = 1 << 26  # of records and of facts of one execution (stores/sqlite/schema.sql)


def flaws(execution: ArchivedExecution, *, bodies: bool = True) -> Iterator[str]:
    """Everything that does not fit together; with `bodies` the records are counted too."""
    head = execution.head
    if not IDENTITY.fullmatch(head.id):
        yield "its id is not 32 hexadecimal digits"
    if head.epoch < 0 or len(head.seed) != 16:
        yield "its epoch or its seed is none"
    yield from _log(execution, bodies=bodies)
    numbers = [number for number, _ in execution.facts]
    if numbers != sorted(set(numbers)) or not all(0 <= number < MOST_NUMBER for number in numbers):
        yield "its facts are not numbered one after the other"
    if any(delivery.execution != head.id for delivery in execution.inbox) or any(task.execution != head.id for task in execution.tasks):
        yield "it holds deliveries or activity tasks of another execution"
    attempts = [task.attempt for task in execution.tasks]
    if len(set(attempts)) < len(attempts):
        yield "an activity task is there twice"
    if head.status in OPEN:
        if head.stopped_at is not None:
            yield f"it is {head.status} and has a time of its end"
    elif head.stopped_at is None:
        yield f"it is {head.status} and has no time of its end"
    if head.status not in OPEN and (execution.snapshot is not None or execution.facts or execution.inbox or execution.tasks):
        yield f"it is {head.status} and still has state, deliveries or activity tasks"
    if head.status not in OPEN and head.owner is not None:
        yield f"it is {head.status} and has an owner"


def _log(execution: ArchivedExecution, *, bodies: bool) -> Iterator[str]:
    expected = 1
    for chunk in execution.chunks:
        if chunk.first_seq != expected or chunk.count < 1:
            yield f"its log has a gap: after record {expected - 1} comes record {chunk.first_seq}"
            return
        expected += chunk.count
        if bodies and _length(chunk.body) != chunk.count:
            yield f"its log is damaged: the records from {chunk.first_seq} on are not {chunk.count} objects in JSON"
    if expected - 1 != execution.head.last_seq:
        yield f"its log has {expected - 1} records, its head says {execution.head.last_seq}"
    if expected > MOST_NUMBER:
        yield "its log is longer than any store can hold"


def _length(body: bytes) -> int:
    try:
        records = orjson.loads(body)
    except orjson.JSONDecodeError:
        return -1
    return len(records) if isinstance(records, list) else -1


def document_flaw(document: Document) -> str | None:
    """What no stored document can be; None for one that is sound."""
    if document.version < 1:
        return f"it has version {document.version}"
    try:
        check_changes([Put(replace(document, version=0))])
    except ValueError as error:
        return str(error)
    return None
