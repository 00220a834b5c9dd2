"""Where a step ends: what goes on by itself, what only Continued moves on, and what is due first."""

import json

import pytest
from play import START, identity_of, play, program_of

from flowrunner.core import facts, records
from flowrunner.core.commands import RunAttempt
from flowrunner.core.machine import Machine
from flowrunner.lang.jsonpath import Path
from flowrunner.limits import AWS, OPEN

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:"
TASK = {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": FUNCTION + "f", "End": True}}}
WIDE_MAP = {
    "StartAt": "M",
    "States": {"M": {"Type": "Map", "End": True, "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, **TASK}}},
}
WIDE_PARALLEL = {
    "StartAt": "P",
    "States": {
        "P": {"Type": "Parallel", "End": True, "Branches": [json.loads(json.dumps(TASK).replace('"T"', f'"T{number}"')) for number in range(300)]},
    },
}


def machine_of(definition, given=None, limits=AWS):
    return Machine(program_of(definition), identity_of({} if given is None else given), limits)


@pytest.mark.parametrize(("definition", "given", "tasks"), [(WIDE_MAP, list(range(600)), 600), (WIDE_PARALLEL, {}, 300)], ids=["map", "parallel"])
def test_starting_attempts_orders_no_more_of_them(definition, given, tasks):
    """While the attempts of a cut step are marked as started, the machine gives no further commands: each is seen once, by whoever loops over the step's."""
    machine, ordered, step = machine_of(definition, given), [], None
    while step is None or step.more:
        step = machine.apply(facts.Started(at=START) if step is None else facts.Continued(at=START))
        orders = [command.attempt for command in step.commands if isinstance(command, RunAttempt)]
        ordered += orders
        for attempt in orders:
            started = machine.apply(facts.AttemptStarted(at=START, attempt=attempt))
            assert not started.commands
            assert started.more == step.more
    assert sorted(ordered) == list(range(1, tasks + 1))
    for attempt in ordered:
        machine.apply(facts.AttemptSucceeded(at=START, attempt=attempt, output="1"))
    while machine.has_ready:
        machine.apply(facts.Continued(at=START))
    assert machine.outcome.status == "SUCCEEDED"


@pytest.mark.parametrize("fact", [facts.AttemptHeartbeat, facts.AttemptStarted, facts.AttemptLost])
def test_what_ends_no_attempt_does_not_go_on_with_a_cut_step(fact):
    """A heartbeat, a repeated or a late fact gives an empty step, in the middle of a cut one too."""
    machine = machine_of(WIDE_PARALLEL)
    assert machine.apply(facts.Started(at=START)).more
    machine.apply(facts.AttemptStarted(at=START, attempt=1))
    step = machine.apply(fact(at=START, attempt=1 if fact is not facts.AttemptLost else 9999))
    assert not step.records
    assert not step.commands
    assert step.more


LOOP = {
    "A": {"Type": "Choice", "Choices": [{"Variable": "$.x", "IsPresent": True, "Next": "E"}], "Default": "B"},
    "B": {"Type": "Pass", "Next": "A"},
    "E": {"Type": "Succeed"},
}


def test_an_endless_loop_meets_the_execution_deadline():
    """TimeoutSeconds ends an execution that is never at rest."""
    machine = machine_of({"StartAt": "A", "TimeoutSeconds": 5, "States": LOOP}, limits=OPEN)
    assert machine.apply(facts.Started(at=START)).more
    assert machine.apply(facts.Continued(at=START + 4_999)).more
    step = machine.apply(facts.Continued(at=START + 5_000))
    (record,) = step.records
    assert (record["type"], record["previousEventId"], record["executionTimedOutEventDetails"]) == ("ExecutionTimedOut", 0, {"error": "States.Timeout"})
    assert (machine.outcome.status, machine.outcome.error) == ("TIMED_OUT", None)


def test_an_endless_loop_does_not_hold_up_its_siblings():
    """A Wait beside a loop of pure states ends when it is due."""
    waiting = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 1, "Next": "X"}, "X": {"Type": "Fail", "Error": "stop"}}}
    branches = [{"StartAt": "A", "States": LOOP}, waiting]
    machine = machine_of({"StartAt": "P", "States": {"P": {"Type": "Parallel", "End": True, "Branches": branches}}}, limits=OPEN)
    assert machine.apply(facts.Started(at=START)).more
    for second in (1, 2):
        machine.apply(facts.Continued(at=START + 1000 * second))
    assert machine.outcome.error == "stop"


