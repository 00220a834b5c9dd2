"""Every message of real runs is as the AsyncAPI document has it: of flows, workflows and state machines, by both sockets."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from play import START, identity_of, play, program_of

from described import Described
from flowrunner.api.asyncapi import document
from flowrunner.api.historyshapes import events_of
from flowrunner.api.livemessages import PAYLOADS
from flowrunner.api.messages import Renderer
from flowrunner.api.socket_v1 import StatusRendering
from flowrunner.api.wire import texts
from flowrunner.core import facts
from flowrunner.core.machine import Machine
from flowrunner.limits import AWS
from flowrunner.ports.executions import Head
from standings import messages_of, snapshot_of

CASES = Path(__file__).parent.parent / "cases"
FORMATS = [(form, case) for form in ("flow", "workflow") for case in json.loads((CASES / "formats" / f"{form}.json").read_text())]
MACHINES = [case for file in sorted((CASES / "machine").glob("*.json")) for case in json.loads(file.read_text())]


@pytest.fixture
def store_url():
    """One store does: messages are made of what is in all of them."""
    return "memory:"


@pytest.fixture
def described():
    return Described(document())


TASK = {
    "StartAt": "Ask",
    "States": {
        "Ask": {
            "Type": "Task",
            "Resource": "arn:aws:states:::sns:publish.waitForTaskToken",
            "Parameters": {"TopicArn": "arn:aws:sns:us-east-1:000000000000:t", "Message.$": "$$.Task.Token"},
            "TimeoutSeconds": 60,
            "HeartbeatSeconds": 9,
            "Credentials": {"RoleArn": "arn:aws:iam::000000000000:role/r"},
            "End": True,
        }
    },
}
FUNCTION = {"StartAt": "F", "States": {"F": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:f", "End": True}}}
BEGUN = facts.AttemptStarted(at=START, attempt=1)
SUBMITTED = facts.AttemptSubmitted(at=START, attempt=1, output="{}")
# What becomes of tasks, where no case of machines has it.
TASKS = [
    (TASK, BEGUN, SUBMITTED, facts.AttemptSucceeded(at=START, attempt=1, output="1", job=True)),
    (TASK, BEGUN, facts.AttemptFailed(at=START, attempt=1, error="E", cause="why", phase="submit")),
    (TASK, facts.AttemptFailed(at=START, attempt=1, error="E", phase="start")),
    (TASK, BEGUN, SUBMITTED, facts.Stopped(at=START, error="E", cause="why")),
    (FUNCTION, facts.AttemptFailed(at=START, attempt=1, error="E", phase="schedule")),
]


def head_of(outcome):
    """The head of a state machine's execution that ended so."""
    named = {"id": "0" * 32, "account": "0", "machine": "m", "name": "n", "revision": "r", "input": "{}", "seed": b"s" * 16, "started_at": START}
    return Head(**named, status=outcome.status, output=outcome.output, error=outcome.error, cause=outcome.cause, stopped_at=outcome.at, last_seq=9)


def check(described, head, records, kinds):
    """All that streams tell of a run, in each of these renderings, with a snapshot after each record; and what the older socket tells."""
    for kind in kinds:
        for message in messages_of(head, records, kind):
            described.check("run", message)
        for count in range(1, len(records) + 1, 1 + len(records) // 20):
            described.check("run", snapshot_of(head, records[:count], kind))
        described.check("run", json.loads(Renderer(head.id, kind).last(head)))
    rendering = StatusRendering(head)
    frames = [*rendering.opening(), *(part for seq, record in enumerate(records, 1) for part in rendering.take(seq, record)), *rendering.end(head)]
    for text in texts(b"".join(frames)):
        described.check("executions", json.loads(text))


async def test_flows_and_workflows(bench, described):
    """Every case of formats, also with the events of the history; together they have every type there is."""
    for form, case in FORMATS:
        bench.handler.table = {name: list(outcomes) for name, outcomes in case["answers"].items()}
        head = replace(await bench.run(case["definition"], case.get("input"), form=form), machine=f"{form}/f")
        check(described, head, await bench.records(head.id), ("notes", "whole"))
    own = {f"run.{kind}" for kind in PAYLOADS}
    assert own | {"executions.status", "executions.log", "executions.complete"} <= described.seen


def test_state_machines(described):
    """Every case of machines, and what is rarer; together they have every type there is."""
    for case in MACHINES:
        played = play(case["definition"], case.get("input"), case.get("answers"))
        check(described, head_of(played.outcome), played.records, ("history",))
    for definition, *told in TASKS:
        machine = Machine(program_of(definition), identity_of({}), AWS)
        records = [record for fact in (facts.Started(at=START), *told) for record in machine.apply(fact).records]
        check(described, head_of(machine.outcome), records, ("history",))
    for tolerated in (0, 100):
        inner = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "Bad", "States": {"Bad": {"Type": "Fail"}}}
        state = {"Type": "Map", "Items": [1], "ItemProcessor": inner, "ToleratedFailurePercentage": tolerated, "End": True}
        played = play({"QueryLanguage": "JSONata", "StartAt": "Each", "States": {"Each": state}})
        check(described, head_of(played.outcome), played.records, ("history",))
    assert {f"run.{kind}" for kind in events_of()} | {"run.snapshot", "run.end"} <= described.seen


def test_what_is_not_described_is_found(described):
    """A type, a member or a value that the document does not have."""
    (first, *_) = messages_of(
        Head(id="0" * 32, account="0", machine="m", name="n", revision="r", status="RUNNING", input="{}", seed=b"s" * 16, started_at=0),
        [{"timestamp": 1.0, "type": "PassStateEntered", "id": 2, "previousEventId": 1, "stateEnteredEventDetails": {"name": "A", "input": "{}", "inputDetails": {"truncated": False}}}],
        "history",
    )  # fmt: skip
    described.check("run", first)
    wrong = [{**first, "type": "new"}, {**first, "more": 1}, {**first, "seq": "1"}, {**first, "payload": {**first["payload"], "more": 1}}]
    wrong += [{name: value for name, value in first.items() if name != left_out} for left_out in ("seq", "runId", "payload", "ts", "v")]
    for message in wrong:
        with pytest.raises(AssertionError):
            described.check("run", message)
