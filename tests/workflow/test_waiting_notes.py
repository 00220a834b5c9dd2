"""A step that waits says what for, and until when."""

from workflowplay import Player

from flowrunner.views.stream import note_message


def test_a_step_that_waits_for_a_time():
    """The note names the step and the moment; followers read it as RFC 3339."""
    played = Player({"steps": {"pause": {"type": "delay", "config": {"duration": "30s"}}}})
    (told,) = played.notes("StepWaiting")
    assert (told["stepId"], told["for"], told["until"]) == ("pause", "time", played.now + 30_000)
    made = note_message({"type": "StepWaiting", "timestamp": 1.0, "note": {**told, "until": 30_000}})
    assert (made.kind, made.payload["for"], made.payload["until"]) == ("waiting", "time", "1970-01-01T00:00:30.000Z")


def test_a_step_that_works_does_not_wait():
    """Nothing is told where nothing is waited for."""
    played = Player({"steps": {"a": {"type": "command", "config": {"command": "echo"}}}})
    assert not played.notes("StepWaiting")
