"""Nodes that work on many items: the batch kinds, and any kind with the member ``batch``.

Within the node's own state a Map runs one task per batch. A batch that fails for good is lost, not the others with it: the node fails when all
are lost, by ``States.Timeout`` when each of them timed out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from flowrunner.core.faults import DATA_LIMIT_EXCEEDED
from flowrunner.core.program import Branch, Catcher, FailWork, Field, MapWork, PassWork, Route, State, TaskWork
from flowrunner.flow.batchresults import (
    TOO_LARGE,
    AfterLost,
    BatchAccumulated,
    BatchAction,
    Batches,
    BatchKept,
    FirstLost,
    IsLost,
    Lost,
    LostKept,
    Summary,
    Told,
    TooLarge,
    WhyLost,
)
from flowrunner.flow.lower import EFFECTLESS, EVERYTHING, RESOURCE, TIMED_OUT, Lowering, inner_branch, inner_name, node_state, source_of
from flowrunner.flow.node import INVALID_PARAMETER, FlowNode
from flowrunner.flow.posting import POST, result_state, without
from flowrunner.flow.templates import SHARED, SUCCESS, Action, Called, accumulated, states_of
from flowrunner.flow.values import is_open
from flowrunner.jsonvalue import JSONObject, JSONValue, mentions
from flowrunner.kinds.durations import read_milliseconds
from flowrunner.lang.environment import Environment

ALL_LOST = "FlowRunner.BatchFailed"
STRATEGY = {"batch": "serial", "async_batch": "async", "parallel_batch": "parallel", "worker_pool": "worker_pool"}
AT_ONCE = {"serial": 1, "async": 1, "parallel": 4, "worker_pool": 64}  # unless the node says otherwise; 64 is what the flows' older runner had
BATCH_SIZE = 10  # of the batch kinds
FAILING = ("client_error", "server_error", "not_found", "error")  # actions of a task that lose its batch
TAKEN = ("success", "error", "timeout")
SCRIPTS = ("processor_script", "item_script", "script")


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a node's items are worked on. `timeout` is that of a batch, in milliseconds."""

    at_once: int
    size: int
    params: JSONObject
    task: str
    called: JSONObject
    timeout: int | None
    single: bool


def lower_batch(lowering: Lowering, node: FlowNode) -> State:
    """A batch of anything."""
    plan = _of_kind(lowering, node) if node.kind.name in STRATEGY else _of_member(lowering, node)
    _warn_untaken(lowering, node)
    run, done, lost, late, large = (inner_name(node, part) for part in ("batches", "batch", "failed", "timed out", "too large"))
    hands_on = SHARED in node.mentions and plan.at_once == 1
    source = source_of(node, plan.params, run, keeps=hands_on and mentions(plan.params, SHARED))
    fails_fast = node.params.get("fail_fast") is True
    post = result_state(node, POST)
    batches = Batches(source.template, plan.size)
    summary = Summary(batches, hands_on=hands_on, gives_input=post is not None)
    edges = {"error": lost, "timeout": late, TOO_LARGE: large}
    mapping = State(
        name=run,
        kind="Map",
        work=MapWork(
            processor=_processor(node, plan, done, inner_name(node, "lost")),
            items=Field(name="items", template=batches),
            selector=_Selected(single=plan.single),
            max_concurrency=Field(name="max_parallel", constant=plan.at_once),
            stop_when=IsLost() if fails_fast else None,
            hands_on=(SHARED,) if hands_on else (),
        ),
        language="JSONata",
        output=summary,
        route=Route(action=BatchAction(summary, fails_fast=fails_fast), edges=edges if post is None else {**edges, SUCCESS: post.name}),
    )
    failures = [_failing(lost, ALL_LOST, fails_fast=fails_fast), _failing(late, "States.Timeout", fails_fast=fails_fast), _too_large(large, node)]
    states = [source.task, mapping, post, *failures]
    state = node_state(
        lowering,
        node,
        "Parallel",
        inner_branch(*(one for one in states if one is not None)),
        output=BatchAccumulated(node.name),
        assign=BatchKept(node.name),
        action=Action(),
        retriers=(),
    )
    return replace(state, catchers=tuple(replace(one, output=AfterLost(node.name), assign=LostKept()) for one in state.catchers))


