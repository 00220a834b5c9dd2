"""Runs as version 2 of the API shows them: steps, log lines and changes of variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowrunner.core.records import Record
from flowrunner.jsonvalue import JSONValue, loads
from flowrunner.ports.executions import ExecutionStore, Head
from flowrunner.views.lines import line
from flowrunner.views.records import ENDS, at, details, entries, failure_text, moment


@dataclass(slots=True, kw_only=True)
class _Step:
    id: str
    name: str
    type: str
    started: int
    iteration: int | None
    given: Any
    status: str = "running"
    ended: int | None = None
    duration: int | None = None
    output: Any = None
    error: str | None = None
    attempts: int = 1
    events: list[int] = field(default_factory=list)  # of the history, while the step is open
    around: _Step | None = None  # the step that it runs within


class StepsFold:
    """The steps of one run, record by record: one entry for each time a step was entered, in that order.

    `inputData` is what the step's work was given, with its expressions filled in; without such work, what the step was entered with.
    """

    def __init__(self, head: Head) -> None:
        self._head = head
        self.seq = 0
        self._steps: list[_Step] = []
        self._open: dict[tuple[str, int | None], list[_Step]] = {}
        self._events: dict[int, tuple[_Step, bool]] = {}  # history events of open steps; whether of the step's own state, or of one within
        self._entered: Record | None = None  # the event right before
        self._last: _Step | None = None  # whose the last history event was

    def take(self, seq: int, record: Record) -> bool:
        """Take the next record; whether a step has changed."""
        if seq <= self.seq:
            return False
        self.seq = seq
        kind: str = record["type"]
        entered, self._entered = self._entered, record if kind.endswith("StateEntered") else None
        match kind:
            case "StepStarted":
                self._start(record, entered)
            case "StepCompleted" if entered is not None and record["note"]["status"] == "skipped":
                self._skip(record)  # it never started, though one of its name may run in an iteration beside
            case "StepCompleted":
                self._complete(record)
            case "StepRetried":
                step = self._of(record["note"])
                if step is None:
                    return False
                step.attempts = record["note"]["attempt"] + 1
            case "TaskScheduled":
                return self._scheduled(record)
            case _ if kind in ENDS:
                self._end(at(record))
            case _:
                self._chain(record)
                return False
        return True

    def _start(self, record: Record, entered: Record | None) -> None:
        told = record["note"]
        given = None if entered is None else details(entered).get("input")
        step = _Step(
            id=told["stepId"],
            name=told["stepName"],
            type=told.get("stepType", ""),
            started=at(record),
            iteration=told.get("iteration"),
            given=None if given is None else loads(given),
        )
        self._steps.append(step)
        self._open.setdefault((step.id, step.iteration), []).append(step)
        if entered is not None:
            step.around, _ = self._owner(entered)
            self._own(entered["id"], step)

    def _of(self, told: dict[str, Any]) -> _Step | None:
        """The open step that a note tells of: of several, in loops that run at once, the one to which the last event belongs."""
        found = self._open.get((told["stepId"], told.get("iteration")), [])
        return next((step for step in found if step is self._last), found[0] if found else None)

    def _complete(self, record: Record) -> None:
        told = record["note"]
        step = self._of(told)
        if step is None:
            if told["status"] == "skipped":  # it never started
                self._skip(record)
            return
        key = (step.id, step.iteration)
        self._open[key] = [other for other in self._open[key] if other is not step]
        if not self._open[key]:
            del self._open[key]
        for number in step.events:
            owner = self._events.get(number)
            if owner is not None and owner[0] is step:  # what a step within was entered by is its own
                del self._events[number]
        if step.events and step.around is not None and step.around.status == "running":
            self._own(step.events[-1], step.around, within=True)  # what follows belongs to the step around
        step.events.clear()
        step.status, step.duration, step.ended = told["status"], told["duration"], at(record)
        step.output = loads(told["output"]) if "output" in told else None
        step.error = failure_text(told.get("error"), told.get("cause"))

    def _skip(self, record: Record) -> None:
        told, now = record["note"], at(record)
        step = _Step(id=told["stepId"], name=told["stepName"], type=told.get("stepType", ""), started=now, iteration=told.get("iteration"), given=None)
        step.status, step.ended, step.duration, step.attempts = "skipped", now, 0, 0
        self._steps.append(step)

    def _scheduled(self, record: Record) -> bool:
        step = self._chain(record)
        parameters = details(record).get("parameters")
        if step is None or parameters is None or not self._events[record["id"]][1]:
            return False
        given = loads(parameters)
        step.given = given["params"] if isinstance(given, dict) and "params" in given else given
        return True

    def _chain(self, record: Record) -> _Step | None:
        """The open step that a history event belongs to, by the event before it."""
        if "id" not in record:
            return None
        step, own = self._owner(record)
        self._last = step
        if step is not None:  # a state within has work of its own
            self._own(record["id"], step, within=not own or record["type"].endswith("StateEntered"))
        return step

    def _owner(self, record: Record) -> tuple[_Step | None, bool]:
        return self._events.get(record.get("previousEventId", 0), (None, False))

    def _own(self, event: int, step: _Step, *, within: bool = False) -> None:
        self._events[event] = (step, not within)
        step.events.append(event)

    def _end(self, now: int) -> None:
        """What was open when the run ended is over too."""
        for steps_open in self._open.values():
            for step in steps_open:
                step.status, step.ended, step.duration = "cancelled", now, now - step.started
        self._open.clear()
        self._events.clear()

    def shown(self) -> list[dict[str, Any]]:
        """The steps after the records taken so far; times RFC 3339, `duration` milliseconds."""
        return [self._shown(step) for step in self._steps]

    def _shown(self, step: _Step) -> dict[str, Any]:
        shown = {
            "runId": self._head.id,
            "stepId": step.id,
            "stepName": step.name,
            "stepType": step.type,
            "status": step.status,
            "startTime": moment(step.started),
            "endTime": None if step.ended is None else moment(step.ended),
            "duration": step.duration,
            "inputData": step.given,
            "outputData": step.output,
            "error": step.error,
            "attempts": step.attempts,
        }
        return shown if step.iteration is None else {**shown, "iteration": step.iteration}


def steps(head: Head, records: Iterable[Record]) -> list[dict[str, Any]]:
    """The steps of a run after these records, which are its log from the beginning."""
    fold = StepsFold(head)
    for seq, record in enumerate(records, 1):
        fold.take(seq, record)
    return fold.shown()


async def read_steps(executions: ExecutionStore, head: Head) -> list[dict[str, Any]]:
    """The steps by the stored log, read page by page. Raises StoreUnavailable."""
    fold = StepsFold(head)
    async for page in entries(executions, head.id):
        for seq, record in page:
            fold.take(seq, record)
    return fold.shown()


def logs(head: Head, records: Iterable[Record], *, step: str | None = None, level: str | None = None) -> list[dict[str, Any]]:
    """The log lines in these records, of one step or of one level if that is asked for."""
    found = []
    for record in records:
        said = line(record)
        if said is not None and step in (None, said.step) and level in (None, said.level):
            shown = {"runId": head.id, "stepId": said.step, "level": said.level, "message": said.message, "timestamp": moment(said.at)}
            found.append(shown if said.data is None else {**shown, "data": said.data})
    return found


async def read_logs(executions: ExecutionStore, head: Head, *, step: str | None = None, level: str | None = None) -> list[dict[str, Any]]:
    """The log lines of the stored log. Raises StoreUnavailable."""
    found: list[dict[str, Any]] = []
    async for page in entries(executions, head.id):
        found += logs(head, (record for _, record in page), step=step, level=level)
    return found


def variable_changes(head: Head, records: Iterable[Record]) -> list[dict[str, Any]]:
    """How variables changed in these records, in order."""
    return [{"runId": head.id, **change(record), "timestamp": moment(at(record))} for record in records if record["type"] == "VariableChanged"]


def change(record: Record) -> dict[str, Any]:
    """One change of a variable: step, name, old and new value, and whether it was created, updated or deleted."""
    told = record["note"]
    return {
        "stepId": told["stepId"],
        "varName": told["name"],
        "oldValue": told.get("oldValue"),
        "newValue": told.get("newValue"),
        "changeType": told["changeType"],
    }


async def read_context(executions: ExecutionStore, head: Head, variables: Mapping[str, JSONValue]) -> dict[str, Any]:
    """What a run knows so far: `variables`, which it began with and which changed since, and what each step has given. Raises StoreUnavailable."""
    values, outputs = dict(variables), {}
    async for page in entries(executions, head.id):
        for _, record in page:
            told = record.get("note", {})
            if record["type"] == "StepCompleted" and "output" in told:
                outputs[told["stepId"]] = loads(told["output"])
            elif record["type"] == "VariableChanged" and told["changeType"] == "delete":
                values.pop(told["name"], None)
            elif record["type"] == "VariableChanged":
                values[told["name"]] = told.get("newValue")
    return {"variables": values, "outputs": outputs}
