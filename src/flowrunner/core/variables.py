"""The variables of flows and workflows: one set per execution, and a note for every change."""

from __future__ import annotations

from collections.abc import Iterator

from flowrunner.core.dataflow import UNSET, Exit
from flowrunner.core.notes import variable_changed
from flowrunner.core.program import LoopWork
from flowrunner.core.run import Run
from flowrunner.core.scope import Scope
from flowrunner.jsonvalue import JSONValue, Payload, dumps


def begin_variables(run: Run, root: Scope) -> None:
    """Give an execution the variables of its environment, those of its program over them, those of its input over both (row 37).

    The input of an execution that shares its variables is ``{"variables": {...}, "environment": {...}}``; either may be missing.
    """
    program = run.program
    values = dict(program.variables)
    if program.shares_variables:
        document = Payload(text=run.identity.input).value
        levels = document if isinstance(document, dict) else {}
        below, above = (levels.get(name) for name in ("environment", "variables"))
        values = {**(below if isinstance(below, dict) else {}), **values, **(above if isinstance(above, dict) else {})}
    if values:
        run.assign(root, values, {name: dumps(value) for name, value in values.items()})


def assign(run: Run, scope: Scope, made: Exit) -> None:
    """Keep what a state assigns on its way out: in its own branch, or for the whole execution.

    What is assigned within iterations that run at once is kept in the iteration too: its own steps see what it set, not what another one did.
    """
    shared = run.program.shares_variables and run.root is not None
    target = run.root if shared and run.root is not None else scope
    if run.program.notes:
        _note(run, scope, target, made)
    gone = made.assigned.get(UNSET)
    values = {name: value for name, value in made.assigned.items() if name != UNSET}
    if values:
        run.assign(target, values, made.texts)
        for iteration in _side_by_side(scope) if shared else ():
            run.assign(iteration, values, made.texts)
    if isinstance(gone, list):
        names = [name for name in gone if isinstance(name, str)]
        run.unassign(target, names)
        for iteration in _side_by_side(scope) if shared else ():
            run.unassign(iteration, names)


def _side_by_side(scope: Scope) -> Iterator[Scope]:
    """The iterations around a scope that run at once with others."""
    inner: Scope | None = scope
    while inner is not None and inner.parent is not None:
        work = inner.parent.state.work
        if isinstance(work, LoopWork) and work.concurrency > 1:
            yield inner
        inner = inner.parent


def _note(run: Run, scope: Scope, target: Scope, made: Exit) -> None:
    known: dict[str, JSONValue] = target.visible_variables()
    for name, value in made.assigned.items():
        if name == UNSET:
            for gone in value if isinstance(value, list) else ():
                if gone in known:
                    variable_changed(run, scope, str(gone), "delete", old=known[gone], new=None)
        elif name not in known:
            variable_changed(run, scope, name, "create", old=None, new=value)
        elif known[name] != value or type(known[name]) is not type(value):
            variable_changed(run, scope, name, "update", old=known[name], new=value)
