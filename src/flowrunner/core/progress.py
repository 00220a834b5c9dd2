"""How far a graph of steps has come: each step of the first level is the same share of the whole, and what stands within one divides its share.

An iteration has the share of its loop by the number of iterations there are to be; of a loop with a condition, by the most it may make.
"""

from __future__ import annotations

from flowrunner.core.program import LoopWork
from flowrunner.core.run import Run
from flowrunner.core.scope import Group, Scope

WHOLE = 100.0  # percent


def passed(run: Run, scope: Scope) -> None:
    """The step or iteration that the scope stands for is through; what stands within it has been counted already."""
    if run.program.steps:
        shares = _shares(run, scope)
        _count(shares, shares[0][1] - scope.passed)


def left_out(run: Run, scope: Scope) -> None:
    """An iteration of the loop that the scope stands in is skipped."""
    if run.program.steps:
        shares = _shares(run, scope)
        _count(shares, shares[0][1] / _parts(run, scope))


def again(scope: Scope) -> None:
    """The state of the scope is tried again: what had ended within it counts when it has ended once more. What was told does not fall."""
    undone = scope.passed
    around: Scope | None = scope if undone else None
    while around is not None:
        around.passed = max(0.0, around.passed - undone)
        around = around.parent


def _shares(run: Run, scope: Scope) -> list[tuple[Scope, float]]:
    """The scope and those around it, each with its share of the whole, the outermost last."""
    way = [scope]
    while way[-1].parent is not None:
        way.append(way[-1].parent)
    shares = [WHOLE]
    for around in way[:0:-1]:
        shares.append(shares[-1] / _parts(run, around))
    return list(zip(way, reversed(shares), strict=True))


def _count(shares: list[tuple[Scope, float]], more: float) -> None:
    for scope, share in shares:
        more = min(more, share - scope.passed)
        if more <= 0:
            return
        scope.passed += more


def _parts(run: Run, around: Scope) -> int:
    """How many shares the state of a scope is divided into."""
    if around.parent is None:
        return max(1, run.program.steps)
    wait, work = around.wait, around.state.work
    if not isinstance(wait, Group):
        return 1
    if isinstance(work, LoopWork):
        return max(1, min(wait.total, work.max_iterations))
    return max(1, wait.total)
