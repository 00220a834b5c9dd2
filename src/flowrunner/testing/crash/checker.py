"""From the ledger, the histories and the answers of a campaign to what is wrong with them. Pure, and ignorant of the engine.

Three properties (reliability G1-G4, G8):

1. Each history counts without a gap, each event follows one that may lead to it, no state is left twice, one end comes last.
   Of flows and workflows the whole log does, and each step that began ends once, after it began.
2. Each effect belongs to an attempt that is stored as started; none has two unless its function is idempotent, and then no
   more than the faults account for; whatever succeeded has had its effect.
3. Each acknowledged start is there, once, and has come to an end that its flow allows and that never changed.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowrunner.testing.crash import grammar, notes
from flowrunner.testing.crash.flows import FUNCTIONS, IDEMPOTENT, UNKNOWN, Flow

ACTIVITY_TASK = "activity:"
SLACK_SECONDS = 1.0  # a worker that was told to begin may take a while to


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller was told of an execution that has ended."""

    status: str
    output: str | None = None
    error: str | None = None

    @property
    def end(self) -> tuple[str, Any]:
        """As flows name their outcomes."""
        return (self.status, json.loads(self.output)) if self.output is not None else (self.status, self.error)


@dataclass(slots=True, kw_only=True)
class Run:
    """One execution: `answers` are all that callers were told of its end, oldest first; `id` is what effects name it by."""

    flow: Flow
    arn: str
    id: str
    events: Sequence[grammar.Event]
    messages: Sequence[Mapping[str, Any]] = ()  # of its stream, if its log has notes
    answers: list[Answer] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Start:
    """An answered StartExecution."""

    flow: str
    name: str
    arn: str
    at: Any  # startDate, as it was told


@dataclass(slots=True, kw_only=True)
class Evidence:
    """Everything that was seen from outside. `faults` counts kills and pauses: each may put what runs in doubt.

    `tried` are executions whose start was asked for and not acknowledged: they may be there or not.
    """

    runs: Sequence[Run]
    starts: Sequence[Start]
    lines: Sequence[Mapping[str, Any]]
    faults: int = 0
    tried: Collection[str] = ()


def check(evidence: Evidence) -> list[str]:
    """Everything that is wrong, in words; an empty list if nothing is."""
    found = [f"{run.arn}: {fault}" for run in evidence.runs for fault in (*_log(run), *_retries(run), *_end(run, evidence.faults))]
    return found + list(_starts(evidence)) + list(_effects(evidence))


# --- 1


def _log(run: Run) -> Iterator[str]:
    stepped = run.flow.format != "asl"
    yield from grammar.faults(run.events, stepped=stepped)
    if stepped:
        yield from notes.faults(run.messages)


def _retries(run: Run) -> Iterator[str]:
    """An attempt that follows a failed one must be what some Retry asks for."""
    by_id = {event["id"]: event for event in run.events}
    for event in run.events:
        before = by_id.get(event["previousEventId"], {})
        if event["type"] in grammar.SCHEDULED and before.get("type") in grammar.FAILED and (error := _error(before)) not in run.flow.retried:
            yield f"event {event['id']} tries again after {error}, which nothing asks for"


def _error(event: Mapping[str, Any]) -> str | None:
    details: Mapping[str, Any] = event.get(f"{event['type'][0].lower()}{event['type'][1:]}EventDetails", {})
    return details.get("error")


# --- 2


@dataclass(slots=True)
class _Attempt:
    """What a history says of one attempt: `number` counts those that were scheduled, from 1."""

    number: int
    task: str
    started: bool = False
    error: str | None = None
    succeeded: bool = False
    over_at: float | None = None  # seconds since 1970


def attempts_of(events: Sequence[grammar.Event]) -> list[_Attempt]:
    """The attempts of a history, in order."""
    attempts: list[_Attempt] = []
    at: dict[int, _Attempt] = {}  # by the event that tells of it last
    for event in events:
        kind = event["type"]
        if kind in grammar.SCHEDULED:
            attempt = _Attempt(len(attempts) + 1, _task(event))
            attempts.append(attempt)
        else:
            known = at.get(event["previousEventId"])
            if known is None:
                continue
            attempt = known
            attempt.started |= kind in grammar.STARTED
            attempt.succeeded |= kind in grammar.SUCCEEDED
            if kind in grammar.FAILED:
                attempt.error = _error(event) or "?"
            if kind in grammar.FAILED | grammar.SUCCEEDED:
                attempt.over_at = event["timestamp"]
                continue  # what follows is no longer about it
        at[event["id"]] = attempt
    return attempts


def _task(event: grammar.Event) -> str:
    """The function that an attempt calls, or ``activity:`` or another service and what it is."""
    details: Mapping[str, Any] = next(value for name, value in event.items() if name.endswith("EventDetails"))
    if details.get("resourceType") == "lambda":
        return str(json.loads(details["parameters"])["FunctionName"])
    if details.get("resourceType") == "flowrunner" and (function := json.loads(details["parameters"])["params"].get("function")) is not None:
        return str(function)
    name = str(details["resource"]).rpartition(":")[2]
    if event["type"] == "ActivityScheduled":
        return ACTIVITY_TASK + name
    return f"{details['resourceType']}:{details['resource']}" if "resourceType" in details else name


