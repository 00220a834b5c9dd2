"""One node of a flow, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flowrunner.core.program import Retrier
from flowrunner.errors import ExpressionSyntaxError
from flowrunner.flow.fields import BATCH, HOOKS, NODE, RETRY
from flowrunner.flow.needs import faults_of
from flowrunner.flow.reader import INVALID_VALUE, read_members
from flowrunner.jsonvalue import JSONObject, JSONValue, mentions
from flowrunner.kinds.check import findings, place_in
from flowrunner.kinds.info import KindInfo
from flowrunner.lang.embedded import expressions_of, parts_of
from flowrunner.reading.findings import Findings, Place
from flowrunner.reading.wording import meant

UNKNOWN_KIND = "UNKNOWN_KIND"
INVALID_PARAMETER = "INVALID_PARAMETER"
INVALID_EXPRESSION = "INVALID_EXPRESSION"
EFFECTLESS = "HAS_NO_EFFECT"
# Kinds that arrange steps of a workflow; a flow does the same with its edges.
NOT_IN_FLOWS = {
    "branch": "use a condition and its edges",
    "group": "write its nodes into the flow, or into a flow of their own (kind 'flow')",
    "loop": "lead an edge back, or use a batch kind for a list of items",
    "test-case": "it is for step workflows",
}
NAME_CHARACTERS = 128
RETRIED = ("States.ALL",)  # which leaves out States.Runtime and States.DataLimitExceeded: the same again would end the same
_MAX_RETRIES = 3
_WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowNode:
    """A node. Times are milliseconds. `mentions` are those of ``results, shared, variables`` that its texts speak of."""

    name: str
    kind: KindInfo
    params: JSONObject
    edges: Mapping[str, str]
    place: Place
    retriers: tuple[Retrier, ...] = ()
    timeout: int | None = None
    batch: JSONObject | None = None
    hooks: JSONObject = field(default_factory=dict)
    progress: float | None = None
    mentions: frozenset[str] = frozenset()


def read_node(found: Findings, name: str, value: JSONValue, place: Place, kinds: Mapping[str, KindInfo]) -> FlowNode | None:
    """The node, None when it cannot be compiled."""
    if not name.strip() or len(name) > NAME_CHARACTERS:
        found.error(place, f"A node's name has 1 to {NAME_CHARACTERS} characters.", INVALID_VALUE)
    members = read_members(found, value, place, NODE)
    kind = _kind(found, members.get("type"), place, kinds)
    if kind is None:
        return None
    params: JSONObject = members.get("params", {})
    _check_params(found, kind, params, (*place, "params"), there="params" in members, at=place)
    _check_together(found, kind, params, (*place, "params") if "params" in members else place)
    batch = read_members(found, members["batch"], (*place, "batch"), BATCH) if "batch" in members else None
    hooks = read_members(found, members["hooks"], (*place, "hooks"), HOOKS) if "hooks" in members else {}
    if batch is not None:
        _expressions(found, batch, (*place, "batch"))
    for hook, source in hooks.items():
        found.script((*place, "hooks", hook), source)
    edges = members.get("next", {})
    return FlowNode(
        name=name,
        kind=kind,
        params=params,
        edges={"default": edges} if isinstance(edges, str) else edges,
        place=place,
        retriers=_retriers(read_members(found, members["retry"], (*place, "retry"), RETRY)) if "retry" in members else (),
        timeout=members.get("timeout"),
        batch=batch,
        hooks=hooks,
        progress=members.get("progress"),
        mentions=_mentions([params, batch, hooks]),
    )


def _kind(found: Findings, name: JSONValue, place: Place, kinds: Mapping[str, KindInfo]) -> KindInfo | None:
    if not isinstance(name, str):
        return None  # said already
    kind = kinds.get(name)
    if kind is None:
        found.error((*place, "type"), f"There is no kind of node '{name}'.", UNKNOWN_KIND, hint=meant(name, kinds))
        return None
    if kind.name in NOT_IN_FLOWS:
        found.error(
            (*place, "type"), f"The kind '{name}' has no place in a flow: {NOT_IN_FLOWS[kind.name]}.", UNKNOWN_KIND, hint=_as_remedy(NOT_IN_FLOWS[kind.name])
        )
        return None
    return kind


def _as_remedy(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _check_params(found: Findings, kind: KindInfo, params: JSONObject, place: Place, *, there: bool, at: Place) -> None:
    for wrong in findings(kind.parameters, params):
        where = place_in(params, wrong.pointer)
        said = f"{_called(where)} {wrong.message}" if where else f"The parameter {wrong.message}"
        say = found.refuse if wrong.severe else found.warning
        say((*place, *where) if there else at, f"{said}.", wrong.code, hint=wrong.hint)
    scripts = kind.scripts()
    for below, source in kind.javascript(params):
        found.script((*place, *below), source)
    _expressions(found, {name: value for name, value in params.items() if name not in scripts}, place)


def _check_together(found: Findings, kind: KindInfo, params: JSONObject, place: Place) -> None:
    for fault in faults_of(kind.name, params):
        where = place if fault.name is None else (*place, fault.name)
        if fault.severe:
            found.refuse(where, fault.message, INVALID_PARAMETER, hint=fault.hint)
        else:
            found.warning(where, fault.message, EFFECTLESS, hint=fault.hint)


def _expressions(found: Findings, value: JSONValue, place: Place) -> None:
    """Every ``${ }`` of a value has an end, and is JavaScript."""
    for below, text in expressions_of(value):
        try:
            found.expressions((*place, *below), text, parts_of(text))
        except ExpressionSyntaxError as error:
            found.error((*place, *below), error.message, INVALID_EXPRESSION, hint=error.remedy or "")


def _called(place: Place) -> str:
    """A member by its name, an item of a list by its number from 1 on."""
    return f"Item {place[-1] + 1} of '{place[-2]}'" if isinstance(place[-1], int) else f"'{place[-1]}'"


def _mentions(parts: JSONValue) -> frozenset[str]:
    return frozenset(name for name in ("results", "shared", "variables") if mentions(parts, name))


def _retriers(retry: JSONObject) -> tuple[Retrier, ...]:
    most: int = retry.get("max_retries", _MAX_RETRIES)
    if most == 0:
        return ()
    backoff = retry.get("backoff", "fixed")
    return (
        Retrier(
            error_equals=RETRIED,
            interval_seconds=retry["wait"] / 1000 if "wait" in retry else _WAIT_SECONDS,
            max_attempts=most,
            backoff_rate=2.0 if backoff == "exponential" else 1.0,
            max_delay_seconds=retry["max_wait"] / 1000 if "max_wait" in retry else None,
            full_jitter=retry.get("jitter", False),
            linear=backoff == "linear",
        ),
    )
