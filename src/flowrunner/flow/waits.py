"""Nodes that wait: ``delay`` and ``wait``. An execution that waits is a row in the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flowrunner.core.program import ChoiceWork, Field, PassWork, Rule, State, TaskWork, Template, WaitWork
from flowrunner.errors import ExpressionError
from flowrunner.flow.lower import RESOURCE, Lowering, inner_branch, inner_name, node_state, only, source_of, warn_unused
from flowrunner.flow.node import INVALID_PARAMETER, FlowNode
from flowrunner.flow.posting import EXEC, GIVEN, POST, result_state, without
from flowrunner.flow.templates import SHARED, Accumulated, Action, Called, Given, Kept, KeptInput, states_of
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.durations import read_milliseconds
from flowrunner.lang.environment import Environment
from flowrunner.lang.moment import is_timestamp, parse_timestamp
from flowrunner.reading.wording import shown

POLL = "poll.state"  # the variable of the node's branch: {"attempts", "met", "started"}
INTERVAL = "1s"
UNITS = ("ms", "s", "m", "h")  # of a duration that is a number
MOST_ATTEMPTS = 60


@dataclass(frozen=True, slots=True)
class Duration:
    """Milliseconds of the parameter ``duration``, with its unit and a random part of it added."""

    params: Template

    def evaluate(self, environment: Environment) -> JSONValue:
        """A whole number; raises ExpressionError for what is no duration."""
        params: JSONObject = self.params.evaluate(environment)
        jitter = params.get("jitter", 0)
        if isinstance(jitter, bool) or not isinstance(jitter, int | float) or not 0 <= jitter <= 1:
            raise ExpressionError(f"'jitter' must be a number from 0 to 1; {shown(jitter)} stands there.")
        length = _milliseconds(params.get("duration"), "duration", unit=params.get("unit", "s"))
        return length + (int(length * jitter * environment.entropy.random()) if jitter else 0)


@dataclass(frozen=True, slots=True)
class Moment:
    """The parameter ``until_time``."""

    params: Template

    def evaluate(self, environment: Environment) -> JSONValue:
        """The text; raises ExpressionError for what is no moment."""
        until = self.params.evaluate(environment).get("until_time")
        if not is_timestamp(until):
            raise ExpressionError(f"'until_time' must be a moment such as 2026-01-31T08:00:00Z; {shown(until)} stands there.")
        return until


def _milliseconds(value: JSONValue, name: str, *, unit: JSONValue = "s") -> int:
    if unit not in UNITS:
        raise ExpressionError(f"'unit' must be one of {', '.join(UNITS)}; {shown(unit)} stands there.")
    try:
        return read_milliseconds(value, unit=unit)
    except ValueError as error:
        raise ExpressionError(f"'{name}' {error}; {shown(value)} stands there.") from None


def lower_delay(lowering: Lowering, node: FlowNode) -> State:
    """Waits for a duration."""
    params = only(node.params, "duration", "unit", "jitter")
    return _pausing(lowering, node, params, "Milliseconds")


def lower_wait(lowering: Lowering, node: FlowNode) -> State:
    """Waits for a duration, until a moment, or until a condition holds."""
    kind = node.params.get("type") or next((name for name in ("condition", "until_time") if name in node.params), "duration")
    wanted = {"until": "until_time"}.get(kind, kind)
    if wanted not in node.params:
        lowering.found.error((*node.place, "params"), f"'{wanted}' is missing: a wait needs one of duration, until_time, condition.", INVALID_PARAMETER)
    if wanted == "condition":
        return _polling(lowering, node)
    params = only(node.params, wanted)
    return _pausing(lowering, node, params, "Milliseconds" if wanted == "duration" else "Timestamp")


def _pausing(lowering: Lowering, node: FlowNode, params: JSONObject, name: str) -> State:
    warn_unused(lowering, node, timeout=node.timeout, hooks=node.hooks)
    pause_name = inner_name(node, "pause")
    source = source_of(node, params, pause_name)
    template: Template = Duration(source.template) if name == "Milliseconds" else Moment(source.template)
    work = WaitWork(until=Field(name=name, template=template))
    if source.task is None:
        return node_state(lowering, node, "Wait", work, output=Given(), assign=KeptInput(node.name))
    pause = State(name=pause_name, kind="Wait", work=work, language="JSONata")
    return node_state(lowering, node, "Parallel", inner_branch(source.task, pause), output=Given(), assign=KeptInput(node.name))


# --- until a condition holds


def _polling(lowering: Lowering, node: FlowNode) -> State:
    """Asks, and asks again after the interval, until the condition holds or its attempts or its time are used up."""
    ask, look, rest, end = (inner_name(node, part) for part in ("condition", "decision", "pause", "outcome"))
    source = source_of(node, only(node.params, "interval", "max_attempts", "timeout"), ask)
    plan = _Plan(source.template)
    asking = State(
        name=ask,
        kind="Task",
        work=TaskWork(resource=f"{RESOURCE}condition", timeout_milliseconds=node.timeout),
        language="JSONata",
        arguments=Called(without(node, EXEC, POST), {"condition_script": node.params.get("condition")}, more=_Attempt(), names=("attempt",)),
        output=Given(),
        assign=_Asked(),
        retriers=node.retriers,
        next=look,
    )
    looking = State(name=look, kind="Choice", work=ChoiceWork(rules=(Rule(next=end, condition=_IsOver(plan)),), default=rest), language="JSONata")
    resting = State(name=rest, kind="Wait", work=WaitWork(until=Field(name="Milliseconds", template=_Rest(plan))), language="JSONata", next=ask)
    post = result_state(node, EXEC, POST)
    ending = State(
        name=end, kind="Pass", work=PassWork(), language="JSONata", output=_Outcome(SHARED in node.mentions), next=None if post is None else post.name
    )
    inner = [one for one in (source.task, asking, looking, resting, ending, post) if one is not None]
    return node_state(lowering, node, "Parallel", inner_branch(*inner), output=Accumulated(node.name), assign=Kept(node.name), action=Action(), retriers=())


def _poll(environment: Environment) -> dict[str, Any]:
    known = environment.variables.get(POLL)
    return known if isinstance(known, dict) else {"attempts": 0, "met": False, "started": environment.now}


@dataclass(frozen=True, slots=True)
class _Plan:
    """The parameters of polling."""

    params: Template

    def interval(self, environment: Environment) -> int:
        return _milliseconds(self.params.evaluate(environment).get("interval", INTERVAL), "interval")

    def attempts(self, environment: Environment) -> int:
        most = self.params.evaluate(environment).get("max_attempts", MOST_ATTEMPTS)
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise ExpressionError(f"'max_attempts' must be a whole number from 1 on; {shown(most)} stands there.")
        return most

    def deadline(self, environment: Environment) -> int | None:
        """When to give up, in milliseconds since 1970 UTC."""
        timeout = self.params.evaluate(environment).get("timeout")
        return None if timeout is None else int(_poll(environment)["started"]) + _milliseconds(timeout, "timeout")


@dataclass(frozen=True, slots=True)
class _Attempt:
    def evaluate(self, environment: Environment) -> JSONValue:
        return {"attempt": _poll(environment)["attempts"] + 1}


@dataclass(frozen=True, slots=True)
class _Asked:
    def evaluate(self, environment: Environment) -> JSONValue:
        """The condition has given its value. What JavaScript holds for false, the text ``false`` too, is not met."""
        states, poll = states_of(environment), _poll(environment)
        if POLL not in environment.variables:
            poll["started"] = parse_timestamp(states["context"]["State"]["EnteredTime"])
        result = states.get("result")
        value = result.get("output") if isinstance(result, dict) else result
        met = isinstance(value, dict | list) or (bool(value) and value != "false")
        shared = {SHARED: result[SHARED]} if isinstance(result, dict) and isinstance(result.get(SHARED), dict) else {}
        return {POLL: {**poll, "attempts": poll["attempts"] + 1, "met": met}, **shared}


@dataclass(frozen=True, slots=True)
class _IsOver:
    plan: _Plan
    source: str = "met or given up"

    def evaluate(self, environment: Environment) -> JSONValue:
        poll, deadline = _poll(environment), self.plan.deadline(environment)
        return poll["met"] or poll["attempts"] >= self.plan.attempts(environment) or (deadline is not None and environment.now >= deadline)


@dataclass(frozen=True, slots=True)
class _Rest:
    """The interval, but no longer than there is time: it ends with a last look."""

    plan: _Plan

    def evaluate(self, environment: Environment) -> JSONValue:
        interval, deadline = self.plan.interval(environment), self.plan.deadline(environment)
        return interval if deadline is None else max(0, min(interval, deadline - environment.now))


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What the wait gives; with `hands_on`, ``shared`` as the looks have left it."""

    hands_on: bool

    def evaluate(self, environment: Environment) -> JSONValue:
        poll = _poll(environment)
        return {
            "output": {"met": poll["met"], "attempts": poll["attempts"]},
            "action": "success" if poll["met"] else "timeout",
            GIVEN: states_of(environment)["input"],
            **({SHARED: environment.variables[SHARED]} if self.hands_on and SHARED in environment.variables else {}),
        }