def _warn_untaken(lowering: Lowering, node: FlowNode) -> None:
    for edge in node.edges:
        if edge not in (*TAKEN, "default") and POST not in node.hooks:
            said = f"The edge '{edge}' of '{node.name}' is never taken: a node that works on batches takes success, error or timeout."
            lowering.found.warning((*node.place, "next", edge), said, EFFECTLESS)


def _failing(name: str, error: str, *, fails_fast: bool) -> State:
    """The failure of the node: that all are lost, or what the first one was lost by."""
    work = FailWork(
        error=Field(name="Error", template=FirstLost("error")) if fails_fast else Field(name="Error", constant=error),
        cause=Field(name="Cause", template=FirstLost("cause") if fails_fast else WhyLost()),
        detail=Field(name="Detail", template=Told()),
    )
    return State(name=name, kind="Fail", work=work, language="JSONata")


def _too_large(name: str, node: FlowNode) -> State:
    """The failure of a node whose results have no room behind it."""
    work = FailWork(
        error=Field(name="Error", constant=DATA_LIMIT_EXCEEDED),
        cause=Field(name="Cause", template=TooLarge(node.name)),
        detail=Field(name="Detail", template=Told()),
    )
    return State(name=name, kind="Fail", work=work, language="JSONata")


def _processor(node: FlowNode, plan: _Plan, name: str, lost: str) -> Branch:
    """One batch: its task, and what is left of it when that fails for good."""
    timeouts = Catcher(error_equals=TIMED_OUT, next=lost, output=Lost(timed_out=True), lost="Batch")
    others = Catcher(error_equals=EVERYTHING, next=lost, output=Lost(timed_out=False), lost="Batch")
    task = State(
        name=name,
        kind="Task",
        work=TaskWork(resource=f"{RESOURCE}{plan.task}", timeout_milliseconds=plan.timeout),
        language="JSONata",
        arguments=Called(
            without(node, POST),
            plan.called,
            names=("batch", "items", "batch_index", *(("item", "index") if plan.single else ())),
            failing=FAILING,
            reads_shared=SHARED in node.mentions and plan.at_once > 1,
        ),
        output=_Returned(),
        assign=_Shared(),
        retriers=node.retriers,
        catchers=(timeouts, others),
    )
    return Branch(start_at=name, states={name: task, lost: State(name=lost, kind="Pass", work=PassWork(), language="JSONata")})


@dataclass(frozen=True, slots=True)
class _Selected:
    """The input of one batch: the node's with the batch."""

    single: bool

    def evaluate(self, environment: Environment) -> JSONValue:
        states = states_of(environment)
        item = states["context"]["Map"]["Item"]
        batch: list[JSONValue] = item["Value"]
        one = {"item": batch[0], "index": item["Index"]} if self.single else {}
        return {**accumulated(states["input"]), "batch": batch, "items": batch, "batch_index": item["Index"], **one}


@dataclass(frozen=True, slots=True)
class _Returned:
    def evaluate(self, environment: Environment) -> JSONValue:
        result = states_of(environment).get("result")
        return {"output": result["output"] if isinstance(result, dict) and "output" in result else result}


@dataclass(frozen=True, slots=True)
class _Shared:
    """What a batch assigns: ``shared`` if its script has changed it."""

    def evaluate(self, environment: Environment) -> JSONValue:
        result = states_of(environment).get("result")
        return {SHARED: result[SHARED]} if isinstance(result, dict) and isinstance(result.get(SHARED), dict) else {}


# --- how


