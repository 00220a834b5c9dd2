"""A step that waits says what for, and until when."""

from workflowplay import Player

from flowrunner.core import facts
from flowrunner.core.program import Branch, Label, Program, State, TaskWork
from flowrunner.views.stream import note_message
from flowrunner.workflow.parse import parse_workflow


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


def submitted(played):
    """The call of the only step was answered; what it waits for comes later."""
    (number,) = played.open
    played.take(facts.AttemptStarted(at=played.now, attempt=number))
    assert not played.notes("StepWaiting")
    played.take(facts.AttemptSubmitted(at=played.now, attempt=number, output='{"ExecutionArn": "a:b"}'))
    (message,) = [message for record in played.records if (message := note_message(record)) is not None and message.kind == "waiting"]
    return message.payload


def test_a_step_that_waits_for_a_run_of_its_own():
    """From when that run has begun; its own timeout bounds it."""
    child = {"name": "Child", "type": "workflow", "config": {"workflowId": "other"}}
    told = submitted(Player({"steps": {"child": child}}))
    assert told == {"stepId": "child", "stepName": "Child", "for": "execution", "until": None}
    told = submitted(Player({"steps": {"child": {**child, "timeout": 60}}}))
    assert (told["for"], told["until"]) == ("execution", "2023-11-14T22:14:20.000Z")


def test_a_run_that_is_only_begun_is_not_waited_for():
    """Without `wait` the step is over once the run has begun."""
    played = Player({"steps": {"child": {"type": "workflow", "config": {"workflowId": "other", "wait": False}}}})
    played.answer("child", {"ExecutionArn": "a:b"})
    assert played.outcome.status == "SUCCEEDED"
    assert not played.notes("StepWaiting")


def test_a_step_that_waits_for_a_callback():
    """No kind of step does so; what the machine tells of a task with a token is the same for all formats."""
    work = TaskWork(resource="arn:aws:states:::sqs:sendMessage.waitForTaskToken", timeout_milliseconds=60_000)
    asks = State(name="asks", kind="Task", work=work, language="JSONata", label=Label(id="asks", name="Asks", type="approval"))
    program = Program(root=Branch(start_at="asks", states={"asks": asks}), notes=True)

    def parse(text, kinds, templates):
        return parse_workflow('{"steps": {"a": {"type": "command", "config": {"command": "echo"}}}}', kinds, templates)._replace(program=program)

    told = submitted(Player({}, parse=parse))
    assert told == {"stepId": "asks", "stepName": "Asks", "for": "callback", "until": "2023-11-14T22:14:20.000Z"}
