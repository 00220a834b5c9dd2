"""Graphs and switches: branches that wait for one another, and one branch out of several (step workflows, YAML flows)."""

from __future__ import annotations

from flowrunner.core import notes
from flowrunner.core.dataflow import fill
from flowrunner.core.program import Branch, Case, GraphNode, GraphWork, SwitchWork
from flowrunner.core.run import Run
from flowrunner.core.scope import Group, Scope
from flowrunner.jsonvalue import Payload


def open_graph(run: Run, scope: Scope, work: GraphWork, given: Payload) -> None:
    """Start every node that needs no other; all of them get the same input."""
    count = len(work.nodes)
    _open_group(run, scope, Group(total=count, limit=min(work.max_concurrency or count, count), results=[None] * count, next_index=count))
    open_ready(run, scope, work, given)


def open_ready(run: Run, scope: Scope, work: GraphWork, given: Payload) -> None:
    """Start the nodes whose needs have ended, as far as there are places."""
    group = scope.wait
    assert isinstance(group, Group)  # noqa: S101 - the callers look
    for index, node in enumerate(work.nodes):
        if len(group.open) >= group.limit:
            return
        if index not in group.open and group.results[index] is None and _may_start(run, scope, work, node):
            _open_child(run, scope, group, node.branch, given=given, index=index)


def _may_start(run: Run, scope: Scope, work: GraphWork, node: GraphNode) -> bool:
    group = scope.wait
    assert isinstance(group, Group)  # noqa: S101 - the caller looked
    through = [need for need in node.needs if group.results[need] is not None]
    if len(through) == len(node.needs):
        return True
    return node.any and any(_counts(run, scope, work.nodes[need]) for need in through)


def _counts(run: Run, scope: Scope, ended: GraphNode) -> bool:
    return ended.counts is None or bool(fill(scope, ended.counts, run.environment(scope, scope.input.value), "counts"))


def open_switch(run: Run, scope: Scope, work: SwitchWork, given: Payload) -> None:
    """Start the branch of the first case that holds; with none of them the group has no child and is through at once."""
    index, case = _chosen(run, scope, work)
    group = Group(total=1, limit=1, results=[None] * len(work.cases), next_index=1)
    _open_group(run, scope, group)
    if case is None:
        notes.told(run, scope, "BranchDecided", {"selectedBranch": None, "branchIndex": index, "isDefault": False, "condition": None})
    else:
        text = getattr(case.condition, "text", "") if case.condition is not None else "default"
        decided = {"selectedBranch": case.label, "branchIndex": index, "isDefault": case.condition is None, "condition": text}
        notes.told(run, scope, "BranchDecided", decided)
        _open_child(run, scope, group, case.branch, given=given, index=index)


def _chosen(run: Run, scope: Scope, work: SwitchWork) -> tuple[int, Case | None]:
    environment = run.environment(scope, scope.input.value)
    for index, case in enumerate(work.cases):
        if case.condition is None or fill(scope, case.condition, environment, f"branches[{index}]/condition"):
            return index, case
    return -1, None


def _open_group(run: Run, scope: Scope, group: Group) -> None:
    run.advance(scope, "ParallelStateStarted")
    group.first_event = group.last_event = scope.last_event
    scope.wait = group


def _open_child(run: Run, scope: Scope, group: Group, branch: Branch, *, given: Payload, index: int) -> None:
    child = Scope(number=run.next_scope(), branch=branch, state=branch.states[branch.start_at], given=given, parent=scope, index=index)
    child.last_event = group.last_event
    group.open[index] = child
    run.open_scope(child)
