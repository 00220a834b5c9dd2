"""How a run stands after so many records of its log: in one message what all those before have told.

Its size is that of the definition and of the variables, however long the run has been going.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from flowrunner.core.records import Record
from flowrunner.ports.executions import Head
from flowrunner.views.records import ENDS, TURNS, at, details, has_notes
from flowrunner.views.statevisits import StateVisits
from flowrunner.views.steptable import SKIPPED, StepTable
from flowrunner.views.stream import Message, note_message, reached

SNAPSHOT = "snapshot"
_Place = tuple[str, int | None]  # a step, and the iteration it is in


class Standing:
    """One run, record by record. `seq` is that of the last record taken, `at` when it was made."""

    def __init__(self, head: Head) -> None:
        self._told: dict[str, Any] = {}  # as the last `status` has it
        self._noted = has_notes(head)
        self._progress = 0.0
        self._steps = StepTable()
        self._visits = StateVisits(self._steps)
        self._begun: Counter[_Place] = Counter()  # of steps that are open
        self._variables: dict[str, orjson.Fragment] = {}
        self._entered = False  # whether the record right before is that of a state that was entered
        self.seq = 0
        self.at = head.started_at

    def take(self, seq: int, record: Record) -> None:
        """Take the next record of the log, from its beginning."""
        self.seq, self.at = seq, at(record)
        kind: str = record["type"]
        entered, self._entered = self._entered, kind.endswith("StateEntered")
        if kind in TURNS:
            self._turn(kind, record)
        if "note" in record:
            self._note(kind, record, entered=entered)
        elif not self._noted:
            self._event(record)

    def pieces(self) -> Iterator[bytes]:
        """What `message` needs, made bit by bit: others may have their turn between two of them."""
        for rows in self._steps.pieces():
            yield orjson.dumps(rows)[1:-1]

    def message(self, pieces: Iterable[bytes]) -> Message:
        """The message that stands for those of the records taken so far."""
        payload = {
            **self._told,
            **({"progress": self._progress} if self._noted else {}),
            "nodes": self._steps.nodes(),
            "steps": orjson.Fragment(b"[" + b",".join(pieces) + b"]"),
            "variables": self._variables,
            "lastSeq": self.seq,
        }
        return Message(SNAPSHOT, payload)

    def _turn(self, kind: str, record: Record) -> None:
        made = note_message(record)
        if made is not None:
            self._progress = made.payload.get("progress", self._progress)
            self._told = {name: value for name, value in made.payload.items() if name != "progress"}
        if kind in ENDS:
            self._visits.close(self.at)

    def _note(self, kind: str, record: Record, *, entered: bool) -> None:
        told: dict[str, Any] = record["note"]
        match kind:
            case "StepStarted":
                self._steps.begin(told["stepId"], told["stepName"], told.get("stepType", ""), self.at)
                self._begun[_place(told)] += 1
                if (made := reached(record)) is not None:
                    self._progress = made.payload["progress"]
            case "StepCompleted":
                self._completed(told, never_started=entered and told["status"] == SKIPPED)
            case "VariableChanged" if told["changeType"] == "delete":
                self._variables.pop(told["name"], None)
            case "VariableChanged":  # as JSON at once: so the snapshot is made of many small pieces of work
                self._variables[told["name"]] = orjson.Fragment(orjson.dumps(told.get("newValue")))

    def _completed(self, told: dict[str, Any], *, never_started: bool) -> None:
        place = _place(told)
        if place in self._begun and not never_started:  # one of its name may run in an iteration beside
            self._begun[place] -= 1
            if not self._begun[place]:
                del self._begun[place]
            self._steps.end(told["stepId"], told["status"], told["duration"])
        else:  # skipped
            self._steps.skip(told["stepId"], told["stepName"], told.get("stepType", ""))

    def _event(self, record: Record) -> None:
        if self._visits.take(record):  # what is assigned within a branch or an iteration is gone with it
            assigned: dict[str, str] = details(record).get("assignedVariables", {})
            self._variables |= {name: orjson.Fragment(text) for name, text in assigned.items()}


def _place(told: dict[str, Any]) -> _Place:
    return told["stepId"], told.get("iteration")
