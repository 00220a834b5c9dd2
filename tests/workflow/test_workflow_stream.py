"""What a run's stream tells of the two-step workflow, from the records that the machine itself writes."""

import json
from pathlib import Path

from workflowplay import Player

from flowrunner.ports.executions import Head
from flowrunner.views.run import steps, variable_changes
from flowrunner.views.stream import note_message

TWO_STEPS = (Path(__file__).resolve().parents[2] / "examples" / "two_step_workflow.json").read_text(encoding="utf-8")
HEAD = Head(
    id="0" * 32, account="0", machine="workflow/w", name="n", revision="r", status="SUCCEEDED", input="{}", seed=b"s" * 16, started_at=1_700_000_000_000
)


def test_the_sequence_of_the_guide():
    """step_start, step_log "Starting step: Fetch User Data", step_complete, both variables created from null, then the second step, which sees one of them."""
    player = Player(TWO_STEPS)
    player.answer("step1", {"userId": 1, "title": "a title", "status": 200})
    assert player.params("step2")["args"] == ["Processing user 1"]
    player.answer("step2", {"exitCode": 0, "stdout": "Processing user 1\n"})
    messages = [message for record in player.records if (message := note_message(record)) is not None]
    told = [(message.kind, message.payload) for message in messages if message.kind in ("step_start", "step_log", "step_complete")]
    assert [(kind, payload["stepId"]) for kind, payload in told] == [
        ("step_start", "step1"),
        ("step_log", "step1"),
        ("step_complete", "step1"),
        ("step_start", "step2"),
        ("step_log", "step2"),
        ("step_complete", "step2"),
    ]
    assert told[0][1] == {"stepId": "step1", "stepName": "Fetch User Data"}
    assert told[1][1] == {"stepId": "step1", "level": "info", "message": "Starting step: Fetch User Data", "timestamp": "2023-11-14T22:13:20.000Z"}
    assert told[2][1] == {"stepId": "step1", "stepName": "Fetch User Data", "status": "success", "duration": 10}
    changes = [message.payload for message in messages if message.kind == "variable_change"]
    assert sorted(changes, key=lambda change: change["varName"]) == [
        {"stepId": "step1", "varName": "title", "oldValue": None, "newValue": "a title", "changeType": "create"},
        {"stepId": "step1", "varName": "userId", "oldValue": None, "newValue": 1, "changeType": "create"},
    ]
    assert [(change["varName"], change["newValue"]) for change in variable_changes(HEAD, player.records)] == [
        (change["varName"], change["newValue"]) for change in changes
    ]


def test_the_steps_of_the_run():
    """What each step was given, with its expressions filled in, and what it gave."""
    player = Player(TWO_STEPS)
    player.answer("step1", {"userId": 1, "title": "a title"})
    player.answer("step2", {"exitCode": 0})
    first, second = steps(HEAD, player.records)
    assert (first["status"], first["inputData"]["url"], first["duration"]) == ("success", json.loads(TWO_STEPS)["variables"]["apiUrl"], 10)
    assert first["outputData"]["userId"] == 1
    assert (second["inputData"]["args"], second["outputData"]) == (["Processing user 1"], {"exitCode": 0})


def test_a_step_that_was_skipped_is_shown():
    """It has no input and took no time."""
    player = Player({"steps": {"a": {"type": "command", "config": {"command": "x"}, "when": False}, "b": {"type": "command", "config": {"command": "x"}}}})
    player.answer("b", {})
    first, second = steps(HEAD, player.records)
    assert (first["stepId"], first["status"], first["inputData"], first["duration"], first["attempts"]) == ("a", "skipped", None, 0, 0)
    assert second["status"] == "success"