def _of_kind(lowering: Lowering, node: FlowNode) -> _Plan:
    params = node.params
    member = node.batch or {}
    strategy = member.get("strategy") or STRATEGY[node.kind.name]
    script = next((name for name in SCRIPTS if name in params), None)
    if script is None:
        lowering.found.error((*node.place, "params"), "'processor_script' is missing: JavaScript that works on the items of a batch.", INVALID_PARAMETER)
    single = strategy == "worker_pool" or script == "item_script"
    _warn_idle(lowering, node, single=single)
    known = {**member, **{name: value for name, value in params.items() if name == "items"}}
    sizes = [_whole(lowering, node, "batch_size", stated["batch_size"]) for stated in (params, member) if "batch_size" in stated]
    return _Plan(
        at_once=_at_once(lowering, node, strategy, [params.get("max_parallel"), params.get("workers"), member.get("max_parallel")]),
        size=1 if single else min(sizes, default=BATCH_SIZE),
        params={"items": known["items"]} if "items" in known else {},
        task="transform",
        called={"script": params.get(script or "")},
        timeout=_timeout(lowering, node, *(("item_timeout", "timeout") if single else ("timeout",))),
        single=single,
    )


def _of_member(lowering: Lowering, node: FlowNode) -> _Plan:
    member = node.batch or {}
    strategy = member.get("strategy", "serial")
    if strategy == "worker_pool":
        _warn_size(lowering, node, "batch")
    size = 1 if strategy == "worker_pool" else member.get("batch_size", 1)
    return _Plan(
        at_once=member.get("max_parallel") or AT_ONCE[strategy],
        size=size,
        params={"items": member["items"]} if "items" in member else {},
        task=node.kind.name,
        called=node.params,
        timeout=node.timeout,
        single=size == 1,
    )


def _warn_idle(lowering: Lowering, node: FlowNode, *, single: bool) -> None:
    """Say which parameters do nothing beside the others."""
    scripts = [name for name in SCRIPTS if name in node.params]
    for name in scripts[1:]:
        said = f"'{name}' would never run: '{scripts[0]}' does."
        lowering.found.refuse((*node.place, "params", name), said, INVALID_PARAMETER, hint="Leave one of them out.")
    if single:
        for part in ("params", "batch"):
            _warn_size(lowering, node, part)
    elif "item_timeout" in node.params:
        said = f"'item_timeout' has no effect on '{node.name}': its script works on a batch of items. 'timeout' is that of a batch."
        lowering.found.warning((*node.place, "params", "item_timeout"), said, EFFECTLESS)


def _warn_size(lowering: Lowering, node: FlowNode, part: str) -> None:
    stated = node.params if part == "params" else node.batch or {}
    if stated.get("batch_size", 1) != 1:
        said = f"'batch_size' has no effect on '{node.name}': each batch is one item."
        lowering.found.warning((*node.place, part, "batch_size"), said, EFFECTLESS, hint="Leave it out, or take 'processor_script' of another batch kind.")


def _at_once(lowering: Lowering, node: FlowNode, strategy: str, stated: list[JSONValue]) -> int:
    """The smallest that is stated, for each is a bound."""
    bounds = [_whole(lowering, node, "max_parallel", value) for value in stated if value is not None]
    return min(bounds) if bounds else AT_ONCE[strategy]


def _whole(lowering: Lowering, node: FlowNode, name: str, value: JSONValue) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    if is_open(value):
        lowering.found.error((*node.place, "params", name), f"'{name}' must be a constant: it is part of how the flow is built.", INVALID_PARAMETER)
    return 1  # anything else was found when the parameters were checked


def _timeout(lowering: Lowering, node: FlowNode, *names: str) -> int | None:
    """The shortest of these parameters, else the node's timeout."""
    stated = [_milliseconds(lowering, node, name, node.params[name]) for name in names if node.params.get(name) is not None]
    return min((one for one in stated if one is not None), default=None) if stated else node.timeout


def _milliseconds(lowering: Lowering, node: FlowNode, name: str, value: JSONValue) -> int | None:
    if is_open(value):
        lowering.found.error((*node.place, "params", name), f"'{name}' must be a constant: it is part of how the flow is built.", INVALID_PARAMETER)
        return None
    try:
        return read_milliseconds(value)
    except ValueError:
        return None  # found when the parameters were checked
