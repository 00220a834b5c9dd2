"""Answers that come before the call that asked for them has returned."""

import pytest
from play import START, identity_of, program_of

from flowrunner.core import facts
from flowrunner.core.machine import Machine

CALLBACK = {
    "Type": "Task",
    "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
    "Parameters": {"FunctionName": "f", "Payload": {"t.$": "$$.Task.Token"}},
    "End": True,
}


def running(task):
    program, identity = program_of({"StartAt": "T", "States": {"T": task}}), identity_of({})
    machine = Machine(program, identity)
    machine.apply(facts.Started(at=START))
    machine.apply(facts.AttemptStarted(at=START, attempt=1))
    return machine, lambda: Machine.restore(program, identity, machine.snapshot())


def types(step):
    return [record["type"] for record in step.records]


@pytest.mark.parametrize(
    ("answer", "event", "status"),
    [
        (facts.AttemptSucceeded(at=START + 5, attempt=1, output="1", job=True), "TaskSucceeded", "SUCCEEDED"),
        (facts.AttemptFailed(at=START + 5, attempt=1, error="E", job=True), "TaskFailed", "FAILED"),
    ],
)
def test_a_token_answered_before_its_call(answer, event, status):
    """The answer is kept, over a restart too, until the call has returned: TaskSubmitted comes first."""
    machine, restored = running(CALLBACK)
    assert not machine.apply(answer).records
    assert not machine.apply(facts.AttemptSucceeded(at=START + 6, attempt=1, output="2", job=True)).records
    for each in (restored(), machine):
        step = each.apply(facts.AttemptSubmitted(at=START + 9, attempt=1, output="{}"))
        assert types(step)[:2] == ["TaskSubmitted", event]
        assert each.outcome.status == status
        assert each.outcome.output == ("1" if status == "SUCCEEDED" else None)


def test_a_token_answered_by_a_call_that_is_lost():
    """Whatever became of the call: its token was answered."""
    machine, _ = running(CALLBACK)
    machine.apply(facts.AttemptSucceeded(at=START + 5, attempt=1, output="1", job=True))
    assert types(machine.apply(facts.AttemptLost(at=START + 9, attempt=1)))[0] == "TaskSucceeded"
    assert machine.outcome.output == "1"


@pytest.mark.parametrize("fails", [True, False], ids=["fails", "takes too long"])
def test_a_token_answered_by_a_call_that_comes_to_nothing(fails):
    """The first answer counts, though the call that handed the token out fails afterwards, or never returns; over a restart too."""
    machine, restored = running({**CALLBACK, "TimeoutSeconds": 10})
    machine.apply(facts.AttemptSucceeded(at=START + 5, attempt=1, output="1", job=True))
    assert machine.open_attempt(1).answered
    for each in (restored(), machine):
        step = each.apply(facts.AttemptFailed(at=START + 10_000, attempt=1, error="E") if fails else facts.TimerFired(at=START + 10_000))
        assert types(step)[0] == "TaskSucceeded"
        assert [command.attempt for command in step.commands] == ([] if fails else [1])
        assert (each.outcome.status, each.outcome.output) == ("SUCCEEDED", "1")


def test_a_call_that_fails_has_no_answer_to_wait_for():
    """The call itself may fail before anything was submitted."""
    machine, _ = running(CALLBACK)
    assert types(machine.apply(facts.AttemptFailed(at=START + 5, attempt=1, error="E")))[0] == "TaskFailed"


@pytest.mark.parametrize("job", [False, True])
def test_an_activity_is_answered_at_once(job):
    """Only calls that are submitted have something to wait for."""
    machine, _ = running({"Type": "Task", "Resource": "arn:aws:states:us-east-1:000000000000:activity:a", "End": True})
    assert types(machine.apply(facts.AttemptSucceeded(at=START + 5, attempt=1, output="1", job=job)))[0] == "ActivitySucceeded"
