"""Steps that only wait: for a time, for other steps."""

from __future__ import annotations

from dataclasses import dataclass

from flowrunner.core.program import Field, PassWork, State, Template, WaitWork
from flowrunner.errors import ExpressionError
from flowrunner.jsonvalue import JSONValue
from flowrunner.kinds.durations import read_milliseconds
from flowrunner.lang.braces import has_braces
from flowrunner.lang.environment import Environment
from flowrunner.lang.moment import is_timestamp, parse_timestamp
from flowrunner.reading.wording import shown
from flowrunner.workflow.compiling import Compiling, Step
from flowrunner.workflow.fields import INVALID_VALUE, MISSING_FIELD
from flowrunner.workflow.polling import poll
from flowrunner.workflow.steps import ignores, own_members, state_of
from flowrunner.workflow.templates import Constant, Outputs, states_of

UNITS = ("s", "ms", "m", "h")  # of a number; the first where none is named
JITTER = 0.5  # the share of the duration that `jitter: true` adds at most


def delay(compiling: Compiling, step: Step) -> State:
    """Waits: an execution that waits is a row in the store."""
    own = own_members(compiling, step)
    given = {**step.config, **step.given.get("delay", {})}
    value, unit = given.get("duration"), given.get("unit", UNITS[0])
    place = step.at("config", "duration")
    if unit not in UNITS:
        compiling.found.error(step.at("config", "unit"), f"'unit' must be ms, s, m or h; {shown(unit)} stands there.", INVALID_VALUE)
        unit = UNITS[0]
    if value is None:
        compiling.found.error(step.place, "'duration' is missing: how long the step waits.", MISSING_FIELD)
    elif not has_braces(value):
        compiling.milliseconds(value, place, unit=unit)
    jitter = given.get("jitter", 0)
    if not isinstance(jitter, (int, float)) or not 0 <= jitter <= 1:
        usable = compiling.found.kept and isinstance(jitter, (int, float)) and jitter > 1  # milliseconds, as earlier releases took them
        said = f"'jitter' must be true, or a share of the duration from 0 to 1; {shown(jitter)} stands there."
        (compiling.found.refuse if usable else compiling.found.error)(step.at("config", "jitter"), said, INVALID_VALUE)
        jitter = jitter if usable else 0
    work = WaitWork(until=Field(name="Milliseconds", template=_Duration(own.template(value, place), unit, JITTER if jitter is True else jitter or 0)))
    return state_of(compiling, step, "Wait", work, shape=_Waited())


@dataclass(frozen=True, slots=True)
class _Duration:
    value: Template
    unit: str
    jitter: float

    def evaluate(self, environment: Environment) -> JSONValue:
        """Milliseconds, more by a random part of them with `jitter` (its share, or milliseconds above 1)."""
        value = self.value.evaluate(environment)
        try:
            waits = read_milliseconds(value, unit=self.unit)
        except ValueError as error:
            raise ExpressionError(f"'duration' {error}; {shown(value)} stands there.") from None
        if not self.jitter:
            return waits
        most = self.jitter if self.jitter > 1 else waits * self.jitter
        return round(waits + most * environment.entropy.random())


@dataclass(frozen=True, slots=True)
class _Waited:
    def evaluate(self, environment: Environment) -> JSONValue:
        """How long the step has waited, in milliseconds."""
        entered = states_of(environment)["context"]["State"]["EnteredTime"]
        return {"waited": environment.now - parse_timestamp(entered)}


def wait(compiling: Compiling, step: Step) -> State:
    """Waits for a duration, until a moment, or until a condition holds."""
    kind = step.config.get("type")
    if kind not in (None, "duration", "until", "condition"):
        said = f"'type' must be duration, until or condition; {shown(kind)} stands there."
        compiling.found.error(step.at("config", "type"), said, INVALID_VALUE, hint="Leave it out: the other members tell.")
    if kind == "condition" or "condition" in step.config:
        return poll(compiling, step)
    until = step.config.get("until_time", step.config.get("until"))
    if until is None:
        return delay(compiling, step)
    place = step.at("config", "until_time" if "until_time" in step.config else "until")
    if not has_braces(until) and not is_timestamp(until):
        compiling.found.error(place, f"'{place[-1]}' must be a moment such as 2026-01-31T08:00:00Z; {shown(until)} stands there.", INVALID_VALUE)
    work = WaitWork(until=Field(name="Timestamp", template=_Moment(own_members(compiling, step).template(until, place), str(place[-1]))))
    return state_of(compiling, step, "Wait", work, shape=Constant({"until": until}))


@dataclass(frozen=True, slots=True)
class _Moment:
    value: Template
    name: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """The text; raises ExpressionError for what is no moment."""
        until = self.value.evaluate(environment)
        if not is_timestamp(until):
            raise ExpressionError(f"'{self.name}' must be a moment such as 2026-01-31T08:00:00Z; {shown(until)} stands there.")
        return until


def merge(compiling: Compiling, step: Step) -> State:
    """A step that only waits for others; what it gives is their outputs."""
    ignores(compiling, step, "input", "inputs", "dataMappers")
    mode = step.member("mode")[0] or "all"
    if mode not in ("all", "any"):
        compiling.found.error(step.member("mode")[1], f"'mode' must be all or any; {shown(mode)} stands there.", INVALID_VALUE)
    return state_of(compiling, step, "Pass", PassWork(), shape=Outputs(step.needs))
