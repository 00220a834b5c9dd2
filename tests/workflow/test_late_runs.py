"""What timed out says so: which error, and how long it had."""

import json

from workflowplay import Player

from flowrunner.api.messages import Renderer
from flowrunner.api.runs import run_of
from flowrunner.ports.executions import Head


def slow(**members):
    return {"type": "command", "config": {"command": "echo"}, **members}


def test_a_run_that_takes_too_long():
    """Error and cause are those of the outcome and of the log."""
    played = Player({"timeout": 1, "steps": {"a": slow()}})
    played.wake()
    assert (played.outcome.status, played.outcome.error, played.outcome.cause) == ("TIMED_OUT", "States.Timeout", "The execution took longer than 1 s.")


def test_a_step_that_takes_too_long():
    """Its cause says how long it had; the steps after it read the same."""
    steps = {"a": slow(timeout="250ms", onError="continue"), "b": slow(dependsOn=["a"])}
    played = Player({"steps": steps})
    played.wake()
    (ended,) = played.notes("StepCompleted")
    assert (ended["error"], ended["cause"]) == ("States.Timeout", "The attempt took longer than 0.25 s.")


def test_a_run_that_timed_out_has_an_error_by_every_way():
    """Also one whose log, as that of a state machine, names none."""
    head = Head(
        id="1".zfill(32), account="000000000000", machine="workflow/w", name="n", revision="r", status="TIMED_OUT", input="{}", seed=b"s" * 16, started_at=0, stopped_at=1000
    )  # fmt: skip
    assert run_of(head, "us-east-1", whole=False).error == "States.Timeout"
    renderer = Renderer(head.id, "notes")
    assert json.loads(renderer.last(head))["payload"]["error"] == "States.Timeout"
    late = {"timestamp": 1.0, "type": "ExecutionTimedOut", "id": 2, "previousEventId": 1}
    (told,) = renderer.messages(2, late)
    assert json.loads(told.text)["payload"]["error"] == "States.Timeout"
