"""The checker of notes says nothing of a good stream, and finds each thing that is wrong with one."""

import pytest

from flowrunner.testing.crash import notes
from flowrunner.testing.crash.checker import Answer, Evidence, Run, Start, check
from flowrunner.testing.crash.flows import STEPS
from flowrunner.testing.crash.grammar import faults


def stream(*told):
    """Messages from (type, step, more)."""
    return [{"seq": seq, "type": kind, "payload": {"stepId": step, **more}} for seq, (kind, step, more) in enumerate(told, 1)]


def variable(old, new):
    return ("variable_change", "a", {"varName": "x", "oldValue": old, "newValue": new})


BEGUN, ENDED = ("step_start", "a", {}), ("step_complete", "a", {"status": "success"})
LOOP = (("loop_start", "l", {}), ("iteration_start", "l", {"index": 0}), ("iteration_complete", "l", {"index": 0}), ("loop_complete", "l", {}))
IN_LOOP = [("step_start", "b", {"iteration": 0}), ("step_complete", "b", {"status": "success", "iteration": 0}), ("step_start", "b", {"iteration": 1})]
GOOD = (BEGUN, ENDED, ("step_complete", "s", {"status": "skipped"}), *LOOP, variable(None, 1), variable(1, 2))


def test_a_good_stream():
    """Steps, a skipped one, a loop, variables."""
    assert notes.faults(stream(*GOOD)) == []


def test_where_a_run_has_come_to():
    """A status of a node has no place in the log; it is told right before the node begins."""
    begun, ended = stream(BEGUN, ENDED)
    status = {"type": "status", "payload": {"status": "running", "node": {"id": "a"}}}
    assert notes.faults([status, begun, ended]) == []
    for wrong in ([begun, status, ended], [begun, ended, status], [{**status, "payload": {"node": {"id": "b"}}}, begun, ended]):
        assert "not followed by the step_start" in notes.faults(wrong)[0]


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ((*GOOD, BEGUN), "comes twice"),
        ((*GOOD, ENDED), "ended twice"),
        ((BEGUN,), "never ended"),
        ((ENDED,), "never began"),
        ((BEGUN, ("step_complete", "a", {"status": "lost"})), "no end"),
        ((*GOOD, *IN_LOOP), "never ended"),
        (LOOP[:-1], "has no loop_complete"),
        (LOOP[:2], "has no iteration_complete"),
        ((*LOOP, LOOP[3]), "comes twice"),
        ((LOOP[2],), "before its start"),
        ((variable(None, 1), variable(3, 4)), "was 1"),
    ],
)
def test_what_is_wrong(told, word):
    """A step or loop that begins or ends twice, never, or before it began; a variable whose change nobody told."""
    assert word in " ".join(notes.faults(stream(*told)))


def test_a_gap():
    """A place of the log that is missing, or told twice."""
    for wrong in (stream(*GOOD)[1:], [*stream(*GOOD), stream(*GOOD)[-1]]):
        assert "without a gap" in notes.faults(wrong)[0]


def test_an_exit_may_lead_to_several_steps():
    """But in a state machine it does not."""
    kinds = ((0, "ExecutionStarted"), (0, "PassStateEntered"), (2, "PassStateExited"), (3, "PassStateEntered"), (3, "PassStateEntered"))
    events = [{"id": number, "timestamp": 1.0, "type": kind, "previousEventId": before} for number, (before, kind) in enumerate(kinds, 1)]
    assert faults(events, stepped=True) == []
    assert "led to" in faults(events)[0]


def test_a_workflow_that_nobody_began():
    """One more than was answered is one too many."""
    run = Run(flow=STEPS, arn="1", id="1", events=[], answers=[Answer("SUCCEEDED", "{}")])
    said = check(Evidence(runs=[run], starts=[Start("steps", "steps-1", "2", None)], lines=[]))
    assert any("nobody asked for" in one for one in said)
