"""The checker says nothing of what is right, and finds each thing that is wrong."""

import json
from copy import deepcopy

import pytest

from flowrunner.testing.crash.checker import Answer, Evidence, Run, Start, check
from flowrunner.testing.crash.flows import UNKNOWN, Flow, again, chain, invoke

FLOW = Flow(
    name="one",
    definition=chain(Charge=invoke("charge", Retry=again(UNKNOWN))),
    outcomes=(("SUCCEEDED", {"done": True}),),
    doubtful=(("FAILED", UNKNOWN),),
    retried=frozenset({UNKNOWN}),
    effects=1,
)
RUN, ARN = "01" * 16, "arn:aws:states:us-east-1:000000000000:execution:one:a"
OUTPUT = json.dumps({"done": True})
SUCCESS = Answer("SUCCEEDED", OUTPUT)
SCHEDULED = {"taskScheduledEventDetails": {"resourceType": "lambda", "resource": "invoke", "parameters": json.dumps({"FunctionName": "charge"})}}
LOST = {"taskFailedEventDetails": {"resourceType": "lambda", "resource": "invoke", "error": UNKNOWN}}


def history(*events):
    """Events from (type, previous, details)."""
    return [
        {"id": number, "timestamp": float(number), "type": kind, "previousEventId": before, **more} for number, (kind, before, more) in enumerate(events, 1)
    ]


ONCE = (("ExecutionStarted", 0, {}), ("TaskStateEntered", 0, {}), ("TaskScheduled", 2, SCHEDULED), ("TaskStarted", 3, {}))
END = (("TaskSucceeded", 4, {}), ("TaskStateExited", 5, {}), ("ExecutionSucceeded", 6, {}))
AGAIN = (("TaskFailed", 4, LOST), ("TaskScheduled", 5, SCHEDULED), ("TaskStarted", 6, {}))
END_AGAIN = (("TaskSucceeded", 7, {}), ("TaskStateExited", 8, {}), ("ExecutionSucceeded", 9, {}))


def line(attempt, function="charge", run=RUN, at=4.0):
    return {"function": function, "key": f"{run}/{attempt}", "execution": ARN, "state": "Charge", "at": at}


def evidence(*events, lines, faults=0, answers=(SUCCESS,)):
    run = Run(flow=FLOW, arn=ARN, id=RUN, events=history(*events), answers=list(answers))
    return Evidence(runs=[run], starts=[Start("one", "a", ARN, 1.0)], lines=list(lines), faults=faults)


GOOD = evidence(*ONCE, *END, lines=[line(1)])
RETRIED = evidence(*ONCE, *AGAIN, *END_AGAIN, lines=[line(1), line(2)], faults=1)


@pytest.mark.parametrize("good", [GOOD, RETRIED, evidence(*ONCE, *AGAIN, *END_AGAIN, lines=[line(2)], faults=1)])
def test_what_is_right_is_passed(good):
    """A run, a run with an attempt in doubt that took effect, and one with an attempt in doubt that did not."""
    assert check(good) == []


def change(made, **parts):
    """A copy of evidence whose run has other parts."""
    changed = deepcopy(made)
    for name, value in parts.items():
        setattr(changed.runs[0] if hasattr(changed.runs[0], name) else changed, name, value)
    return changed


def without(place):
    return [event for event in GOOD.runs[0].events if event["id"] != place]


def twice(made, place):
    events = deepcopy(made.runs[0].events)
    return [*events, {**events[place - 1], "id": len(events) + 1, "timestamp": 99.0}]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (change(GOOD, events=without(5)), "without a gap"),
        (change(GOOD, events=[]), "is empty"),
        (change(GOOD, events=twice(GOOD, 3)), "led to TaskScheduled and to TaskScheduled"),
        (change(GOOD, events=twice(GOOD, 3)), "ended with event 7 and went on"),
        (change(GOOD, events=history(*ONCE[:2], ("TaskStarted", 2, {}), *END)), "TaskStarted) follows TaskStateEntered"),
        (change(GOOD, events=history(*ONCE, ("TaskSucceeded", 9, {}))), "follows a later one"),
        (change(GOOD, events=[{**event, "timestamp": -event["id"]} for event in GOOD.runs[0].events]), "times go back"),
        (change(GOOD, events=history(*ONCE, ("TaskRedone", 4, {}))), "a type that no flow here has"),
        (change(GOOD, lines=[line(1), line(1)]), "took effect 2 times in attempt 1"),
        (change(RETRIED, lines=[line(2), line(2)]), "took effect 2 times in attempt 2"),
        (change(GOOD, lines=[line(1), line(2)]), "attempt 2, which is not stored as started"),
        (change(GOOD, lines=[line(1, "ship")]), "ship took effect under its key"),
        (change(RETRIED, lines=[line(1, at=9.0), line(2)]), "took effect 4.0 s after attempt 1 was over"),
        (change(GOOD, lines=[]), "has a result, and no effect"),
        (change(GOOD, lines=[line(1), line(1, run="02" * 16)]), "nobody knows"),
        (change(RETRIED, faults=0), "nothing had happened"),
        (change(RETRIED, flow=Flow(name="one", definition={}, outcomes=FLOW.outcomes, effects=1)), "which nothing asks for"),
        (change(GOOD, answers=[]), "has not ended in time"),
        (change(GOOD, answers=[Answer("SUCCEEDED", OUTPUT), Answer("SUCCEEDED", "1")]), "its end has changed"),
        (change(GOOD, answers=[Answer("FAILED", None, "X")]), "is told as FAILED"),
        (change(GOOD, answers=[Answer("SUCCEEDED", "1")]), "does not allow"),
        (change(GOOD, starts=[*GOOD.starts, Start("one", "b", ARN + "b", 1.0)]), "it is lost"),
        (change(GOOD, starts=[*GOOD.starts, Start("one", "a", ARN, 2.0)]), "was started 2 times under the name a"),
        (change(GOOD, starts=[]), "nobody asked for"),
    ],
    ids=lambda part: part.replace(" ", "-") if isinstance(part, str) else "",
)
def test_what_is_wrong_is_found(wrong, words):
    """Each kind of wrong, alone in evidence that is right otherwise."""
    assert any(words in fault for fault in check(wrong)), check(wrong)
