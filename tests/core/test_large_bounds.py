"""Bounds beyond 64 bits that come with the input bound nothing, and stand in a snapshot like any other."""

from play import START, identity_of, program_of

from flowrunner.core import facts
from flowrunner.core.machine import Machine
from flowrunner.limits import AWS

PROCESSOR = {
    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
    "StartAt": "Rest",
    "States": {"Rest": {"Type": "Wait", "Seconds": 5, "End": True}},
}
MAP = {"Type": "Map", "ItemsPath": "$.items", "ToleratedFailureCountPath": "$.most", "ItemProcessor": PROCESSOR, "End": True}


def test_a_tolerated_count():
    """The Map goes on from its snapshot."""
    program, who = program_of({"StartAt": "Each", "States": {"Each": MAP}}), identity_of({"items": [1, 2], "most": 10**30})
    machine = Machine(program, who, AWS)
    machine.apply(facts.Started(at=START))
    machine = Machine.restore(program, who, machine.snapshot(), AWS)
    machine.apply(facts.TimerFired(at=machine.wake_at))
    assert machine.outcome.status == "SUCCEEDED"
