"""The variables of flows and workflows: one set per execution, and a note for every change."""

from __future__ import annotations

from flowrunner.core.dataflow import UNSET, Exit
from flowrunner.core.notes import variable_changed
from flowrunner.core.run import Run
from flowrunner.core.scope import Scope
from flowrunner.jsonvalue import JSONValue, Payload, dumps


def begin_variables(run: Run, root: Scope) -> None:
    """Give an execution the variables of its program, and those of its input over them."""
    program = run.program
    values = dict(program.variables)
    if program.shares_variables:
        document = Payload(text=run.identity.input).value
        given = document.get("variables") if isinstance(document, dict) else None
        if isinstance(given, dict):
            values |= given
    if values:
        run.assign(root, values, {name: dumps(value) for name, value in values.items()})


def assign(run: Run, scope: Scope, made: Exit) -> None:
    """Keep what a state assigns on its way out: in its own branch, or for the whole execution."""
    target = run.root if run.program.shares_variables and run.root is not None else scope
    if run.program.notes:
        _note(run, scope, target, made)
    gone = made.assigned.get(UNSET)
    values = {name: value for name, value in made.assigned.items() if name != UNSET}
    if values:
        run.assign(target, values, made.texts)
    if isinstance(gone, list):
        run.unassign(target, [name for name in gone if isinstance(name, str)])


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
