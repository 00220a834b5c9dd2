"""Log lines: what steps said, and what the log itself says of an execution's course."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flowrunner.core.records import Record
from flowrunner.jsonvalue import JSONValue
from flowrunner.views.records import at, details, failure_text, note

LEVELS = ("debug", "info", "warn", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line. `at` is milliseconds since 1970 UTC, `level` one of LEVELS, `step` empty for the execution's own."""

    at: int
    step: str
    level: str
    message: str
    data: JSONValue = None


def line(record: Record) -> Line | None:
    """The log line of a record; None for a record that says nothing to readers of logs."""
    said = _SAID.get(record["type"])
    if said is None:
        return None
    told = note(record)
    found = said(details(record) if told is None else told)
    if found is None:
        return None
    level, message, data = found
    return Line(at=at(record), step=(told or {}).get("stepId", ""), level=level, message=message, data=data)


_Found = tuple[str, str, JSONValue]


def _logged(told: Mapping[str, Any]) -> _Found:
    return told["level"] if told["level"] in LEVELS else "info", told["message"], told.get("data")


def _retried(told: Mapping[str, Any]) -> _Found:
    why = failure_text(told.get("error"), told.get("cause"))
    data = {name: told.get(name) for name in ("attempt", "delay", "error", "cause")}
    index = told.get("batch_index")
    if index is None:
        return "warn", f"Retry {told['attempt']} in {told['delay']} ms: {why}", data
    return "warn", f"Retry {told['attempt']} of batch {index} in {told['delay']} ms: {why}", {"batch_index": index, **data}


def _completed(told: Mapping[str, Any]) -> _Found | None:
    if told["status"] != "failed":
        return None
    return "error", f"Step failed: {failure_text(told.get('error'), told.get('cause'))}", {name: told.get(name) for name in ("error", "cause")}


def _failed(told: Mapping[str, Any]) -> _Found:
    why = failure_text(told.get("error"), told.get("cause"))
    return "error", "Execution failed" + (f": {why}" if why else ""), None


def _plain(level: str, message: str) -> Callable[[Mapping[str, Any]], _Found]:
    return lambda _: (level, message, None)


_SAID: dict[str, Callable[[Mapping[str, Any]], _Found | None]] = {
    "StepLogged": _logged,
    "StepRetried": _retried,
    "StepCompleted": _completed,
    "ExecutionStarted": _plain("info", "Execution started"),
    "ExecutionRedriven": _plain("info", "Execution started again where it failed"),
    "ExecutionSucceeded": _plain("info", "Execution completed"),
    "ExecutionFailed": _failed,
    "ExecutionTimedOut": _plain("error", "Execution timed out"),
    "ExecutionAborted": _plain("warn", "Execution canceled"),
}
