"""Plays a workflow through the machine in virtual time, warm or through a snapshot after every fact."""

import json

from flowrunner.core import facts
from flowrunner.core.commands import RunAttempt
from flowrunner.core.machine import Machine
from flowrunner.core.run import Identity
from flowrunner.kinds import BUILT_IN
from flowrunner.limits import OPEN
from flowrunner.workflow.parse import parse_workflow

START = 1_700_000_000_000


def compiled(definition, templates=None):
    parsed = parse_workflow(definition if isinstance(definition, str) else json.dumps(definition), BUILT_IN, templates)
    assert parsed.program is not None, [str(found) for found in parsed.diagnostics]
    return parsed.program


class Player:
    def __init__(self, definition, variables=None, *, restored=False, templates=None):
        self.program, self.restored = compiled(definition, templates), restored
        self.identity = Identity(
            id="0123456789abcdef0123456789abcdef",
            arn="arn:aws:states:us-east-1:000000000000:execution:workflow/w:e",
            name="e",
            machine_arn="arn:aws:states:us-east-1:000000000000:stateMachine:workflow/w",
            machine_name="workflow/w",
            role_arn="arn:aws:iam::000000000000:role/r",
            region="us-east-1",
            account="000000000000",
            started_at=START,
            seed=b"0123456789abcdef",
            input=json.dumps({"variables": variables or {}}),
        )
        self.machine = Machine(self.program, self.identity, OPEN)
        self.now, self.open, self.records = START, {}, []
        self.take(facts.Started(at=self.now))

    def take(self, fact):
        step = self.machine.apply(fact)
        self.records += step.records
        for command in step.commands:
            if isinstance(command, RunAttempt):
                self.open[command.attempt] = command
        if self.restored and self.machine.outcome is None:
            self.machine = Machine.restore(self.program, self.identity, self.machine.snapshot(), OPEN)
        if step.more:
            self.take(facts.Continued(at=self.now))

    def running(self):
        return [command.state for command in self.open.values()]

    def called(self, state):
        """The parameters of the open attempt of a step."""
        return json.loads(next(command for command in self.open.values() if command.state == state).parameters)

    def params(self, state):
        return self.called(state)["params"]

    def answer(self, state, output=None, *, error=None, after=10):
        number = next(number for number, command in self.open.items() if command.state == state)
        command = self.open.pop(number)
        self.now += after
        self.take(facts.AttemptStarted(at=self.now, attempt=number))
        if error is not None:
            self.take(facts.AttemptFailed(at=self.now, attempt=number, error=error, cause="because"))
            return
        if command.resource.pattern:
            self.take(facts.AttemptSubmitted(at=self.now, attempt=number, output='{"ExecutionArn": "a:b"}'))
            self.take(facts.AttemptSucceeded(at=self.now, attempt=number, output=json.dumps(output), job=True))
        else:
            own = {"output": output, "action": "success"} if command.resource.service == "flowrunner" else output
            self.take(facts.AttemptSucceeded(at=self.now, attempt=number, output=json.dumps(own)))

    def wake(self):
        self.now = self.machine.wake_at
        self.take(facts.TimerFired(at=self.now))

    def notes(self, *kinds):
        return [{"is": record["type"], **record["note"]} for record in self.records if "note" in record and (not kinds or record["type"] in kinds)]

    @property
    def outcome(self):
        return self.machine.outcome

    @property
    def output(self):
        assert self.outcome.status == "SUCCEEDED", self.outcome
        return json.loads(self.outcome.output)