def map_of(selector, language="JSONata", **fields):
    processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "E", "States": {"E": {"Type": "Succeed"}}}
    return {
        "QueryLanguage": language,
        "StartAt": "M",
        "States": {"M": {"Type": "Map", "End": True, **fields, "ItemSelector": selector, "ItemProcessor": processor}},
    }


@pytest.mark.parametrize("fields", [{}, {"MaxConcurrency": 10}], ids=["at once", "ten at a time"])
def test_each_item_of_a_map_has_its_own_budget(fields):
    """A Map of a thousand items may select each with an expression that costs some hundred steps."""
    assert play(map_of({"x": "{% $sum([1..300]) %}"}, **fields), list(range(1000)), limits=OPEN).outcome.status == "SUCCEEDED"


def test_the_effective_input_of_a_map_is_computed_once(monkeypatch):
    """InputPath is evaluated for the Map, not again for each of its items."""
    looked, evaluate = [], Path.evaluate
    monkeypatch.setattr(Path, "evaluate", lambda path, environment: (looked.append(path.text), evaluate(path, environment))[1])
    played = play(map_of({"x.$": "$$.Map.Item.Index", "first.$": "$[0].v"}, "JSONPath", InputPath="$[?(@.v>=0)]"), [{"v": item} for item in range(500)])
    assert played.output[499] == {"x": 499, "first": 0}
    assert looked.count("$[?(@.v>=0)]") == 1


@pytest.mark.parametrize(
    ("definition", "given"),
    [
        (map_of({"x": 1}), list(range(1000))),
        (map_of({"x.$": "$.big[?(@.v==1)]"}, "JSONPath", ItemsPath="$.l"), {"l": list(range(1000)), "big": [{"v": 1}] * 1000}),
    ],
    ids=["many", "costly"],
)
def test_opening_a_large_map_is_cut(definition, given):
    """Iterations are opened one by one, so that the bound of a step holds for them; filters cost as much as other expressions."""
    machine = machine_of(definition, given, limits=OPEN)
    assert machine.apply(facts.Started(at=START)).more
    waiting = json.loads(machine.snapshot())["root"]["wait"]
    assert 0 < len(waiting[-1]) <= (OPEN.transitions_per_step if given == list(range(1000)) else 10)


def test_a_step_is_cut_at_a_megabyte():
    """States that hand on a large payload end a step after some of them: its records fit into one write."""
    states = {f"P{number}": {"Type": "Pass", "Next": f"P{number + 1}"} for number in range(60)} | {"P60": {"Type": "Pass", "End": True}}
    played = play({"StartAt": "P0", "States": states}, {"x": "a" * 240_000})
    assert played.outcome.status == "SUCCEEDED"
    assert max(len(records.encode(step.records)) for step in played.steps) < 2_000_000


def test_heartbeats_and_ended_attempts_leave_no_timers():
    """However often a worker is alive, and however many attempts with a long time limit have ended: what is remembered stays small."""
    beating = {**TASK["States"]["T"], "HeartbeatSeconds": 90_000_000}
    machine = machine_of({"StartAt": "T", "States": {"T": beating}})
    machine.apply(facts.Started(at=START))
    machine.apply(facts.AttemptStarted(at=START, attempt=1))
    for second in range(1000):
        machine.apply(facts.AttemptHeartbeat(at=START + 1000 * second, attempt=1))
    assert len(machine._run.timers) == 1
    assert machine.wake_at == START + 999_000 + 90_000_000_000

    looping = {**beating, "TimeoutSeconds": 99_000_000, "Next": "T", "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "E"}]}
    del looping["End"]
    machine = machine_of({"StartAt": "T", "States": {"T": looping, "E": {"Type": "Succeed"}}}, limits=OPEN)
    machine.apply(facts.Started(at=START))
    for attempt in range(1, 1000):
        machine.apply(facts.AttemptStarted(at=START, attempt=attempt))
        machine.apply(facts.AttemptSucceeded(at=START, attempt=attempt, output="1"))
    assert len(machine._run.timers) < 100


def test_the_last_heartbeat_counts():
    """An attempt is out of time a heartbeat after the last sign of life, not after the first."""
    machine = machine_of({"StartAt": "T", "States": {"T": {**TASK["States"]["T"], "HeartbeatSeconds": 10}}})
    machine.apply(facts.Started(at=START))
    machine.apply(facts.AttemptStarted(at=START, attempt=1))
    machine.apply(facts.AttemptHeartbeat(at=START + 9_000, attempt=1))
    assert machine.wake_at == START + 19_000
    assert not machine.apply(facts.TimerFired(at=START + 10_000)).records
    assert machine.apply(facts.TimerFired(at=START + 19_000)).outcome.error == "States.Timeout"
