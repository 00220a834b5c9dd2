"""Runs a definition and what it was converted to through the machine, in virtual time and with the same answers, and compares what they did."""

import json
from dataclasses import dataclass, field
from functools import cache

from flowrunner.asl.parse import parse_definition
from flowrunner.conversion import convert
from flowrunner.core import facts
from flowrunner.core.commands import CancelAttempt, RunAttempt
from flowrunner.core.machine import Machine
from flowrunner.core.run import Identity
from flowrunner.flow.parse import parse_flow
from flowrunner.kinds import BUILT_IN
from flowrunner.limits import OPEN
from flowrunner.workflow.parse import parse_workflow

START = 1_700_000_000_000  # 2023-11-14T22:13:20Z
PARSERS = {"asl": parse_definition, "flow": lambda text: parse_flow(text, BUILT_IN), "workflow": lambda text: parse_workflow(text, BUILT_IN)}


def text_of(definition):
    return definition if isinstance(definition, str) else json.dumps(definition)


def program_of(definition, form):
    parsed = PARSERS[form](text_of(definition))
    assert parsed.program is not None, [str(found) for found in parsed.diagnostics]
    return parsed.program


def assert_sound(parsed):
    """No findings but actions without an edge, which end what was converted as they ended it before."""
    assert [found for found in parsed.diagnostics if found.code != "ACTION_WITHOUT_EDGE"] == []


def converted(definition, form, to):
    """What it becomes, which is a sound definition."""
    made = convert(text_of(definition), form, to, BUILT_IN)
    assert made.definition is not None, [str(found) for found in made.diagnostics]
    assert_sound(PARSERS[to](json.dumps(made.definition)))
    return made.definition


def refusals(definition, form, to):
    """(pointer, message) of the findings that keep a definition from being converted."""
    assert program_of(definition, form) is not None
    made = convert(text_of(definition), form, to, BUILT_IN)
    assert made.definition is None
    errors = [found for found in made.diagnostics if found.severity == "ERROR"]
    assert {found.code for found in errors} == {"CANNOT_CONVERT"}
    assert all(found.line and found.column for found in errors)
    return [(found.pointer, found.message) for found in errors]


@dataclass
class Ran:
    """How an execution went. `calls` are (milliseconds since the start, state, parameters without the execution's own) of each attempt."""

    outcome: object = None
    calls: list = field(default_factory=list)

    @property
    def output(self):
        return json.loads(self.outcome.output)

    @property
    def story(self):
        """What two equivalent definitions have in common; calls of the same moment in the order of their names.

        Of branches that begin in the moment in which one of them fails, some may not get to their task: such calls are left out.
        """
        result = self.outcome.output and json.loads(self.outcome.output)
        failed = None if self.outcome.status == "SUCCEEDED" else worded({"error": self.outcome.error, "cause": self.outcome.cause})
        told = [call for call in self.calls if failed is None or call[0] < self.outcome.at - START]
        calls = sorted(told, key=lambda call: (call[0], call[1], json.dumps(call[2], sort_keys=True)))
        return {"status": self.outcome.status, "output": worded(result), "failed": failed, "at": self.outcome.at - START, "calls": calls}


def worded(value):
    """The value without the names and causes of failed evaluations: each language has its own."""
    if isinstance(value, dict):
        if value.get("error") in ("States.QueryEvaluationError", "FlowRunner.InvalidParameters"):
            value = {**{name: part for name, part in value.items() if name != "cause"}, "error": "an evaluation failed"}
        return {name: worded(part) for name, part in value.items()}
    return list(map(worded, value)) if isinstance(value, list) else value


def identity_of(given):
    return Identity(
        id="0123456789abcdef0123456789abcdef",
        arn="arn:aws:states:us-east-1:000000000000:execution:m:e",
        name="e",
        machine_arn="arn:aws:states:us-east-1:000000000000:stateMachine:m",
        machine_name="m",
        role_arn="arn:aws:iam::000000000000:role/r",
        region="us-east-1",
        account="000000000000",
        started_at=START,
        seed=b"0123456789abcdef",
        input=json.dumps(given),
    )


class Endless(AssertionError):
    """Its states lead back to where they came from."""


def run(program, given=None, answers=None, *, most=20_000):
    """Run a program to its end. `answers` is a function of (state, parameters, number of the attempt from 1) that gives the output of a task, or an Answer."""
    who = identity_of({} if given is None else given)
    machine, now, pending, queue, ran, tried = Machine(program, who, OPEN), START, [], [facts.Started(at=START)], Ran(), {}
    for _ in range(most):
        if queue:
            if machine.started:
                machine = Machine.restore(program, who, machine.snapshot(), OPEN)
            step = machine.apply(queue.pop(0))
            for command in step.commands:
                if isinstance(command, CancelAttempt):
                    pending[:] = [entry for entry in pending if entry[1].attempt != command.attempt]
                elif isinstance(command, RunAttempt):
                    called = {name: value for name, value in json.loads(command.parameters).items() if name != "execution"}
                    ran.calls.append((now - START, command.state, called))
                    tried[command.state] = tried.get(command.state, 0) + 1
                    queue.append(facts.AttemptStarted(at=now, attempt=command.attempt))
                    answer = answers(command.state, called, tried[command.state]) if answers is not None else {}
                    pending.append(_ending(answer if isinstance(answer, Answer) else Answer(answer), command.attempt, now))
            if step.more:
                queue.insert(0, facts.Continued(at=now))
            if step.outcome is not None:
                ran.outcome = step.outcome
                return ran
            continue
        pending.sort(key=lambda entry: entry[0])
        wake = machine.wake_at
        if pending and (wake is None or pending[0][0] <= wake):
            now, fact = pending.pop(0)
            queue.append(fact)
        elif wake is not None:
            now = max(now, wake)
            queue.append(facts.TimerFired(at=now))
        else:
            return ran
    raise Endless("the machine did not come to rest")


@dataclass
class Answer:
    """How an attempt ends: with this output and action, or an error; `after` so many milliseconds."""

    output: object = None
    action: str = "success"
    error: str | None = None
    cause: str | None = "because"
    after: int = 10


def _ending(answer, attempt, now):
    due = now + answer.after
    if answer.error is not None:
        return due, facts.AttemptFailed(at=due, attempt=attempt, error=answer.error, cause=answer.cause)
    return due, facts.AttemptSucceeded(at=due, attempt=attempt, output=json.dumps({"output": answer.output, "action": answer.action}))


@cache
def both(text, form, to):
    """The program of a definition, and that of what it becomes."""
    return program_of(text, form), program_of(converted(text, form, to), to)


def same(definition, form, to, given=None, answers=None, *, without=()):
    """Both run alike; gives how the source ran. `without` are members of the tasks' parameters that are not compared."""
    source, target = both(text_of(definition), form, to)
    one, other = run(source, given, answers), run(target, given, answers)
    for ran in (one, other):
        ran.calls = [(at, state, {name: value for name, value in called.items() if name not in without}) for at, state, called in ran.calls]
    assert other.story == one.story
    return one
