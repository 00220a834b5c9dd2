"""Which event may follow which in a history, as a table: an account of ASL's history that shares nothing with the engine's.

An event names the one that led to it (`previousEventId`). Each event leads to one other at most, but for those that open or
close branches: so a state that is left twice, or a next state that is chosen twice, shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Event = Mapping[str, Any]

_STATES = ("Pass", "Task", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map")
ENTERED = frozenset(f"{kind}StateEntered" for kind in _STATES)
EXITED = frozenset(f"{kind}StateExited" for kind in _STATES)
_FAMILIES = ("Task", "LambdaFunction", "Activity")
SCHEDULED = frozenset(f"{family}Scheduled" for family in _FAMILIES)
STARTED = frozenset(f"{family}Started" for family in _FAMILIES)
SUCCEEDED = frozenset(f"{family}Succeeded" for family in _FAMILIES)
FAILED = frozenset({f"{family}{end}" for family in _FAMILIES for end in ("Failed", "TimedOut", "StartFailed", "ScheduleFailed")} | {"TaskSubmitFailed"})
TERMINAL = {"ExecutionSucceeded": "SUCCEEDED", "ExecutionFailed": "FAILED", "ExecutionTimedOut": "TIMED_OUT", "ExecutionAborted": "ABORTED"}
FORKS = frozenset({"ParallelStateStarted", "MapStateStarted"})
NOTES = frozenset({"ParallelStateSucceeded", "MapIterationSucceeded", "MapStateSucceeded", *TERMINAL})
"""What is told beside the way: the next event follows the one before these."""


def _attempts() -> dict[str, frozenset[str]]:
    table: dict[str, frozenset[str]] = {}
    for family in _FAMILIES:
        under_way = frozenset({f"{family}Scheduled", f"{family}Started", f"{family}Submitted"})
        table[f"{family}Scheduled"] = frozenset({"TaskStateEntered"}) | FAILED
        table[f"{family}Started"] = frozenset({f"{family}Scheduled"})
        table[f"{family}Submitted"] = frozenset({f"{family}Started"})
        table[f"{family}Succeeded"] = under_way - {f"{family}Scheduled"}
        table |= dict.fromkeys((f"{family}Failed", f"{family}TimedOut", f"{family}StartFailed", f"{family}ScheduleFailed"), under_way)
    return table | {"TaskSubmitFailed": frozenset({"TaskStarted"})}


PREDECESSORS: Mapping[str, frozenset[str]] = {
    "ExecutionStarted": frozenset({""}),
    **dict.fromkeys(ENTERED, EXITED | {"", "ParallelStateStarted", "MapIterationStarted"}),  # AWS: the first state follows no event
    **_attempts(),
    "TaskStateExited": SUCCEEDED | FAILED,
    "ParallelStateStarted": frozenset({"ParallelStateEntered"}),
    "ParallelStateSucceeded": EXITED,
    "ParallelStateExited": EXITED,
    "MapStateStarted": frozenset({"MapStateEntered"}),
    "MapIterationStarted": EXITED | {"MapStateStarted"},  # one that waited for a place follows the one that made it
    "MapIterationSucceeded": EXITED,
    **dict.fromkeys(("MapStateSucceeded", "MapStateExited"), frozenset({"MapStateStarted", "MapIterationSucceeded"})),
    **{f"{kind}StateExited": frozenset({f"{kind}StateEntered"}) for kind in ("Pass", "Choice", "Wait", "Succeed")},
    "ExecutionSucceeded": EXITED,
    "ExecutionFailed": FAILED | {"FailStateEntered"},
    **dict.fromkeys(("ExecutionTimedOut", "ExecutionAborted"), frozenset({""})),
}
# In flows and workflows also: a step is skipped, and an iteration of a loop follows the end of the one before it.
STEPPED: Mapping[str, frozenset[str]] = {
    **{f"{kind}StateExited": PREDECESSORS[f"{kind}StateExited"] | {f"{kind}StateEntered"} for kind in ("Task", "Parallel", "Map")},
    "MapIterationStarted": PREDECESSORS["MapIterationStarted"] | {"MapIterationSucceeded"},
}


def faults(events: Sequence[Event], *, stepped: bool = False) -> list[str]:
    """What is wrong with a history, in words; nothing is wrong with one that goes on.

    In a flow or workflow (`stepped`) several steps may wait for one: its exit leads to each of them. That none begins twice is then seen in the notes.
    """
    if not events:
        return ["the history is empty"]
    found = []
    ids = [event["id"] for event in events]
    if ids != list(range(1, len(events) + 1)):
        place = next(number for number, given in enumerate(ids, 1) if given != number)
        found.append(f"the history is not numbered from 1 without a gap: event {place} has the number {ids[place - 1]}")
    kinds = {event["id"]: event["type"] for event in events}
    led: dict[int, str] = {}
    predecessors = {**PREDECESSORS, **STEPPED} if stepped else PREDECESSORS
    for place, event in enumerate(events):
        kind, before = event["type"], event["previousEventId"]
        if before and not before < event["id"]:
            found.append(f"event {event['id']} ({kind}) follows a later one, {before}")
        follows = kinds.get(before, "") if before else ""
        if kind not in predecessors:
            found.append(f"event {event['id']} is of a type that no flow here has: {kind}")
        elif follows not in predecessors[kind]:
            found.append(f"event {event['id']} ({kind}) follows {follows or 'nothing'} ({before})")
        if before and follows not in FORKS and kind not in NOTES and not (stepped and follows in EXITED):
            if before in led:
                found.append(f"event {before} ({follows}) led to {led[before]} and to {kind}")
            led[before] = kind
        if (kind == "ExecutionStarted") != (place == 0):
            found.append(f"event {event['id']} is {kind}")
        if kind in TERMINAL and place != len(events) - 1:
            found.append(f"the execution ended with event {event['id']} and went on")
    times = [event["timestamp"] for event in events]
    if times != sorted(times):
        found.append("times go back")
    return found
