"""Plays a flow through the pure machine in virtual time. Tasks are answered by functions; scripts run as JavaScript in this process."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import quickjs

from flowrunner.core import facts
from flowrunner.core.commands import CancelAttempt, RunAttempt
from flowrunner.core.machine import Machine
from flowrunner.core.program import Program
from flowrunner.core.run import Identity
from flowrunner.flow.parse import parse_flow
from flowrunner.kinds import BUILT_IN
from flowrunner.limits import OPEN

ROOT = Path(__file__).resolve().parents[2]
START = 1_700_000_000_000  # 2023-11-14T22:13:20Z
ACCOUNT = "arn:aws:states:us-east-1:000000000000"


def program_of(text):
    parsed = parse_flow(text, BUILT_IN)
    assert parsed.program is not None, [str(found) for found in parsed.diagnostics]
    return parsed.program


def found_in(text):
    """The findings of a text, each as ``line:column severity CODE pointer``."""
    return [f"{one.line}:{one.column} {one.severity.lower()} {one.code} {one.pointer}" for one in parse_flow(text, BUILT_IN).diagnostics]


def identity_of(given, seed=b"0123456789abcdef"):
    return Identity(
        id="0123456789abcdef0123456789abcdef",
        arn=f"{ACCOUNT}:execution:flow/f-1:e-1",
        name="e-1",
        machine_arn=f"{ACCOUNT}:stateMachine:flow/f-1",
        machine_name="flow/f-1",
        role_arn="arn:aws:iam::000000000000:role/r",
        region="us-east-1",
        account="000000000000",
        started_at=START,
        seed=seed,
        input=json.dumps(given),
    )


class Fails(Exception):
    """A task fails with this error and cause."""

    def __init__(self, error, cause=None):
        super().__init__(error)
        self.error, self.cause = error, cause


class Hangs(Exception):
    """A task never answers."""


class JavaScript:
    """Runs the scripts of transform, condition and script nodes, with `random` in place of Math.random."""

    def __init__(self, secrets=None, random=0.5):
        self.secrets, self.random = secrets or {}, random
        self.logged = []

    def __call__(self, call):
        params = call["params"]
        source = params.get("script") or params.get("condition_script")
        if source is None:
            return {"output": call["input"], "action": "success"}
        names = {**{name: call.get(name, {}) for name in ("results", "shared", "variables")}, "input": call["input"], "secrets": self.secrets}
        names |= {"args": self.filled(params.get("args"), names), **{name: call["input"][name] for name in call.get("names", ())}}
        return {"output": self.run(source, names), "action": "success"}

    def run(self, source, names):
        """The value of a function body or an expression."""
        context = quickjs.Context()
        context.add_callable("say", self.logged.append)
        context.eval(f"Math.random = () => {self.random}; globalThis.console = {{log: (text) => say(String(text))}};")
        for name, value in names.items():
            context.eval(f"globalThis[{json.dumps(name)}] = {json.dumps(value)};")
        body = source if re.search(r"\breturn\b", source) else f"return ({source})"
        try:
            text = context.eval(f"JSON.stringify((() => {{ {body}\n }})())")
        except quickjs.JSException as error:
            raise Fails("FlowRunner.ScriptError", str(error).splitlines()[0]) from None
        return None if text is None else json.loads(text)

    def filled(self, value, names):
        """The value with each whole ``${ }`` evaluated."""
        if isinstance(value, dict):
            return {name: self.filled(part, names) for name, part in value.items()}
        if isinstance(value, list):
            return [self.filled(part, names) for part in value]
        found = re.fullmatch(r"\$\{(.*)\}", value, re.DOTALL) if isinstance(value, str) else None
        return value if found is None else self.run(found[1], names)


@dataclass
class Played:
    """One execution, played to its end or until nothing would ever move it."""

    machine: Machine
    steps: list = field(default_factory=list)
    calls: list = field(default_factory=list)  # (state, parameters, milliseconds since the start)

    @property
    def records(self):
        return [record for step in self.steps for record in step.records]

    @property
    def outcome(self):
        return self.machine.outcome

    @property
    def output(self):
        assert self.outcome.status == "SUCCEEDED", self.outcome
        return json.loads(self.outcome.output)

    @property
    def milliseconds(self):
        return self.outcome.at - START

    def notes(self, kind):
        return [record["note"] for record in self.records if record["type"] == kind]

    @property
    def path(self):
        """The nodes in the order in which they were entered."""
        return [note["stepId"] for note in self.notes("StepStarted")]

    @property
    def ended(self):
        """(node, status, action) of each node that ended."""
        return [(note["stepId"], note["status"], note.get("action")) for note in self.notes("StepCompleted")]

    def called(self, state):
        """The parameters of every attempt of a state."""
        return [parameters for name, parameters, _ in self.calls if name == state]

    def times(self, state):
        """When its attempts were begun, in milliseconds since the start."""
        return [at for name, _, at in self.calls if name == state]


def play(text, given=None, tasks=None, *, default=None, carry_out=None, restoring=True, most=10_000, limits=OPEN):
    """Run a flow's text, or a program, to the end. `tasks` are functions of the parameters, by state name, else by the kind; `default` answers the rest.

    `carry_out` is a function of the command instead. A function returns the task's result (or the bare output), or raises Fails or Hangs. With `restoring` the machine is packed and restored
    before every fact, so that nothing is kept beside its snapshot.
    """
    program, who = text if isinstance(text, Program) else program_of(text), identity_of({} if given is None else given)
    played = Played(Machine(program, who, limits))
    table, now, pending, queue = tasks or {}, START, [], [facts.Started(at=START)]
    for _ in range(most):
        if queue:
            if restoring and played.machine.started:
                played.machine = Machine.restore(program, who, played.machine.snapshot(), limits)
            step = played.machine.apply(queue.pop(0))
            played.steps.append(step)
            for command in step.commands:
                if isinstance(command, CancelAttempt):
                    pending[:] = [fact for fact in pending if fact.attempt != command.attempt]
                elif isinstance(command, RunAttempt):
                    parameters = json.loads(command.parameters)
                    played.calls.append((command.state, parameters, now - START))
                    queue.append(facts.AttemptStarted(at=now, attempt=command.attempt))
                    answer = table.get(command.state) or table.get(command.resource.action) or default
                    pending += _answered(answer, parameters, command, now) if carry_out is None else _answered(carry_out, command, command, now)
            if step.more:
                queue.insert(0, facts.Continued(at=now))
            if step.outcome is not None:
                return played
        elif pending:
            queue.append(pending.pop(0))
        elif (wake := played.machine.wake_at) is not None:
            now = max(now, wake)
            queue.append(facts.TimerFired(at=now))
        else:
            return played
    raise AssertionError("the machine did not come to rest")


def _answered(answer, parameters, command, now):
    try:
        made = answer(parameters) if answer is not None else {}
    except Fails as failed:
        return [facts.AttemptFailed(at=now, attempt=command.attempt, error=failed.error, cause=failed.cause)]
    except Hangs:
        return []
    result = made if isinstance(made, dict) and made.keys() <= {"output", "action", "shared"} and "output" in made else {"output": made, "action": "success"}
    if command.resource.service == "states":
        result = made
    done = [facts.AttemptSucceeded(at=now, attempt=command.attempt, output=json.dumps(result), job=command.resource.is_submitted)]
    submitted = [facts.AttemptSubmitted(at=now, attempt=command.attempt, output="{}")] if command.resource.is_submitted else []
    return submitted + done
