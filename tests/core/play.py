"""Plays a definition through the machine in virtual time: tasks are answered from a table, timers fire when they are due."""

import json
from dataclasses import dataclass, field

from flowrunner.asl.parse import parse_definition
from flowrunner.core import facts
from flowrunner.core.commands import CancelAttempt, RunAttempt
from flowrunner.core.machine import Machine
from flowrunner.core.run import Identity
from flowrunner.limits import AWS

START = 1_700_000_000_000  # 2023-11-14T22:13:20Z


def program_of(definition):
    """Compile a definition given as JSON value or text; fails the test on diagnostics."""
    text = definition if isinstance(definition, str) else json.dumps(definition)
    parsed = parse_definition(text)
    assert parsed.program is not None, [str(found) for found in parsed.diagnostics]
    return parsed.program


def identity_of(given, seed=b"0123456789abcdef"):
    """A fixed identity around an input."""
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
        seed=seed,
        input=json.dumps(given),
    )


@dataclass
class Played:
    """One execution played to its end, or until nothing would ever move it."""

    machine: Machine
    facts: list = field(default_factory=list)
    steps: list = field(default_factory=list)

    @property
    def records(self):
        return [record for step in self.steps for record in step.records]

    @property
    def types(self):
        return [record["type"] for record in self.records]

    @property
    def outcome(self):
        return self.machine.outcome

    @property
    def output(self):
        return json.loads(self.outcome.output)

    @property
    def seconds(self):
        """Virtual seconds from the start to the end."""
        return (self.outcome.at - START) / 1000


def function_name(command):
    """The name a task is answered by: the function's, or the service's action."""
    return command.resource.arn.rsplit(":", 1)[-1]


class Answers:
    """What tasks answer: name -> list of outcomes, used up in order, the last one for ever.

    An outcome is ``{"return": v}``, ``{"fail": {"error", "cause"}}``, ``{"hang": true}`` or ``{"lost": true}``, with
    ``"after": seconds``.
    """

    def __init__(self, table):
        self._table = {name: list(outcomes) for name, outcomes in (table or {}).items()}

    def next(self, command):
        outcomes = self._table.get(function_name(command))
        if outcomes is None:
            return {"return": json.loads(command.parameters)}
        return outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]


def play(definition, given=None, answers=None, *, limits=AWS, seed=b"0123456789abcdef", most=100_000):
    """Run to the end; gives the facts and steps on the way."""
    played = Played(Machine(program_of(definition), identity_of({} if given is None else given, seed), limits))
    table, now, pending = Answers(answers), START, []

    def apply(fact):
        played.facts.append(fact)
        step = played.machine.apply(fact)
        played.steps.append(step)
        return step

    queue = [facts.Started(at=now)]
    for _ in range(most):
        if queue:
            step = apply(queue.pop(0))
            for command in step.commands:
                if isinstance(command, CancelAttempt):
                    pending[:] = [entry for entry in pending if entry[1].attempt != command.attempt]
                elif isinstance(command, RunAttempt):
                    queue.append(facts.AttemptStarted(at=now, attempt=command.attempt))
                    fact, due = outcome_fact(table.next(command), command.attempt, now)
                    if fact is not None:
                        pending.append((due, fact))
            if step.more:
                queue.insert(0, facts.Continued(at=now))
            if step.outcome is not None:
                return played
            continue
        pending.sort(key=lambda entry: entry[0])
        wake = played.machine.wake_at
        if pending and (wake is None or pending[0][0] <= wake):
            now, fact = pending.pop(0)
            queue.append(type(fact)(**{name: getattr(fact, name) for name in fact.__struct_fields__ if name != "at"}, at=now))
        elif wake is not None:
            now = max(now, wake)
            queue.append(facts.TimerFired(at=now))
        else:
            return played
    raise AssertionError("the machine did not come to rest")


def outcome_fact(outcome, attempt, now):
    """The fact of an answer and when it comes."""
    due = now + round(1000 * outcome.get("after", 0))
    if "return" in outcome:
        return facts.AttemptSucceeded(at=due, attempt=attempt, output=json.dumps(outcome["return"])), due
    if "fail" in outcome:
        return facts.AttemptFailed(at=due, attempt=attempt, error=outcome["fail"].get("error"), cause=outcome["fail"].get("cause")), due
    if "lost" in outcome:
        return facts.AttemptLost(at=due, attempt=attempt), due
    return None, due
