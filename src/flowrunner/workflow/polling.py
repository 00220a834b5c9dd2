"""A step that waits until a condition holds: it is asked again and again, and between two times the run is a row in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flowrunner.core.faults import TIMEOUT
from flowrunner.core.program import Branch, ChoiceWork, FailWork, Field, GraphNode, GraphWork, PassWork, Rule, State, Template, WaitWork
from flowrunner.errors import ExpressionError
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.durations import read_limit, read_milliseconds
from flowrunner.lang.braces import has_braces
from flowrunner.lang.environment import Environment
from flowrunner.reading.wording import shown
from flowrunner.workflow.compiling import Compiling, Step
from flowrunner.workflow.fields import INVALID_VALUE, MISSING_FIELD
from flowrunner.workflow.steps import own_members, state_of
from flowrunner.workflow.templates import Constant
from flowrunner.workflow.verdicts import Only

POLL = "poll."  # and the step's id: the compiler's own variable, {"most", "interval", "deadline", "attempts", "met"}
INTERVAL = "1s"
MOST_ATTEMPTS = 60


def poll(compiling: Compiling, step: Step) -> State:
    """Waits until ``config.condition`` holds; fails with ``States.Timeout`` when its attempts or its time are used up."""
    value, place = step.config.get("condition"), step.at("config", "condition")
    if not isinstance(value, str | bool) or value == "":
        compiling.found.error(place, "'condition' is missing: what the step waits for, such as {{status}} == 'ready'.", MISSING_FIELD)
        value = True
    own = own_members(compiling, step)
    condition = own.condition(value, place) or Constant(value=True)
    plan = _plan(own, step)
    begin, look, decide, rest, end, late = (f"{step.id} ({part})" for part in ("begin", "condition", "decision", "pause", "met", "given up"))
    name = f"{POLL}{step.id}"
    said = f"The condition did not come about: {str(value)[:200]}"
    states = (
        State(name=begin, kind="Pass", work=PassWork(), language="JSONata", assign=_Begun(name, plan), next=look),
        State(name=look, kind="Pass", work=PassWork(), language="JSONata", assign=_Asked(name, condition), next=decide),
        State(
            name=decide,
            kind="Choice",
            work=ChoiceWork(rules=(Rule(next=end, condition=_Met(name)), Rule(next=late, condition=_Over(name))), default=rest),
            language="JSONata",
        ),
        State(name=rest, kind="Wait", work=WaitWork(until=Field(name="Milliseconds", template=_Rest(name))), language="JSONata", next=look),
        State(name=end, kind="Pass", work=PassWork(), language="JSONata", output=_Outcome(name)),
        State(
            name=late,
            kind="Fail",
            work=FailWork(error=Field(name="Error", constant=TIMEOUT), cause=Field(name="Cause", template=_Why(name, said))),
            language="JSONata",
        ),
    )
    branch = Branch(start_at=begin, states={state.name: state for state in states})
    outer = replace(step, given={member: part for member, part in step.given.items() if member != "timeout"})  # it is the condition's
    return state_of(compiling, outer, "Parallel", GraphWork(nodes=(GraphNode(branch=branch),)), shape=Only())


def _plan(compiling: Compiling, step: Step) -> Mapping[str, Template]:
    """How often and how long: constants are checked here, expressions when the step begins."""
    config = step.config
    camel = "maxAttempts" if "maxAttempts" in config else "max_attempts"
    timeout, at = (config["timeout"], step.at("config", "timeout")) if "timeout" in config else (step.given.get("timeout"), step.at("timeout"))
    interval, most = config.get("interval", INTERVAL), config.get(camel, MOST_ATTEMPTS)
    if not has_braces(interval):
        compiling.milliseconds(interval, step.at("config", "interval"), unit="s", limit=True)
    if timeout is not None and not has_braces(timeout):
        compiling.milliseconds(timeout, at, unit="s", limit=True)
    if not has_braces(most) and not _is_count(most):
        said = f"'{camel}' must be a whole number from 1 on; {shown(most)} stands there."
        compiling.found.error(step.at("config", camel), said, INVALID_VALUE, hint=f"Leave it out for {MOST_ATTEMPTS}, or write another number.")
    return {
        "interval": compiling.template(interval, step.at("config", "interval")),
        "timeout": compiling.template(timeout, at),
        "most": compiling.template(most, step.at("config", camel)),
    }


def _is_count(value: JSONValue) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _known(environment: Environment, name: str) -> dict[str, Any]:
    kept: JSONObject = environment.variables[name]
    return kept


@dataclass(frozen=True, slots=True)
class _Begun:
    """The plan in numbers: milliseconds, and the moment (since 1970 UTC) to give up at."""

    name: str
    plan: Mapping[str, Template]

    def evaluate(self, environment: Environment) -> JSONValue:
        interval, timeout, most = (self.plan[part].evaluate(environment) for part in ("interval", "timeout", "most"))
        if not _is_count(most):
            raise ExpressionError(f"'max_attempts' must be a whole number from 1 on; {shown(most)} stands there.")
        try:
            pause = max(1, read_milliseconds(interval))
            deadline = None if timeout is None else environment.now + read_limit(timeout)
        except ValueError as error:
            raise ExpressionError(f"'interval' and 'timeout': each {error}.") from None
        return {self.name: {"most": most, "interval": pause, "deadline": deadline, "attempts": 0, "met": False}}


@dataclass(frozen=True, slots=True)
class _Asked:
    name: str
    condition: Template

    def evaluate(self, environment: Environment) -> JSONValue:
        kept = _known(environment, self.name)
        return {self.name: {**kept, "attempts": kept["attempts"] + 1, "met": bool(self.condition.evaluate(environment))}}


@dataclass(frozen=True, slots=True)
class _Met:
    name: str
    source: str = "the condition holds"

    def evaluate(self, environment: Environment) -> JSONValue:
        return _known(environment, self.name)["met"]


@dataclass(frozen=True, slots=True)
class _Over:
    name: str
    source: str = "attempts or time are used up"

    def evaluate(self, environment: Environment) -> JSONValue:
        kept = _known(environment, self.name)
        return kept["attempts"] >= kept["most"] or (kept["deadline"] is not None and environment.now >= kept["deadline"])


@dataclass(frozen=True, slots=True)
class _Rest:
    """The interval, but no longer than there is time: it ends with a last look."""

    name: str

    def evaluate(self, environment: Environment) -> JSONValue:
        kept = _known(environment, self.name)
        return kept["interval"] if kept["deadline"] is None else max(0, min(kept["interval"], kept["deadline"] - environment.now))


@dataclass(frozen=True, slots=True)
class _Outcome:
    name: str

    def evaluate(self, environment: Environment) -> JSONValue:
        return {"met": True, "attempts": _known(environment, self.name)["attempts"]}


@dataclass(frozen=True, slots=True)
class _Why:
    name: str
    said: str

    def evaluate(self, environment: Environment) -> JSONValue:
        attempts = _known(environment, self.name)["attempts"]
        return f"{self.said} (it was asked {'once' if attempts == 1 else f'{attempts} times'})"
