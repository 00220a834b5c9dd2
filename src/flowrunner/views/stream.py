"""Notes as the messages of a run's stream: kind, payload, and what else is told about it.

The payloads of the first four kinds are those of the guide, member by member; what is told beyond them stands in `detail`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowrunner.core.records import Record
from flowrunner.ports.executions import Status
from flowrunner.views import shapes
from flowrunner.views.records import TURNS, at, details, moment
from flowrunner.views.shapes import Shape

# Version 2 of the API renders running, success, failed, cancelled.
V2_STATUS: dict[Status, str] = {
    "RUNNING": "running",
    "PENDING_REDRIVE": "running",
    "SUCCEEDED": "success",
    "FAILED": "failed",
    "TIMED_OUT": "failed",
    "ABORTED": "cancelled",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """What becomes of a kind of note: its message and the shapes of that. `sources` are members of the payload whose names in the note are others.

    Without a `detail` the payload is the whole note.
    """

    name: str
    payload: type[Shape]
    detail: type[Shape] | None = None
    sources: Mapping[str, str] = field(default_factory=dict)


NOTES: dict[str, Kind] = {
    "StepStarted": Kind("step_start", shapes.StepStart, shapes.StepStartDetail),
    "StepCompleted": Kind("step_complete", shapes.StepComplete, shapes.StepCompleteDetail),
    "StepLogged": Kind("step_log", shapes.StepLog, shapes.StepLogDetail),
    "VariableChanged": Kind("variable_change", shapes.VariableChange, shapes.Place, {"varName": "name"}),
    "StepRetried": Kind("retry_scheduled", shapes.RetryScheduled),
    "StepWaiting": Kind("waiting", shapes.Waiting),
    "LoopStarted": Kind("loop_start", shapes.LoopStart),
    "IterationStarted": Kind("iteration_start", shapes.IterationStart),
    "IterationCompleted": Kind("iteration_complete", shapes.IterationComplete),
    "LoopCompleted": Kind("loop_complete", shapes.LoopComplete),
    "BranchDecided": Kind("branch_decision", shapes.BranchDecision),
}
# Members of payloads -> their names in notes.
_MEMBERS = {note: {member: kind.sources.get(member, member) for member in shapes.members(kind.payload)} for note, kind in NOTES.items() if kind.detail}
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
    told: dict[str, Any] = record["note"]
    members = _MEMBERS.get(kind)
    if members is None:
        until = told.get("until")
        return Message(known.name, told if until is None else {**told, "until": moment(until)})
    payload = {member: told.get(source) for member, source in members.items()}
    if kind == "StepLogged":
        payload["timestamp"] = moment(at(record))
    shown = LEFT_OUT | set(members.values())
    return Message(known.name, payload, {member: value for member, value in told.items() if member not in shown})


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
