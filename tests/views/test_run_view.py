"""Steps, logs and variable changes of runs, folded from their records."""

import orjson
from notelog import Log, head

from flowrunner.views.run import StepsFold, logs, steps, variable_changes

RUN = head("workflow/users", id="0" * 31 + "2")


def test_steps_of_the_two_step_workflow():
    """Each step has its name, status, times, duration, what it was given and what it returned."""
    log = Log()
    log.event("ExecutionStarted", {"input": "{}"})
    entered = log.step("step1", given='{"seen": 1}')
    log.event("TaskScheduled", {"parameters": orjson.dumps({"params": {"url": "http://x"}, "input": {}}).decode()}, previous=entered)
    log.event("TaskStarted")
    log.done("step1", {"userId": 1})
    log.step("step2", given='{"seen": 2}')
    first, second = steps(RUN, log.records)
    assert first == {
        "runId": RUN.id,
        "stepId": "step1",
        "stepName": "Step1",
        "stepType": "transform",
        "status": "success",
        "startTime": "2023-11-14T22:13:22.000Z",
        "endTime": "2023-11-14T22:13:26.000Z",
        "duration": 1000,
        "inputData": {"url": "http://x"},
        "outputData": {"userId": 1},
        "error": None,
        "attempts": 1,
    }
    assert (second["status"], second["inputData"], second["endTime"], second["duration"]) == ("running", {"seen": 2}, None, None)


def test_steps_side_by_side_and_again():
    """Events find their step by the event before them; a step entered twice is two entries; iterations are told apart."""
    log = Log()
    log.event("ExecutionStarted", {"input": "{}"})
    one, two = log.step("a"), log.step("b")
    log.event("TaskScheduled", {"parameters": '{"params": 1}'}, previous=one)
    log.event("TaskScheduled", {"parameters": '{"params": 2}'}, previous=two)
    log.done("b", 20)
    log.done("a", 10)
    log.step("a", iteration=0)
    log.step("a", iteration=1)
    log.done("a", "one", iteration=1)
    log.note("StepCompleted", stepId="a", stepName="A", stepType="x", iteration=0, status="failed", duration=1, error="E", cause="no")
    shown = [(step["stepId"], step["status"], step.get("iteration"), step["inputData"], step["outputData"], step["error"]) for step in steps(RUN, log.records)]
    assert shown == [
        ("a", "success", None, 1, 10, None),
        ("b", "success", None, 2, 20, None),
        ("a", "failed", 0, {}, None, "E: no"),
        ("a", "success", 1, {}, "one", None),
    ]


def test_work_of_states_within_a_step_is_not_its_input():
    """A batch runs states of its own; what they are given is not what the step was given."""
    log = Log()
    log.event("ExecutionStarted", {"input": "{}"})
    log.step("batch", given="[1, 2]")
    log.event("MapIterationStarted", {"name": "batch", "index": 0})
    log.event("TaskStateEntered", {"name": "inner", "input": "1"})
    log.event("TaskScheduled", {"parameters": '{"params": "of inner"}'})
    assert steps(RUN, log.records)[0]["inputData"] == [1, 2]


def test_open_steps_of_an_ended_run_are_cancelled():
    """Nothing is running in a run that is over; and what was taken once is not taken again."""
    log = Log()
    log.event("ExecutionStarted", {"input": "{}"})
    log.step("a")
    log.event("ExecutionAborted")
    fold = StepsFold(RUN)
    changed = [fold.take(seq, record) for seq, record in enumerate(log.records, 1)]
    assert changed == [False, False, True, False, True]
    assert not fold.take(3, log.records[2])
    [step] = fold.shown()
    assert (step["status"], step["duration"]) == ("cancelled", 2000)
    assert fold._events == {}


def test_logs_by_step_and_level():
    """Lines can be asked for by step and by level."""
    log = Log()
    log.event("ExecutionStarted", {"input": "{}"})
    log.step("a")
    log.step("b")
    log.note("StepLogged", stepId="b", stepName="B", level="error", message="bad", data=[1])
    assert [found["message"] for found in logs(RUN, log.records, step="b")] == ["Starting step: B", "bad"]
    assert logs(RUN, log.records, step="b", level="error") == [
        {"runId": RUN.id, "stepId": "b", "level": "error", "message": "bad", "timestamp": "2023-11-14T22:13:27.000Z", "data": [1]}
    ]


def test_variable_changes():
    """A change has old and new value; the first one is from null."""
    log = Log()
    log.note("VariableChanged", stepId="a", stepName="A", name="userId", oldValue=None, newValue=1, changeType="create")
    assert variable_changes(RUN, log.records) == [
        {"runId": RUN.id, "stepId": "a", "varName": "userId", "oldValue": None, "newValue": 1, "changeType": "create", "timestamp": "2023-11-14T22:13:20.000Z"}
    ]