def _effects(evidence: Evidence) -> Iterator[str]:
    runs = {run.id: run for run in evidence.runs}
    count: Counter[str] = Counter()
    handed: defaultdict[str, Counter[str]] = defaultdict(Counter)  # tokens of activities, by execution
    functions: dict[str, str] = {}
    last: dict[str, float] = {}
    for line in evidence.lines:
        if "worker" in line:
            handed[line["execution"]][line["token"]] += 1
        else:
            count[line["key"]] += 1
            functions[line["key"]] = line["function"]
            last[line["key"]] = max(line["at"], last.get(line["key"], 0))
    for run in evidence.runs:
        attempts = attempts_of(run.events)
        yield from (f"{run.arn}: {fault}" for fault in _effects_of(run, attempts, count, functions, evidence.faults))
        yield from (f"{run.arn}: {fault}" for fault in _too_late(run, attempts, last))
        yield from (f"{run.arn}: {fault}" for fault in _handed(attempts, handed.pop(run.arn, Counter())))
    for key in count:
        if key.rpartition("/")[0] not in runs:
            yield f"{key}: {functions[key]} took effect for an execution that nobody knows"
    for arn in handed:
        yield f"{arn}: a worker was given a task of an execution that nobody knows"


def _effects_of(run: Run, attempts: Sequence[_Attempt], count: Counter[str], functions: Mapping[str, str], faults: int) -> Iterator[str]:
    known = {f"{run.id}/{attempt.number}": attempt for attempt in attempts}
    for key in (key for key in count if key.rpartition("/")[0] == run.id):
        attempt = known.get(key)
        if attempt is None or not attempt.started:
            yield f"{functions[key]} took effect in attempt {key.rpartition('/')[2]}, which is not stored as started"
        elif attempt.task != functions[key]:
            yield f"attempt {attempt.number} is one of {attempt.task}, but {functions[key]} took effect under its key"
    for key, attempt in known.items():
        if attempt.task not in FUNCTIONS:
            continue
        most = 1 + faults if attempt.task in IDEMPOTENT else 1
        if count[key] > most:
            yield f"{attempt.task} took effect {count[key]} times in attempt {attempt.number}; {most} is the most"
        if count[key] == 0 and (attempt.succeeded or attempt.error not in (None, UNKNOWN)):
            yield f"attempt {attempt.number} of {attempt.task} has a result, and no effect"
        if attempt.error == UNKNOWN and attempt.task in IDEMPOTENT:
            yield f"attempt {attempt.number} of {attempt.task} was given up as in doubt, though it may simply run again"
    lost = sum(attempt.error == UNKNOWN for attempt in attempts)
    if lost and not faults:
        yield f"{lost} attempts were given up as in doubt, and nothing had happened"


def _too_late(run: Run, attempts: Sequence[_Attempt], last: Mapping[str, float]) -> Iterator[str]:
    """Effects that began when their attempt was given up: on a node that had been away and did not look (R13)."""
    for attempt in attempts:
        at = last.get(f"{run.id}/{attempt.number}")
        if at is not None and attempt.over_at is not None and at > attempt.over_at + SLACK_SECONDS:
            yield f"{attempt.task} took effect {at - attempt.over_at:.1f} s after attempt {attempt.number} was over"


def _handed(attempts: Sequence[_Attempt], tokens: Counter[str]) -> Iterator[str]:
    started = sum(attempt.started for attempt in attempts if attempt.task.startswith(ACTIVITY_TASK))
    if len(tokens) > started:
        yield f"{len(tokens)} tasks were given to workers; {started} are stored as started"
    yield from (f"one task was given to {times} workers" for times in tokens.values() if times > 1)


# --- 3


def _starts(evidence: Evidence) -> Iterator[str]:
    known = {run.arn for run in evidence.runs}
    told: dict[tuple[str, str], set[tuple[str, Any]]] = defaultdict(set)
    for start in evidence.starts:
        told[start.flow, start.name].add((start.arn, start.at))
        if start.arn not in known:
            yield f"{start.arn}: its start was acknowledged, and it is lost"
    for (flow, name), answers in told.items():
        if len(answers) > 1:
            yield f"{flow} was started {len(answers)} times under the name {name}"
    children = {child.name for run in evidence.runs for child in run.flow.needs}
    asked = {start.arn for start in evidence.starts}.union(evidence.tried)
    unasked = [run for run in evidence.runs if run.flow.name not in children and run.arn not in asked]
    yield from (f"{run.arn}: an execution that nobody asked for" for run in unasked)
    for name in children:
        began = sum(attempt.started and attempt.task.startswith("states:") for run in evidence.runs for attempt in attempts_of(run.events))
        if (there := sum(run.flow.name == name for run in evidence.runs)) > began:
            yield f"there are {there} executions of {name}, and {began} attempts to start one"
    twice = Counter(run.arn for run in evidence.runs)
    yield from (f"{arn}: there are {times} executions of this name" for arn, times in twice.items() if times > 1)


def _end(run: Run, faults: int) -> Iterator[str]:
    if not run.answers:
        yield "it has not ended in time"
        return
    if len({answer.end[0] for answer in run.answers}) > 1 or any(answer != run.answers[0] for answer in run.answers):
        yield f"its end has changed: {' then '.join(str(answer.end) for answer in run.answers)}"
    last = run.answers[-1]
    kind = run.events[-1]["type"] if run.events else ""
    if grammar.TERMINAL.get(kind) != last.status:
        yield f"it is told as {last.status}, and its history ends with {kind}"
    end = (last.end[0], run.flow.seen(last.end[1]))
    if end not in run.flow.outcomes and not (faults and end in run.flow.doubtful):
        yield f"it came to {end}, which {run.flow.name} does not allow"
    taken = sum(attempt.started for attempt in attempts_of(run.events) if attempt.task in FUNCTIONS or attempt.task.startswith(ACTIVITY_TASK))
    if not faults and taken > run.flow.effects:
        yield f"{taken} attempts were started, {run.flow.effects} are enough, and nothing had happened"
