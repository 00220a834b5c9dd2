"""What streams say: records of an execution's log as messages ``{runId, type, payload}`` with ``seq``, ``ts`` and ``v``.

One table names every kind of record; other definitions (step workflows, YAML flows) get tables of their own beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from flowrunner.api.wire import frame
from flowrunner.core.records import Record, details_key
from flowrunner.jsonvalue import encoded
from flowrunner.ports.executions import Head
from flowrunner.views.records import at, ended_by, has_notes, moment
from flowrunner.views.standing import Standing
from flowrunner.views.stream import V2_STATUS, Message, note_message, reached

VERSION = 1
STATUSES = (*dict.fromkeys(V2_STATUS.values()), *V2_STATUS)  # what a filter may name
Render = Callable[[Record], Message | None]

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


def history_message(record: Record) -> Message | None:
    """A Step Functions history event: its details, and what it is called there. None for a note."""
    if "note" in record:
        return None
    event_type: str = record["type"]
    payload: dict[str, Any] = {"eventType": event_type, "eventId": record.get("id"), "previousEventId": record.get("previousEventId")}
    payload |= record.get(details_key(event_type)) or {}
    kind, state, _ = event_type.partition("State")
    if state and kind in STATE_KINDS:
        payload["stateType"] = kind
    return Message(type_of(event_type), payload)


def whole_message(record: Record) -> Message | None:
    """Everything: notes as notes, events as events."""
    return history_message(record) or note_message(record)


# How a run can be shown: as its author knows it (notes), as Step Functions does (history), or both.
RENDERS: dict[str, Render] = {"notes": note_message, "history": history_message, "whole": whole_message}


def kind_for(head: Head, *, history: bool) -> str:
    """Which of RENDERS a run is shown by; `history` asks for the events of flows and workflows too."""
    if not has_notes(head):
        return "history"
    return "whole" if history else "notes"


@dataclass(frozen=True, slots=True)
class Text:
    """One message as JSON; `seq` is its place in the log, None for one that is no record's own."""

    text: bytes
    seq: int | None = None


class Renderer:
    """The messages of one run in one of RENDERS."""

    remembers = False

    def __init__(self, run: str, kind: str) -> None:
        self._run = run
        self._render = RENDERS[kind]

    def messages(self, seq: int, record: Record) -> list[Text]:
        """One record as messages: none if it is not shown. Those before its own have no ``seq``: who has not seen its own has not seen them either."""
        made = self._render(record)
        if made is None:
            return []
        own = Text(self._text(made, at(record), {"seq": seq}), seq)
        before = reached(record)
        return [own] if before is None else [Text(self._text(before, at(record), {})), own]

    def standing(self, standing: Standing, pieces: Iterable[bytes]) -> Text:
        """A snapshot, whose place is that of the last record it speaks of, from the pieces it has made."""
        return Text(self._text(standing.message(pieces), standing.at, {"seq": standing.seq}), standing.seq)

    def _text(self, made: Message, when: int, place: Mapping[str, int]) -> bytes:
        more = {"detail": made.detail} if made.detail else {}
        return encoded({"runId": self._run, "type": made.kind, "payload": made.payload, **more, **place, "ts": moment(when), "v": VERSION})

    def last(self, head: Head) -> bytes:
        """The last message of an ended run. It is not a record, so it has no ``seq`` of its own; `lastSeq` is the last record's."""
        payload: dict[str, Any] = {"status": V2_STATUS[head.status], "executionStatus": head.status, "lastSeq": head.last_seq}
        error, cause = ended_by(head)
        payload |= {name: value for name, value in (("output", head.output), ("error", error), ("cause", cause)) if value is not None}
        ts = {} if head.stopped_at is None else {"ts": moment(head.stopped_at)}
        return orjson.dumps({"runId": head.id, "type": "end", "payload": payload, **ts, "v": VERSION})

    # --- as frames (api.fanout.Rendering)

    def opening(self) -> list[bytes]:
        """Nothing: the past comes as it was."""
        return []

    def take(self, seq: int, record: Record) -> list[bytes]:
        """The frames of one record."""
        return [frame(made.text) for made in self.messages(seq, record)]

    def end(self, head: Head) -> list[bytes]:
        """The frame of the last message."""
        return [frame(self.last(head))]
