"""What streams say: records of an execution's log as messages ``{runId, type, payload}`` with ``seq``, ``ts`` and ``v``.

One table names every kind of record; other definitions (step workflows, YAML flows) get tables of their own beside it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import orjson

from flowrunner.core.records import Record, details_key
from flowrunner.ports.executions import Head, Status
from flowrunner.views.records import moment

VERSION = 1
CACHE_BYTES = 8 * 1024 * 1024
# Version 2 of the API renders running, success, failed, cancelled.
V2_STATUS: dict[Status, str] = {
    "RUNNING": "running",
    "PENDING_REDRIVE": "running",
    "SUCCEEDED": "success",
    "FAILED": "failed",
    "TIMED_OUT": "failed",
    "ABORTED": "cancelled",
}
STATUSES = (*dict.fromkeys(V2_STATUS.values()), *V2_STATUS)  # what a filter may name
Render = Callable[[Record], tuple[str, dict[str, Any]]]

STATE_KINDS = ("Pass", "Task", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map")
_ATTEMPTS = ("Task", "LambdaFunction", "Activity")  # the history calls an attempt by its kind of resource, a stream does not
TYPES: dict[str, str] = {
    **{f"{kind}StateEntered": "state_entered" for kind in STATE_KINDS},
    **{f"{kind}StateExited": "state_exited" for kind in STATE_KINDS},
    **{f"{kind}StateAborted": "state_aborted" for kind in STATE_KINDS},
    **{f"{kind}StateStarted": "state_started" for kind in ("Parallel", "Map")},
    **{f"{kind}StateSucceeded": "state_succeeded" for kind in ("Parallel", "Map")},
    **{f"{kind}StateFailed": "state_failed" for kind in ("Parallel", "Map")},
    **{f"{kind}Scheduled": "task_scheduled" for kind in _ATTEMPTS},
    **{f"{kind}Started": "task_started" for kind in _ATTEMPTS},
    **{f"{kind}Succeeded": "task_succeeded" for kind in _ATTEMPTS},
    **{f"{kind}Failed": "task_failed" for kind in _ATTEMPTS},
    **{f"{kind}TimedOut": "task_timed_out" for kind in _ATTEMPTS},
    **{f"{kind}ScheduleFailed": "task_schedule_failed" for kind in _ATTEMPTS},
    **{f"{kind}StartFailed": "task_start_failed" for kind in _ATTEMPTS},
    "TaskSubmitted": "task_submitted",
    "TaskSubmitFailed": "task_submit_failed",
}
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def type_of(event_type: str) -> str:
    """The stream's type of a history event: by the table, otherwise its own name in snake case (``execution_started``)."""
    return TYPES.get(event_type) or _CAPITAL.sub("_", event_type).lower()


def history_message(record: Record) -> tuple[str, dict[str, Any]]:
    """A Step Functions history event: its details, and what it is called there."""
    event_type: str = record["type"]
    payload: dict[str, Any] = {"eventType": event_type, "eventId": record.get("id"), "previousEventId": record.get("previousEventId")}
    payload |= record.get(details_key(event_type)) or {}
    kind, state, _ = event_type.partition("State")
    if state and kind in STATE_KINDS:
        payload["stateType"] = kind
    return type_of(event_type), payload


class Renderer:
    """Makes messages; each is encoded once while it is new, however many follow the run."""

    def __init__(self, render: Render = history_message, cache_bytes: int = CACHE_BYTES) -> None:
        self._render = render
        self._limit = cache_bytes
        self._size = 0
        self._recent: OrderedDict[tuple[str, int], str] = OrderedDict()

    def message(self, run: str, seq: int, record: Record) -> str:
        """One record as one message."""
        text = self._recent.get((run, seq))
        if text is None:
            kind, payload = self._render(record)
            ts = moment(round(record["timestamp"] * 1000))
            text = _text({"runId": run, "type": kind, "payload": payload, "seq": seq, "ts": ts, "v": VERSION})
            self._keep((run, seq), text)
        return text

    def _keep(self, key: tuple[str, int], text: str) -> None:
        self._recent[key] = text
        self._size += len(text)
        while self._size > self._limit:
            self._size -= len(self._recent.popitem(last=False)[1])

    def end(self, head: Head) -> str:
        """The last message of an ended run. It is not a record, so it has no ``seq`` of its own; `lastSeq` is the last record's."""
        payload: dict[str, Any] = {"status": V2_STATUS[head.status], "executionStatus": head.status, "lastSeq": head.last_seq}
        payload |= {name: value for name, value in (("output", head.output), ("error", head.error), ("cause", head.cause)) if value is not None}
        ts = {} if head.stopped_at is None else {"ts": moment(head.stopped_at)}
        return _text({"runId": head.id, "type": "end", "payload": payload, **ts, "v": VERSION})


def _text(message: dict[str, Any]) -> str:
    return orjson.dumps(message).decode()
