"""Which state of a machine a history event is about: by the event that led to it, from inside outwards.

Step Functions names the state where it is entered and left only, and the same state may be open many times in a Map.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flowrunner.core.records import Record
from flowrunner.views.records import at, details
from flowrunner.views.steptable import CANCELLED, FAILED, SUCCESS, StepTable

_TROUBLE = ("Failed", "TimedOut")


@dataclass(slots=True, eq=False)
class _Visit:
    """One stay in a state. `over` is a Parallel or Map that has failed for good, and is only left."""

    name: str
    kind: str
    began: int
    parent: _Visit | None
    failed: bool = False
    over: bool = False
    events: list[int] = field(default_factory=list)
    children: dict[_Visit, None] = field(default_factory=dict)


class StateVisits:
    """The states that are open, event by event; their stays are told to a table."""

    def __init__(self, table: StepTable) -> None:
        self._table = table
        self._open: dict[_Visit, None] = {}
        self._of: dict[int, _Visit] = {}  # events of open states
        self._entered: _Visit | None = None  # the last that was

    def take(self, record: Record) -> bool:
        """Take the next event; whether it leaves a state that stands in no branch or iteration."""
        event: str = record["type"]
        before = self._of.get(record.get("previousEventId", 0))
        kind, is_state, how = event.partition("State")
        if not is_state:
            self._own(record, self._within(event, record, before))
        elif how == "Entered":
            self._own(record, self._enter(kind, record, before))
        elif how in ("Exited", "Aborted"):
            name = details(record)["name"] if how == "Exited" else None
            visit = before
            while visit is not None and (visit.kind != kind or name not in (None, visit.name)):
                visit = visit.parent
            self._leave(record, visit, aborted=how == "Aborted")
            return how == "Exited" and visit is not None and visit.parent is None
        else:
            visit = before
            while visit is not None and (visit.kind != kind or visit.over):
                visit = visit.parent
            self._own(record, visit)
            if visit is not None:
                self._group(visit, how, at(record))
        return False

    def close(self, now: int) -> None:
        """The execution has ended: whatever is open is over."""
        for visit in tuple(self._open):
            if visit.parent is None:
                self._close(visit, FAILED if _has_failed(visit) else CANCELLED, now)

    def _own(self, record: Record, visit: _Visit | None) -> None:
        if visit is not None and "id" in record:
            self._of[record["id"]] = visit
            visit.events.append(record["id"])

    def _enter(self, kind: str, record: Record, before: _Visit | None) -> _Visit:
        visit = self._entered = _Visit(details(record)["name"], kind, at(record), before)
        self._open[visit] = None
        if before is not None:
            before.children[visit] = None
        self._table.begin(visit.name, visit.name, kind, visit.began)
        return visit

    def _leave(self, record: Record, visit: _Visit | None, *, aborted: bool) -> None:
        if visit is None:
            return
        self._close(visit, CANCELLED if aborted else FAILED if visit.failed else SUCCESS, at(record))
        self._own(record, visit.parent)  # what follows stands beside it

    def _group(self, visit: _Visit, how: str, now: int) -> None:
        """A Parallel or Map begins (again), or is through."""
        visit.failed = visit.over = how == "Failed"
        if how != "Succeeded":
            self._give_up(visit, now)

    def _within(self, event: str, record: Record, before: _Visit | None) -> _Visit | None:
        """An event that is not a state's as a whole: of an attempt, an iteration, an evaluation."""
        if event.startswith("MapIteration"):
            inner, visit = None, before
            name = details(record)["name"]
            while visit is not None and visit.name != name:
                inner, visit = visit, visit.parent
            if inner is not None:
                self._close(inner, FAILED if _has_failed(inner) else CANCELLED, at(record))
            return visit
        visit = before
        if event == "EvaluationFailed" and self._entered in self._open and self._entered.name == details(record).get("state"):
            visit = self._entered  # one at the entry follows the event before it
        if visit is not None and event.endswith(_TROUBLE):
            visit.failed = True
        elif visit is not None and event.endswith(("Scheduled", "Succeeded")):
            visit.failed = False
        return visit

    def _give_up(self, visit: _Visit, now: int) -> None:
        for child in tuple(visit.children):
            self._close(child, FAILED if _has_failed(child) else CANCELLED, now)

    def _close(self, visit: _Visit, status: str, now: int) -> None:
        self._give_up(visit, now)
        del self._open[visit]
        if visit.parent is None:
            for number in visit.events:
                del self._of[number]
        else:  # what follows from its events stands in what is around it
            del visit.parent.children[visit]
            self._of |= dict.fromkeys(visit.events, visit.parent)
            visit.parent.events += visit.events
        self._table.end(visit.name, status, now - visit.began)


def _has_failed(visit: _Visit) -> bool:
    return visit.failed or visit.kind == "Fail"
