"""Notes as the messages of a run's stream: kind, payload, and what else is told about it.

The payloads of the first four kinds are those of the guide, member by member; what is told beyond them stands in `detail`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowrunner.core.records import Record
from flowrunner.ports.executions import Status
from flowrunner.views.records import TURNS, at, details, moment

# Version 2 of the API renders running, success, failed, cancelled.
V2_STATUS: dict[Status, str] = {
    "RUNNING": "running",
    "PENDING_REDRIVE": "running",
    "SUCCEEDED": "success",
    "FAILED": "failed",
    "TIMED_OUT": "failed",
    "ABORTED": "cancelled",
}


def _same(*names: str) -> Mapping[str, str]:
    return {name: name for name in names}


# Note -> kind of message, and the members of its payload with their names in the note; without that the payload is the whole note.
NOTES: dict[str, tuple[str, Mapping[str, str] | None]] = {
    "StepStarted": ("step_start", _same("stepId", "stepName")),
    "StepCompleted": ("step_complete", _same("stepId", "stepName", "status", "duration")),
    "StepLogged": ("step_log", _same("stepId", "level", "message")),  # and its time
    "VariableChanged": ("variable_change", {**_same("stepId"), "varName": "name", **_same("oldValue", "newValue", "changeType")}),
    "StepRetried": ("retry_scheduled", None),
    "StepWaiting": ("waiting", None),
    "LoopStarted": ("loop_start", None),
    "IterationStarted": ("iteration_start", None),
    "IterationCompleted": ("iteration_complete", None),
    "LoopCompleted": ("loop_complete", None),
    "BranchDecided": ("branch_decision", None),
}
LEFT_OUT = frozenset({"output"})  # of `detail`: it may be large, and the steps of the run have it


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `detail` is empty where the payload tells all."""

    kind: str
    payload: dict[str, Any]
    detail: dict[str, Any] = field(default_factory=dict)


def note_message(record: Record) -> Message | None:
    """The message of a record of a flow or workflow; None for a history event that its followers are not shown."""
    kind: str = record["type"]
    if kind in TURNS:
        return _turn(record)
    known = NOTES.get(kind)
    if known is None or "note" not in record:
        return None
    name, members = known
    told: dict[str, Any] = record["note"]
    if members is None:
        until = told.get("until")
        return Message(name, told if until is None else {**told, "until": moment(until)})
    payload = {member: told.get(source) for member, source in members.items()}
    if kind == "StepLogged":
        payload["timestamp"] = moment(at(record))
    shown = LEFT_OUT | set(members.values())
    return Message(name, payload, {member: value for member, value in told.items() if member not in shown})


def reached(record: Record) -> Message | None:
    """How the run stands once it has come to a step: told right before the step's own message, from the same record. None for any other record."""
    if record["type"] != "StepStarted":
        return None
    told: dict[str, Any] = record["note"]
    node = {"id": told["stepId"], "name": told["stepName"], "type": told.get("stepType", "")}
    if "iteration" in told:
        node["iteration"] = told["iteration"]
    status: Status = "RUNNING"
    return Message("status", {"status": V2_STATUS[status], "executionStatus": status, "progress": told.get("progress", 0.0), "node": node})


def _turn(record: Record) -> Message:
    """What became of the run as a whole."""
    status = TURNS[record["type"]]
    payload: dict[str, Any] = {"status": V2_STATUS[status], "executionStatus": status}
    if status == "SUCCEEDED":
        payload["progress"] = 100.0
    elif record["type"] == "ExecutionStarted":
        payload["progress"] = 0.0
    told = details(record)
    if status == "TIMED_OUT":
        payload["error"] = "States.Timeout"
    return Message("status", payload | {name: told[name] for name in ("error", "cause") if name in told})
