"""Executions that start themselves until it goes too far: what fails far down is told all the way up, and does not grow on it."""

import asyncio
import itertools
import json
import os
from contextlib import AsyncExitStack

import pytest
from enginebench import ACCOUNT

from flowrunner.clock import SystemClock
from flowrunner.config import Settings
from flowrunner.core.faults import handed_up, read_handed_up
from flowrunner.definitions.entries import About
from flowrunner.definitions.service import Definitions
from flowrunner.engine.children import MOST_NESTED
from flowrunner.formats import reader
from flowrunner.kinds import BUILT_IN
from flowrunner.limits import MAX_CAUSE_CHARACTERS
from flowrunner.ports.definitions import Machine, Revision
from flowrunner.ports.executions import ExecutionQuery
from flowrunner.wiring import build

MIB = 1024 * 1024
LEVELS = MOST_NESTED + 2  # of a state machine that starts itself: nothing but itself stops that
FLOW = "metadata: {name: self, start: a}\nnodes:\n  a: {type: flow, params: {flow_id: self, input: {text: %s}}}\n"
STEPS = {"name": "self", "steps": {"a": {"type": "workflow", "config": {"workflowId": "self", "variables": {"text": "x" * 2000}}}}}
CASE = {"testId": "self", "name": "self", "steps": [{"id": "a", "type": "test-case", "config": {"testId": "self"}}]}
MACHINE = {
    "StartAt": "Deep",
    "QueryLanguage": "JSONata",
    "States": {
        "Deep": {"Type": "Choice", "Choices": [{"Condition": "{% $states.input.n >= " + str(LEVELS) + " %}", "Next": "End"}], "Default": "Again"},
        "Again": {
            "Type": "Task",
            "Resource": "arn:aws:states:::states:startExecution.sync",
            "Arguments": {
                "StateMachineArn": f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:self",
                "Input": {"n": "{% $states.input.n + 1 %}", "text": 'a "text" ' * 200},
            },
            "End": True,
        },
        "End": {"Type": "Fail", "Error": "Deep", "Cause": "deep enough"},
    },
}


@pytest.fixture
async def server(tmp_path):
    async with AsyncExitStack() as stack:
        application = build(Settings(store=f"sqlite:///{tmp_path / 'chains.db'}", dev=True))
        await application.start(stack)
        yield application


async def state_machine(server):
    revision = Revision(
        id="c9c9e3f0-6ef2-4b36-9ad2-0a3b1a0b3f11",
        account=ACCOUNT,
        machine="self",
        definition=json.dumps(MACHINE),
        role_arn=f"arn:aws:iam::{ACCOUNT}:role/r",
        created_at=0,
        settings={},
    )
    return await server.store.definitions.create_machine(Machine(account=ACCOUNT, name="self", type="STANDARD", created_at=0, revision=revision))


async def kept(server, form, text):
    cases = Definitions(server.store, form="test", parse=reader("test", BUILT_IN), clock=SystemClock(), randomness=os.urandom)
    definitions = {"flow": server.authoring.flows, "workflow": server.authoring.workflows, "test": cases}[form]
    made = await definitions.create(ACCOUNT, text, by="ada", about=About(), name="self")
    return await definitions.machine(ACCOUNT, made.definition.id)


async def ended(server, machine, given):
    """The first execution of a chain, and all those of the chain, when they have ended."""
    head = await server.engine.start_execution(machine, input=json.dumps(given))
    async with asyncio.timeout(60):
        first = await server.feed.ended(head.id)
    return first, await server.store.executions.list(ExecutionQuery(account=ACCOUNT, machine=machine.name, limit=1000))


def sizes(path):
    return sum(file.stat().st_size for file in path.iterdir() if file.name.startswith("chains.db"))


@pytest.mark.parametrize("form", ["flow", "workflow", "test"])
async def test_a_chain_of_our_own_formats(server, tmp_path, form):
    """The deepest one says why it was not started; every one above has those words, and the store stays small."""
    text = {"flow": FLOW % json.dumps("x" * 2000), "workflow": json.dumps(STEPS), "test": json.dumps(CASE)}[form]
    first, all_of_them = await ended(server, await kept(server, form, text), {})
    assert (first.status, len(all_of_them)) == ("FAILED", MOST_NESTED + 1)
    assert {head.status for head in all_of_them} == {"FAILED"}
    assert max(len(head.cause) for head in all_of_them) <= MAX_CAUSE_CHARACTERS
    assert f"there are {MOST_NESTED} levels of executions above it already" in first.cause
    if form != "test":
        words = {"flow": "flow", "workflow": "workflow"}[form]
        assert first.error == "States.TaskFailed"
        assert first.cause.startswith(f"States.TaskFailed: The {words} 'self' was not started: ")
    assert sizes(tmp_path) < 8 * MIB  # most of it is the write-ahead log


async def test_a_chain_of_state_machines(server, tmp_path):
    """The cause of each is a description that can be read, cut to what a cause may have."""
    first, all_of_them = await ended(server, await state_machine(server), {"n": 1})
    assert (first.status, first.error, len(all_of_them)) == ("FAILED", "States.TaskFailed", LEVELS)
    causes = [head.cause for head in all_of_them if head.error == "States.TaskFailed"]
    assert max(map(len, causes)) <= MAX_CAUSE_CHARACTERS
    described = [json.loads(cause) for cause in causes]
    assert {one["Status"] for one in described} == {"FAILED"}
    assert {one["Error"] for one in described} == {"States.TaskFailed", "Deep"}
    whole = [one for one in described if one["Error"] == "Deep"]
    assert [(one["Cause"], one["InputDetails"], json.loads(one["Input"])["n"]) for one in whole] == [("deep enough", {"Included": True}, LEVELS)]
    assert {one["InputDetails"]["Included"] for one in described} == {True, False}
    assert sizes(tmp_path) < 16 * MIB


def test_what_is_handed_up_names_the_error_once():
    """However long the chain is."""
    told = handed_up("FlowRunner.HttpStatus", "The answer was 500: no.")
    assert told == "FlowRunner.HttpStatus: The answer was 500: no."
    assert read_handed_up(told) == ("FlowRunner.HttpStatus", "The answer was 500: no.")
    chain = list(itertools.accumulate(range(5), lambda cause, _: handed_up("States.TaskFailed", cause), initial=told))
    assert set(chain[1:]) == {f"States.TaskFailed: {told}"}
    assert len(handed_up("E" * 1000, "c" * 100_000)) == MAX_CAUSE_CHARACTERS
    assert (read_handed_up("States.Timeout"), read_handed_up("There is no workflow 'x'.")) == (("States.Timeout", None), None)
